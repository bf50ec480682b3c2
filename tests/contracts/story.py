"""One model on the registry, driven through the typed client by accounts of one role each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import pytest

from ml.chain import events
from ml.chain.commitment import details_hash
from ml.chain.head import text_digest
from ml.chain.policy import PRESETS
from ml.chain.records import (
    Details,
    Evaluation,
    LineageStep,
    Model,
    Receipt,
    Role,
    Signature,
    Version,
)
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import Domain, evaluation_hash
from ml.chain.types import ModelKind, ModelState, Policy, Status, Verdict
from tests.chain.plays import ppm

from .signing import Key

Account: TypeAlias = Any
Log: TypeAlias = list[tuple[str, dict[str, Any]]]

THESIS = PRESETS["thesis"]
TEST_SET = b"test set".ljust(32, b"!")
FOREVER = 2**64 - 1
"""The latest deadline there is."""
_NAMES = (f"model {number}" for number in itertools.count())


class Cast(NamedTuple):
    """Who acts: each holds one role on every story's model; the rest hold none."""

    deployer: Account
    admin: Account
    trainer: Account
    validator: Account
    operator: Account
    stranger: Account
    client: Account

    def holder(self, role: Role) -> Account:
        return getattr(self, role.name.lower())


def weights_of(version: int) -> bytes:
    """Some weights, other ones for every version."""
    return version.to_bytes(4, "big") * 8


@dataclass
class Story:
    """A model, and what was said of each of its versions."""

    registry: ModelRegistry
    cast: Cast
    name: str
    id: bytes
    created: Receipt
    said: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    """The weights and the hash of the details of each registered version."""

    @classmethod
    def begin(
        cls, registry: ModelRegistry, cast: Cast, policy: Policy = THESIS, **created: Any
    ) -> Story:
        """A new model; ``created`` is its kind and its origin, if they are not the usual ones."""
        name = next(_NAMES)
        model, receipt = registry.create_model(
            name,
            TEST_SET,
            policy,
            sender=cast.admin,
            trainer=cast.trainer.address,
            validator=cast.validator.address,
            operator=cast.operator.address,
            **created,
        )
        return cls(registry, cast, name, model, receipt)

    # How it stands

    @property
    def model(self) -> Model:
        return self.registry.model(self.id)

    @property
    def state(self) -> ModelState:
        return self.model.state

    @property
    def statuses(self) -> list[Status]:
        return [version.status for version in self.registry.versions(self.id)]

    def log(self, receipt: Receipt) -> Log:
        """The events of one transaction, in order."""
        return [
            (event.name, event.arguments)
            for event in events.read(self._since(receipt))
            if event.transaction == receipt.transaction
        ]

    @property
    def history(self) -> Log:
        """The model's events, in order."""
        told = events.read(self._since(self.created), model=self.id)
        return [(event.name, event.arguments) for event in told]

    def _since(self, receipt: Receipt) -> ModelRegistry:
        """The registry from one block on: some nodes search all blocks that they are asked for."""
        return ModelRegistry(self.registry.contract, receipt.block)

    @property
    def domain(self) -> Domain:
        """Where signatures about it count."""
        return Domain(self.registry.chain_id, self.registry.address)

    # What can be done

    def due(self) -> Details:
        """What a registration has to say now; one of an open model is made from nothing."""
        state = self.state
        if state.kind is ModelKind.OPEN:
            return Details(0, 0, 0)
        return Details(state.current, state.iteration + 1, state.epoch)

    def register(
        self,
        version: int | None = None,
        *,
        weights: bytes | None = None,
        metadata: str = "",
        sender: Account = None,
        **changes: Any,
    ) -> Receipt:
        """Register the version that is due, with some of its details changed."""
        details = replace(self.due(), **changes)
        version = self.state.latest + 1 if version is None else version
        weights = weights_of(version) if weights is None else weights
        sender = sender or self.cast.trainer
        receipt = self.registry.register(
            self.id, version, weights, details, metadata, sender=sender
        )
        hashed = details_hash(self.id, version, sender.address, details, metadata)
        self.said[version] = (weights, hashed)
        return receipt

    def evaluation(
        self, accuracy: int = 900_000, *, of: int | None = None, **changes: Any
    ) -> Evaluation:
        """A true evaluation of a version, the latest if none is named, with some of it changed."""
        version = of or max(self.said)
        weights, details = self.said[version]
        return replace(
            Evaluation(version, accuracy, 0, True, TEST_SET, weights, details), **changes
        )

    def validate(
        self,
        evaluation: Evaluation | None = None,
        metrics: str = "",
        *,
        sender: Account = None,
    ) -> tuple[Verdict, Receipt]:
        evaluation = evaluation or self.evaluation()
        sender = sender or self.cast.validator
        return self.registry.validate(self.id, evaluation, metrics, sender=sender)

    def appoint(self, *validators: Key) -> None:
        """Let more accounts validate."""
        for validator in validators:
            address, admin = validator.address, self.cast.admin
            self.registry.grant_role(self.id, Role.VALIDATOR, address, sender=admin)

    def signed(
        self,
        evaluation: Evaluation,
        signers: Sequence[Key],
        metrics: str = "",
        deadline: int = FOREVER,
    ) -> list[Signature]:
        """An evaluation as each of the signers signs it."""
        hashed = evaluation_hash(self.id, evaluation, text_digest(metrics), deadline)
        return [signer.sign(self.domain, hashed) for signer in signers]

    def validate_by_quorum(
        self,
        evaluation: Evaluation,
        signatures: Sequence[Signature],
        metrics: str = "",
        deadline: int = FOREVER,
    ) -> tuple[Verdict, Receipt]:
        """Let a stranger carry the validators' signatures to the registry."""
        stranger = self.cast.stranger
        return self.registry.validate_by_quorum(
            self.id, evaluation, metrics, signatures, deadline, sender=stranger
        )

    def judge_next(self, percent: float, training: float = 0, accepted: bool = True) -> Verdict:
        """Register the version that is due and validate it; accuracies in percent."""
        self.register()
        evaluation = self.evaluation(
            ppm(percent), training_accuracy=ppm(training), accepted=accepted
        )
        return self.validate(evaluation)[0]

    def play(self, *percent: float) -> list[Verdict]:
        """Register and validate one version per accuracy."""
        return [self.judge_next(accuracy) for accuracy in percent]

    def rollback(self, target: int, reason: str = "") -> Receipt:
        return self.registry.rollback(self.id, target, reason, sender=self.cast.operator)

    def discard(self, reason: str = "", version: int | None = None) -> Receipt:
        version = self.state.pending if version is None else version
        return self.registry.discard(self.id, version, reason, sender=self.cast.operator)

    def complete(self, reason: str = "") -> Receipt:
        return self.registry.complete(self.id, reason, sender=self.cast.operator)

    def reopen(self, reason: str = "") -> Receipt:
        return self.registry.reopen(self.id, reason, sender=self.cast.admin)

    def revoke(self, version: int, reason: str = "") -> Receipt:
        return self.registry.revoke(self.id, version, reason, sender=self.cast.operator)

    def set_policy(self, policy: Policy) -> Receipt:
        return self.registry.set_policy(self.id, policy, sender=self.cast.admin)

    def announce(self, registry: str, successor: bytes) -> Receipt:
        admin = self.cast.admin
        return self.registry.announce_successor(self.id, registry, successor, sender=admin)

    def enrol(self, index: int, client: str | None = None, dataset: bytes = bytes(32)) -> Receipt:
        client = client or self.cast.client.address
        return self.registry.enrol_client(self.id, index, client, dataset, sender=self.cast.admin)

    def exclude(self, index: int, reason: str = "") -> Receipt:
        return self.registry.exclude_client(self.id, index, reason, sender=self.cast.operator)

    def reinstate(self, index: int, reason: str = "") -> Receipt:
        return self.registry.reinstate_client(self.id, index, reason, sender=self.cast.operator)


