"""Registering the next version of a model, and what to state about the one that waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ml.chain import commitment, events
from ml.chain.events import Registered
from ml.chain.judgement import Judgement
from ml.chain.models import NamedModel
from ml.chain.policy import explain, judge
from ml.chain.records import Details, Evaluation, Model, Operation, Receipt
from ml.chain.registry import ModelRegistry
from ml.chain.replay import replay
from ml.chain.types import MAX_PPM, ModelKind, ModelState, Status, Verdict
from ml.chain.verification import check_registration, read_checked
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI


MAX_TEXT_BYTES: Final = 16 * 1024
"""What the contract takes as metadata, metrics or a reason."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """The place among a model's versions that a version is made for.

    It is taken before the work begins: what came between, a rollback or another trainer's version,
    makes the contract refuse the registration, which then would state a false parent.
    """

    version: int
    details: Details

    def naming(self, sha256: bytes, content: bytes) -> Turn:
        """The same turn for a version that names its stored object: by SHA-256 and CID digest."""
        return replace(self, details=replace(self.details, object=sha256, content=content))


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


def check_text(text: str, what: str = "metadata") -> None:
    """Check that a text fits beside a version, before anything is sent.

    Raises:
        ModelproofError: it does not.
    """
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise ModelproofError(
            f"the {what} has {size} bytes and at most {MAX_TEXT_BYTES} fit: shorten it."
        )


def next_turn(registry: ModelRegistry, model: NamedModel, parent: int | None = None) -> Turn:
    """The place that the next version of a model would take, as of now.

    Args:
        registry: where the model is
        model: whose version
        parent: the version that the next one is made from. In a strict model that is the current
            one, and the contract will refuse another unless a rollback makes it current; in an open
            one it is any that has passed, or 0 if none is given.

    Raises:
        ModelproofError: training is over, or a version of a strict model waits for its validation.
    """
    state = registry.model(model.id).state
    if state.kind is ModelKind.OPEN:  # there is neither iteration nor epoch
        return Turn(state.latest + 1, Details(parent or 0, 0, 0))
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


def waiting_versions(registry: ModelRegistry, model: Model) -> list[int]:
    """The versions of a model that wait for their validation, in order."""
    state = model.state
    if state.kind is ModelKind.STRICT or not state.waiting:
        return [state.pending] if state.pending else []
    versions = registry.versions(model.id)
    return [version.number for version in versions if version.status is Status.PENDING]


def pending(registry: ModelRegistry, model: NamedModel, version: int | None = None) -> Pending:
    """A version of a model that waits for its validation, checked against its commitment.

    Args:
        registry: where to look
        model: whose version
        version: the one that is expected to wait; it has to be named where several do

    Raises:
        ModelproofError: none waits, or other ones do.
        NotVerified: what the node says of the version is not what the version commits to.
    """
    known = registry.model(model.id)
    waiting = waiting_versions(registry, known)
    if version is None and len(waiting) > 1:
        raise ModelproofError(
            f"several versions of {model.name} wait for their validation ({_listed(waiting)}): say"
            " which one with --version."
        )
    chosen = version or next(iter(waiting), 0)
    if chosen not in waiting:
        which = f"version {version}" if version else "no version"
        do = f"; versions {_listed(waiting)} do" if len(waiting) > 1 else ""
        does = f"; version {waiting[0]} does" if len(waiting) == 1 else do
        not_ = "does not wait" if version else "waits"
        raise ModelproofError(f"{which} of {model.name} {not_} for its validation{does}.")
    records = events.registered(events.read(registry, model=model.id))
    record = next((r for r in records if r.version == chosen), None)
    if record is None:
        raise ModelproofError(
            f"the node has no event of version {chosen} of {model.name}: ask another node."
        )
    check_registration(known, record, registry.version(model.id, chosen))
    return Pending(known, record)


def _listed(versions: Sequence[int]) -> str:
    shown = ", ".join(map(str, versions[:_SHOWN]))
    return f"{shown}, …" if len(versions) > _SHOWN else shown


def check_single(model: Model, name: str) -> None:
    """Check, before any work is done, that one validator alone may validate a model's versions.

    Raises:
        ModelproofError: the policy asks for several.
    """
    quorum = model.policy.quorum
    if quorum > 1:
        raise ModelproofError(
            f"the policy of {name} asks for {quorum} validators: each signs with"
            f" `ape run validate {name} --sign`, and anyone submits what they signed."
        )


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
    verdict, receipt = registry.validate(waiting.model.id, stated, metrics, sender=sender)
    return judged(registry, waiting, stated, verdict, receipt)


def judged(
    registry: ModelRegistry,
    waiting: Pending,
    stated: Evaluation,
    verdict: Verdict,
    receipt: Receipt,
) -> Validation:
    """What the policy made of an evaluation that has been sent, and why.

    Args:
        registry: where it was sent to
        waiting: the version before
        stated: the evaluation
        verdict: what the contract answered when the transaction was tried
        receipt: the transaction's

    Raises:
        ModelproofError: the contract decided otherwise than the policy that it was given says.
        NotVerified: what the node says happened is not what the chain's state commits to.
    """
    before = waiting.model
    state = before.state
    if state.kind is ModelKind.OPEN:  # other candidates may have been judged since it was read
        state, verdict = _as_recorded(registry, before.id, stated.version)
    expected = judge(
        state,
        before.policy,
        stated.version,
        stated.accuracy,
        stated.training_accuracy,
        stated.accepted,
    )
    if verdict is not expected.verdict:
        raise ModelproofError(
            f"the contract says {verdict.name} where its policy says {expected.verdict.name}:"
            " this is not the registry that this project deploys."
        )
    return Validation(expected, explain(expected, state, before.policy), receipt)


def _as_recorded(registry: ModelRegistry, model: bytes, version: int) -> tuple[ModelState, Verdict]:
    """How a model stood before a version was validated, and with what verdict that was."""
    _, told = read_checked(registry, model)
    steps = list(replay((event.name, event.arguments) for event in told))
    place = next(
        place
        for place, step in enumerate(steps)
        if step.subject == version
        and step.operation in (Operation.VALIDATE, Operation.VALIDATE_BY_QUORUM)
    )
    verdict = next(v.verdict for v in events.validated(told) if v.version == version)
    return steps[place - 1].line.state, verdict


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
