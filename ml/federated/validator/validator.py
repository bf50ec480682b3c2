"""One validator of a federated training: from VALIDATE to what it says on chain of a version.

Nothing in a task is believed but the training accuracy, which is the trainer's word anyway: the
version is the one that waits on chain, its object the one that its registration names, and its
weights have the identity that is on record. A version is refused (``accepted`` is false) where the
very object on record was opened and holds no model that could be measured; that is the trainer's
doing. Where the object cannot be had or opened here, nothing is known of the version, and nothing
is said of it on chain: a forged task, or a damaged replica, must not cost a model a rollback.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.chain import publishing, quorum
from ml.chain.events import Registered
from ml.chain.outbox.locks import StillHeld
from ml.chain.outbox.queue import NotMined
from ml.chain.outbox.rpc import NoAnswer
from ml.chain.publishing import Pending
from ml.chain.quorum import Measured
from ml.chain.records import Model
from ml.chain.refusals import ContractRefused
from ml.chain.signed_before import SignedBefore
from ml.chain.signed_files import dump_evaluation
from ml.errors import ModelproofError, NotVerified
from ml.federated import version_files
from ml.federated.chain_view import ChainView
from ml.federated.measuring import measure
from ml.federated.objects import Objects, sent_sidecar
from ml.federated.parts import Part
from ml.federated.replies import EvaluationReply, FailureReply
from ml.federated.run_configuration import RunConfiguration
from ml.federated.tasks import (
    DecisionPayload,
    DecisionTask,
    TaskMetadata,
    TrainingCompleteTask,
    ValidateTask,
    ValidationResult,
    task_id,
)
from ml.storage.errors import MissingRecipient, NoKey, StorageError, WrongKey
from ml.storage.keys import PublicKey
from ml.storage.sidecar import Sidecar
from ml.training.canonical import canonical_json

if TYPE_CHECKING:
    from ape.api import AccountAPI

Answer: TypeAlias = DecisionTask | EvaluationReply | FailureReply

WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long a store that does not give an object is waited for, time after time."""
_MAX_REASON: Final = 1000
"""Characters of a refusal's reason that go on chain."""
_PASSING: Final = (NoAnswer, NotMined, StillHeld)
"""What is over when the node answers again: the task then comes again too."""