@contextmanager
def refused(name: str, **values: Any) -> Iterator[None]:
    """Expect the contract to revert with this error and exactly these values."""
    with pytest.raises(ContractRefused) as caught:
        yield
    assert (caught.value.name, caught.value.values) == (name, values)


@contextmanager
def refused_as_anothers() -> Iterator[None]:
    """Expect what a signature of something else comes to: of somebody's whom nobody appointed."""
    with pytest.raises(ContractRefused) as caught:
        yield
    assert caught.value.name in ("AccessControlUnauthorizedAccount", "InvalidSignature")


def flipped(data: bytes, place: int = 0) -> bytes:
    """The same bytes but for one bit."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def lineage(
    registry: ModelRegistry, model: bytes, version: int, limit: int
) -> tuple[list[LineageStep], tuple[bytes, int]]:
    """One page of a lineage, and where to go on: no client of pages can be wrong about it."""
    page, then, number = ask(registry, "getLineage", model, version, limit)
    steps = [
        LineageStep(bytes(of), Version(bytes(commitment), parent, accuracy, Status(status), number))
        for of, (number, parent, accuracy, status, commitment) in page
    ]
    return steps, (bytes(then), number)


def ask(registry: ModelRegistry, function: str, *arguments: Any, sender: Account = None) -> Any:
    """A free call of a function that the client has no method for, as it would make it."""
    return registry._try(function, arguments, {"from": sender.address} if sender else {})
