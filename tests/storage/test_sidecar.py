"""What stands in a sidecar, as docs/storage.md has it, read with nothing of ours."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ml.storage.keys import MasterKey
from ml.storage.sidecar import Payload, Sidecar

from .objects import Sealed, cheap, sealed

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def good() -> Sealed:
    return sealed([MasterKey(SECRET), cheap()])


@pytest.fixture
def document(good: Sealed) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(good.sidecar.to_json())
    return document


def text(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()


def data(value: str) -> bytes:
    assert value.startswith("0x")
    return bytes.fromhex(value[2:])


def test_sidecar_is_read_as_it_is_written(good: Sealed) -> None:
    assert Sidecar.read(good.sidecar.to_json(), good.cid) == good.sidecar


def test_sidecar_names_the_object_and_what_it_holds(good: Sealed, document: dict[str, Any]) -> None:
    assert document["cid"] == str(good.cid)
    assert data(document["sha256"]) == hashlib.sha256(good.data).digest()
    assert document["size"] == len(good.data)
    assert data(document["header"]) == good.data[:64]
    assert document["payload"] == {"format": "safetensors", "compression": "zstd"}


def test_checksum_is_over_all_else(good: Sealed, document: dict[str, Any]) -> None:
    checksum = data(document.pop("checksum"))
    assert hashlib.sha256(text(document)).digest() == checksum


def test_mac_is_by_the_objects_key(good: Sealed, document: dict[str, Any]) -> None:
    del document["checksum"]
    mac = data(document.pop("mac"))
    mac_key = hmac.digest(good.key, b"modelproof.sidecar.v1", "sha256")
    assert hmac.digest(mac_key, text(document), "sha256") == mac


def test_objects_key_is_unwrapped_by_the_documentation_alone(
    good: Sealed, document: dict[str, Any]
) -> None:
    entry = document["recipients"][0]
    wrapped, header = data(entry["wrapped"]), data(document["header"])
    wrapping_key = hmac.digest(SECRET, b"modelproof.wrap.v1", "sha256")
    assert AESGCM(wrapping_key).decrypt(wrapped[:12], wrapped[12:], header) == good.key


@pytest.mark.parametrize("name", ["", "Safetensors", "a b", "../x", "x" * 65, "a\n", "\ud800"])
def test_format_that_is_no_short_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a name of a format or a compression"):
        Payload(name)
    with pytest.raises(ValueError, match="is not a name of a format or a compression"):
        Payload("pt", name)
