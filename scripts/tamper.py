"""Change one weight of a copy of a model, to see it found."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command


@command("ape run tamper artifacts/mnist/v3-5e1c9a07.safetensors --tensor fc1.weight")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tensor", help="Which tensor.  [default: the first]")
@click.option("--output", type=click.Path(path_type=Path), help="[default: tampered-… beside FILE]")
def cli(ui: Ui, file: Path, tensor: str | None, output: Path | None) -> None:
    """Copy FILE with the lowest bit of one weight flipped. The original stays as it is.

    Of a file without tensors, that of one byte is flipped.
    """
    from ml.artifact.tampering import tamper
    from ml.errors import ModelproofError

    target = output or file.with_name(f"tampered-{file.name}")
    if target.exists() or target.is_symlink():
        raise ModelproofError(f"{target} is there already: name another --output.")
    what = tamper(file, target, tensor)
    ui.say(f"{target}: a copy with one bit flipped in {what}.")
    ui.result({"file": file, "output": target, "changed": what})
