"""One model on the registry, and the receipts of what is done to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ape import project

from benchmarks.gas.content import digest
from ml.chain.commitment import details_fields, details_hash
from ml.chain.records import Details, Evaluation, Origin, Receipt, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind, Policy

if TYPE_CHECKING:
    from ape.api import AccountAPI
    from ape.contracts import ContractInstance

Holders = dict[Role, "AccountAPI"]
"""An account for each role."""

TEST_SET: Final = digest("test set")
FIRST_ACCURACY: Final = 800_000
"""Of a history in bulk, ppm; each version is better by 1."""
CALLS_PER_TRANSACTION: Final = 300
"""Of a history in bulk: what fits into a block of Anvil's."""


def holders_among(people: Sequence[AccountAPI]) -> Holders:
    """The first four people, each with a role of their own."""
    return dict(
        zip((Role.ADMIN, Role.TRAINER, Role.VALIDATOR, Role.OPERATOR), people, strict=False)
    )


class Said(NamedTuple):
    """What a validator has to name of a version."""

    weights: bytes
    details: bytes


@dataclass
class Line:
    """One model, and what is done to it by accounts of one role each."""

    registry: ModelRegistry
    holders: Holders
    name: str
    policy: Policy = field(default_factory=Policy)
    kind: ModelKind = ModelKind.STRICT
    origin: Origin | None = None

    def __post_init__(self) -> None:
        """Create the model."""
        self._said: dict[int, Said] = {}
        self.id, self.created = self.registry.create_model(
            self.name,
            TEST_SET,
            self.policy,
            sender=self.holders[Role.ADMIN],
            trainer=self.holders[Role.TRAINER].address,
            validator=self.holders[Role.VALIDATOR].address,
            operator=self.holders[Role.OPERATOR].address,
            kind=self.kind,
            origin=self.origin,
        )

    @property
    def latest(self) -> int:
        """The version that was registered last."""
        return self.registry.model(self.id).state.latest

    def details(self, **stated: Any) -> Details:
        """What a trainer states about the next version, made from the current one."""
        state = self.registry.model(self.id).state
        strict = self.kind is ModelKind.STRICT
        counters = (state.iteration + 1, state.epoch) if strict else (0, 0)
        stored = {
            "object": digest(f"object {state.latest + 1}"),
            "content": digest(f"content {state.latest + 1}"),
        }
        return Details(state.current, *counters, **stored | stated)

    def register(self, metadata: str = "", weights: bytes = b"", **stated: Any) -> Receipt:
        """Register the version that is due."""
        version, trainer = self.latest + 1, self.holders[Role.TRAINER]
        weights = weights or digest(f"weights {version}")
        details = self.details(**stated)
        hashed = details_hash(self.id, version, trainer.address, details, metadata)
        self._said[version] = Said(weights, hashed)
        return self.registry.register(self.id, version, weights, details, metadata, sender=trainer)

    def evaluation(self, accuracy: int, version: int = 0) -> Evaluation:
        """A statement about a version, by default the last one; ppm."""
        version = version or self.latest
        return Evaluation(version, accuracy, 950_000, True, TEST_SET, *self._said[version])

    def validate(self, accuracy: int, metrics: str = "", version: int = 0) -> Receipt:
        """Validate a version, by default the last one; ppm."""
        validator = self.holders[Role.VALIDATOR]
        evaluation = self.evaluation(accuracy, version)
        return self.registry.validate(self.id, evaluation, metrics, sender=validator)[1]

    def play(self, *accuracies: int) -> None:
        """Register and validate one version per accuracy."""
        for accuracy in accuracies:
            self.register()
            self.validate(accuracy)


class LongLine(Line):
    """A strict model whose history is made fast: by one contract, many versions a transaction."""

    def __post_init__(self) -> None:
        """Create the model, and the contract that plays trainer and validator."""
        super().__post_init__()
        admin = self.holders[Role.ADMIN]
        self._player: ContractInstance = admin.deploy(project.BatchCaller)
        for role in (Role.TRAINER, Role.VALIDATOR):
            self.registry.grant_role(self.id, role, str(self._player.address), sender=admin)

    def grow(self, versions: int) -> None:
        """Make the history this long, each version best and made from the one before."""
        rounds = (self._round(version) for version in range(self.latest + 1, versions + 1))
        calls = [call for calls in rounds for call in calls]
        admin = self.holders[Role.ADMIN]
        for some in _portions(calls, CALLS_PER_TRANSACTION):
            self._player.callEach(self.registry.address, some, sender=admin)
        if self.registry.model(self.id).state.current != versions:
            raise AssertionError(f"the history ended before version {versions}")

    def _round(self, version: int) -> Iterable[bytes]:
        """The calls that register a version on the one before and validate it."""
        contract = self.registry.contract
        details = Details(version - 1, version, 0)
        hashed = details_hash(self.id, version, str(self._player.address), details, "")
        weights = digest("weights")
        accuracy = FIRST_ACCURACY + version
        evaluated = (version, accuracy, 0, True, TEST_SET, weights, hashed)
        yield contract.register.encode_input(self.id, version, weights, details_fields(details), "")
        yield contract.validate.encode_input(self.id, evaluated, "")


def _portions(calls: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(calls), size):
        yield calls[start : start + size]
