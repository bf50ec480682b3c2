"""Wrapping an object's key for a master key, a passphrase and a public key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ml.storage.errors import InvalidKey
from ml.storage.keys import (
    MAX_LOG2_N,
    MIN_LOG2_N,
    SCRYPT_LOG2_N,
    Key,
    MasterKey,
    Passphrase,
    PrivateKey,
    PublicKey,
    Scrypt,
    Unwrappable,
)

from .objects import cheap, one_of_each
from .textbook_hpke import AES_128_GCM, AES_256_GCM, receive

KEY = os.urandom(32)
CONTEXT = b"the object's header"
KEYS = one_of_each()
KINDS = ["master", "passphrase", "x25519"]

each_key = pytest.mark.parametrize("key", KEYS, ids=KINDS)


@each_key
def test_wrapped_key_is_unwrapped_by_whom_it_is_for(key: Key) -> None:
    entry = key.wrap(KEY, CONTEXT)
    assert KEY not in entry.wrapped
    assert key.matches(entry)
    assert key.unwrap(entry, CONTEXT) == KEY


@each_key
def test_key_is_not_unwrapped_in_another_context(key: Key) -> None:
    with pytest.raises(Unwrappable):
        key.unwrap(key.wrap(KEY, CONTEXT), b"another object's header")


@each_key
def test_changed_wrapping_is_not_unwrapped(key: Key) -> None:
    entry = key.wrap(KEY, CONTEXT)
    for place in range(len(entry.wrapped)):
        changed = bytearray(entry.wrapped)
        changed[place] ^= 1
        with pytest.raises(Unwrappable):
            key.unwrap(replace(entry, wrapped=bytes(changed)), CONTEXT)


@each_key
def test_wrapping_differs_each_time(key: Key) -> None:
    assert key.wrap(KEY, CONTEXT).wrapped != key.wrap(KEY, CONTEXT).wrapped


@pytest.mark.parametrize(("one", "other"), list(zip(KEYS, one_of_each(), strict=True)), ids=KINDS)
def test_key_does_not_match_what_is_for_another_of_its_kind(one: Key, other: Key) -> None:
    if isinstance(other, Passphrase):
        other = cheap("battery staple")
    assert not other.matches(one.wrap(KEY, CONTEXT))


@each_key
def test_key_does_not_match_what_is_for_another_kind(key: Key) -> None:
    for other in KEYS:
        assert key.matches(other.wrap(KEY, CONTEXT)) is (other is key)


# --- Master keys ----------------------------------------------------------------------------------


def test_master_key_is_read_as_it_is_written() -> None:
    key = MasterKey.generate()
    assert MasterKey.from_base64(f" {key.to_base64()}\n", "here").key_id == key.key_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        "0" * 64,  # in hexadecimal
        base64.b64encode(bytes(32)).decode()[:-1],  # without its padding
        "*" + base64.b64encode(bytes(32)).decode(),
        "ключ",
    ],
)
def test_other_texts_are_no_master_key_and_are_not_repeated(text: str) -> None:
    with pytest.raises(InvalidKey) as refusal:
        MasterKey.from_base64(text, "ENCRYPTION_KEY")
    assert str(refusal.value) == (
        "ENCRYPTION_KEY is not a master key: it has to be 32 bytes in Base64, as"
        " `ape run keys generate --master` makes one"
    )


def test_key_id_is_the_documented_one_and_not_the_key() -> None:
    secret = os.urandom(32)
    expected = hmac.digest(secret, b"modelproof.key-id.v1", "sha256")[:16]
    assert MasterKey(secret).key_id == expected


def test_master_key_wraps_as_documented() -> None:
    secret = os.urandom(32)
    wrapped = MasterKey(secret).wrap(KEY, CONTEXT).wrapped
    wrapping_key = hmac.digest(secret, b"modelproof.wrap.v1", "sha256")
    assert AESGCM(wrapping_key).decrypt(wrapped[:12], wrapped[12:], CONTEXT) == KEY


def test_no_secret_is_shown_by_repr() -> None:
    secret = os.urandom(32)
    for key in (MasterKey(secret), cheap("correct horse"), PrivateKey.generate()):
        assert "correct" not in repr(key)
        assert repr(secret)[2:-1] not in repr(key)


# --- Passphrases ----------------------------------------------------------------------------------


def test_passphrase_is_what_it_is_however_its_letters_are_encoded() -> None:
    text = "Grüße aus Köln"
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert cheap(decomposed).unwrap(cheap(composed).wrap(KEY, CONTEXT), CONTEXT) == KEY


def test_passphrase_is_stretched_as_documented() -> None:
    entry = cheap("correct horse").wrap(KEY, CONTEXT)
    assert entry.scrypt is not None
    stretched = hashlib.scrypt(
        b"correct horse", salt=entry.scrypt.salt, n=1 << MIN_LOG2_N, r=8, p=1, dklen=32
    )
    assert entry.key_id == hmac.digest(stretched, b"modelproof.key-id.v1", "sha256")[:16]
    assert MasterKey(stretched).unwrap(entry, CONTEXT) == KEY


def test_scrypt_is_that_of_rfc_7914() -> None:
    derived = Scrypt(b"SodiumChloride", 14).derive(b"pleaseletmein")
    assert derived.hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


def test_costly_passphrase_is_still_within_the_memory_that_scrypt_may_take() -> None:
    entry = Passphrase("correct horse").wrap(KEY, CONTEXT)
    assert entry.scrypt is not None
    assert entry.scrypt.log2_n == SCRYPT_LOG2_N < MAX_LOG2_N


def test_empty_passphrase_is_refused() -> None:
    with pytest.raises(InvalidKey, match="the passphrase is empty"):
        Passphrase("")


# --- HPKE -----------------------------------------------------------------------------------------


def test_textbook_hpke_gives_the_vectors_of_rfc_9180() -> None:
    """Appendix A.1.1: the reference itself is checked before anything is held to it."""
    enc = "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    private = "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"
    sealed = (
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(private))
    context = receive(bytes.fromhex(enc), key, b"Ode on a Grecian Urn", AES_128_GCM)
    assert context.shared_secret.hex() == (
        "fe0e18c9f024ce43799ae393c7e8fe8fce9d218875e8227b0187c04e7d2ea1fc"
    )
    assert context.key.hex() == "4531685d41d65f03dc48f6b8302c05b0"
    assert context.base_nonce.hex() == "56d890e5accaaf011cff4b7d"
    assert context.exporter_secret.hex() == (
        "45ff1c2e220db587171952c0592d5f5ebe103f1561a2614e38f2ffd47e99e3f8"
    )
    assert context.open(b"Count-0", bytes.fromhex(sealed)) == b"Beauty is truth, truth beauty"


def test_what_is_wrapped_for_a_public_key_is_opened_by_textbook_hpke() -> None:
    private = X25519PrivateKey.generate()
    wrapped = PublicKey(private.public_key()).wrap(KEY, CONTEXT).wrapped
    context = receive(wrapped[:32], private, b"modelproof.wrap.v1" + CONTEXT, AES_256_GCM)
    assert context.open(b"", wrapped[32:]) == KEY


def test_public_key_wraps_and_cannot_unwrap() -> None:
    pair = PrivateKey.generate()
    entry = pair.public.wrap(KEY, CONTEXT)
    assert not hasattr(pair.public, "unwrap")
    assert pair.unwrap(entry, CONTEXT) == KEY
    assert pair.public.key_id == pair.key_id
