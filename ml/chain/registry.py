"""A typed client of ModelRegistry: dataclasses in, dataclasses out, on any Ape provider.

``sender`` is an Ape account. How calls are tried, sent and refused: `ml.chain.contract`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from ml.chain.commitment import details_fields, role_id
from ml.chain.contract import DeployedContract
from ml.chain.records import (
    Details,
    Evaluation,
    Model,
    ModelKind,
    Receipt,
    Role,
    Version,
)
from ml.chain.types import CompletionReason, ModelState, Policy, Status, Verdict, policy_from

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.artifact import InclusionProof

NO_ACCOUNT = "0x0000000000000000000000000000000000000000"
PAGE = 256
"""Versions that one call asks for."""


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
        trainer: str = NO_ACCOUNT,
        validator: str = NO_ACCOUNT,
        operator: str = NO_ACCOUNT,
    ) -> tuple[bytes, Receipt]:
        """Create a strict model and return its id; the sender becomes its ADMIN."""
        roles = (trainer, validator, operator)
        created, receipt = self._send(
            "createModel", name, test_set, astuple(policy), roles, sender=sender
        )
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

    def validate(
        self, model: bytes, evaluation: Evaluation, metrics: str, *, sender: AccountAPI
    ) -> tuple[Verdict, Receipt]:
        """Validate the pending version, VALIDATOR, and return what the policy made of it."""
        fields = (
            evaluation.version,
            evaluation.accuracy,
            evaluation.training_accuracy,
            evaluation.accepted,
            evaluation.test_set,
            evaluation.weights,
            evaluation.details,
        )
        verdict, receipt = self._send("validate", model, fields, metrics, sender=sender)
        return Verdict(verdict), receipt

    def rollback(self, model: bytes, target: int, reason: str, *, sender: AccountAPI) -> Receipt:
        """Make a passed version current and best, OPERATOR; target 0 if none is good."""
        return self._send("rollback", model, target, reason, sender=sender)[1]

    def discard(self, model: bytes, reason: str, *, sender: AccountAPI) -> Receipt:
        """Withdraw the pending version, OPERATOR."""
        return self._send("discard", model, reason, sender=sender)[1]

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
        """Change the policy while nothing is pending, ADMIN."""
        return self._send("setPolicy", model, astuple(policy), sender=sender)[1]

    def enrol_client(
        self, model: bytes, index: int, client: str, dataset: bytes, *, sender: AccountAPI
    ) -> Receipt:
        """Give a client an index for good, ADMIN."""
        return self._send("enrolClient", model, index, client, dataset, sender=sender)[1]

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

    # Reading

    def model(self, model: bytes) -> Model:
        """All about a model but its versions."""
        view = self._call("getModel", model)
        return Model(
            id=model,
            kind=ModelKind(view.kind),
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
                pending=view.pending,
                completed=CompletionReason(view.completed),
            ),
            test_set=bytes(view.testSet),
            head=bytes(view.head),
            active_clients=view.activeClients,
            policy=policy_from(view.policy),
        )

    def version(self, model: bytes, number: int) -> Version:
        """One version's record."""
        return _version(self._call("getVersion", model, number))

    def versions(self, model: bytes, start: int = 1) -> Iterator[Version]:
        """The records of all versions from ``start`` on, in order, read page by page."""
        while page := self._call("getVersions", model, start, PAGE):
            yield from map(_version, page)
            start += len(page)

    def lineage(self, model: bytes, number: int) -> Iterator[Version]:
        """A version, its parent, the parent's parent and so on, read page by page."""
        while number != 0:
            page = [_version(view) for view in self._call("getLineage", model, number, PAGE)]
            yield from page
            number = page[-1].parent

    def on_active_line(self, model: bytes, number: int) -> bool:
        """Whether a version is the current one or an ancestor of it."""
        on_line, resume = self._call("onActiveLine", model, number, 0, PAGE)
        while resume:
            on_line, resume = self._call("onActiveLine", model, number, resume, PAGE)
        return bool(on_line)

    def client(self, model: bytes, index: int) -> str | None:
        """The address of the client at an index, active or not."""
        address = str(self._call("getClient", model, index))
        return None if address == NO_ACCOUNT else address

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


def _version(view: Any) -> Version:
    return Version(
        number=view.version,
        parent=view.parent,
        accuracy=view.accuracy,
        status=Status(view.status),
        commitment=bytes(view.commitment),
    )
