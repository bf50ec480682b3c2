"""What the commands share that change sidecars: which ones, with which keys, and how it went."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.storage.keys import Key, Passphrase
    from ml.storage.sidecar import Sidecar

store_option = click.option(
    "--store",
    "root",
    type=click.Path(path_type=Path),
    default=Path("objects"),
    show_default=True,
    help="The folder with the objects' sidecars.",
)


@dataclass(frozen=True)
class Choice:
    """Which objects' sidecars to change, and where the keys are that open them."""

    cids: tuple[str, ...]
    every: bool
    files: tuple[Path, ...]
    passphrase: bool
    root: Path

    def keys(self) -> list[Key]:
        """The keys that are named, else those at hand."""
        from ml.storage.key_files import keys_in_environment, read_key
        from ml.storage.keys import Passphrase

        keys: list[Key] = [read_key(file) for file in self.files]
        if self.passphrase:
            keys.append(Passphrase(_ask("Passphrase")))
        return keys or keys_in_environment(os.environ)

    def change(self, ui: Ui, change: Callable[[Sidecar], Sidecar]) -> None:
        """Change the sidecars, print how it went, and fail if one could not be changed."""
        from ml.errors import ModelproofError
        from ml.storage.cid import Cid
        from ml.storage.local_store import LocalSidecars
        from ml.storage.rewrapping import failure, rewrap

        if bool(self.cids) is self.every:
            raise ModelproofError("name the objects by their CIDs, or say --all.")
        sidecars = LocalSidecars(self.root)
        named = [Cid.parse(text) for text in self.cids]
        cids = sorted(sidecars.names(), key=str) if self.every else named
        if not cids:
            raise ModelproofError(f"no object in {self.root}/ has a sidecar: name another --store.")
        done = list(rewrap(sidecars, cids, change))
        ui.table(["object", ""], [(one.cid, one.outcome) for one in done])
        listed = [{"cid": str(one.cid), "outcome": one.outcome} for one in done]
        if error := failure(done, data={"objects": listed}):
            raise error
        ui.result(listed)


def chosen(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that make a `Choice`, which the function gets as ``choice``."""

    @click.argument("cids", nargs=-1, metavar="[CID]...")
    @click.option("--all", "every", is_flag=True, help="All objects in the store.")
    @click.option(
        "--key",
        "files",
        type=click.Path(path_type=Path),
        multiple=True,
        help="A key file that opens them.  [default: the keys at hand]",
    )
    @click.option("--passphrase", is_flag=True, help="Ask for a passphrase that opens them.")
    @store_option
    @functools.wraps(function)
    def run(
        ui: Ui,
        cids: tuple[str, ...],
        every: bool,
        files: tuple[Path, ...],
        passphrase: bool,
        root: Path,
        **parameters: str,
    ) -> None:
        function(ui, choice=Choice(cids, every, files, passphrase, root), **parameters)

    return run


def new_passphrase() -> Passphrase:
    """Ask for a passphrase twice."""
    from ml.storage.keys import Passphrase

    return Passphrase(_ask("New passphrase", twice=True))


def _ask(what: str, *, twice: bool = False) -> str:
    from ml.storage.errors import NoKey

    try:
        answer: str = click.prompt(what, hide_input=True, confirmation_prompt=twice, err=True)
    except click.Abort:
        raise NoKey(
            "no passphrase was entered: a terminal is needed for that (one that opens objects can"
            " be in ENCRYPTION_PASSPHRASE)"
        ) from None
    return answer
