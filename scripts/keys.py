"""Who can read stored objects."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group
from scripts._sidecars import Choice, chosen, new_passphrase
from scripts._stores import open_places, places_option

if TYPE_CHECKING:
    from ml.storage.keys import Recipient
    from ml.storage.sidecar import Sidecar

_ASK = "passphrase"


@command_group("ape run keys generate ~/auditor.pem")
def cli() -> None:
    """Who can read stored objects: make keys, add and remove recipients, rotate.

    Keys at hand are those of ENCRYPTION_KEY, ENCRYPTION_KEY_FILE and ENCRYPTION_PASSPHRASE. An
    object's own key is wrapped anew for each change; the object and its CID stay as they are.
    """


@command("ape run keys generate ~/auditor.pem", name="generate", group=cli)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--master", is_flag=True, help="A master key instead: 32 bytes in Base64.")
def generate(ui: Ui, file: Path, master: bool) -> None:
    """Write a new X25519 key pair: FILE, for its owner's eyes only, and FILE.pub to give away."""
    from ml.storage import key_files
    from ml.storage.keys import MasterKey, PrivateKey

    if master:
        key = MasterKey.generate()
        key_files.write_master_key(file, key)
        ui.say(f"{file}: {key.description}. ENCRYPTION_KEY can be what it holds.")
        ui.result({"file": file, "key_id": key.key_id})
        return
    pair = PrivateKey.generate()
    public = key_files.write_key_pair(file, pair)
    ui.say(f"{file}: {pair.description}. {public} is for who encrypts for it.")
    ui.result({"file": file, "public": public, "key_id": pair.key_id})


@command("ape run keys show bafybei…", name="show", group=cli)
@click.argument("what", required=False)
@places_option
def show(ui: Ui, what: str | None, places: tuple[str, ...]) -> None:
    """Show the key in file WHAT, the recipients of object WHAT (a CID), or the keys at hand."""
    from ml.storage.cid import Cid
    from ml.storage.encrypted import read_sidecar
    from ml.storage.key_files import keys_in_environment, read_recipient

    if what is None:
        _show_keys(ui, keys_in_environment(os.environ))
    elif Path(what).exists():
        _show_keys(ui, [read_recipient(Path(what))])
    else:
        _show_sidecar(ui, read_sidecar(open_places(places).sidecars, Cid.parse(what)))


@command("ape run keys add auditor.pem.pub --all", name="add", group=cli)
@click.argument("recipient")
@chosen
def add(ui: Ui, recipient: str, choice: Choice) -> None:
    """Let RECIPIENT read objects: a public key file, a master key file, or the word passphrase."""
    from ml.storage.access import add_recipient
    from ml.storage.key_files import read_recipient

    new = new_passphrase() if recipient == _ASK else read_recipient(Path(recipient))
    keys = choice.keys()
    choice.change(ui, lambda sidecar: add_recipient(sidecar, keys, new))


@command("ape run keys remove auditor.pem.pub --all", name="remove", group=cli)
@click.argument("recipient")
@chosen
def remove(ui: Ui, recipient: str, choice: Choice) -> None:
    """Wrap objects' keys no longer for RECIPIENT: a key file, or a key id as `show` prints it.

    RECIPIENT may have kept the keys of objects that they could read: for what they must not read,
    encrypt anew.
    """
    from ml.storage.access import remove_recipient
    from ml.storage.key_files import key_id_of

    removed, keys = key_id_of(recipient), choice.keys()
    choice.change(ui, lambda sidecar: remove_recipient(sidecar, keys, removed))


@command("ape run keys rotate new-master.key --all", name="rotate", group=cli)
@click.argument("new")
@chosen
def rotate(ui: Ui, new: str, choice: Choice) -> None:
    """Put the key in file NEW, or the word passphrase, in the place of the one at hand."""
    from ml.storage.access import rotate_key
    from ml.storage.key_files import read_key

    key = new_passphrase() if new == _ASK else read_key(Path(new))
    keys = choice.keys()
    choice.change(ui, lambda sidecar: rotate_key(sidecar, keys, key))


def _show_keys(ui: Ui, keys: Sequence[Recipient]) -> None:
    if not keys:
        ui.note("No key is at hand: see .env.example.")
    for key in keys:
        ui.say(key.description)
    ui.result([key.description for key in keys])


def _show_sidecar(ui: Ui, sidecar: Sidecar) -> None:
    shown = {"cid": str(sidecar.stored.cid), "size": sidecar.stored.size, **sidecar.record()}
    readers = [(entry.key_id.hex(), entry.algorithm) for entry in sidecar.recipients]
    ui.fields(shown)
    ui.say("")
    ui.table(["for key id", "wrapped by"], readers)
    recipients = [{"key_id": "0x" + key_id, "algorithm": name} for key_id, name in readers]
    ui.result({**shown, "recipients": recipients})
