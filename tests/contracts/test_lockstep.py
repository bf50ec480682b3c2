"""Contract and Python policy, taken through the same histories, agree on everything.

Each history is played in one free call, by a caller that holds every role. After each move all that
the views tell, the head among it, is compared with what Python predicts, byte for byte, and so is
the error of each refused one.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.artifact.keccak import keccak256
from ml.chain.commitment import model_id
from ml.chain.head import NO_HEAD, advance, creation_digest
from ml.chain.line import Refusal, create
from ml.chain.records import Operation
from ml.chain.types import CompletionReason, Policy, Verdict
from ml.chain.words import state_word

from .batch import Batch, effort, selectors
from .histories import Dice, Over, next_move, policy_from_dice
from .mirror import Mirror, policy_values
from .story import TEST_SET

NAME = "model"
HISTORIES = 3_000
SHARDS = 6
"""So that several workers can share the search."""


@dataclass(frozen=True)
class Predicted:
    """One call of a history, and what Python says comes of it."""

    label: str
    calldata: bytes
    refusal: bytes
    views: bytes


def predict(batch: Batch, known: dict[str, bytes], data: bytes) -> tuple[Mirror, list[Predicted]]:
    """The calls of the history that some bytes stand for, beginning with the creation."""
    dice = Dice(data)
    mirror, creation = created(batch, known, policy_from_dice(dice))
    history = [Predicted("createModel", creation, b"", mirror.views())]
    while True:
        try:
            move = next_move(dice, mirror.line)
        except Over:
            return mirror, history
        calldata = mirror.calldata(move)
        refusal = mirror.take(move)
        history.append(Predicted(str(move), calldata, refusal, mirror.views()))


def created(batch: Batch, known: dict[str, bytes], policy: Policy) -> tuple[Mirror, bytes]:
    """A new model whose every role the batch caller holds, and the call that creates it."""
    player = batch.address
    mirror = Mirror(model_id(player, NAME), player, known, create(policy))
    digest = creation_digest(mirror.model, TEST_SET, policy)
    word = state_word(mirror.line.state)
    mirror.head = advance(NO_HEAD, Operation.CREATE, player, 0, digest, word)
    roles = (int(player, 16),) * 3
    return mirror, mirror.coded("createModel", NAME, TEST_SET, *policy_values(policy), *roles)


def check(batch: Batch, mirror: Mirror, history: list[Predicted]) -> None:
    """Play the history on the contract and compare."""
    calls = [predicted.calldata for predicted in history]
    played = batch.play(mirror.model, calls)
    told = zip(history, played.refusals, played.digests, strict=True)
    for number, (predicted, refusal, digest) in enumerate(told, start=1):
        assert refusal.hex() == predicted.refusal.hex(), predicted.label
        if digest != keccak256(predicted.views):
            views = batch.play(mirror.model, calls[:number]).last
            assert words(views) == words(predicted.views), predicted.label


def words(data: bytes) -> list[str]:
    """What a view returned, one value per item, for people to read where it is not as expected."""
    return [data[start : start + 32].hex().lstrip("0") for start in range(0, len(data), 32)]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_contract_and_python_agree_on_every_history(batch: Batch, shard: int) -> None:
    known = selectors(batch.registry.contract.contract_type)
    met: set[str] = set()

    @settings(max_examples=effort(HISTORIES) // SHARDS, deadline=None, derandomize=False)
    @given(st.binary(min_size=30, max_size=130))
    def agree(data: bytes) -> None:
        mirror, history = predict(batch, known, data)
        check(batch, mirror, history)
        met.update(mirror.met)

    agree()
    # A search that does not reach a rule proves nothing about it.
    rules = {rule.name for rule in (*Verdict, *CompletionReason, *Refusal)}
    assert rules - met == set()
