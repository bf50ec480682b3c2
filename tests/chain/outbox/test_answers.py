"""What nodes say when they do not take a transaction, each in words of its own."""

from __future__ import annotations

import pytest

from ml.chain.outbox.answers import Answer, meaning_of

SAID = {
    Answer.KNOWN: (
        "transaction already imported",  # Anvil, Reth
        "already known",  # geth
        "AlreadyKnown",  # Nethermind
        "Known transaction",  # Besu
        "Known transaction: 0x12ab",  # Hardhat
        "existing tx with same hash",  # Erigon
    ),
    Answer.NONCE_TOO_LOW: (
        "nonce too low",
        "nonce too low: next nonce 5, tx nonce 4",
        "Nonce too low. Expected nonce to be 3 but got 2.",
        "OldNonce",
        "the tx doesn't have the correct nonce. account has nonce of: 3 tx has nonce of: 2",
    ),
    Answer.NONCE_TOO_HIGH: (
        "Nonce too high. Expected nonce to be 3 but got 5.",
        "the tx doesn't have the correct nonce. account has nonce of: 3 tx has nonce of: 5",
    ),
    Answer.UNDERPRICED: (
        "replacement transaction underpriced",
        "Replacement transaction underpriced. A gasPrice/maxFeePerGas of at least 2 is necessary",
        "ReplacementNotAllowed",
    ),
    Answer.FEE_TOO_LOW: (
        "transaction underpriced: tip needed 1, tip permitted 0",
        "max fee per gas less than block base fee: address 0x12, maxFeePerGas: 5, baseFee: 7",
        "Transaction maxFeePerGas (5) is too low for the next block, which has a baseFeePerGas",
        "FeeTooLow, EffectivePriorityFeePerGas too low",
    ),
    Answer.INSUFFICIENT_FUNDS: (
        "Insufficient funds for gas * price + value",
        "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000",
        "Sender doesn't have enough funds to send tx. The max upfront cost is: 9",
        "Upfront cost exceeds account balance",
        "InsufficientFunds, Balance is 0 less than sending value",
    ),
    Answer.OTHER_CHAIN: ("invalid chain id for signer: have 1 want 31337",),
    Answer.UNKNOWN: ("intrinsic gas too low", "", "the tx doesn't have the correct nonce."),
}


@pytest.mark.parametrize(
    ("words", "answer"), [(words, answer) for answer, said in SAID.items() for words in said]
)
def test_words_of_a_node_are_understood(words: str, answer: Answer) -> None:
    assert meaning_of(words) is answer