class Validator:
    """Measures what waits, and says so on chain, or signs it where several have to agree."""

    def __init__(
        self,
        run: RunConfiguration,
        chain: ChainView,
        objects: Objects,
        part: Part,
        account: AccountAPI,
        signed_before: SignedBefore,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        """Check, before any work is done, that this validator can do what the run asks of it.

        Args:
            run: the training
            chain: its model
            objects: the stores, with the X25519 key that the run names for this validator
            part: the validation part
            account: holds VALIDATOR, and is one of the run's validators
            signed_before: what was signed on this machine, where several validators have to agree
            waits_s: how long to wait for a store, time after time

        Raises:
            NotVerified: the part is not the test set that the model was created for, or the run's.
            ModelproofError: the account may not validate, is none of the run's, or its key is
                another.
        """
        self._run: Final = run
        self._chain: Final = chain
        self._objects: Final = objects
        self._part: Final = part
        self._account: Final = account
        self._signed_before: Final = signed_before
        self._waits_s: Final = tuple(waits_s)
        model = chain.now()
        _check_part(run, model, part)
        _check_membership(run, objects, self.address)
        quorum.check_validator(chain.registry, model, self.address)

    @property
    def address(self) -> str:
        """The account's."""
        return str(self._account.address)

    def handle(self, task: ValidateTask) -> Answer:
        """Do what a task asks for; of a version that has been judged, say how.

        Returns:
            what the contract decided; or this validator's signed evaluation, where several have to
            agree; or why nothing could be said.

        Raises:
            NoAnswer, NotMined, StillHeld: the chain cannot be used for now; the same task can be
                handled again, and nothing is sent twice.
        """
        self._chain.forget()
        try:
            return self._answer(task)
        except _PASSING:
            raise
        except ModelproofError as error:
            return FailureReply(task.task_id, self.address, str(error))

    def believes(self, task: TrainingCompleteTask) -> bool:
        """Whether training is over, as a task says: an old one may come after a reopening."""
        state = self._chain.now().state
        return task.model == self._run.model and bool(state.completed)

    def _answer(self, task: ValidateTask) -> Answer:
        if task.model != self._run.model:
            raise ModelproofError(f"the task is for the model 0x{task.model.hex()}")
        version = task.model_version_id
        model = self._chain.now((version, task.payload.blockchain_hash))
        record = self._chain.registration(version, task.payload.blockchain_hash)
        if model.state.pending != version:
            return self._decided(task)
        measured = self._measured(task, record, model)
        waiting = Pending(model, record)
        if model.policy.quorum > 1:
            return self._sign(task, waiting, measured)
        try:
            publishing.validate(
                self._chain.registry,
                waiting,
                measured.accuracy,
                measured.training_accuracy,
                measured.metrics,
                accepted=measured.accepted,
                sender=self._account,
            )
        except ContractRefused:
            if self._chain.now().state.pending == version:
                raise
        return self._decided(task)

    # Measuring

    def _measured(self, task: ValidateTask, record: Registered, model: Model) -> Measured:
        payload = task.payload
        sidecar = sent_sidecar(record, payload.ipfs_cid, payload.weights_sidecar)
        data = self._fetch(sidecar)
        training_accuracy = task.payload.training_accuracy_ppm
        run = self._run
        try:
            loaded = version_files.load(data, record.weights, run.rule, run.architecture)
            found = measure(run.architecture, loaded.tensors, self._part)
        except ModelproofError as error:
            self._check_object(sidecar)
            text = canonical_json({"refused": str(error)[:_MAX_REASON]})
            return Measured(0, training_accuracy, text, accepted=False)
        text = found.counted() if model.policy.quorum > 1 else found.summary()
        return Measured(found.accuracy_ppm, training_accuracy, text)

    def _fetch(self, sidecar: Sidecar) -> bytes:
        """The version's file; a store that does not give it is asked again."""
        cid = sidecar.stored.cid
        limit = version_files.size_limit(self._run.architecture, self._run.rule)
        for wait in self._waits_s:
            try:
                return self._objects.get(cid, limit, sidecar)
            except (NoKey, WrongKey, MissingRecipient):
                raise
            except StorageError:
                time.sleep(wait)
        return self._objects.get(cid, limit, sidecar)

    def _check_object(self, sidecar: Sidecar) -> None:
        """Check that what was opened is the object on record, byte for byte.

        Stores give bytes unchecked, and a forged sidecar opens a forged object.

        Raises:
            NotVerified: it is another.
        """
        found = self._objects.places.store.verify(sidecar.stored.cid)
        if found.sha256 != sidecar.stored.sha256:
            raise NotVerified(
                f"object {found.cid} is not the one on record: its SHA-256 is another"
            )

    # Saying

    def _sign(self, task: ValidateTask, waiting: Pending, measured: Measured) -> EvaluationReply:
        registry = self._chain.registry
        deadline = quorum.deadline_after(
            registry.block_time(waiting.registered.block),
            quorum.current_time(registry),
            quorum.DEFAULT_DEADLINE_HOURS,
        )
        file, _ = quorum.sign_evaluation(
            registry, waiting, measured, deadline, self._signed_before, signer=self._account
        )
        return EvaluationReply(task.task_id, dump_evaluation(file))

    def _decided(self, task: ValidateTask) -> DecisionTask:
        """What the chain says became of a version that waits no more.

        Raises:
            ModelproofError: it was discarded.
        """
        version = task.model_version_id
        told = self._chain.verdicts(version)
        if not told:
            raise ModelproofError(f"v{version} of {self._run.name} was discarded: nothing to judge")
        said = told[-1]
        base = task.parent_version_id
        return DecisionTask(
            task_id=task_id("DECISION", task.model, task.epoch, task.iteration, base),
            model=task.model,
            epoch=task.epoch,
            iteration=task.iteration,
            model_version_id=version,
            parent_version_id=base,
            metadata=TaskMetadata(int(time.time())),
            payload=DecisionPayload(
                ValidationResult(
                    passed=not said.verdict.fails,
                    accuracy_ppm=said.accuracy,
                    metrics=_numbers(said.metrics),
                    test_dataset_hash=self._run.test_set,
                    validator_ids=said.validators,
                )
            ),
        )


def _check_part(run: RunConfiguration, model: Model, part: Part) -> None:
    for whose, root in (
        ("the model was created for", model.test_set),
        ("the run is", run.test_set),
    ):
        if part.root != root:
            raise NotVerified(
                f"the validation part at hand has the root 0x{part.root.hex()}, and the one that"
                f" {whose} of {run.name} has 0x{root.hex()}: get that one."
            )
    fits = part.inputs.shape[1:] == run.architecture.input_shape
    if not fits or part.class_names != run.class_names:
        raise ModelproofError(
            f"the samples of the validation part are not of the kind that {run.name} takes"
        )


def _check_membership(run: RunConfiguration, objects: Objects, address: str) -> None:
    known = next((one for one in run.validators if one.address == address), None)
    if known is None:
        raise ModelproofError(f"{address} is none of the validators of this run of {run.name}.")
    if known.recipient not in [key.raw for key in objects.keys if isinstance(key, PublicKey)]:
        raise ModelproofError(
            f"the run of {run.name} has another X25519 key for {address} than the one at hand:"
            " nothing that is sent to it could be opened."
        )


def _numbers(metrics: str) -> dict[str, float]:
    """The numbers among the members of a JSON text."""
    try:
        stated = strict_json.loads(metrics.encode(), fractions=True)
    except (StrictJsonError, UnicodeEncodeError):
        return {}
    if not isinstance(stated, dict):
        return {}
    return {name: float(value) for name, value in stated.items() if type(value) in (int, float)}
