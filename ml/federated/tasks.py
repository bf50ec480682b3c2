"""The messages that coordinator, clients and workers send each other: what has to be done next.

The thesis's eight types, with its fields and the three that a chain adds (model, epoch, iteration).
Strict canonical JSON; weights are named by their CID and never travel in a message. Their order is
aggregate, store, register, validate: an object's CID is known before it is registered, so that
``STORAGE_WRITE`` comes before ``BLOCKCHAIN_WRITE`` here, and has the hash that is going to be on
chain instead of the one that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, TypeVar

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.training import canonical
from ml.training.canonical import Digest, MalformedJson

MAX_TASK_BYTES: Final = 1 << 20
"""Above what an aggregation of a thousand updates takes; more is refused unread."""

_Message = TypeVar("_Message")
Priority = Literal["normal", "high", "urgent"]


@dataclass(frozen=True, slots=True)
class TaskMetadata:
    """What is known of a message itself.

    Raises:
        MalformedJson: on construction, if a number is negative.
    """

    created_at: int
    """Seconds since 1970."""
    priority: Priority = "normal"
    retry_count: int = 0
    """How often it was tried before."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_counts(self, "created_at", "retry_count")


# --- Payloads -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrainPayload:
    """For one client: train on your own data from these weights."""

    client_id: int
    weights_cid: str | None
    """Of the parent version; None where all start from the same seeded weights."""
    weights_sidecar: str | None
    """The object's, with its key wrapped for this client."""
    base_weights: Digest
    """Their identity."""
    deadline: int | None
    """Until when an update is taken, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ClientUpdateRecord:
    """Where a client's update is, and by what it is known."""

    client_id: int
    update_cid: str
    update_hash: Digest
    """SHA-256 of the update's file: what the client signed."""
    samples: int


@dataclass(frozen=True, slots=True)
class AggregatePayload:
    """Make one model of these."""

    client_updates: tuple[ClientUpdateRecord, ...]


@dataclass(frozen=True, slots=True)
class StorageWritePayload:
    """Encrypt and store what was aggregated."""

    blockchain_hash: Digest
    """The identity of the weights, as it is going to be registered."""


@dataclass(frozen=True, slots=True)
class BlockchainWritePayload:
    """Register what was stored."""

    blockchain_hash: Digest
    """The identity of the weights."""
    ipfs_cid: str
    object_hash: Digest
    """SHA-256 of the stored ciphertext."""
    updates_root: Digest
    """Over the signed updates: see `update_tree`."""
    client_ids: tuple[int, ...]
    """Who contributed."""


@dataclass(frozen=True, slots=True)
class ValidatePayload:
    """Measure a version that was registered."""

    ipfs_cid: str
    weights_sidecar: str
    """The object's, with its key wrapped for this validator."""
    blockchain_hash: Digest
    """The identity that its weights must have."""
    training_accuracy_ppm: int
    """As the version's metadata states it, 0 if unknown."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What a validator found."""

    passed: bool
    accuracy_ppm: int
    metrics: dict[str, float]
    """Loss, precision, recall and others, by their names."""
    test_dataset_hash: Digest
    """The root of the validation part."""
    validator_ids: tuple[str, ...]
    """Addresses."""


@dataclass(frozen=True, slots=True)
class DecisionPayload:
    """Go on, go back, or end, by what the contract made of this."""

    validation_result: ValidationResult


@dataclass(frozen=True, slots=True)
class RollbackPayload:
    """Discard what you hold, load the target, and acknowledge."""

    target_version_id: int
    """0 where no version is good."""
    weights_cid: str | None
    """Of the target; None where there is none, and all start from the seeded weights again."""
    weights_sidecar: str | None
    """The object's, with its key wrapped for this client."""
    target_weights: Digest
    """The target's identity, or that of the seeded weights."""
    reason: str
    triggered_by: str
    """An address, or ``automatic``."""
    rollback_type: Literal["automatic", "manual"]


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """A finished training in numbers."""

    total_iterations: int
    clients_participated: int
    training_duration: float
    """In seconds."""
    total_rounds: int


@dataclass(frozen=True, slots=True)
class FinalMetadata:
    """How a finished training came about."""

    hyperparameters_used: dict[str, str | int | float | bool]
    dataset_info: dict[str, str | int]
    completion_reason: str


@dataclass(frozen=True, slots=True)
class FinalModelInfo:
    """The model that is ready."""

    final_model_version_id: int
    final_accuracy: int
    """ppm."""
    final_metrics: dict[str, float]
    final_weights_cid: str
    training_summary: TrainingSummary
    metadata: FinalMetadata


@dataclass(frozen=True, slots=True)
class TrainingCompletePayload:
    """Training is over."""

    final_model_info: FinalModelInfo


