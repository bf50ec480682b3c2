"""Where keys come from: the environment, and files that nobody else can read."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ml import files
from ml.artifact.errors import quoted, quoted_path

from .errors import InvalidKey
from .keys import KEY_ID_BYTES, Key, MasterKey, Passphrase, PrivateKey, PublicKey

KEY_VARIABLE: Final = "ENCRYPTION_KEY"
FILE_VARIABLE: Final = "ENCRYPTION_KEY_FILE"
PASSPHRASE_VARIABLE: Final = "ENCRYPTION_PASSPHRASE"  # noqa: S105 (its name, not its value)
PUBLIC_SUFFIX: Final = ".pub"

_MAX_FILE_BYTES: Final = 1 << 16
_PEM: Final = b"-----BEGIN "
_PUBLIC_PEM: Final = b"-----BEGIN PUBLIC KEY-----"


def keys_in_environment(environment: Mapping[str, str]) -> list[Key]:
    """The keys that variables hold or name, in the order in which they are tried.

    ENCRYPTION_KEY is a master key in Base64, ENCRYPTION_KEY_FILE a key file, ENCRYPTION_PASSPHRASE
    a passphrase. A variable that is empty counts as not set.

    Raises:
        InvalidKey: one of them is no key.
    """
    keys: list[Key] = []
    if text := environment.get(KEY_VARIABLE):
        keys.append(MasterKey.from_base64(text, KEY_VARIABLE))
    if path := environment.get(FILE_VARIABLE):
        keys.append(read_key(Path(path)))
    if text := environment.get(PASSPHRASE_VARIABLE):
        keys.append(Passphrase(text))
    return keys


def read_key(path: Path) -> MasterKey | PrivateKey:
    """Read a master key in Base64, or an X25519 private key in PEM (PKCS #8).

    Raises:
        InvalidKey: the file is neither, cannot be read, or others than its owner may read it.
    """
    data = _read(path, is_secret=True)
    if not data.startswith(_PEM):
        text = data.decode(errors="replace")
        return MasterKey.from_base64(text, quoted_path(path))
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError:
        raise InvalidKey(
            f"{quoted_path(path)} is encrypted: decrypt it (`openssl pkey`), and keep it where only"
            " you can read it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise InvalidKey(f"{quoted_path(path)} is not an X25519 private key in PEM")
    return PrivateKey(key)


def read_recipient(path: Path) -> MasterKey | PublicKey:
    """Read whom to encrypt for: an X25519 public key in PEM, or any key that `read_key` reads.

    Raises:
        InvalidKey: the file is none of them, or cannot be read.
    """
    if not _read(path, is_secret=False).startswith(_PUBLIC_PEM):
        return read_key(path)
    try:
        key = load_pem_public_key(_read(path, is_secret=False))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise InvalidKey(f"{quoted_path(path)} is not an X25519 public key in PEM")
    return PublicKey(key)


def key_id_of(text: str) -> bytes:
    """The key id that a text is, or that of the key in the file that it names.

    Raises:
        InvalidKey: it is neither.
    """
    digits = text.removeprefix("0x")
    if re.fullmatch(rf"[0-9a-f]{{{2 * KEY_ID_BYTES}}}", digits):
        return bytes.fromhex(digits)
    if not Path(text).exists():
        raise InvalidKey(
            f"{quoted(text)} is neither a key id ({2 * KEY_ID_BYTES} hexadecimal digits) nor a file"
        )
    return read_recipient(Path(text)).key_id


def write_master_key(path: Path, key: MasterKey) -> None:
    """Write a master key, readable by its owner only.

    Raises:
        InvalidKey: there is such a file already.
    """
    _write_new(path, key.to_base64() + "\n", 0o600)


def write_key_pair(path: Path, key: PrivateKey) -> Path:
    """Write a private key, readable by its owner only, and the public one beside it.

    Returns:
        where the public key is

    Raises:
        InvalidKey: there is one of the two files already.
    """
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    if public.exists():  # somebody's, whose name is to stay theirs
        raise _taken(public)
    _write_new(path, key.to_private_pem(), 0o600)
    try:
        _write_new(public, key.to_pem(), 0o644)
    except BaseException:
        path.unlink()
        raise
    return public


def write_secret(path: Path, text: str) -> None:
    """Write a key of another kind, readable by its owner only.

    Raises:
        InvalidKey: there is such a file already, or it cannot be written.
    """
    _write_new(path, text, 0o600)


def read_secret(path: Path) -> str:
    """Read what `write_secret` wrote.

    Raises:
        InvalidKey: the file cannot be read, or others than its owner may read it.
    """
    return _read(path, is_secret=True).decode(errors="replace")


def _read(path: Path, *, is_secret: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if is_secret and stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidKey(
                    f"{quoted_path(path)} holds a secret that others than its owner may read:"
                    " `chmod 600` it, and replace the key if somebody may have seen it"
                )
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise InvalidKey(f"cannot read the key {quoted_path(path)}: {error.strerror}") from error


def _write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that does not exist yet, and whose mode is never any other.

    It gets its name once it is whole and on the disk: half a key, left by a kill, is in no way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            os.link(name, path)
        finally:
            Path(name).unlink()
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise InvalidKey(f"cannot write the key {quoted_path(path)}: {error.strerror}") from error
    files.sync_folder(path.parent)


def _taken(path: Path) -> InvalidKey:
    return InvalidKey(
        f"{quoted_path(path)} exists already, and a key that is overwritten is lost with all that"
        " it opens: choose another name"
    )
