"""The outbox of the chain that an Ape provider is connected to."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn
from weakref import WeakKeyDictionary

from ml.chain.outbox.chain import Chain
from ml.chain.outbox.journal import Journal, JournalError
from ml.chain.outbox.keeping import Keeper
from ml.chain.outbox.locks import Locks
from ml.chain.outbox.queue import SenderQueue
from ml.chain.outbox.rpc import Rpc
from ml.chain.outbox.settings import Settings, settings_for
from ml.chain.outbox.signing import NotSigned, sign
from ml.chain.outbox.watching import Signer

if TYPE_CHECKING:
    from ape.api import AccountAPI, ProviderAPI
    from web3 import Web3

FOLDER_VARIABLE: Final = "MODELPROOF_OUTBOX"
DEFAULT_FOLDER: Final = ".outbox"
_PASSING: Final = "local"
"""Ape's name for networks that end with the process, or that its tests take back."""
_GENESIS_DIGITS: Final = 16


def journal_path(chain_id: int, genesis: str) -> Path:
    """The journal of a chain: a chain that started over has another first block, and another."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)
    return folder / f"{chain_id}-{genesis.removeprefix('0x')[:_GENESIS_DIGITS]}.sqlite"


class Outbox:
    """What is sent to one chain: its journal, and a queue for each sender.

    Args:
        provider: connected to the chain
        path: of the journal; None for one in memory, of a chain that ends with this process
        genesis: the hash of the chain's block 0
        settings: how patient it is

    Raises:
        JournalError: the journal cannot be used, or is of another chain.
    """

    def __init__(
        self, provider: ProviderAPI, path: Path | None, genesis: str, settings: Settings
    ) -> None:
        self._provider = provider
        self._locks = Locks(path.parent / path.stem if path else None)
        chain_id = int(provider.chain_id)
        self.journal = self._journal(path, chain_id, genesis)
        chain = Chain(Rpc.of(provider), chain_id, genesis)
        self.keeper = Keeper(self.journal, chain, settings, self._locks)
        self._delivered: set[int] = set()
        self._queues: dict[str, SenderQueue] = {}

    def _journal(self, path: Path | None, chain_id: int, genesis: str) -> Journal:
        """The journal, to be read alone where it cannot be written."""
        try:
            with self._locks.hold("journal"):  # the first to come makes it
                return Journal(path, chain_id, genesis)
        except JournalError:
            if path is None or not path.exists():
                raise
            return Journal(path, chain_id, genesis, is_read_only=True)

    def queue(self, account: AccountAPI) -> SenderQueue:
        """The queue of an account."""
        sender = str(account.address)
        if sender not in self._queues:
            self._queues[sender] = self._queue(sender, partial(sign, self._provider, account))
        return self._queues[sender]

    def keyless_queue(self, sender: str) -> SenderQueue:
        """The queue of an account that is not at hand: it sends what was signed before."""
        return self._queue(sender, partial(_cannot_sign, sender))

    def _queue(self, sender: str, signer: Signer) -> SenderQueue:
        return SenderQueue(sender, self.journal, self._locks, self.keeper, signer, self._delivered)

    def close(self, *, reported: bool) -> None:
        """Close the journal.

        Args:
            reported: whether the results have reached the user; those of a run that failed are
                found again by the next run.
        """
        if reported and self._delivered:
            self.journal.report(self._delivered)
        self.journal.close()


def _cannot_sign(sender: str, *_: object) -> NoReturn:
    raise NotSigned(
        f"a transaction of {sender} has to be signed again: name the account with --account."
    )


_OPEN: WeakKeyDictionary[Web3, Outbox] = WeakKeyDictionary()


def outbox_of(provider: ProviderAPI) -> Outbox:
    """The outbox of the chain that a provider is connected to, opened at its first use.

    Raises:
        JournalError: the journal cannot be used, or is of another chain.
        NoAnswer: the node does not answer.
    """
    connection = provider.web3  # another one each time that the provider connects
    if connection not in _OPEN:
        is_passing = provider.network.name == _PASSING
        genesis = Rpc.of(provider).ask("eth_getBlockByNumber", "0x0", False)["hash"]
        genesis = "0x" + bytes(genesis).hex() if isinstance(genesis, bytes) else str(genesis)
        path = None if is_passing else journal_path(int(provider.chain_id), genesis)
        settings = settings_for(provider, is_passing=is_passing)
        _OPEN[connection] = Outbox(provider, path, genesis, settings)
    return _OPEN[connection]


def close_outbox_of(provider: ProviderAPI, *, reported: bool) -> None:
    """Close the outbox of a provider, if it was opened."""
    outbox = _OPEN.pop(provider.web3, None)
    if outbox is not None:
        outbox.close(reported=reported)
