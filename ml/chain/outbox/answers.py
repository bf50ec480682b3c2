"""What nodes mean when they refuse a signed transaction. Pure.

There is no standard for it: each client has words of its own.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Answer(Enum):
    """Why a node did not take a transaction."""

    KNOWN = auto()
    """It has it already."""
    NONCE_TOO_LOW = auto()
    """Its nonce is used up by a transaction in a block: this very one, or another."""
    NONCE_TOO_HIGH = auto()
    """Others have to come first, and this node keeps none waiting."""
    UNDERPRICED = auto()
    """Another transaction with this nonce waits, and the fees are not enough to replace it."""
    FEE_TOO_LOW = auto()
    """The fees are below what the chain, or the node, asks for now."""
    INSUFFICIENT_FUNDS = auto()
    """The sender cannot pay for it."""
    OTHER_CHAIN = auto()
    """It was signed for a chain with another id."""
    UNKNOWN = auto()
    """Something else."""


TAKEN: Final = (None, Answer.KNOWN, Answer.UNDERPRICED, Answer.NONCE_TOO_HIGH)
"""A node has the transaction, or another attempt at it, or will once earlier ones are mined."""

# In this order, as some messages hold the words of several. From the sources of geth, Erigon,
# Nethermind, Besu, Reth, Anvil, Hardhat and Ganache.
_WORDS: Final = (
    (
        Answer.KNOWN,
        ("already known", "alreadyknown", "already imported", "known transaction", "same hash"),
    ),
    (
        Answer.UNDERPRICED,
        (
            "replacement transaction underpriced",
            "replacementnotallowed",
            "gas price too low to replace",
            "could not replace existing tx",
        ),
    ),
    (
        Answer.NONCE_TOO_LOW,
        ("nonce too low", "oldnonce", "nonce is too low", "nonce has already been used"),
    ),
    (Answer.NONCE_TOO_HIGH, ("nonce too high", "nonce is too high", "noncegap")),
    (
        Answer.INSUFFICIENT_FUNDS,
        (
            "insufficient funds",
            "insufficientfunds",
            "doesn't have enough funds",
            "upfront cost exceeds",
        ),
    ),
    (
        Answer.FEE_TOO_LOW,
        (
            "underpriced",
            "less than block base fee",
            "fee too low",
            "feetoolow",
            "too low for the next block",
            "gas price below",
            "transaction gas price",
        ),
    ),
    (Answer.OTHER_CHAIN, ("invalid chain id", "wrong chain", "chain id")),
)
_WRONG_NONCE: Final = "correct nonce. account has nonce of: "  # Ganache


def meaning_of(message: str) -> Answer:
    """What the text of a node's error says about a transaction that was sent to it."""
    text = message.lower()
    if _WRONG_NONCE in text:
        return _too_low_or_too_high(text)
    for answer, words in _WORDS:
        if any(word in text for word in words):
            return answer
    return Answer.UNKNOWN


def _too_low_or_too_high(text: str) -> Answer:
    numbers = [int(word) for word in text.replace(",", " ").split() if word.isdecimal()]
    if len(numbers) != 2:
        return Answer.UNKNOWN
    expected, given = numbers
    return Answer.NONCE_TOO_LOW if given < expected else Answer.NONCE_TOO_HIGH
