"""What was proved against a model's validators and trainers: read, and put on record.

Evidence is not under a model's head, since anyone may give it. A node's events of it are believed
only where the registry's own views say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ml.chain import events
from ml.chain.events import Registered
from ml.chain.head import text_digest
from ml.chain.logs import Event
from ml.chain.records import Evaluation, Receipt, VersionContent
from ml.chain.registry import ModelRegistry
from ml.chain.signed_files import EvaluationFile, UpdateFile
from ml.chain.signing import Domain
from ml.chain.types import format_ppm
from ml.errors import ModelproofError, NotVerified

if TYPE_CHECKING:
    from ape.api import AccountAPI

MAX_INDEX: Final = 255
"""Of a client that a model can enrol."""


@dataclass(frozen=True, slots=True)
class Equivocation:
    """A validator signed two evaluations of one version that cannot both be true."""

    EVENT: ClassVar = "EquivocationRecorded"

    validator: str
    version: int
    first: Evaluation
    second: Evaluation
    by: str
    """Who reported it."""
    block: int
    transaction: str

    @property
    def sentence(self) -> str:
        """As a person reads it."""
        one, other = map(_said, (self.first, self.second))
        return (
            f"{self.by} proved that {self.validator} signed two evaluations of v{self.version} that"
            f" contradict each other: {one}, and {other}"
        )


@dataclass(frozen=True, slots=True)
class HiddenClient:
    """A version was made of a client's update, and its registrar did not name the client."""

    EVENT: ClassVar = "HiddenClientProved"

    version: int
    index: int
    client: str
    registrar: str
    digest: bytes
    """Of the update."""
    by: str
    """Who proved it."""
    block: int
    transaction: str

    @property
    def sentence(self) -> str:
        """As a person reads it."""
        return (
            f"{self.by} proved that the update of client {self.index} ({self.client}) went into"
            f" v{self.version}, which {self.registrar} registered without naming the client"
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was proved about a model, oldest first."""

    equivocations: tuple[Equivocation, ...] = ()
    hidden_clients: tuple[HiddenClient, ...] = ()

    @property
    def facts(self) -> list[Equivocation | HiddenClient]:
        """All of it."""
        return [*self.equivocations, *self.hidden_clients]


def read(registry: ModelRegistry, model: bytes, told: Sequence[Event]) -> Evidence:
    """The evidence about a model, checked against the registry's views.

    A node that leaves an event out is found out where the validator or the version is known from
    the model's history.

    Args:
        registry: where the model is
        model: which one
        told: all of the model's events, checked against its head

    Raises:
        NotVerified: an event says what the views do not, or one is missing.
    """
    found = _read(registry, model, told)
    if _is_complete(registry, model, told, found):
        return found
    again = _read(registry, model, events.read(registry, model=model))  # it may have come since
    if _is_complete(registry, model, told, again):
        return again
    raise NotVerified("the node's events leave out evidence that is on record: ask another node.")


def _read(registry: ModelRegistry, model: bytes, told: Sequence[Event]) -> Evidence:
    equivocations = [_equivocation(e) for e in told if e.name == Equivocation.EVENT]
    hidden = [_hidden_client(e) for e in told if e.name == HiddenClient.EVENT]
    registrars = {one.version: one.registrar for one in events.registered(told)}
    once = len({one.validator for one in equivocations}) == len(equivocations) and len(
        {(one.version, one.index) for one in hidden}
    ) == len(hidden)
    on_record = (
        once
        and all(registrars.get(one.version) == one.registrar for one in hidden)
        and all(
            registry.equivocation_of(model, one.validator) == one.version for one in equivocations
        )
        and all(
            registry.hidden_clients(model, one.version) >> one.index & 1
            and registry.client(model, one.index) == one.client
            for one in hidden
        )
    )
    if not on_record:
        raise NotVerified("the node made up evidence that is not on record: ask another node.")
    return Evidence(tuple(equivocations), tuple(hidden))


def _is_complete(
    registry: ModelRegistry, model: bytes, told: Sequence[Event], found: Evidence
) -> bool:
    """Whether nothing is on record about those whom the history names but what was found."""
    known = {one.validator for one in found.equivocations}
    validators = {by for validated in events.validated(told) for by in validated.validators}
    if any(registry.equivocation_of(model, validator) for validator in validators - known):
        return False
    federated = [one.version for one in events.registered(told) if any(one.details.updates)]
    for version in federated:
        proved = sum(1 << one.index for one in found.hidden_clients if one.version == version)
        if registry.hidden_clients(model, version) != proved:
            return False
    return True


def report_equivocation(
    registry: ModelRegistry, first: EvaluationFile, second: EvaluationFile, *, sender: AccountAPI
) -> Receipt:
    """Put on record that one validator signed two evaluations that contradict each other.

    Raises:
        NotVerified: a signature is not that of the signer whom the file names.
        ModelproofError: a file is about another registry or another model.
        ContractRefused: they do not contradict each other, or it is on record.
    """
    for file in (first, second):
        check_domain(registry, file.domain)
        file.check_signature()
    if first.model != second.model:
        raise ModelproofError("the evaluations are of versions of two models: no contradiction.")
    return registry.report_equivocation(first.model, first.signed, second.signed, sender=sender)


def is_hidden(registry: ModelRegistry, record: Registered, file: UpdateFile) -> bool:
    """Let the registry check that a version was made of a client's update; nothing is recorded.

    Args:
        registry: where the version is
        record: its registration, checked against its commitment
        file: what the client signed

    Returns:
        whether the registrar did not name the client

    Raises:
        NotVerified: the signature is not the client's.
        ModelproofError: the file is about another registry or another model, or its client is one
            that cannot be named.
        ContractRefused: the version was not made of that update.
    """
    check_domain(registry, file.domain)
    file.check_signature()
    if file.model != record.model:
        raise ModelproofError("the update was made for another model than the version is of.")
    if file.index > MAX_INDEX:
        raise ModelproofError(
            f"client {file.index} is not enrolled: a model has at most {MAX_INDEX + 1} clients that"
            " its versions can name, and where there are more, none is named."
        )
    return registry.is_hidden(*_claim(record, file))


def prove_update(
    registry: ModelRegistry, record: Registered, file: UpdateFile, *, sender: AccountAPI
) -> Receipt:
    """Put on record that a version's registrar did not name a client whose update is in it.

    Raises:
        ContractRefused: it is on record; else as `is_hidden`, which is to be asked first.
    """
    return registry.prove_update(*_claim(record, file), sender=sender)[1]


def _claim(record: Registered, file: UpdateFile) -> tuple[Any, ...]:
    content = VersionContent(
        record.weights, record.registrar, record.details, text_digest(record.metadata)
    )
    version = (record.model, record.version, content)
    return *version, file.index, file.update, file.signature, file.proof


def check_domain(registry: ModelRegistry, domain: Domain) -> None:
    """Check that something was signed for this registry on this chain.

    Raises:
        ModelproofError: it was not.
    """
    here = Domain(registry.chain_id, registry.address)
    if domain != here:
        raise ModelproofError(
            f"this was signed for the registry at {domain.registry} on chain {domain.chain_id}, and"
            f" not for the one at {here.registry} on chain {here.chain_id}."
        )


def _said(evaluation: Evaluation) -> str:
    refused = "" if evaluation.accepted else ", not accepted"
    training = evaluation.training_accuracy
    gap = f" (training {format_ppm(training)} %)" if training else ""
    return f"{format_ppm(evaluation.accuracy)} %{gap}{refused}"


def _equivocation(event: Event) -> Equivocation:
    said = event.arguments
    return Equivocation(
        validator=str(said["validator"]),
        version=said["version"],
        first=Evaluation(*said["first"]),
        second=Evaluation(*said["second"]),
        by=str(said["by"]),
        block=event.block,
        transaction=event.transaction,
    )


def _hidden_client(event: Event) -> HiddenClient:
    said = event.arguments
    return HiddenClient(
        version=said["version"],
        index=said["index"],
        client=str(said["client"]),
        registrar=str(said["registrar"]),
        digest=bytes(said["digest"]),
        by=str(said["by"]),
        block=event.block,
        transaction=event.transaction,
    )
