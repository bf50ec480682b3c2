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
from ml.chain.commitment import model_id, role_id
from ml.chain.head import NO_HEAD, advance, creation_digest
from ml.chain.line import create
from ml.chain.line_refusals import Refusal
from ml.chain.records import Operation, Role
from ml.chain.signing import Domain
from ml.chain.types import CompletionReason, ModelKind, Policy, Verdict
from ml.chain.words import state_word

from .batch import Batch, effort
from .histories import Dice, Over, next_move, policy_from_dice
from .mirror import Mirror, policy_values
from .signing import ring
from .story import TEST_SET

NAME = "model"
HISTORIES = 500
"""Of each shard."""
SHARDS = [ModelKind.STRICT] * 2 + [ModelKind.OPEN]
VALIDATORS = ring("lockstep", 3)

# A search that does not reach a rule proves nothing about it. That an evaluation has expired and
# that 255 versions wait is beyond these histories: see test_quorum.py and test_open_models.py.
ALIKE = [
    Refusal.UNKNOWN_VERSION,
    Refusal.NOT_COMPLETED,
    Refusal.VERSIONS_WAIT,
    Refusal.NOT_PENDING,
    Refusal.NOT_PASSED,
    Refusal.ALREADY_CURRENT,
    Refusal.VERSION_IN_USE,
    Refusal.WRONG_VERSION,
    Refusal.WRONG_ITERATION,
    Refusal.WRONG_EPOCH,
    Refusal.OUT_OF_RANGE,
    Refusal.QUORUM_REQUIRED,
    Refusal.WRONG_SIGNATURE_COUNT,
    Refusal.SIGNERS_NOT_ASCENDING,
    Verdict.FIRST_BEST,
    Verdict.NEW_BEST,
    Verdict.REJECTED,
    Verdict.BELOW_MINIMUM,
    Verdict.SEVERE_DROP,
]
RULES = {
    ModelKind.STRICT: [
        *ALIKE,
        *CompletionReason,
        Refusal.COMPLETED,
        Refusal.PENDING,
        Refusal.WRONG_PARENT,
        Refusal.ITERATIONS_EXHAUSTED,
        Verdict.PLATEAU,
        Verdict.DIP,
        Verdict.CONCERN,
        Verdict.PATIENCE_EXHAUSTED,
    ],
    ModelKind.OPEN: [*ALIKE, Refusal.OPEN, Verdict.CONTENDER],
}


@dataclass(frozen=True)
class Predicted:
    """One call of a history, and what Python says comes of it."""

    label: str
    calldata: bytes
    refusal: bytes
    views: bytes


def predict(batch: Batch, kind: ModelKind, data: bytes) -> tuple[Mirror, list[Predicted]]:
    """The calls of the history that some bytes stand for, beginning with the creation."""
    dice = Dice(data)
    mirror, history = created(batch, policy_from_dice(dice, kind), kind)
    while True:
        try:
            move = next_move(dice, mirror.line)
        except Over:
            return mirror, history
        calldata = mirror.calldata(move)
        refusal = mirror.take(move)
        history.append(Predicted(str(move), calldata, refusal, mirror.views()))


def created(batch: Batch, policy: Policy, kind: ModelKind) -> tuple[Mirror, list[Predicted]]:
    """A new model whose every role the batch caller holds, and the calls that create it.

    VALIDATOR is also held by those who can sign.
    """
    player = batch.address
    model, domain = model_id(player, NAME), Domain(batch.chain_id, batch.registry.address)
    mirror = Mirror(model, player, batch.interface, create(policy, kind), domain, VALIDATORS)
    digest = creation_digest(mirror.model, TEST_SET, policy)
    word = state_word(mirror.line.state)
    mirror.head = advance(NO_HEAD, Operation.CREATE, player, 0, digest, word)
    views = mirror.views()

    values = (*policy_values(policy), *(int(player, 16),) * 3)
    creation = (NAME, kind is ModelKind.OPEN, TEST_SET, bytes(32), 0, *values)
    calls = [batch.interface.call("createModel", *creation)]
    role = role_id(model, Role.VALIDATOR)
    calls += [batch.interface.call("grantRole", role, int(key.address, 16)) for key in VALIDATORS]
    return mirror, [Predicted("creation", call, b"", views) for call in calls]


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


@pytest.mark.parametrize(
    ("shard", "kind"),
    enumerate(SHARDS),
    ids=[f"{kind.name.lower()} {shard}" for shard, kind in enumerate(SHARDS)],
)
def test_contract_and_python_agree_on_every_history(
    batch: Batch, shard: int, kind: ModelKind
) -> None:
    met: set[str] = set()

    @settings(max_examples=effort(HISTORIES), deadline=None, derandomize=False)
    @given(st.binary(min_size=30, max_size=130))
    def agree(data: bytes) -> None:
        mirror, history = predict(batch, kind, data)
        check(batch, mirror, history)
        met.update(mirror.met)

    agree()
    assert {rule.name for rule in RULES[kind]} - met == set()
