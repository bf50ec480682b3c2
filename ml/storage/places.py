"""Stores by what users call them: a folder, or ``ipfs:`` and the URL of a node's RPC."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .local_store import LocalStore
from .store import Store

_IPFS: Final = "ipfs:"


def open_store(place: str) -> Store:
    """Return the store at a place; nothing is connected to or made yet.

    Raises:
        StorageError: what follows ``ipfs:`` is no URL.
    """
    if place.startswith(_IPFS):
        from .ipfs import IpfsStore  # which brings an HTTP client

        return IpfsStore(place.removeprefix(_IPFS))
    return LocalStore(Path(place))
