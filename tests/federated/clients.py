"""Clients with keys of their own, and the updates that they sign."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eth_account import Account

from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain
from ml.federated import updates
from ml.federated.admission import Participant, Round
from ml.federated.aggregation import Weights
from ml.federated.updates import UpdateMetadata

from .rounds import BASE, model

KEYS = {index: Account.from_key(bytes([index + 1]) * 32) for index in (0, 1, 2, 7)}
STRANGER = Account.from_key(b"\x63" * 32)
DOMAIN = Domain(31337, "0x5FbDB2315678afecb367f032d93F642f64180aa3")
MODEL = b"m" * 31 + b"\0"
NOON = 1_769_860_800

ROUND = Round(
    domain=DOMAIN,
    model=MODEL,
    epoch=1,
    iteration=5,
    base=4,
    base_weights=b"b" * 32,
    weights=BASE,
    clients={index: Participant(key.address, 600) for index, key in KEYS.items()},
    deadline=NOON,
)


def metadata_of(index: int, **changes: Any) -> UpdateMetadata:
    plain = UpdateMetadata(
        model=MODEL,
        client=KEYS[index].address,
        epoch=1,
        iteration=5,
        base=4,
        base_weights=b"b" * 32,
        samples=500 + index,
    )
    return replace(plain, **changes)


def sent(
    index: int, weights: Weights | None = None, domain: Domain = DOMAIN, **changes: Any
) -> tuple[UpdateFile, bytes]:
    """What a client signs, and the file of it: its update for the round, but for some changes."""
    metadata = metadata_of(index, **changes)
    data = updates.dump(metadata, model(index) if weights is None else weights)
    return updates.sign(KEYS[index], domain, index, metadata, data), data
