"""After a rollback: all active clients load the target and acknowledge it, then rounds go on."""

from __future__ import annotations

import time
from typing import Final, Literal

from ml.chain import events
from ml.chain.records import Model
from ml.chain.types import Verdict
from ml.errors import ModelproofError, NotVerified
from ml.federated import acknowledgements
from ml.federated.acknowledgements import Acknowledgement
from ml.federated.replies import AcknowledgementReply, FailureReply
from ml.federated.tasks import RollbackPayload, RollbackTask, task_id
from ml.storage.keys import PublicKey

from .bases import Base
from .context import LOOK_AGAIN_S, Context
from .news import ClientFailed, MessageIgnored, WentBack
from .post import Received, metadata_now

AUTOMATIC: Final = "automatic"
_BY_HAND: Final = {
    "RolledBackManually": "rolled back by hand",
    "VersionDiscarded": "a version was discarded",
    "ModelReopened": "training was reopened",
}
"""What begins an epoch besides an automatic rollback, by the event's name."""


def come_back(context: Context, model: Model) -> bool:
    """Bring all active clients to a model's current version, if that has not been done yet.

    Those who have stayed silent by the deadline, or said that they cannot, take no part until they
    acknowledge; where there is no deadline, all others are waited for.

    Returns:
        whether that is done; False if the model has moved on meanwhile.
    """
    epoch, journal = model.state.epoch, context.journal
    if epoch == 0 or journal.is_settled(epoch):
        return True
    target = context.bases.of(model.state.current)
    journal.go_back(epoch, target.version, target.weights)
    reason, by = _why(context, model)
    asking = _Asking(context, model, target, reason, by)
    active = set(context.active(model))
    with context.clocked("come back"):
        begun = looked = time.monotonic()
        while asking.missing(active):
            patience = context.run.deadline_s
            if patience is not None and time.monotonic() - begun > patience:
                break
            received = context.post.next(LOOK_AGAIN_S)
            if received:
                asking.deal_with(received)
            if time.monotonic() - looked > LOOK_AGAIN_S:
                model = context.chain.now()
                if model.state.epoch != epoch or model.state.completed:
                    return False
                active = set(context.active(model))
                looked = time.monotonic()
    journal.settle(epoch)
    back = active & journal.acknowledged(epoch)
    silent = tuple(sorted(active - back))
    context.tell(WentBack(epoch, target.version, reason, tuple(sorted(back)), silent))
    return True


def ask_the_silent(context: Context, model: Model) -> None:
    """Send ROLLBACK to active clients who have not come back from the latest one, once each.

    A coordinator that was started again does so, and so does one whose client was reinstated.
    """
    epoch = model.state.epoch
    asked = context.journal.target(epoch)
    silent = set(context.active(model)) - set(context.answering(model))
    missing = {client for client in silent if (epoch, client) not in context.reminded}
    if asked is None or not missing:
        return
    reason, by = _why(context, model)
    asking = _Asking(context, model, context.bases.of(asked[0]), reason, by)
    asking.missing(missing)


class _Asking:
    """Asking clients to come back to a version."""

    def __init__(self, context: Context, model: Model, target: Base, reason: str, by: str) -> None:
        self._context = context
        self._model = model
        self._target = target
        self._why = reason, by
        self._asked: set[int] = set()
        self._failed: set[int] = set()

    def missing(self, clients: set[int]) -> set[int]:
        """Those who have not answered; who was not asked yet is asked."""
        state = self._model.state
        missing = clients - self._context.journal.acknowledged(state.epoch) - self._failed
        for client in sorted(missing - self._asked):
            _tell_client(self._context, self._model, self._target, client, *self._why)
            self._asked.add(client)
            self._context.reminded.add((state.epoch, client))
        return missing

    def deal_with(self, received: Received) -> None:
        """Take a message."""
        try:
            if take_acknowledgement(self._context, received):
                return
            if isinstance(received.message, FailureReply) and self._fails(received.message):
                return
            self._context.tell(MessageIgnored("a message from before the rollback"))
        finally:
            received.delivery.acknowledge()

    def _fails(self, reply: FailureReply) -> bool:
        for client in self._asked:
            known = self._context.run.by_index[client].address
            if (reply.sender, reply.task_id) == (
                known,
                rollback_id(self._model, self._target.version, client),
            ):
                self._failed.add(client)
                self._context.tell(ClientFailed(f"client {client}", reply.reason))
                return True
        return False


def rollback_id(model: Model, target: int, client: int) -> str:
    """The id of the task that brings a client back to a version in a model's epoch."""
    state = model.state
    return task_id("ROLLBACK", model.id, state.epoch, 0, target, client)


def take_acknowledgement(context: Context, received: Received) -> bool:
    """Note an acknowledgement, if a message is one; it may come when rounds are going on again.

    Returns:
        whether it is one; what a client did not sign is ignored.
    """
    reply = received.message
    if not isinstance(reply, AcknowledgementReply):
        return False
    known = context.run.by_index.get(reply.client_id)
    said = Acknowledgement(reply.model, reply.epoch, reply.target_version_id, reply.target_weights)
    try:
        if known is None or reply.model != context.run.model:
            raise ModelproofError(f"client {reply.client_id} is not one of this training")
        acknowledgements.check(context.run.domain, said, reply.signature, known.address)
    except ModelproofError as error:
        context.tell(MessageIgnored(f"an acknowledgement is not taken: {error}"))
        return True
    asked = context.journal.target(reply.epoch)
    if asked == (reply.target_version_id, reply.target_weights):
        context.journal.acknowledge(reply.epoch, reply.client_id, received.data)
    return True


def _tell_client(
    context: Context, model: Model, target: Base, client: int, reason: str, by: str
) -> None:
    sidecar = None
    if target.cid:
        key = PublicKey.from_raw(context.run.by_index[client].recipient)
        sidecar = context.objects.sidecar_for(target.cid, key).to_json().decode()
    state = model.state
    kind: Literal["automatic", "manual"] = "automatic" if by == AUTOMATIC else "manual"
    task = RollbackTask(
        task_id=rollback_id(model, target.version, client),
        model=model.id,
        epoch=state.epoch,
        iteration=state.iteration,
        model_version_id=target.version,
        parent_version_id=0,
        metadata=metadata_now(),
        payload=RollbackPayload(
            target_version_id=target.version,
            weights_cid=str(target.cid) if target.cid else None,
            weights_sidecar=sidecar,
            target_weights=target.weights,
            reason=reason,
            triggered_by=by,
            rollback_type=kind,
        ),
    )
    context.post.send(context.post.names.client(client), task)


def _why(context: Context, model: Model) -> tuple[str, str]:
    """What began the epoch that a model is in, and who did it: `AUTOMATIC`, or an address."""
    for event in reversed(events.read(context.chain.registry, model=model.id)):
        said = event.arguments
        if event.name == "RolledBackAutomatically":
            cause = Verdict(said["cause"]).name
            return f"v{said['from']} failed its validation ({cause})", AUTOMATIC
        if event.name in _BY_HAND:
            return said["reason"] or _BY_HAND[event.name], str(said["by"])
    raise NotVerified("the node has no event of what began the model's epoch: ask another node.")
