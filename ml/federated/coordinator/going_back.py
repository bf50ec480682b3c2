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
from ml.federated.replies import AcknowledgementReply
from ml.federated.tasks import RollbackPayload, RollbackTask, task_id
from ml.storage.keys import PublicKey

from .bases import Base
from .context import LOOK_AGAIN_S, Context
from .news import MessageIgnored, WentBack
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

    Those who have stayed silent by the deadline take no part until they acknowledge; where there is
    no deadline, all are waited for.

    Returns:
        whether that is done; False if the model has moved on meanwhile.
    """
    epoch, journal = model.state.epoch, context.journal
    if epoch == 0 or journal.is_settled(epoch):
        return True
    target = context.bases.of(model.state.current)
    journal.go_back(epoch, target.version, target.weights)
    reason, by = _why(context, model)
    active = context.active(model)
    with context.clocked("come back"):
        for client in set(active) - journal.acknowledged(epoch):
            _tell_client(context, model, target, client, reason, by)
        begun = looked = time.monotonic()
        while missing := set(active) - journal.acknowledged(epoch):
            patience = context.run.deadline_s
            if patience is not None and time.monotonic() - begun > patience:
                break
            received = context.post.next(LOOK_AGAIN_S)
            if received:
                if not take_acknowledgement(context, received):
                    context.tell(MessageIgnored("a message from before the rollback"))
                received.delivery.acknowledge()
            if time.monotonic() - looked > LOOK_AGAIN_S:
                if context.chain.now().state.epoch != epoch:
                    return False
                looked = time.monotonic()
    journal.settle(epoch, missing)
    back = tuple(sorted(set(active) - missing))
    context.tell(WentBack(epoch, target.version, reason, back, tuple(sorted(missing))))
    return True


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
        task_id=task_id("ROLLBACK", model.id, state.epoch, state.iteration, target.version, client),
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
