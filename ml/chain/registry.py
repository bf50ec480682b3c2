"""A typed client of ModelRegistry: dataclasses in, dataclasses out, on any Ape provider.

``sender`` is an Ape account. How calls are tried, sent and refused: `ml.chain.contract`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from ml.chain.commitment import details_fields, role_id
from ml.chain.contract import DeployedContract
from ml.chain.logs import Event, Topics
from ml.chain.records import (
    NO_DIGEST,
    Details,
    Evaluation,
    LineageStep,
    Model,
    Origin,
    Receipt,
    Registration,
    Role,
    Signature,
    SignedEvaluation,
    Update,
    Version,
    VersionContent,
)
from ml.chain.types import (
    CompletionReason,
    ModelKind,
    ModelState,
    Policy,
    Status,
    Verdict,
    policy_from,
)

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.artifact import InclusionProof

NO_ACCOUNT = "0x0000000000000000000000000000000000000000"
PAGE = 256
"""Versions that one call asks for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a node tells of a model in one answer."""

    block: int
    """The latest."""
    model: Model
    version: Version | None
    """None where it was not asked for, or there is none of its number."""
    events: list[Event] | None
    """Oldest first; None where the node would not search so many blocks."""


class ModelRegistry(DeployedContract):
    """One deployed ModelRegistry."""

    # Writing

    def create_model(
        self,
        name: str,
        test_set: bytes,
        policy: Policy,
        *,
        sender: AccountAPI,
        kind: ModelKind = ModelKind.STRICT,
        origin: Origin | None = None,
        trainer: str = NO_ACCOUNT,
        validator: str = NO_ACCOUNT,
        operator: str = NO_ACCOUNT,
    ) -> tuple[bytes, Receipt]:
        """Create a model and return its id; the sender becomes its ADMIN.

        With an origin it is a fork: it starts from that version of another model, which has passed.
        """
        is_open = kind is ModelKind.OPEN
        begins = astuple(origin) if origin else (NO_DIGEST, 0)
        roles = (trainer, validator, operator)
        arguments = (name, is_open, test_set, begins, astuple(policy), roles)
        created, receipt = self._send("createModel", *arguments, sender=sender)
        return bytes(created), receipt

    def register(
        self,
        model: bytes,
        version: int,
        weights: bytes,
        details: Details,
        metadata: str,
        *,
        sender: AccountAPI,
    ) -> Receipt:
        """Register the next version, TRAINER; it then waits for its validation."""
        arguments = (model, version, weights, details_fields(details), metadata)
        return self._send("register", *arguments, sender=sender)[1]

    def register_all(
        self, registrations: Sequence[Registration], *, sender: AccountAPI
    ) -> list[Receipt]:
        """Register versions of different models, all in flight at once, TRAINER of each.

        Raises:
            ContractRefused: one would be refused, and none is sent; or one was, in its block.
        """
        rows = [
            (one.model, one.version, one.weights, details_fields(one.details), one.metadata)
            for one in registrations
        ]
        return self._send_all("register", rows, sender)

    def validate(
        self, model: bytes, evaluation: Evaluation, metrics: str, *, sender: AccountAPI
    ) -> tuple[Verdict, Receipt]:
        """Validate a version that waits, VALIDATOR, and return what the policy made of it."""
        arguments = (model, astuple(evaluation), metrics)
        verdict, receipt = self._send("validate", *arguments, sender=sender)
        return Verdict(verdict), receipt

    def validate_by_quorum(
        self,
        model: bytes,
        evaluation: Evaluation,
        metrics: str,
        signatures: Sequence[Signature],
        deadline: int,
        *,
        sender: AccountAPI,
    ) -> tuple[Verdict, Receipt]:
        """Validate a version that waits by the signatures of as many VALIDATORs as its quorum.

        Args:
            model: whose version
            evaluation: what all of them signed (`ml.chain.signing`)
            metrics: the text whose keccak256 they signed
            signatures: in the order of their signers' addresses
            deadline: until when it may be recorded, in seconds since 1970; signed too
            sender: anyone
        """
        signed = [astuple(signature) for signature in signatures]
        arguments = (model, astuple(evaluation), metrics, signed, deadline)
        verdict, receipt = self._send("validateByQuorum", *arguments, sender=sender)
        return Verdict(verdict), receipt

    def rollback(self, model: bytes, target: int, reason: str, *, sender: AccountAPI) -> Receipt:
        """Make a passed version current and best, OPERATOR; target 0 if none is good."""
        return self._send("rollback", model, target, reason, sender=sender)[1]

    def discard(self, model: bytes, version: int, reason: str, *, sender: AccountAPI) -> Receipt:
        """Withdraw a version that waits, OPERATOR."""
        return self._send("discard", model, version, reason, sender=sender)[1]

    def complete(self, model: bytes, reason: str, *, sender: AccountAPI) -> Receipt:
        """End training with the best version, OPERATOR."""
        return self._send("complete", model, reason, sender=sender)[1]

    def reopen(self, model: bytes, reason: str, *, sender: AccountAPI) -> Receipt:
        """Let a completed model go on, ADMIN."""
        return self._send("reopen", model, reason, sender=sender)[1]

    def revoke(self, model: bytes, version: int, reason: str, *, sender: AccountAPI) -> Receipt:
        """Declare a passed version bad for good, OPERATOR."""
        return self._send("revoke", model, version, reason, sender=sender)[1]

    def set_policy(self, model: bytes, policy: Policy, *, sender: AccountAPI) -> Receipt:
        """Change the policy while nothing waits, ADMIN."""
        return self._send("setPolicy", model, astuple(policy), sender=sender)[1]

    def announce_successor(
        self, model: bytes, registry: str, successor: bytes, *, sender: AccountAPI
    ) -> Receipt:
        """Say that the model goes on in another registry, as another model there, ADMIN."""
        return self._send("announceSuccessor", model, registry, successor, sender=sender)[1]

    def enrol_client(
        self, model: bytes, index: int, client: str, dataset: bytes, *, sender: AccountAPI
    ) -> Receipt:
        """Give a client an index for good, ADMIN."""
        return self._send("enrolClient", model, index, client, dataset, sender=sender)[1]

    def enrol_clients(
        self, model: bytes, clients: Mapping[int, tuple[str, bytes]], *, sender: AccountAPI
    ) -> list[Receipt]:
        """Enrol clients, given as address and data set by index, all in flight at once, ADMIN."""
        rows = [(model, index, *client) for index, client in clients.items()]
        return self._send_all("enrolClient", rows, sender)

    def exclude_client(
        self, model: bytes, index: int, reason: str, *, sender: AccountAPI
    ) -> Receipt:
        """Keep a client out of later registrations, OPERATOR."""
        return self._send("excludeClient", model, index, reason, sender=sender)[1]

    def reinstate_client(
        self, model: bytes, index: int, reason: str, *, sender: AccountAPI
    ) -> Receipt:
        """Let an excluded client contribute again, OPERATOR."""
        return self._send("reinstateClient", model, index, reason, sender=sender)[1]

    def grant_role(self, model: bytes, role: Role, account: str, *, sender: AccountAPI) -> Receipt:
        """Grant a role, ADMIN."""
        return self._send("grantRole", role_id(model, role), account, sender=sender)[1]

    def revoke_role(self, model: bytes, role: Role, account: str, *, sender: AccountAPI) -> Receipt:
        """Take a role away, ADMIN."""
        return self._send("revokeRole", role_id(model, role), account, sender=sender)[1]

    # Evidence, which anyone may give

    def report_equivocation(
        self,
        model: bytes,
        first: SignedEvaluation,
        second: SignedEvaluation,
        *,
        sender: AccountAPI,
    ) -> Receipt:
        """Record that one validator signed two evaluations that contradict each other."""
        arguments = (model, astuple(first), astuple(second))
        return self._send("reportEquivocation", *arguments, sender=sender)[1]

    def prove_update(
        self,
        model: bytes,
        version: int,
        content: VersionContent,
        index: int,
        update: Update,
        signature: Signature,
        proof: Sequence[bytes],
        *,
        sender: AccountAPI,
    ) -> tuple[bool, Receipt]:
        """Record that a version was made of a client's update, and does not name the client.

        Args:
            model: whose version
            version: which one
            content: what its commitment is of
            index: the client's
            update: what the client signed (`ml.chain.signing`)
            signature: the client's
            proof: siblings from the update's leaf (`commitment.update_leaf`) to ``details.updates``
            sender: anyone

        Returns:
            whether the client is hidden; if not, nothing was recorded. `is_hidden` asks that first.
        """
        arguments = _update_arguments(model, version, content, index, update, signature, proof)
        hidden, receipt = self._send("proveUpdate", *arguments, sender=sender)
        return bool(hidden), receipt

    def is_hidden(
        self,
        model: bytes,
        version: int,
        content: VersionContent,
        index: int,
        update: Update,
        signature: Signature,
        proof: Sequence[bytes],
    ) -> bool:
        """Let the contract check a client's update as `prove_update`, and write nothing."""
        arguments = _update_arguments(model, version, content, index, update, signature, proof)
        return bool(self._call("proveUpdate", *arguments))

    # Reading

    def model(self, model: bytes) -> Model:
        """All about a model but its versions."""
        return _model(model, self._view("getModel", model))

    def look(
        self, model: bytes, number: int | None = None, topics: Topics = (), since: int = 0
    ) -> Look:
        """A model, one of its versions, and recent events, in one request.

        Args:
            model: the model's id
            number: the version's, None for none
            topics: which events to look for, empty for none
            since: the block from which on to look for them

        Raises:
            ContractRefused: there is no such model.
            NotVerified: the node's answer holds something else than what was asked for.
        """
        views: list[tuple[str, tuple[Any, ...]]] = [("getModel", (model,))]
        if number is not None:
            views.append(("getVersion", (model, number)))
        found = self.glance(views, topics, since)
        about, version = (*found.views, None)[:2]
        known = self.model(model) if about is None else _model(model, about)  # which says why
        return Look(
            found.block, known, None if version is None else _version(version), found.events
        )

    def version(self, model: bytes, number: int) -> Version:
        """One version's record."""
        return _version(self._view("getVersion", model, number))

    def versions(self, model: bytes, start: int = 1) -> Iterator[Version]:
        """The records of all versions from ``start`` on, in order, read page by page."""
        while page := self._view("getVersions", model, start, PAGE):
            yield from map(_version, page)
            start += len(page)

    def lineage(self, model: bytes, number: int) -> Iterator[LineageStep]:
        """A version, its parent, the parent's parent and so on, read page by page.

        Where the line of a fork begins, that of its origin goes on.
        """
        while number != 0:
            page, model, number = self._call("getLineage", model, number, PAGE)
            for whose, (version, *stored) in page:  # Ape names no fields in several return values
                parent, accuracy, status, commitment = stored
                record = Version(bytes(commitment), parent, accuracy, Status(status), version)
                yield LineageStep(bytes(whose), record)

    def on_active_line(self, model: bytes, number: int) -> bool:
        """Whether a version is the current one or an ancestor of it, within its model.

        Asked page by page. The contract takes the version where a page begins as it is given, so
        the answer is about the current version only because the first page begins there.
        """
        on_line, resume = self._call("onActiveLine", model, number, 0, PAGE)
        while resume:
            on_line, resume = self._call("onActiveLine", model, number, resume, PAGE)
        return bool(on_line)

    def client(self, model: bytes, index: int) -> str | None:
        """The address of the client at an index, active or not."""
        address = str(self._call("getClient", model, index))
        return None if address == NO_ACCOUNT else address

    def equivocation_of(self, model: bytes, validator: str) -> int:
        """The version about which a validator signed a contradiction on record, 0 if none."""
        return int(self._call("equivocationOf", model, validator))

    def hidden_clients(self, model: bytes, number: int) -> int:
        """The clients that were proved to be hidden in a version, as a bitmap of their indices."""
        return int(self._call("hiddenClients", model, number))

    def has_role(self, model: bytes, role: Role, account: str) -> bool:
        """Whether an account holds a role on a model."""
        return bool(self._call("hasRole", role_id(model, role), account))

    def verify_weights(self, model: bytes, number: int, weights: bytes, details: bytes) -> bool:
        """Let the contract say whether a version has these weights and details."""
        return bool(self._call("verifyWeights", model, number, weights, details))

    def verify_tensor(
        self, model: bytes, number: int, details: bytes, proof: InclusionProof
    ) -> bool:
        """Let the contract say whether a version's weights hold the proof's tensor."""
        identity, tensor = proof.identity, proof.tensor
        return bool(
            self._call(
                "verifyTensor",
                model,
                number,
                details,
                (
                    identity.tree_root,
                    identity.tensor_count,
                    identity.total_bytes,
                    identity.digest_algorithm,
                    identity.files_root,
                ),
                (tensor.name, tensor.dtype, list(tensor.shape), tensor.digest),
                list(proof.siblings),
            )
        )


