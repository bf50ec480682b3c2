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
from scripts._stores import open_places, places_option

if TYPE_CHECKING:
    from ml.storage.keys import Key, Passphrase
    from ml.storage.sidecar import Sidecar


@dataclass(frozen=True)
class Choice:
    """Which objects' sidecars to change, and where the keys are that open them."""

    cids: tuple[str, ...]
    every: bool
    files: tuple[Path, ...]
    passphrase: bool
    places: tuple[str, ...]

    def keys(self) -> list[Key]:
        """The keys that are named, else those at hand."""
        from ml.storage.key_files import keys_in_environment, read_key
        from ml.storage.keys import Passphrase

        keys: list[Key] = [read_key(file) for file in self.files]
        if self.passphrase:
            keys.append(Passphrase(_ask("Passphrase")))
        return keys or keys_in_environment(os.environ)

    def change(self, ui: Ui, change: Callable[[Sidecar], Sidecar]) -> None:
        """Change the sidecars in all folders, print how it went, and fail if one was refused."""
        from ml.errors import ModelproofError
        from ml.storage.cid import Cid
        from ml.storage.rewrapping import failure, rewrap_in_all

        if bool(self.cids) is self.every:
            raise ModelproofError("name the objects by their CIDs, or say --all.")
        opened = open_places(self.places)
        folders = [folder.sidecars for folder in opened.folders]
        cids = None if self.every else [Cid.parse(text) for text in self.cids]
        done = list(rewrap_in_all(folders, cids, change))
        if not done:
            where = ", ".join(f"{folder}/" for folder in folders)
            raise ModelproofError(f"no object in {where} has a sidecar: name another --store.")
        ui.table(["object", "in", ""], [(one.cid, folder, one.outcome) for folder, one in done])
        listed = [
            {"cid": str(one.cid), "store": str(folder), "outcome": one.outcome}
            for folder, one in done
        ]
        if error := failure([one for _, one in done], data={"objects": listed}):
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
    @places_option
    @functools.wraps(function)
    def run(
        ui: Ui,
        cids: tuple[str, ...],
        every: bool,
        files: tuple[Path, ...],
        passphrase: bool,
        places: tuple[str, ...],
        **parameters: str,
    ) -> None:
        function(ui, choice=Choice(cids, every, files, passphrase, places), **parameters)

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
