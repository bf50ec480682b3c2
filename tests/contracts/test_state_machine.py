"""The registry as a state machine, in lockstep with the Python line, by real transactions.

What `test_lockstep.py` plays by the thousand in free calls is sent here as users send it: through
the typed client, each operation by the holder of its role, mined, and read back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ml.chain import line as lines
from ml.chain.line import Line
from ml.chain.line_refusals import PolicyRefused
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.types import MAX_PPM, ModelKind, Policy, Status

from .batch import effort
from .histories import OFFSETS, OPEN
from .signing import ring
from .story import FOREVER, Cast, Story

EXAMPLES = 5
STEPS = 25
VALIDATORS = ring("state machine", 3)

KINDS = st.sampled_from([ModelKind.STRICT, ModelKind.STRICT, ModelKind.OPEN])
LIMITS = st.builds(
    Policy,
    max_drop=st.sampled_from([0, 20_000]),
    patience=st.integers(0, 3),
    min_accuracy=st.sampled_from([0, 850_000]),
    target_accuracy=st.sampled_from([0, 0, 905_000]),
    convergence_patience=st.sampled_from([0, 4]),
    max_rollbacks=st.sampled_from([0, 3]),
    quorum=st.sampled_from([1, 1, 2]),
)
PLACES = st.sampled_from([0, 0, 0, 1, 2])
"""Which one of several versions, counted from the last."""


class Registry(RuleBasedStateMachine):
    """One model, in the contract and in Python."""

    registry: ModelRegistry
    cast: Cast

    story: Story
    line: Line

    @initialize(kind=KINDS, policy=LIMITS)
    def create(self, kind: ModelKind, policy: Policy) -> None:
        policy = self._fitting(kind, policy)
        self.line = lines.create(policy, kind)
        self.story = Story.begin(self.registry, self.cast, policy, kind=kind)
        self.story.appoint(*VALIDATORS)

    @rule(late=st.sampled_from([0, 0, 0, 0, 1]))
    def register(self, late: int) -> None:
        due, version = self.story.due(), self.line.state.latest + 1 + late
        self._both(
            lambda: lines.register(self.line, version, due.parent, due.iteration, due.epoch),
            lambda: self.story.register(version),
        )

    @precondition(lambda self: self.line.state.latest)
    @rule(
        offset=st.sampled_from(OFFSETS),
        place=PLACES,
        accepted=st.sampled_from([True] * 6 + [False]),
    )
    def validate(self, offset: int, place: int, accepted: bool) -> None:
        version = self._version(place)
        judged = (version, self._accuracy(offset), 0, accepted)
        evaluation = self._evaluation(*judged)
        if self.line.policy.quorum == 1:
            self._both(
                lambda: lines.validate(self.line, *judged)[0],
                lambda: self.story.validate(evaluation),
            )
            return
        signers = VALIDATORS[: self.line.policy.quorum]
        self._both(
            lambda: lines.validate_by_quorum(
                self.line,
                *judged,
                signers=[signer.address for signer in signers],
                deadline=FOREVER,
                time=0,
            )[0],
            lambda: self.story.validate_by_quorum(
                evaluation, self.story.signed(evaluation, signers)
            ),
        )

    @rule(place=PLACES)
    def roll_back(self, place: int) -> None:
        target = self._version(place)
        self._both(lambda: lines.rollback(self.line, target), lambda: self.story.rollback(target))

    @rule(place=PLACES)
    def discard(self, place: int) -> None:
        version = self._version(place)
        self._both(
            lambda: lines.discard(self.line, version),
            lambda: self.story.discard(version=version),
        )

    @rule(place=PLACES)
    def revoke(self, place: int) -> None:
        version = self._version(place)
        self._both(lambda: lines.revoke(self.line, version), lambda: self.story.revoke(version))

    @rule(policy=LIMITS)
    def set_policy(self, policy: Policy) -> None:
        policy = self._fitting(self.line.state.kind, policy)
        self._both(
            lambda: lines.set_policy(self.line, policy), lambda: self.story.set_policy(policy)
        )

    @precondition(lambda self: self.line.state.latest > 3)
    @rule()
    def complete(self) -> None:
        self._both(lambda: lines.complete(self.line), self.story.complete)

    @rule()
    def reopen(self) -> None:
        self._both(lambda: lines.reopen(self.line), self.story.reopen)

    @invariant()
    def contract_stands_where_python_does(self) -> None:
        model = self.story.model
        assert (model.state, model.policy) == (self.line.state, self.line.policy)
        told = [(v.parent, v.accuracy, v.status) for v in self.registry.versions(self.story.id)]
        assert told == [(v.parent, v.accuracy, v.status) for v in self.line.versions]

    @invariant()
    def what_waits_is_counted(self) -> None:
        statuses = [record.status for record in self.line.versions]
        assert self.story.model.state.waiting == statuses.count(Status.PENDING)

    def _both(self, predict: Callable[[], Line], send: Callable[[], Any]) -> None:
        """Do the same on both sides; they refuse alike, with the same values."""
        refusal: PolicyRefused | None = None
        try:
            self.line = predict()
        except PolicyRefused as refused:
            refusal = refused
        if refusal is None:
            send()
            return
        with pytest.raises(ContractRefused) as caught:
            send()
        values = {name: value for name, value in caught.value.values.items() if name != "modelId"}
        assert (caught.value.name, values) == (refusal.reason, refusal.values)

    def _version(self, place: int) -> int:
        return max(0, self.line.state.latest - place)

    def _accuracy(self, offset: int) -> int:
        return max(0, min((self.line.state.best_accuracy or 900_000) + offset, MAX_PPM))

    def _evaluation(self, version: int, accuracy: int, training: int, accepted: bool) -> Any:
        of = version or self.line.state.latest
        changes = {"version": version, "training_accuracy": training, "accepted": accepted}
        return self.story.evaluation(accuracy, of=of, **changes)

    @staticmethod
    def _fitting(kind: ModelKind, policy: Policy) -> Policy:
        """The policy, without what an open model may not have."""
        if kind is ModelKind.STRICT:
            return policy
        return Policy(
            **{name: getattr(OPEN, name) for name in Policy.__slots__}
            | {name: getattr(policy, name) for name in ("max_drop", "min_accuracy", "quorum")}
        )


@pytest.mark.anvil_only
def test_contract_and_python_stay_in_step_through_any_sequence_of_transactions(
    registry: ModelRegistry, cast: Cast
) -> None:
    class Bound(Registry):
        pass

    Bound.registry, Bound.cast = registry, cast
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=effort(EXAMPLES),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
