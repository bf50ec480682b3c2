"""Having a registered version validated, and finding out what the contract made of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ml.chain import events, quorum
from ml.chain.policy import explain, judge
from ml.chain.publishing import Pending
from ml.chain.records import Evaluation, Model, Version
from ml.chain.refusals import ContractRefused
from ml.chain.signed_files import EvaluationFile, parse_evaluation
from ml.chain.types import Status, Verdict, format_ppm
from ml.errors import ModelproofError
from ml.federated.replies import EvaluationReply, FailureReply
from ml.federated.sampling import RoundKey
from ml.federated.tasks import DecisionTask, ValidatePayload, ValidateTask, task_id
from ml.storage.cid import Cid
from ml.storage.keys import PublicKey

from .context import LOOK_AGAIN_S, Context
from .gathering import Gathering
from .going_back import take_acknowledgement
from .news import ClientFailed, MessageIgnored
from .post import Received, metadata_now
from .records import MadeVersion


class NobodyValidates(ModelproofError):
    """Every validator that could have measured a version said that it cannot."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a version that waited."""

    model: Model
    """As it stands now."""
    accuracy_ppm: int
    verdict: Verdict
    """NONE where somebody discarded it."""
    sentence: str


def have_judged(
    context: Context,
    before: Model,
    key: RoundKey,
    base: int,
    made: MadeVersion,
    ahead: Gathering | None = None,
) -> Judged:
    """Ask the validators about a version, and wait until it waits no more.

    The next round begins meanwhile, if there is one that can: what validators find out then decides
    whether it goes on.

    Args:
        context: the training
        before: the model while the version waits
        key: the round
        base: the version's parent
        made: the version
        ahead: the round that is due if the version passes; None to begin none before

    Raises:
        NobodyValidates: too few validators can measure it.
    """
    _ask(context, key, base, made)
    if ahead:
        ahead.ask()
    waiting = _Waiting(context, before, made, ahead)
    model, record, looked = before, None, time.monotonic()
    while model.state.pending == made.version:
        waiting.check_able()
        received = context.post.next(LOOK_AGAIN_S)
        if received:
            try:
                is_of_version = waiting.deal_with(received)
            finally:
                received.delivery.acknowledge()
            if not is_of_version and time.monotonic() - looked < LOOK_AGAIN_S:
                continue
        model, record = context.chain.outcome(made.version)
        looked = time.monotonic()
    return _outcome(context, before, model, made, record)


