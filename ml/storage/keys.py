"""The keys that objects' keys are wrapped for: who can read an object.

Each object has a random key of its own; what is kept of it is that key, wrapped for each recipient.
Three kinds of recipients, by the algorithm that wraps:

* a **master key**, 32 bytes: AES-256-GCM under a key derived from it
* a **passphrase**: the same under a key that scrypt (RFC 7914) derives from it
* an X25519 **public key**: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
  AES-256-GCM; only the holder of the private key unwraps it

Every wrapping is bound to a context, the object's header, so that it is of no use beside another
object. A key id is 16 bytes that tell keys apart and nothing else about them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import os
import unicodedata
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from .encryption import KEY_BYTES, TAG_BYTES
from .errors import InvalidKey

KEY_ID_BYTES: Final = 16
SALT_BYTES: Final = 16
SCRYPT_LOG2_N: Final = 17
"""The cost of a passphrase written now: 128 MiB and a third of a second for each guess."""
MIN_LOG2_N: Final = 10
MAX_LOG2_N: Final = 20
"""The cost that a reader pays at most: 1 GiB and some seconds."""

_R: Final = 8
_P: Final = 1
_KEY_ID: Final = b"modelproof.key-id.v1"
_WRAP: Final = b"modelproof.wrap.v1"
_NONCE_BYTES: Final = 12
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Unwrappable(Exception):
    """The wrapped key does not authenticate under the key that it names, in this context."""


@dataclass(frozen=True, slots=True)
class Scrypt:
    """How a passphrase becomes a key: with this salt, N = 2**log2_n, r = 8, p = 1."""

    salt: bytes
    log2_n: int

    def derive(self, passphrase: bytes) -> bytes:
        """Return 32 bytes; takes 2**(log2_n + 10) bytes of memory."""
        return hashlib.scrypt(
            passphrase,
            salt=self.salt,
            n=1 << self.log2_n,
            r=_R,
            p=_P,
            maxmem=128 * _R * ((1 << self.log2_n) + _P + 2),
            dklen=KEY_BYTES,
        )


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """An object's key as one recipient can unwrap it; ``scrypt`` is a passphrase's."""

    algorithm: str
    key_id: bytes
    wrapped: bytes
    scrypt: Scrypt | None = None


class Recipient(Protocol):
    """Whom a key can be wrapped for."""

    @property
    def algorithm(self) -> str:
        """How it wraps, as a sidecar says it."""
        ...

    @property
    def description(self) -> str:
        """What messages call it."""
        ...

    def matches(self, entry: WrappedKey) -> bool:
        """Tell whether a key was wrapped for this recipient."""
        ...

    def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        """Wrap a key of 32 bytes in a context."""
        ...


class Key(Recipient, Protocol):
    """What can unwrap too."""

    def unwrap(self, entry: WrappedKey, context: bytes) -> bytes:
        """Unwrap a key that was wrapped for this recipient.

        Raises:
            Unwrappable: it was wrapped in another context, or was changed.
        """
        ...


class MasterKey:
    """32 secret bytes that open everything that was wrapped for them."""

    algorithm: ClassVar[str] = "AES-256-GCM"

    def __init__(self, secret: bytes) -> None:
        """Take the key's bytes.

        Raises:
            InvalidKey: there are not 32 of them.
        """
        if len(secret) != KEY_BYTES:
            raise InvalidKey(f"a master key has {KEY_BYTES} bytes, and this one has {len(secret)}")
        self._secret = secret
        self.key_id = key_id(secret)

    @classmethod
    def generate(cls) -> Self:
        """Draw one from the system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def from_base64(cls, text: str, where: str) -> Self:
        """Read one as ENCRYPTION_KEY holds it; ``where`` it stands is for the error.

        Raises:
            InvalidKey: it is not 32 bytes in Base64. The text is not repeated.
        """
        try:
            return cls(base64.b64decode(text.strip(), validate=True))
        except (ValueError, InvalidKey):
            raise InvalidKey(
                f"{where} is not a master key: it has to be 32 bytes in Base64, as"
                " `ape run keys generate --master` makes one"
            ) from None

    def to_base64(self) -> str:
        """Return the text that `from_base64` reads: the secret itself."""
        return base64.b64encode(self._secret).decode()

    @property
    def description(self) -> str:
        """What messages call it."""
        return f"master key {self.key_id.hex()}"

    def matches(self, entry: WrappedKey) -> bool:
        """Tell whether a key was wrapped for this one."""
        return entry.algorithm == self.algorithm and entry.key_id == self.key_id

    def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        """Wrap a key of 32 bytes in a context."""
        return WrappedKey(self.algorithm, self.key_id, _seal(self._secret, key, context))

    def unwrap(self, entry: WrappedKey, context: bytes) -> bytes:
        """Unwrap a key; raises `Unwrappable`."""
        return _open(self._secret, entry.wrapped, context)


