"""Registering the next version of a model, and what to state about the one that waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ml.chain import commitment, events
from ml.chain.events import Registered
from ml.chain.models import NamedModel
from ml.chain.policy import Judgement, explain, judge
from ml.chain.records import Details, Evaluation, Model, Receipt, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import MAX_PPM
from ml.chain.verification import check_registration
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI


MAX_TEXT_BYTES: Final = 16 * 1024
"""What the contract takes as metadata, metrics or a reason."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The place in a model's line that a version is made for.

    It is taken before the work begins: what came between, a rollback or another trainer's version,
    makes the contract refuse the registration, which then would state a false parent.
    """

    version: int
    details: Details


@dataclass(frozen=True, slots=True)
class Pending:
    """A registered version that waits for its validation."""

    model: Model
    registered: Registered


@dataclass(frozen=True, slots=True)
class Validation:
    """What the policy made of a validated version: as data, and in a sentence."""

    judgement: Judgement
    sentence: str
    receipt: Receipt


def check_metadata(text: str) -> None:
    """Check that a text fits beside a version, before anything is sent.

    Raises:
        ModelproofError: it does not.
    """
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise ModelproofError(
            f"the metadata has {size} bytes and at most {MAX_TEXT_BYTES} fit: shorten it."
        )


def next_turn(registry: ModelRegistry, model: NamedModel, parent: int | None = None) -> Turn:
    """The place in a model's line that the next version would take, as of now.

    Args:
        registry: where the model is
        model: whose line
        parent: the version that the next one is made from, if it is not the current one; then the
            contract will refuse it, unless a rollback makes that one current

    Raises:
        ModelproofError: training is over, or a version waits for its validation.
    """
    state = registry.model(model.id).state
    if state.completed:
        raise ModelproofError(
            f"training of {model.name} is over ({state.completed.name}):"
            f" `ape run reopen {model.name}` lets it go on, or choose another --model."
        )
    if state.pending:
        raise ModelproofError(
            f"v{state.pending} of {model.name} waits for its validation:"
            f" `ape run validate {model.name}` or `ape run discard {model.name}` first."
        )
    origin = state.current if parent is None else parent
    return Turn(state.latest + 1, Details(origin, state.iteration + 1, state.epoch))


def register(
    registry: ModelRegistry,
    model: NamedModel,
    turn: Turn,
    weights: bytes,
    metadata: str,
    *,
    sender: AccountAPI,
) -> Receipt:
    """Register weights in the turn that they were made for.

    Raises:
        ContractRefused: the turn has passed, as by a rollback since; or the sender may not.
    """
    return registry.register(model.id, turn.version, weights, turn.details, metadata, sender=sender)


def check_trainer(registry: ModelRegistry, model: NamedModel, account: str) -> None:
    """Check, before any work is done, that an account may register versions.

    Raises:
        ModelproofError: it may not.
    """
    if not registry.has_role(model.id, Role.TRAINER, account):
        raise ModelproofError(
            f"{account} does not hold TRAINER on {model.name} (0x{model.id.hex()}): let an ADMIN"
            " grant it, act from an account that holds it, or choose another --model."
        )


def pending(registry: ModelRegistry, model: NamedModel, version: int | None = None) -> Pending:
    """The version of a model that waits for its validation, checked against its commitment.

    Args:
        registry: where to look
        model: whose version
        version: the one that is expected to wait

    Raises:
        ModelproofError: none waits, or another one does.
        NotVerified: what the node says of the version is not what the version commits to.
    """
    known = registry.model(model.id)
    waiting = known.state.pending
    if not waiting or version not in (None, waiting):
        which = f"version {version}" if version else "no version"
        does = f"; version {waiting} does" if waiting else ""
        not_ = "does not wait" if version else "waits"
        raise ModelproofError(f"{which} of {model.name} {not_} for its validation{does}.")
    records = events.registered(events.read(registry, model=model.id))
    record = next((r for r in records if r.version == waiting), None)
    if record is None:
        raise ModelproofError(
            f"the node has no event of version {waiting} of {model.name}: ask another node."
        )
    check_registration(registry, known, record)
    return Pending(known, record)


def validate(
    registry: ModelRegistry,
    waiting: Pending,
    accuracy_ppm: int,
    training_accuracy_ppm: int,
    metrics: str,
    *,
    accepted: bool = True,
    sender: AccountAPI,
) -> Validation:
    """Validate a waiting version, and say what the policy made of it.

    Args:
        registry: where the version is registered
        waiting: the version
        accuracy_ppm: on the model's test set
        training_accuracy_ppm: as the version's metadata states it, 0 if unknown
        metrics: JSON with further metrics, for the event
        accepted: False to refuse the version on other grounds than its accuracy
        sender: holds VALIDATOR

    Raises:
        ContractRefused: the sender may not validate, or the version no longer waits.
        ModelproofError: an accuracy is out of range, or the contract decided otherwise than the
            policy that it was given says.
    """
    stated = evaluation(waiting, accuracy_ppm, training_accuracy_ppm, accepted=accepted)
    before = waiting.model
    expected = judge(
        before.state,
        before.policy,
        stated.version,
        accuracy_ppm,
        training_accuracy_ppm,
        accepted,
    )
    verdict, receipt = registry.validate(before.id, stated, metrics, sender=sender)
    if verdict is not expected.verdict:
        raise ModelproofError(
            f"the contract says {verdict.name} where its policy says {expected.verdict.name}:"
            " this is not the registry that this project deploys."
        )
    return Validation(expected, explain(expected, before.state, before.policy), receipt)


def evaluation(
    waiting: Pending, accuracy_ppm: int, training_accuracy_ppm: int, *, accepted: bool
) -> Evaluation:
    """What a validator states about a waiting version.

    Raises:
        ModelproofError: an accuracy is out of range.
    """
    for name, value in (("accuracy", accuracy_ppm), ("training accuracy", training_accuracy_ppm)):
        if not 0 <= value <= MAX_PPM:
            raise ModelproofError(f"the {name} of {value} ppm is out of range: 0 to {MAX_PPM}.")
    record = waiting.registered
    return Evaluation(
        version=record.version,
        accuracy=accuracy_ppm,
        training_accuracy=training_accuracy_ppm,
        accepted=accepted,
        test_set=waiting.model.test_set,
        weights=record.weights,
        details=commitment.details_hash(
            record.model, record.version, record.registrar, record.details, record.metadata
        ),
    )
