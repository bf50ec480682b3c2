"""Model Signing bundles: what differs is named, and whose signature it is, is certain."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ml.artifact import AmbiguousModel, FileChanged, InvalidEntry, MalformedFile, UnreadableFile
from ml.artifact.errors import UnsupportedFormat, UnusableKey, WrongSigner
from ml.artifact.model_signing import Serialization, sign_model, verify_model
from ml.artifact.model_signing.keys import hint_of, read_private_key
from ml.errors import ModelproofError

from .keys import KeyPair, key_pair

SHARDS = Serialization("sha256", 10)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "sub").mkdir(parents=True)
    (root / "a.bin").write_bytes(bytes(range(25)))
    (root / "sub" / "b.txt").write_bytes(b"text")
    return root


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / "model.sig"


def differences(model: Path, bundle: Path, key: KeyPair) -> list[str]:
    return list(map(str, verify_model(model, bundle, key.public).differences))


# What differs


@pytest.mark.parametrize("serialization", [Serialization(), Serialization("blake3"), SHARDS])
def test_every_file_that_differs_is_named(
    model: Path, bundle: Path, key: KeyPair, serialization: Serialization
) -> None:
    (model / "c").write_bytes(b"gone")
    (model / "longer").write_bytes(b"0123456789")
    bundle.write_text(sign_model(model, key.private, serialization))
    assert differences(model, bundle, key) == []
    (model / "c").unlink()
    (model / "a.bin").write_bytes(bytes(25))
    (model / "longer").write_bytes(b"01234567890")
    (model / "sub" / "new").write_bytes(b"n")
    assert differences(model, bundle, key) == [
        "file 'a.bin' changed",
        "file 'c' is missing",
        "file 'longer' changed",
        "file 'sub/new' was added",
    ]


def test_renamed_file_is_missing_and_added(model: Path, bundle: Path, key: KeyPair) -> None:
    bundle.write_text(sign_model(model, key.private))
    (model / "a.bin").rename(model / "b.bin")
    assert differences(model, bundle, key) == ["file 'a.bin' is missing", "file 'b.bin' was added"]


def test_renamed_model_is_still_the_one_that_was_signed(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    bundle.write_text(sign_model(model, key.private))
    assert differences(model.rename(model.parent / "copy"), bundle, key) == []


def test_empty_file_counts_but_in_shards(model: Path, bundle: Path, key: KeyPair) -> None:
    """A shard has at least a byte, so the format has no place for an empty file."""
    whole, shards = (sign_model(model, key.private, how) for how in (Serialization(), SHARDS))
    (model / "empty").touch()
    bundle.write_text(whole)
    assert differences(model, bundle, key) == ["file 'empty' was added"]
    bundle.write_text(shards)
    assert differences(model, bundle, key) == []


def test_bundle_in_the_folder_of_its_model_is_no_part_of_it(model: Path, key: KeyPair) -> None:
    text = sign_model(model, key.private)
    inside = model / "sub" / "any name"
    inside.write_text(text)
    assert differences(model, inside, key) == []
    (model / "model.sig").write_text(text)
    assert differences(model, inside, key) == ["file 'model.sig' was added"]


def test_what_the_signer_left_out_may_change(model: Path, bundle: Path, key: KeyPair) -> None:
    ignored = Serialization(ignored=("sub", "a.bin.bak"))
    bundle.write_text(sign_model(model, key.private, ignored))
    (model / "sub" / "b.txt").unlink()
    (model / "sub" / "link").symlink_to("nowhere")
    (model / "a.bin.bak").write_bytes(b"old")
    assert differences(model, bundle, key) == []
    (model / "sub2").write_bytes(b"not below sub")
    assert differences(model, bundle, key) == ["file 'sub2' was added"]


def test_model_of_one_file_is_signed_under_any_name(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    bundle.write_text(sign_model(model / "a.bin", key.private))
    copy = (model / "a.bin").rename(model / "other")
    assert differences(copy, bundle, key) == []
    copy.write_bytes(b"")
    assert differences(copy, bundle, key) == ["the file itself changed"]
    assert differences(model, bundle, key) == [
        "the file itself is missing",
        "file 'other' was added",
        "file 'sub/b.txt' was added",
    ]


# Links and special files


def test_link_is_refused_unless_the_signer_followed_links(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    bundle.write_text(sign_model(model, key.private))
    (model / "link").symlink_to("a.bin")
    for action in (
        lambda: verify_model(model, bundle, key.public),
        lambda: sign_model(model, key.private),
    ):
        with pytest.raises(UnreadableFile, match=r"'.*link' is neither a file nor a folder"):
            action()
    following = Serialization(follow_links=True)
    bundle.write_text(sign_model(model, key.private, following))
    assert differences(model, bundle, key) == []
    (model / "a.bin").write_bytes(b"")
    assert differences(model, bundle, key) == ["file 'a.bin' changed", "file 'link' changed"]


@pytest.mark.parametrize("target", ["sub", "nowhere", "."])
def test_link_to_a_folder_or_nothing_is_refused_even_then(
    model: Path, key: KeyPair, target: str
) -> None:
    (model / "link").symlink_to(target)
    with pytest.raises(UnreadableFile, match=r"'.*link' is neither a file nor a folder"):
        sign_model(model, key.private, Serialization(follow_links=True))


def test_named_pipe_is_refused(model: Path, key: KeyPair) -> None:
    os.mkfifo(model / "pipe")
    with pytest.raises(UnreadableFile, match=r"'.*pipe' is neither a file nor a folder"):
        sign_model(model, key.private)


def test_name_that_is_not_utf_8_is_refused(model: Path, key: KeyPair) -> None:
    Path(os.fsdecode(os.fsencode(model) + b"/\xff")).touch()
    with pytest.raises(InvalidEntry, match="cannot be written as UTF-8"):
        sign_model(model, key.private)


def test_colon_in_a_name_is_refused_in_shards(model: Path, bundle: Path, key: KeyPair) -> None:
    (model / "a:b").write_bytes(b"x")
    bundle.write_text(sign_model(model, key.private))
    assert differences(model, bundle, key) == []
    with pytest.raises(UnsupportedFormat, match="the name 'a:b' has a colon"):
        sign_model(model, key.private, SHARDS)


def test_added_file_with_a_colon_in_its_name_is_named(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    bundle.write_text(sign_model(model, key.private, SHARDS))
    (model / "a.bin:0:10").write_bytes(b"x")
    assert differences(model, bundle, key) == ["file 'a.bin:0:10' was added"]


def test_nothing_is_not_signed(tmp_path: Path, key: KeyPair) -> None:
    empty = tmp_path / "model"
    empty.mkdir()
    with pytest.raises(AmbiguousModel, match=r"nothing in '.*model' to sign"):
        sign_model(empty, key.private)
    with pytest.raises(UnreadableFile, match="there is no file"):
        sign_model(tmp_path / "absent", key.private)


def test_file_that_shrinks_while_it_is_read_is_refused(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    large = model / "large.bin"
    large.write_bytes(bytes(8 << 20))
    bundle.write_text(sign_model(model, key.private))

    def shrink(done: int, total: int) -> None:
        if done < total:
            os.truncate(large, 1 << 20)

    with pytest.raises(FileChanged, match=r"large\.bin' changed while it was read"):
        verify_model(model, bundle, key.public, shrink)


# Who signed


def test_signature_of_another_key_is_not_verified(
    model: Path, bundle: Path, key: KeyPair, tmp_path: Path
) -> None:
    other = key_pair(tmp_path, name="other")
    bundle.write_text(sign_model(model, other.private))
    with pytest.raises(WrongSigner, match="was signed with another key than"):
        verify_model(model, bundle, key.public)


def test_signature_of_another_key_is_not_verified_under_the_right_hint(
    model: Path, bundle: Path, key: KeyPair, tmp_path: Path
) -> None:
    other = key_pair(tmp_path, name="other")
    document = json.loads(sign_model(model, other.private))
    for hint in (hint_of(read_private_key(key.private).public_key()), "", None):
        document["verificationMaterial"]["publicKey"]["hint"] = hint
        bundle.write_text(json.dumps(document))
        with pytest.raises(WrongSigner, match=r"is not that of .* over what it holds"):
            verify_model(model, bundle, key.public)


def test_bundle_without_a_hint_is_verified(model: Path, bundle: Path, key: KeyPair) -> None:
    """As the library wrote them before it wrote hints."""
    document = json.loads(sign_model(model, key.private))
    document["verificationMaterial"]["publicKey"] = {"rawBytes": "", "keyDetails": "x"}
    bundle.write_text(json.dumps(document))
    assert differences(model, bundle, key) == []


def test_no_changed_byte_makes_a_bundle_say_anything_else(
    model: Path, bundle: Path, key: KeyPair
) -> None:
    text = sign_model(model, key.private).encode()
    bundle.write_bytes(text)
    signed = verify_model(model, bundle, key.public)
    refused = 0
    for at in random.Random(1).sample(range(len(text)), 300):
        changed = bytearray(text)
        changed[at] ^= 1
        bundle.write_bytes(changed)
        try:
            assert verify_model(model, bundle, key.public) == signed
        except ModelproofError:
            refused += 1
    assert refused > 290  # what is left is in the key id and the names of fields that nobody reads


def test_no_prefix_of_a_bundle_is_verified(model: Path, bundle: Path, key: KeyPair) -> None:
    text = sign_model(model, key.private).encode()
    for length in range(0, len(text.rstrip()), 7):
        bundle.write_bytes(text[:length])
        with pytest.raises(MalformedFile):
            verify_model(model, bundle, key.public)


# Keys


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


OTHER_KEYS: dict[str, Callable[[], Any]] = {
    "of another curve": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("make", OTHER_KEYS.values(), ids=OTHER_KEYS)
def test_key_of_another_kind_is_refused(
    model: Path, bundle: Path, key: KeyPair, tmp_path: Path, make: Callable[[], Any]
) -> None:
    other = make()
    file = tmp_path / "other.pem"
    file.touch(mode=0o600)
    file.write_bytes(private_pem(other))
    with pytest.raises(UnusableKey, match="is not a private key in PEM of the curve P-256"):
        sign_model(model, file)
    bundle.write_text(sign_model(model, key.private))
    file.write_bytes(public_pem(other))
    with pytest.raises(UnusableKey, match="is not a public key in PEM of the curve P-256"):
        verify_model(model, bundle, file)


@pytest.mark.parametrize(
    "data",
    [b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(100_000)],
    ids=["empty", "cut off", "too large"],
)
def test_file_that_is_no_key_is_refused(
    model: Path, bundle: Path, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "other.pem"
    file.touch(mode=0o600)
    file.write_bytes(data)
    with pytest.raises(UnusableKey, match="is not a private key"):
        sign_model(model, file)
    with pytest.raises(UnusableKey, match="is not a public key"):
        verify_model(model, bundle, file)


def test_encrypted_key_is_refused(model: Path, key: KeyPair, tmp_path: Path) -> None:
    file = tmp_path / "encrypted.pem"
    file.touch(mode=0o600)
    plain = load_pem_private_key(key.private.read_bytes(), None)
    file.write_bytes(private_pem(plain, b"secret"))
    with pytest.raises(UnusableKey, match="is encrypted: decrypt it"):
        sign_model(model, file)


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_private_key_that_others_may_read_is_refused(
    model: Path, tmp_path: Path, mode: int
) -> None:
    pair = key_pair(tmp_path, name="open")
    pair.private.chmod(mode)
    with pytest.raises(UnusableKey, match="others than its owner may read"):
        sign_model(model, pair.private)
