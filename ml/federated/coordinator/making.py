"""From a round's updates to a registered version: aggregate, encrypt, store, register."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from ml.chain.records import Details, Model, Receipt
from ml.federated import update_tree, version_files
from ml.federated.aggregation import aggregate
from ml.federated.sampling import RoundKey
from ml.federated.tasks import (
    AggregatePayload,
    AggregateTask,
    BlockchainWritePayload,
    BlockchainWriteTask,
    ClientUpdateRecord,
    StorageWritePayload,
    StorageWriteTask,
    task_id,
)
from ml.storage.sidecar import Sidecar
from ml.training.archive import METADATA_FORMAT
from ml.training.round_metadata import RecordedUpdate, RoundMetadata

from .bases import Base
from .context import Context
from .post import metadata_now
from .records import MadeVersion
from .taken import Admitted


def make_version(
    context: Context,
    model: Model,
    key: RoundKey,
    base: Base,
    admitted: Collection[Admitted],
    settle: Callable[[], None],
) -> MadeVersion:
    """Make one model of a round's updates, and store it with how it came about.

    When this returns, all of it is in the stores for good and noted in the journal. A crash before
    that leaves objects that no version names, and the same is made again.

    Args:
        context: the training
        model: as it stands
        key: the round
        base: the version that clients started from
        admitted: the round's updates
        settle: returns once these are kept for good

    Raises:
        ModelproofError: they cannot be aggregated by the run's rule.
        StorageError: too few stores take it.
    """
    run, version = context.run, model.state.latest + 1
    ordered = sorted(admitted, key=lambda one: one.update.client)
    _note_aggregation(context, key, base, ordered)
    with context.clocked("aggregate"):
        made = aggregate(run.rule, base.tensors, [one.update for one in ordered], base.state)
        file = version_files.dump(made.weights, made.state, run.rule)
        root = update_tree.root_of([one.file for one in ordered])
    common = _common(context, "STORAGE_WRITE", key, base.version, version)
    context.post.note(StorageWriteTask(**common, payload=StorageWritePayload(file.weights)))
    with context.clocked("store"):
        kept = context.objects.put(file.data, file.format, context.objects.keys)
        metadata = _metadata(context, version, key, base, ordered, root, file.weights)
        text = metadata.to_json().encode()
        described = context.objects.put(text, METADATA_FORMAT, context.objects.keys)
        settle()
    result = MadeVersion(
        version=version,
        weights=file.weights,
        cid=str(kept.stored.cid),
        object=kept.stored.sha256,
        content=kept.stored.cid.digest,
        updates=root,
        contributors=f"{_contributors(context, ordered):x}",
        metadata=metadata.summary(str(described.stored.cid)),
        training_accuracy_ppm=metadata.training_accuracy_ppm,
        bytes_stored=_size(kept, described),
    )
    context.journal.make(key, result)
    context.bases.hold(Base(version, file.weights, made.weights, made.state, kept.stored.cid))
    return result


def register_version(context: Context, key: RoundKey, base: int, made: MadeVersion) -> Receipt:
    """Register what was made of a round, or find that it was.

    Raises:
        ContractRefused: the round's turn has passed, or a contributor is active no more.
    """
    details = Details(
        parent=base,
        iteration=key.iteration,
        epoch=key.epoch,
        object=made.object,
        content=made.content,
        updates=made.updates,
        contributors=int(made.contributors, 16),
    )
    payload = BlockchainWritePayload(
        blockchain_hash=made.weights,
        ipfs_cid=made.cid,
        object_hash=made.object,
        updates_root=made.updates,
        client_ids=tuple(taken.client for taken in context.journal.taken(key)),
    )
    common = _common(context, "BLOCKCHAIN_WRITE", key, base, made.version)
    context.post.note(BlockchainWriteTask(**common, payload=payload))
    with context.clocked("register"):
        return context.chain.registry.register(
            context.run.model,
            made.version,
            made.weights,
            details,
            made.metadata,
            sender=context.trainer,
        )


def _note_aggregation(
    context: Context, key: RoundKey, base: Base, admitted: Collection[Admitted]
) -> None:
    """Write down what is going to be aggregated."""
    records = tuple(
        ClientUpdateRecord(
            client_id=one.update.client,
            update_cid=one.taken.cid,
            update_hash=one.file.update.digest,
            samples=one.update.samples,
        )
        for one in admitted
    )
    common = _common(context, "AGGREGATE", key, base.version, 0)
    context.post.note(AggregateTask(**common, payload=AggregatePayload(records)))


def _common(
    context: Context, task_type: str, key: RoundKey, base: int, version: int
) -> dict[str, Any]:
    model = context.run.model
    return {
        "task_id": task_id(task_type, model, *key.values, base),
        "model": model,
        "epoch": key.epoch,
        "iteration": key.iteration,
        "model_version_id": version,
        "parent_version_id": base,
        "metadata": metadata_now(),
    }


def _metadata(
    context: Context,
    version: int,
    key: RoundKey,
    base: Base,
    admitted: Collection[Admitted],
    root: bytes,
    weights: bytes,
) -> RoundMetadata:
    run = context.run
    recorded = tuple(
        RecordedUpdate(
            client_id=one.update.client,
            address=one.file.client,
            cid=one.taken.cid,
            digest=one.file.update.digest,
            samples=one.update.samples,
            correct=one.taken.correct,
            signature_r=one.file.signature.r,
            signature_vs=one.file.signature.vs,
            epsilon=one.taken.epsilon,
        )
        for one in admitted
    )
    return RoundMetadata(
        weights=weights,
        model=run.model,
        version=version,
        parent=base.version,
        parent_weights=base.weights,
        epoch=key.epoch,
        iteration=key.iteration,
        run=run.digest,
        run_cid=context.run_cid,
        dataset=run.dataset_name,
        class_names=run.class_names,
        architecture=run.architecture,
        rule=run.rule.name,
        updates_root=root,
        updates=recorded,
        environment=context.environment,
    )


def _contributors(context: Context, admitted: Collection[Admitted]) -> int:
    if not context.run.is_enrolled:
        return 0
    return update_tree.contributors([one.file for one in admitted])


def _size(*kept: Sidecar) -> int:
    return sum(one.stored.size for one in kept)
