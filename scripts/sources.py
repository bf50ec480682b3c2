"""Write the sources for block explorers."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command


@command("ape run sources verification")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def cli(ui: Ui, folder: Path) -> None:
    """Write the compiler input that block explorers verify the contracts with, one file for each.

    It is "standard JSON", its SHA-256 the one in the record of a deployment. Each is compiled
    before it is written, and has to give this project's code, byte for byte. Needs no chain.
    """
    from ml import files
    from ml.chain.builds import CONTRACTS, build, check_compiles

    written = []
    for name in CONTRACTS:
        made = build(name)
        check_compiles(made)
        path = folder / f"{name}.json"
        files.write_bytes(path, made.compiler_input)
        written.append(
            {
                "contract": f"{made.source}:{name}",
                "file": str(path),
                "sha256": made.compiler_input_sha256,
                "compiler": f"v{made.compiler}",
            }
        )
        ui.fields(written[-1])
        ui.say("")
    ui.result(written)