def _update_arguments(
    model: bytes,
    version: int,
    content: VersionContent,
    index: int,
    update: Update,
    signature: Signature,
    proof: Sequence[bytes],
) -> tuple[Any, ...]:
    opened = astuple(content)
    return model, version, opened, index, astuple(update), astuple(signature), list(proof)


def _model(model: bytes, view: Any) -> Model:
    begins = Origin(bytes(view.origin.modelId), view.origin.version)
    return Model(
        id=model,
        state=ModelState(
            current=view.current,
            best=view.best,
            best_accuracy=view.bestAccuracy,
            latest=view.latest,
            iteration=view.iteration,
            epoch=view.epoch,
            below_best=view.belowBest,
            since_progress=view.sinceProgress,
            rollbacks=view.rollbacks,
            waiting=view.waiting,
            completed=CompletionReason(view.completed),
            kind=ModelKind(view.kind),
        ),
        test_set=bytes(view.testSet),
        head=bytes(view.head),
        active_clients=view.activeClients,
        policy=policy_from(vars(view.policy).values()),
        origin=begins if any(begins.model) else None,
        origin_status=Status(view.originStatus),
    )


def _version(view: Any) -> Version:
    return Version(
        number=view.version,
        parent=view.parent,
        accuracy=view.accuracy,
        status=Status(view.status),
        commitment=bytes(view.commitment),
    )
