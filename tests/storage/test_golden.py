"""Encrypted objects that must decrypt for ever.

A failure here is a promise broken to everyone who stored an object: mend the code, never the
record.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ml.storage.access import open_sidecar
from ml.storage.cid import Cid
from ml.storage.encrypted import open_decrypted, read_sidecar
from ml.storage.keys import Key, MasterKey, Passphrase, PrivateKey
from ml.storage.local_store import LocalStore

from . import textbook_object

GOLDEN = Path(__file__).parents[1] / "golden" / "object_v1"
RECORD: dict[str, Any] = json.loads((GOLDEN / "record.json").read_text())
STORE = LocalStore(GOLDEN / "store")

each_object = pytest.mark.parametrize(
    "record", RECORD["objects"], ids=[record["what"] for record in RECORD["objects"]]
)


def golden_key(kind: str) -> Key:
    if kind == "master":
        return MasterKey.from_base64(RECORD["master"], "record.json")
    if kind == "passphrase":
        return Passphrase(RECORD["passphrase"])
    return PrivateKey(X25519PrivateKey.from_private_bytes(bytes.fromhex(RECORD["x25519"])))


@each_object
@pytest.mark.parametrize("kind", ["master", "passphrase", "x25519"])
def test_object_still_opens_for_each_recipient(record: dict[str, Any], kind: str) -> None:
    cid, keys = Cid.parse(record["cid"]), [golden_key(kind)]
    with open_decrypted(STORE, STORE.sidecars, cid, keys) as pieces:
        plaintext = b"".join(map(bytes, pieces))
    assert len(plaintext) == record["plaintext_bytes"]
    assert hashlib.sha256(plaintext).hexdigest() == record["plaintext_sha256"]


@each_object
def test_object_keeps_its_names(record: dict[str, Any]) -> None:
    cid = Cid.parse(record["cid"])
    assert STORE.verify(cid) == read_sidecar(STORE.sidecars, cid).stored


@each_object
def test_object_is_still_what_the_documentation_describes(record: dict[str, Any]) -> None:
    cid = Cid.parse(record["cid"])
    key = open_sidecar(read_sidecar(STORE.sidecars, cid), [golden_key("master")])
    plaintext = textbook_object.plaintext((STORE.root / record["cid"]).read_bytes(), key)
    assert hashlib.sha256(plaintext).hexdigest() == record["plaintext_sha256"]


def test_nothing_else_is_in_the_golden_store() -> None:
    recorded = {record["cid"] for record in RECORD["objects"]}
    assert {str(cid) for cid in STORE.names()} == recorded
    assert {str(cid) for cid in STORE.sidecars.names()} == recorded