class Passphrase:
    """A passphrase. What it derives is kept, so that many objects cost one derivation."""

    algorithm: ClassVar[str] = "scrypt-AES-256-GCM"
    description: ClassVar[str] = "a passphrase"

    def __init__(self, text: str, log2_n: int = SCRYPT_LOG2_N) -> None:
        """Take the passphrase, in any Unicode normalization, and the cost of what it will wrap.

        Raises:
            InvalidKey: it is empty.
        """
        if not text:
            raise InvalidKey("the passphrase is empty: choose one that nobody guesses")
        self._passphrase = unicodedata.normalize("NFC", text).encode()
        self._own = Scrypt(os.urandom(SALT_BYTES), log2_n)
        self._derive = functools.cache(self._derive_uncached)

    def matches(self, entry: WrappedKey) -> bool:
        """Tell whether a key was wrapped for this passphrase; takes as long as its cost says."""
        return entry.scrypt is not None and hmac.compare_digest(
            key_id(self._derive(entry.scrypt)), entry.key_id
        )

    def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        """Wrap a key of 32 bytes in a context."""
        secret = self._derive(self._own)
        return WrappedKey(
            self.algorithm, key_id(secret), _seal(secret, key, context), scrypt=self._own
        )

    def unwrap(self, entry: WrappedKey, context: bytes) -> bytes:
        """Unwrap a key; raises `Unwrappable`."""
        if entry.scrypt is None:
            raise Unwrappable
        return _open(self._derive(entry.scrypt), entry.wrapped, context)

    def _derive_uncached(self, scrypt: Scrypt) -> bytes:
        return scrypt.derive(self._passphrase)


class PublicKey:
    """An X25519 public key: everybody can encrypt for it."""

    algorithm: ClassVar[str] = "HPKE-X25519-SHA256-AES-256-GCM"

    def __init__(self, key: X25519PublicKey) -> None:
        self._key = key
        self.raw = key.public_bytes_raw()
        """32 bytes."""
        self.key_id = hashlib.sha256(_KEY_ID + self.raw).digest()[:KEY_ID_BYTES]

    @staticmethod
    def from_raw(raw: bytes) -> PublicKey:
        """Take the 32 bytes that `raw` is.

        Raises:
            InvalidKey: there are not 32 of them.
        """
        try:
            return PublicKey(X25519PublicKey.from_public_bytes(raw))
        except ValueError:
            raise InvalidKey(f"an X25519 key has 32 bytes, and this one has {len(raw)}") from None

    @property
    def description(self) -> str:
        """What messages call it."""
        return f"X25519 key {self.key_id.hex()}"

    def to_pem(self) -> str:
        """Return its SubjectPublicKeyInfo (RFC 8410), as OpenSSL has it too."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def matches(self, entry: WrappedKey) -> bool:
        """Tell whether a key was wrapped for this one."""
        return entry.algorithm == self.algorithm and entry.key_id == self.key_id

    def wrap(self, key: bytes, context: bytes) -> WrappedKey:
        """Wrap a key of 32 bytes in a context, HPKE's info; the encapsulated key comes first."""
        sealed = _SUITE.encrypt(key, self._key, _WRAP + context)
        return WrappedKey(self.algorithm, self.key_id, sealed)


class PrivateKey(PublicKey):
    """An X25519 key pair."""

    def __init__(self, key: X25519PrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    @classmethod
    def generate(cls) -> Self:
        """Draw one from the system's randomness."""
        return cls(X25519PrivateKey.generate())

    @property
    def public(self) -> PublicKey:
        """The half that may be given away."""
        return PublicKey(self._private.public_key())

    def to_private_pem(self) -> str:
        """Return its PKCS #8 (RFC 8410), not encrypted: the secret itself."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def unwrap(self, entry: WrappedKey, context: bytes) -> bytes:
        """Unwrap a key; raises `Unwrappable`."""
        try:
            return _SUITE.decrypt(entry.wrapped, self._private, _WRAP + context)
        except InvalidTag:
            raise Unwrappable from None


WRAPPED_BYTES: Final = {
    MasterKey.algorithm: _NONCE_BYTES + KEY_BYTES + TAG_BYTES,
    Passphrase.algorithm: _NONCE_BYTES + KEY_BYTES + TAG_BYTES,
    PublicKey.algorithm: 32 + KEY_BYTES + TAG_BYTES,
}
"""How long a wrapped key is, by its algorithm."""


def key_id(secret: bytes) -> bytes:
    """What a symmetric key is called: 16 bytes that say nothing about it."""
    return subkey(secret, _KEY_ID)[:KEY_ID_BYTES]


def subkey(secret: bytes, purpose: bytes) -> bytes:
    """Derive a key for one purpose from a random one: HMAC-SHA256 as a pseudorandom function."""
    return hmac.digest(secret, purpose, "sha256")


def _seal(secret: bytes, key: bytes, context: bytes) -> bytes:
    """Wrap with a random nonce, which comes first."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(subkey(secret, _WRAP)).encrypt(nonce, key, context)


def _open(secret: bytes, wrapped: bytes, context: bytes) -> bytes:
    nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
    try:
        return AESGCM(subkey(secret, _WRAP)).decrypt(nonce, sealed, context)
    except InvalidTag:
        raise Unwrappable from None
