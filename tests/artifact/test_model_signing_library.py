"""Model Signing bundles and the real library, 1.1.1: it verifies ours, and we verify its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ml.artifact.model_signing import Serialization, sign_model, verify_model
from ml.artifact.model_signing.resources import GIT_PATHS

from .keys import KeyPair, key_pair
from .signing_library import SigningLibrary, running_library

FILES = {
    "model.safetensors": bytes(range(100)),
    "config.json": b"{}",
    "empty.txt": b"",
    "sub/tokenizer.json": b"[]",
    "sub/.hidden/x": b"x",
    "sub-1/a": b"ab",
    "sub.2/b": b"cd",
    "Zeichen/ß €.txt": b"y",
    ".git/HEAD": b"ref",
    ".gitattributes": b"*.x",
}
SHARD = 30


@pytest.fixture(scope="module")
def library() -> Iterator[SigningLibrary]:
    with running_library() as running:
        yield running


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / "model.sig"


OURS = {
    "files by SHA-256": Serialization(ignored=GIT_PATHS),
    "files by BLAKE3": Serialization("blake3", ignored=GIT_PATHS),
    "shards by SHA-256": Serialization("sha256", SHARD, ignored=GIT_PATHS),
    "some files": Serialization(ignored=(*GIT_PATHS, "sub", "config.json", "sub-1/a")),
}
THEIRS: dict[str, dict[str, Any]] = {
    "files by SHA-256": {},
    "files by BLAKE3": {"hashing_algorithm": "blake3"},
    "files by BLAKE2b": {"hashing_algorithm": "blake2"},
    "shards by SHA-256": {"shard_size": SHARD},
    "shards by BLAKE2b": {"shard_size": SHARD, "hashing_algorithm": "blake2"},
    "shards by BLAKE3, which are files": {"shard_size": SHARD, "hashing_algorithm": "blake3"},
    "some files": {"ignore_paths": ["sub", "config.json", "sub-1/a"]},
}


@pytest.mark.parametrize("serialization", OURS.values(), ids=OURS)
def test_library_verifies_ours(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair, serialization: Serialization
) -> None:
    bundle.write_text(sign_model(model, key.private, serialization))
    assert library.verify(model, bundle, key.public) == ""
    (model / "model.safetensors").write_bytes(bytes(100))
    assert "Hash mismatch for 'model.safetensors" in library.verify(model, bundle, key.public)


@pytest.mark.parametrize("options", THEIRS.values(), ids=THEIRS)
def test_bundle_of_the_library_is_verified(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair, options: dict[str, Any]
) -> None:
    library.sign(model, bundle, key.private, **options)
    assert verify_model(model, bundle, key.public).differences == []
    (model / "model.safetensors").write_bytes(bytes(100))
    (difference,) = verify_model(model, bundle, key.public).differences
    assert str(difference) == "file 'model.safetensors' changed"


@pytest.mark.parametrize("name", ["files by SHA-256", "files by BLAKE3", "shards by SHA-256"])
def test_both_sign_the_same_statement(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair, name: str
) -> None:
    library.sign(model, bundle, key.private, **THEIRS[name])
    theirs = json.loads(bundle.read_text())
    ours = json.loads(sign_model(model, key.private, OURS[name]))
    assert payload(ours) == payload(theirs)
    for signed in (ours, theirs):  # the payload was compared, and ECDSA has random numbers in it
        del signed["dsseEnvelope"]["payload"], signed["dsseEnvelope"]["signatures"][0]["sig"]
    assert ours == theirs


def payload(bundle: dict[str, Any]) -> Any:
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["serialization"]["ignore_paths"].sort()  # the library's are a set
    return statement


@pytest.mark.parametrize("options", [{}, {"shard_size": SHARD}], ids=["file", "shards"])
def test_model_of_one_file_is_signed_and_verified_by_both(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair, options: dict[str, Any]
) -> None:
    file = model / "model.safetensors"
    library.sign(file, bundle, key.private, **options)
    assert verify_model(file, bundle, key.public).differences == []
    ours = Serialization(shard_bytes=options.get("shard_size"))
    bundle.write_text(sign_model(file, key.private, ours))
    assert library.verify(file, bundle, key.public) == ""


def test_links_to_files_are_followed_by_both(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair, tmp_path: Path
) -> None:
    (tmp_path / "blob").write_bytes(b"weights")
    (model / "linked.bin").symlink_to(tmp_path / "blob")
    library.sign(model, bundle, key.private, allow_symlinks=True)
    assert verify_model(model, bundle, key.public).differences == []
    bundle.write_text(
        sign_model(model, key.private, Serialization("sha256", None, True, GIT_PATHS))
    )
    assert library.verify_as_told(model, bundle, key.public, allow_symlinks=True) == ""


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_other_curves_are_used_alike(
    library: SigningLibrary, model: Path, bundle: Path, tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    key = key_pair(tmp_path, curve)
    library.sign(model, bundle, key.private)
    assert verify_model(model, bundle, key.public).differences == []
    bundle.write_text(sign_model(model, key.private, OURS["files by SHA-256"]))
    assert library.verify(model, bundle, key.public) == ""


def test_sharded_bundle_of_ours_needs_no_configuration_where_the_librarys_own_does(
    library: SigningLibrary, model: Path, bundle: Path, key: KeyPair
) -> None:
    """It writes the size of a shard with a fraction, and then cannot count by it."""
    library.sign(model, bundle, key.private, shard_size=SHARD)
    assert "TypeError" in library.verify(model, bundle, key.public)
    assert library.verify_as_told(model, bundle, key.public, shard_size=SHARD) == ""
    bundle.write_text(sign_model(model, key.private, OURS["shards by SHA-256"]))
    assert library.verify(model, bundle, key.public) == ""
