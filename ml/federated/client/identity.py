"""Who a client is: an account that signs, and an X25519 key that weights are encrypted for.

::

    clients/client_0/
      account.key       the account's private key, unless it is in Ape's keystore
      x25519.key        the X25519 private key
      x25519.key.pub
      privacy.json      what was spent of its privacy, where that is counted (`privacy_ledger`)

Both keys are random and in the clear, as befits accounts that hold no money and are made for one
training; nobody but the files' owner can read them. Whoever has the folder speaks for the client.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eth_account import Account

from ml.chain.signing import Signer
from ml.errors import ModelproofError
from ml.federated.run_configuration import RunClient
from ml.storage.errors import InvalidKey
from ml.storage.key_files import read_key, read_secret, write_key_pair, write_secret
from ml.storage.keys import PrivateKey

_ACCOUNT_FILE: Final = "account.key"
_KEY_FILE: Final = "x25519.key"
_LEDGER_FILE: Final = "privacy.json"


@dataclass(frozen=True, eq=False, slots=True)
class ClientIdentity:
    """A client with its secrets."""

    index: int
    folder: Path
    account: Signer
    key: PrivateKey

    @property
    def address(self) -> str:
        """Of its account."""
        return self.account.address

    @property
    def ledger_path(self) -> Path:
        """Where it counts what is spent of its privacy."""
        return self.folder / _LEDGER_FILE

    @property
    def noise_secret(self) -> bytes:
        """What the noise of its private training follows from; 32 bytes."""
        return hmac.digest(self.key.to_private_pem().encode(), b"modelproof.noise.v1", "sha256")

    def described(self, samples: int | None, dataset_root: bytes) -> RunClient:
        """The client as all who take part in a training know it."""
        return RunClient(self.index, self.address, self.key.raw, samples, dataset_root)


def folder_of(clients: Path, index: int) -> Path:
    """The folder of a client in that of all clients on this machine."""
    return clients / f"client_{index}"


def read_or_make(clients: Path, index: int, account: Signer | None = None) -> ClientIdentity:
    """Read a client's identity; what of it is not there yet is made.

    Args:
        clients: the folder of all clients on this machine.
        index: the client's.
        account: of Ape's keystore, say; if None the one in the client's folder.

    Raises:
        InvalidKey: a file is no key, others than its owner can read it, or it cannot be written.
    """
    folder = folder_of(clients, index)
    if account is None and not (folder / _ACCOUNT_FILE).exists():
        write_secret(folder / _ACCOUNT_FILE, Account.create().key.to_0x_hex() + "\n")
    if not (folder / _KEY_FILE).exists():
        write_key_pair(folder / _KEY_FILE, PrivateKey.generate())
    return read(clients, index, account)


def read(clients: Path, index: int, account: Signer | None = None) -> ClientIdentity:
    """Read a client's identity, all of which is there; arguments as `read_or_make`.

    Raises:
        InvalidKey: a file is missing, is no key, or others than its owner can read it.
    """
    folder = folder_of(clients, index)
    key = read_key(folder / _KEY_FILE)
    if not isinstance(key, PrivateKey):
        raise InvalidKey(f"{folder / _KEY_FILE} is not an X25519 private key")
    return ClientIdentity(index, folder, account or _read_account(folder / _ACCOUNT_FILE), key)


def check_is(identity: ClientIdentity, client: RunClient) -> None:
    """Check that an identity is that of a client of a training.

    Raises:
        ModelproofError: its account or its key is another.
    """
    if identity.address != client.address:
        raise ModelproofError(
            f"client {client.index} of this training is {client.address}, and the account here is"
            f" {identity.address}: use the one that it was enrolled with"
        )
    if identity.key.raw != client.recipient:
        raise ModelproofError(
            f"the X25519 key in {identity.folder} is not the one that client {client.index} joined"
            " this training with: put that one back, since nothing else opens what it is sent"
        )


def _read_account(path: Path) -> Signer:
    text = read_secret(path).strip()
    try:
        account: Signer = Account.from_key(text)
    except ValueError:
        raise InvalidKey(f"{path} is not the private key of an account") from None
    return account
