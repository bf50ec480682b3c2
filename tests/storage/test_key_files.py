"""Keys from the environment and from files."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ml.storage import key_files
from ml.storage.errors import InvalidKey
from ml.storage.keys import MasterKey, PrivateKey, PublicKey

KEY, CONTEXT = bytes(range(32)), b"the object's header"


def secret_file(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def test_environment_without_keys_has_none() -> None:
    assert key_files.keys_in_environment({"ENCRYPTION_KEY": "", "PATH": "/bin"}) == []


def test_environment_gives_keys_in_the_order_of_their_cost(tmp_path: Path) -> None:
    master, pair = MasterKey.generate(), PrivateKey.generate()
    keys = key_files.keys_in_environment(
        {
            "ENCRYPTION_PASSPHRASE": "correct horse",
            "ENCRYPTION_KEY_FILE": str(secret_file(tmp_path / "own.pem", pair.to_private_pem())),
            "ENCRYPTION_KEY": master.to_base64(),
        }
    )
    assert [key.description for key in keys] == [
        master.description,
        pair.description,
        "a passphrase",
    ]


def test_environment_with_a_bad_key_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidKey, match="ENCRYPTION_KEY is not a master key"):
        key_files.keys_in_environment({"ENCRYPTION_KEY": "secret"})


def test_master_key_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    key = MasterKey.generate()
    path = tmp_path / "new" / "master.key"
    key_files.write_master_key(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = key_files.read_key(path)
    assert read.unwrap(key.wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_key_pair_is_read_as_it_was_written(tmp_path: Path) -> None:
    pair = PrivateKey.generate()
    path = tmp_path / "auditor.pem"
    public = key_files.write_key_pair(path, pair)
    assert public == tmp_path / "auditor.pem.pub"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    recipient = key_files.read_recipient(public)
    assert not isinstance(recipient, PrivateKey)
    assert key_files.read_key(path).unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY


@pytest.mark.parametrize("existing", ["auditor.pem", "auditor.pem.pub"])
def test_key_that_is_there_is_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(InvalidKey, match="exists already"):
        key_files.write_key_pair(tmp_path / "auditor.pem", PrivateKey.generate())
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "precious"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make one")
def test_key_pair_made_by_openssl_is_read(tmp_path: Path) -> None:
    path = tmp_path / "openssl.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-out", path], check=True)
    path.chmod(0o600)
    public = tmp_path / "openssl.pub"
    subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-out", public], check=True)
    recipient = key_files.read_recipient(public)
    assert isinstance(recipient, PublicKey)
    assert key_files.read_key(path).unwrap(recipient.wrap(KEY, CONTEXT), CONTEXT) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
@pytest.mark.parametrize("make", [MasterKey.generate, PrivateKey.generate])
def test_secret_that_others_may_read_is_refused(
    tmp_path: Path, mode: int, make: Callable[[], MasterKey | PrivateKey]
) -> None:
    key = make()
    text = key.to_base64() if isinstance(key, MasterKey) else key.to_private_pem()
    path = secret_file(tmp_path / "key", text)
    path.chmod(mode)
    for read in (key_files.read_key, key_files.read_recipient):
        with pytest.raises(InvalidKey, match="others than its owner may read: `chmod 600` it"):
            read(path)


def test_recipient_may_be_given_by_a_secret_key(tmp_path: Path) -> None:
    master, pair = MasterKey.generate(), PrivateKey.generate()
    master_file = secret_file(tmp_path / "master", master.to_base64())
    pair_file = secret_file(tmp_path / "pair", pair.to_private_pem())
    assert key_files.read_recipient(master_file).key_id == master.key_id
    assert key_files.read_recipient(pair_file).key_id == pair.key_id


def test_encrypted_private_key_is_refused_as_such(tmp_path: Path) -> None:
    pair = serialization.load_pem_private_key(PrivateKey.generate().to_private_pem().encode(), None)
    pem = pair.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"correct horse"),
    )
    with pytest.raises(InvalidKey, match="is encrypted: decrypt it"):
        key_files.read_key(secret_file(tmp_path / "key", pem))


def other_pem() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a master key"),
        (b"\xff\xfe\x00", "is not a master key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n", "is not an X25519 private key in PEM"),
        (other_pem(), "is not an X25519 private key in PEM"),
        (PrivateKey.generate().to_pem().encode(), "is not an X25519 private key in PEM"),
    ],
    ids=["empty", "binary", "cut short", "Ed25519", "public"],
)
def test_file_that_holds_no_key_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InvalidKey, match=reason):
        key_files.read_key(secret_file(tmp_path / "key", content))


def test_public_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pem = ed25519.Ed25519PrivateKey.generate().public_key()
    path = tmp_path / "key.pub"
    path.write_bytes(
        pem.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    with pytest.raises(InvalidKey, match="is not an X25519 public key in PEM"):
        key_files.read_recipient(path)


@pytest.mark.parametrize("read", [key_files.read_key, key_files.read_recipient])
def test_missing_file_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InvalidKey, match=r"cannot read the key '.*/nowhere': No such file"):
        read(tmp_path / "nowhere")


def test_key_id_is_taken_from_a_text_or_a_file(tmp_path: Path) -> None:
    pair = PrivateKey.generate()
    public = key_files.write_key_pair(tmp_path / "auditor.pem", pair)
    for text in (str(public), pair.key_id.hex(), f"0x{pair.key_id.hex()}"):
        assert key_files.key_id_of(text) == pair.key_id
    with pytest.raises(InvalidKey, match="'nobody' is neither a key id"):
        key_files.key_id_of("nobody")


@pytest.mark.parametrize("step", [1, 2])
def test_pair_whose_writer_was_stopped_leaves_no_half_of_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Before the private key has its name, or before the public one has."""
    path, pair, link = tmp_path / "auditor.pem", PrivateKey.generate(), os.link
    links: list[str] = []

    def stopped(source: str, target: Path) -> None:
        links.append(source)
        if len(links) == step:
            raise KeyboardInterrupt
        link(source, target)

    monkeypatch.setattr(os, "link", stopped)
    with pytest.raises(KeyboardInterrupt):
        key_files.write_key_pair(path, pair)
    assert list(tmp_path.iterdir()) == []
    assert key_files.write_key_pair(path, pair).exists()
    assert key_files.read_key(path).key_id == pair.key_id
