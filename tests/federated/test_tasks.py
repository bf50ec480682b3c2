"""A task has one text, which says all that the thesis's messages say, and no other is read."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.federated import tasks
from ml.federated.tasks import TASK_TYPES, Task, TaskMetadata
from ml.training.canonical import MalformedJson

COMMON: dict[str, Any] = {
    "task_id": "some work",
    "model": b"m" * 32,
    "epoch": 1,
    "iteration": 5,
    "model_version_id": 6,
    "parent_version_id": 4,
    "metadata": TaskMetadata(1_769_860_800, "urgent", 2),
}
RESULT = tasks.ValidationResult(True, 986_800, {"loss": 0.04, "f1": 1.0}, b"t" * 32, ("0x12",))
FINAL = tasks.FinalModelInfo(
    final_model_version_id=6,
    final_accuracy=986_800,
    final_metrics={"loss": 0.04, "precision": 0.98, "recall": 0.97},
    final_weights_cid="bafybeif",
    training_summary=tasks.TrainingSummary(57, 100, 612.25, 60),
    metadata=tasks.FinalMetadata(
        hyperparameters_used={
            "rule": "fedavg",
            "learning_rate": 0.1,
            "epochs": 1,
            "nesterov": True,
        },
        dataset_info={"name": "mnist", "num_clients": 100},
        completion_reason="TargetReached",
    ),
)
ALL: list[Task] = [
    tasks.TrainTask(
        **COMMON, payload=tasks.TrainPayload(3, "bafybeia", "{}", b"w" * 32, 1_769_860_900)
    ),
    tasks.TrainTask(**COMMON, payload=tasks.TrainPayload(3, None, None, b"w" * 32, None)),
    tasks.AggregateTask(
        **COMMON,
        payload=tasks.AggregatePayload(
            (tasks.ClientUpdateRecord(3, "bafybeib", b"u" * 32, 600),),
        ),
    ),
    tasks.StorageWriteTask(**COMMON, payload=tasks.StorageWritePayload(b"w" * 32)),
    tasks.BlockchainWriteTask(
        **COMMON,
        payload=tasks.BlockchainWritePayload(b"w" * 32, "bafybeic", b"o" * 32, b"r" * 32, (0, 3)),
    ),
    tasks.ValidateTask(
        **COMMON, payload=tasks.ValidatePayload("bafybeic", "{}", b"w" * 32, 990_000)
    ),
    tasks.DecisionTask(**COMMON, payload=tasks.DecisionPayload(RESULT)),
    tasks.RollbackTask(
        **COMMON,
        payload=tasks.RollbackPayload(4, "bafybeid", "{}", b"w" * 32, "poisoned", "0x12", "manual"),
    ),
    tasks.RollbackTask(
        **COMMON,
        payload=tasks.RollbackPayload(
            0, None, None, b"w" * 32, "none is good", "automatic", "automatic"
        ),
    ),
    tasks.TrainingCompleteTask(**COMMON, payload=tasks.TrainingCompletePayload(FINAL)),
]
NAMES = [task.task_type for task in ALL]


# --- What is written ------------------------------------------------------------------------------


def test_there_are_the_eight_types_of_the_thesis() -> None:
    assert (
        set(TASK_TYPES)
        == set(NAMES)
        == {
            "TRAIN",
            "AGGREGATE",
            "BLOCKCHAIN_WRITE",
            "STORAGE_WRITE",
            "VALIDATE",
            "ROLLBACK",
            "DECISION",
            "TRAINING_COMPLETE",
        }
    )
    assert set(TASK_TYPES.values()) == set(get_args(Task))
    for name, kind in TASK_TYPES.items():
        assert next(field for field in fields(kind) if field.name == "task_type").default == name


@pytest.mark.parametrize("task", ALL, ids=NAMES)
def test_task_is_read_as_it_was_written(task: Task) -> None:
    again = tasks.load(tasks.dump(task))
    assert again == task
    assert type(again) is type(task)
    assert tasks.dump(again) == tasks.dump(task)


@pytest.mark.parametrize("task", ALL, ids=NAMES)
def test_message_has_the_thesis_fields(task: Task) -> None:
    message = json.loads(tasks.dump(task))
    assert message.keys() == {
        "task_id",
        "task_type",
        "model_version_id",
        "parent_version_id",
        "payload",
        "metadata",
        "model",
        "epoch",
        "iteration",
        "format",
    }
    assert message["metadata"] == {
        "created_at": 1_769_860_800,
        "priority": "urgent",
        "retry_count": 2,
    }


@pytest.mark.parametrize(
    ("task_type", "field"),
    [
        ("TRAIN", "weights_cid"),
        ("AGGREGATE", "client_updates"),
        ("STORAGE_WRITE", "blockchain_hash"),
        ("VALIDATE", "ipfs_cid"),
        ("DECISION", "validation_result"),
        ("ROLLBACK", "target_version_id"),
        ("TRAINING_COMPLETE", "final_model_info"),
    ],
)
def test_payload_has_the_thesis_field(task_type: str, field: str) -> None:
    task = next(each for each in ALL if each.task_type == task_type)
    assert field in json.loads(tasks.dump(task))["payload"]


def test_training_complete_has_the_final_payload_of_the_thesis() -> None:
    info = json.loads(tasks.dump(ALL[-1]))["payload"]["final_model_info"]
    assert info == {
        "final_model_version_id": 6,
        "final_accuracy": 986_800,
        "final_metrics": {"loss": 0.04, "precision": 0.98, "recall": 0.97},
        "final_weights_cid": "bafybeif",
        "training_summary": {
            "total_iterations": 57,
            "clients_participated": 100,
            "training_duration": 612.25,
            "total_rounds": 60,
        },
        "metadata": {
            "hyperparameters_used": {
                "rule": "fedavg",
                "learning_rate": 0.1,
                "epochs": 1,
                "nesterov": True,
            },
            "dataset_info": {"name": "mnist", "num_clients": 100},
            "completion_reason": "TargetReached",
        },
    }


# --- Ids ------------------------------------------------------------------------------------------


def test_equal_work_has_the_same_id_and_other_work_another() -> None:
    work = ("TRAIN", b"m" * 32, 1, 5, 4, 3)
    others = [
        ("AGGREGATE", b"m" * 32, 1, 5, 4, 3),
        ("TRAIN", b"n" * 32, 1, 5, 4, 3),
        ("TRAIN", b"m" * 32, 2, 5, 4, 3),
        ("TRAIN", b"m" * 32, 1, 6, 4, 3),
        ("TRAIN", b"m" * 32, 1, 5, 3, 3),
        ("TRAIN", b"m" * 32, 1, 5, 4, 0),
        ("TRAIN", b"m" * 32, 1, 5, 4, None),
    ]
    assert tasks.task_id(*work) == tasks.task_id(*work)
    assert len({tasks.task_id(*each) for each in (work, *others)}) == 8


# --- What is not read -----------------------------------------------------------------------------

TRAIN = ALL[0]


def restated(**changes: Any) -> bytes:
    message = json.loads(tasks.dump(TRAIN))
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = message
        for key in above:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return json.dumps(message, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "task_type is none of TRAIN"),
        (b'{"task_type":["TRAIN"]}', "task_type is none of"),
        (restated(task_type="REDECIDE"), "task_type is none of"),
        (restated(task_type=...), "task_type is none of"),
        (restated(task_type="VALIDATE"), "the VALIDATE task cannot be used: at payload"),
        (restated(task_id=...), "at task_id: Field required"),
        (restated(task_id=7), "at task_id"),
        (restated(epoch=-1), "epoch is 0 or more, not -1"),
        (restated(iteration="5"), "at iteration"),
        (restated(model_version_id=True), "at model_version_id"),
        (restated(parent_version_id=4.0), "at parent_version_id"),
        (restated(model="0x" + "6d" * 31), "at model: it must have 32 bytes, not 31"),
        (restated(metadata__retry_count=-1), "retry_count is 0 or more"),
        (restated(metadata__priority="low"), "at metadata.priority"),
        (restated(payload__weights="0x12"), "payload.weights: Unexpected"),
        (restated(payload__client_id=...), "at payload.client_id: Field required"),
        (restated(format="modelproof.task.v2"), "at format"),
        (restated(more=1), "at more: Unexpected"),
        (tasks.dump(TRAIN) + b"\n", "not in canonical form"),
        (tasks.dump(TRAIN).replace(b'{"epoch":1', b'{"epoch":1,"epoch":1'), "'epoch' twice"),
        (tasks.dump(TRAIN).replace(b"some work", b"\\ud800"), "cannot be used"),
        (tasks.dump(TRAIN).replace(b"some work", b"\xff"), "not UTF-8"),
        (b" " * (tasks.MAX_TASK_BYTES + 1), "1048577 bytes, more than 1048576"),
    ],
)
def test_other_text_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedJson, match=reason):
        tasks.load(data)


@given(task=st.sampled_from(ALL), place=st.integers(0, 10**4), byte=st.integers(0, 255))
def test_changed_byte_is_refused_or_another_task_in_its_one_text(
    task: Task, place: int, byte: int
) -> None:
    data = bytearray(tasks.dump(task))
    data[place % len(data)] = byte
    try:
        other = tasks.load(bytes(data))
    except MalformedJson:
        return
    assert tasks.dump(other) == data


def test_metric_that_is_no_number_is_not_written() -> None:
    broken = tasks.DecisionPayload(replace(RESULT, metrics={"loss": float("nan")}))
    with pytest.raises(ValueError, match=r"[Nn]a[Nn]|not JSON compliant|null"):
        tasks.load(tasks.dump(tasks.DecisionTask(**COMMON, payload=broken)))
