"""A client's secrets are its own: random, readable by nobody else, and the ones it joined with."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from ml.errors import ModelproofError
from ml.federated.client import identity
from ml.storage.errors import InvalidKey
from ml.storage.keys import PublicKey


def test_identity_is_made_once_and_read_again(tmp_path: Path) -> None:
    made = identity.read_or_make(tmp_path, 3)
    again = identity.read_or_make(tmp_path, 3)
    read = identity.read(tmp_path, 3)
    for one in (again, read):
        assert (one.index, one.address, one.key.raw) == (3, made.address, made.key.raw)
        assert one.noise_secret == made.noise_secret
    assert made.folder == tmp_path / "client_3"


def test_identities_have_nothing_in_common(tmp_path: Path) -> None:
    made = [identity.read_or_make(tmp_path, index) for index in range(3)]
    for attribute in ("address", "noise_secret", "ledger_path"):
        assert len({getattr(one, attribute) for one in made}) == 3
    assert len({one.key.raw for one in made}) == 3


def test_secrets_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        folder = identity.read_or_make(tmp_path, 0).folder
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["account.key"] == modes["x25519.key"] == 0o600


@pytest.mark.parametrize("name", ["account.key", "x25519.key"])
def test_secret_that_others_can_read_is_refused(tmp_path: Path, name: str) -> None:
    (identity.read_or_make(tmp_path, 0).folder / name).chmod(0o640)
    with pytest.raises(InvalidKey, match="chmod 600"):
        identity.read(tmp_path, 0)


@pytest.mark.parametrize("name", ["account.key", "x25519.key"])
def test_file_that_is_no_key_is_refused(tmp_path: Path, name: str) -> None:
    (identity.read_or_make(tmp_path, 0).folder / name).write_text("no key")
    with pytest.raises(InvalidKey, match="is not"):
        identity.read(tmp_path, 0)


def test_identity_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidKey, match="cannot read the key"):
        identity.read(tmp_path, 0)


def test_account_from_elsewhere_leaves_no_account_file(tmp_path: Path) -> None:
    account = Account.create()
    made = identity.read_or_make(tmp_path, 0, account)
    assert made.address == account.address
    assert not (made.folder / "account.key").exists()


def test_identity_is_described_by_what_is_public(tmp_path: Path) -> None:
    made = identity.read_or_make(tmp_path, 2)
    described = made.described(600, b"d" * 32)
    assert (described.index, described.address, described.samples) == (2, made.address, 600)
    assert PublicKey.from_raw(described.recipient).key_id == made.key.key_id
    identity.check_is(made, described)


def test_another_account_or_key_is_refused(tmp_path: Path) -> None:
    made, other = (identity.read_or_make(tmp_path / name, 0) for name in ("a", "b"))
    described = made.described(600, b"d" * 32)
    with pytest.raises(ModelproofError, match="use the one that it was enrolled with"):
        identity.check_is(made, replace(described, address=other.address))
    with pytest.raises(ModelproofError, match="put that one back"):
        identity.check_is(made, replace(described, recipient=other.key.raw))