# --- Tasks ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What every message has.

    Raises:
        MalformedJson: on construction, if a number is negative.
    """

    task_id: str
    """The same for the same work, so that it is done once: see `task_id`."""
    model: Digest
    """The model's id."""
    epoch: int
    iteration: int
    model_version_id: int
    """The version that the work is about, 0 where it has no number yet."""
    parent_version_id: int
    """The version that it is made from, 0 for none."""
    metadata: TaskMetadata
    format: Literal["modelproof.task.v1"] = "modelproof.task.v1"

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_counts(self, "epoch", "iteration", "model_version_id", "parent_version_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTask(_Task):
    """TRAIN, to one client."""

    payload: TrainPayload
    task_type: Literal["TRAIN"] = "TRAIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateTask(_Task):
    """AGGREGATE, once a round's updates are in."""

    payload: AggregatePayload
    task_type: Literal["AGGREGATE"] = "AGGREGATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageWriteTask(_Task):
    """STORAGE_WRITE, of the aggregate."""

    payload: StorageWritePayload
    task_type: Literal["STORAGE_WRITE"] = "STORAGE_WRITE"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockchainWriteTask(_Task):
    """BLOCKCHAIN_WRITE, of what was stored."""

    payload: BlockchainWritePayload
    task_type: Literal["BLOCKCHAIN_WRITE"] = "BLOCKCHAIN_WRITE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateTask(_Task):
    """VALIDATE, to the validators."""

    payload: ValidatePayload
    task_type: Literal["VALIDATE"] = "VALIDATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTask(_Task):
    """DECISION, after a validation."""

    payload: DecisionPayload
    task_type: Literal["DECISION"] = "DECISION"


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackTask(_Task):
    """ROLLBACK, to all clients."""

    payload: RollbackPayload
    task_type: Literal["ROLLBACK"] = "ROLLBACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCompleteTask(_Task):
    """TRAINING_COMPLETE, to all."""

    payload: TrainingCompletePayload
    task_type: Literal["TRAINING_COMPLETE"] = "TRAINING_COMPLETE"


Task: TypeAlias = (
    TrainTask
    | AggregateTask
    | StorageWriteTask
    | BlockchainWriteTask
    | ValidateTask
    | DecisionTask
    | RollbackTask
    | TrainingCompleteTask
)
TASK_TYPES: Final[dict[str, type[Task]]] = {
    "TRAIN": TrainTask,
    "AGGREGATE": AggregateTask,
    "STORAGE_WRITE": StorageWriteTask,
    "BLOCKCHAIN_WRITE": BlockchainWriteTask,
    "VALIDATE": ValidateTask,
    "DECISION": DecisionTask,
    "ROLLBACK": RollbackTask,
    "TRAINING_COMPLETE": TrainingCompleteTask,
}


def task_id(
    task_type: str, model: bytes, epoch: int, iteration: int, base: int, client: int | None = None
) -> str:
    """The id of a task: equal for equal work, so that doing it twice is noticed.

    Args:
        task_type: one of `TASK_TYPES`.
        model: the model's id.
        epoch: counts rollbacks, so that a round that is repeated after one has other ids.
        iteration: the round.
        base: the version that the work starts from.
        client: whom the task is for, if for one.
    """
    parts = [task_type, model.hex(), f"e{epoch}", f"i{iteration}", f"v{base}"]
    return "-".join(parts if client is None else [*parts, f"c{client}"])


def dump(task: Task) -> bytes:
    """Write a message; equal tasks give equal bytes."""
    return canonical.dump(task).encode()


def load(data: bytes) -> Task:
    """Read what `dump` wrote.

    Raises:
        MalformedJson: the bytes are anything else.
    """
    return load_message(data, TASK_TYPES, "task")


def load_message(data: bytes, types: Mapping[str, type[_Message]], what: str) -> _Message:
    """Read a message of one of several types, which it names itself.

    Args:
        data: canonical JSON
        types: by what its member ``<what>_type`` says
        what: it is: ``task`` or ``reply``

    Raises:
        MalformedJson: the bytes are anything else.
    """
    if len(data) > MAX_TASK_BYTES:
        raise MalformedJson(
            f"the {what} cannot be used: it has {len(data)} bytes, more than {MAX_TASK_BYTES}"
        )
    try:
        document = strict_json.loads(data, fractions=True)
    except StrictJsonError as error:
        raise MalformedJson(f"the {what} cannot be used: {error}") from None
    named = document.get(f"{what}_type") if isinstance(document, dict) else None
    if not isinstance(named, str) or named not in types:
        raise MalformedJson(
            f"the {what} cannot be used: its {what}_type is none of {', '.join(types)}"
        )
    return canonical.load(types[named], data, f"the {named} {what}")


def _check_counts(value: object, *names: str) -> None:
    for name in names:
        if getattr(value, name) < 0:
            raise MalformedJson(f"a task's {name} is 0 or more, not {getattr(value, name)}")