class _Waiting:
    """What validators answered about one version."""

    def __init__(
        self, context: Context, before: Model, made: MadeVersion, ahead: Gathering | None
    ) -> None:
        self._context = context
        self._ahead = ahead
        self._before = before
        self._made = made
        self._signed: dict[tuple[Evaluation, str, int], dict[Path, EvaluationFile]] = {}
        self._failed: dict[str, str] = {}

    def check_able(self) -> None:
        """See that so many validators are left as have to agree.

        Raises:
            NobodyValidates: they are not.
        """
        count, quorum = len(self._context.run.validators), self._before.policy.quorum
        able = count - len(self._failed)
        if able < quorum:
            raise NobodyValidates(
                f"v{self._made.version} waits, and {able} of the {count} validators can measure it:"
                f" {[*self._failed.values()][-1]}"
            )
        signers = {path.name for files in self._signed.values() for path in files}
        most = max(map(len, self._signed.values()), default=0)
        if most + (able - len(signers - self._failed.keys())) < quorum:
            said = "; ".join(
                f"{len(files)} for {format_ppm(stated.accuracy)} %"
                for (stated, _, _), files in self._signed.items()
            )
            raise NobodyValidates(
                f"v{self._made.version} waits, and no {quorum} validators agree about it ({said}):"
                " find out who is wrong, then discard it or go on."
            )

    def deal_with(self, received: Received) -> bool:
        """Take a message; a decision needs nothing, since the chain is looked at then.

        Returns:
            whether it is of the version, or else of the next round, or of none
        """
        match received.message:
            case DecisionTask():
                pass
            case EvaluationReply(signed=signed):
                self._take(signed)
            case FailureReply(task_id=named, sender=sender, reason=reason) if (
                named == self._task_id(sender)
            ):
                self._fail(sender, reason)
            case _:
                take = self._ahead.deal_with if self._ahead else self._take_acknowledgement
                if not take(received):
                    self._context.tell(MessageIgnored("an update came after its round was closed"))
                return False
        return True

    def _take_acknowledgement(self, received: Received) -> bool:
        return take_acknowledgement(self._context, received)

    def _take(self, signed: str) -> None:
        try:
            file = parse_evaluation(signed.encode(), "a validator's evaluation")
        except ModelproofError as error:
            self._context.tell(MessageIgnored(str(error)))
            return
        if (file.model, file.evaluation.version) != (self._before.id, self._made.version):
            return
        record = self._context.chain.registration(self._made.version, self._made.weights)
        waiting = Pending(self._before, record)
        registry, now = self._context.chain.registry, quorum.current_time
        # those who say the same, so that one who says something else stops nobody
        said = (file.evaluation, file.metrics, file.deadline)
        gathered = {**self._signed.get(said, {}), Path(file.signer): file}
        try:
            quorum.check_together(registry, waiting, gathered, now(registry))
        except ModelproofError as error:
            self._context.tell(ClientFailed(f"validator {file.signer}", str(error)))
            return
        self._signed[said] = gathered
        if len(gathered) >= self._before.policy.quorum:
            ready = quorum.gather(registry, waiting, gathered, now(registry))
            self._submit(waiting, ready)

    def _submit(self, waiting: Pending, ready: list[EvaluationFile]) -> None:
        chain, version = self._context.chain, self._made.version
        try:
            quorum.submit(chain.registry, waiting, ready, sender=self._context.trainer)
        except ContractRefused:
            if chain.now().state.pending == version:  # else somebody was quicker
                raise

    def _fail(self, sender: str, reason: str) -> None:
        if sender not in {one.address for one in self._context.run.validators}:
            return
        self._context.tell(ClientFailed(f"validator {sender}", reason))
        self._failed[sender] = reason

    def _task_id(self, validator: str) -> str:
        return _task_id(self._context, self._made.version, validator)


def _ask(context: Context, key: RoundKey, base: int, made: MadeVersion) -> None:
    for validator in context.run.validators:
        recipient = PublicKey.from_raw(validator.recipient)
        sidecar = context.objects.sidecar_for(Cid.parse(made.cid), recipient)
        task = ValidateTask(
            task_id=_task_id(context, made.version, validator.address),
            model=context.run.model,
            epoch=key.epoch,
            iteration=key.iteration,
            model_version_id=made.version,
            parent_version_id=base,
            metadata=metadata_now(),
            payload=ValidatePayload(
                ipfs_cid=made.cid,
                weights_sidecar=sidecar.to_json().decode(),
                blockchain_hash=made.weights,
                training_accuracy_ppm=made.training_accuracy_ppm,
            ),
        )
        context.post.send(context.post.names.validator(validator.address), task)


def _task_id(context: Context, version: int, validator: str) -> str:
    return f"{task_id('VALIDATE', context.run.model, 0, 0, version)}-{validator.lower()}"


def _outcome(
    context: Context, before: Model, after: Model, made: MadeVersion, record: Version | None
) -> Judged:
    if record is None:  # a reorganisation removed it; this says so
        record = context.chain.registry.version(before.id, made.version)
    if record.status is Status.DISCARDED:
        return Judged(after, 0, Verdict.NONE, f"v{made.version} was discarded.")
    for accepted in (True, False):
        found = judge(
            before.state,
            before.policy,
            made.version,
            record.accuracy,
            made.training_accuracy_ppm,
            accepted,
        )
        if found.state == after.state:
            sentence = explain(found, before.state, before.policy)
            return Judged(after, record.accuracy, found.verdict, sentence)
    return recorded(context, after, made)


def recorded(context: Context, model: Model, made: MadeVersion) -> Judged:
    """What became of a version, as the history tells."""
    record = context.chain.registry.version(model.id, made.version)
    told = events.read(context.chain.registry, model=model.id, version=made.version)
    found = events.validated(told)
    verdict = found[0].verdict if found else Verdict.NONE
    became = verdict.name if found else "discarded"
    return Judged(model, record.accuracy, verdict, f"v{made.version}: {became}.")
