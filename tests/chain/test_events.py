"""Reading the registry's events: what is there, in order, and nothing that a node makes up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import pytest

from ml.chain import commitment, contract, events
from ml.chain.records import Details
from ml.chain.registry import NO_ACCOUNT, ModelRegistry
from ml.chain.types import CompletionReason, Policy, Verdict
from ml.errors import NotVerified
from tests.contracts.story import TEST_SET, Story, weights_of

from .conftest import Tale
from .lying_node import Lie, Log, LyingNode, cut, with_topic, with_word

Create = Callable[..., Story]


def names(registry: ModelRegistry, story: Story) -> list[str]:
    return [event.name for event in events.read(registry, model=story.id)]


# --- What is read ---------------------------------------------------------------------------------


def test_events_of_a_model_come_in_the_order_in_which_they_happened(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 91)
    story.rollback(1, "poisoned")
    assert names(registry, story) == [
        "ModelCreated",
        *["VersionRegistered", "VersionValidated"] * 2,
        "RolledBackManually",
    ]


def test_events_of_other_models_are_not_among_them(registry: ModelRegistry, create: Create) -> None:
    one, other = create(), create()
    other.play(90)
    assert names(registry, one) == ["ModelCreated"]


def test_events_of_one_version_are_read_alone(registry: ModelRegistry, create: Create) -> None:
    one, other = create(), create()
    one.play(90, 91)
    other.play(92, 93)
    told = events.read(registry, model=one.id, version=2)
    assert [event.name for event in told] == ["VersionRegistered", "VersionValidated"]
    assert {event.arguments["version"] for event in told} == {2}
    (validated,) = events.read(registry, model=other.id, version=1, name="VersionValidated")
    assert validated.arguments["accuracy"] == 920_000
    assert not events.read(registry, model=one.id, version=2, weights=weights_of(1))


def test_registration_says_what_was_registered(registry: ModelRegistry, story: Story) -> None:
    story.play(90)
    receipt = story.register(metadata='{"seed":7}')
    *_, record = events.registered(events.read(registry, model=story.id))
    assert (record.model, record.version) == (story.id, 2)
    assert record.weights == weights_of(2)
    assert record.details == Details(parent=1, iteration=2, epoch=0)
    assert record.metadata == '{"seed":7}'
    assert record.registrar == story.cast.trainer.address
    assert (record.block, record.transaction) == (receipt.block, receipt.transaction)
    _, hashed = story.said[2]
    assert record.commitment == commitment.commitment(TEST_SET, record.weights, hashed)


def test_validation_says_who_measured_what(registry: ModelRegistry, story: Story) -> None:
    story.play(90)
    story.register()
    evaluation = story.evaluation(880_000, training_accuracy=930_000)
    _, receipt = story.validate(evaluation, '{"f1":0.9}')
    *_, said = events.validated(events.read(registry, model=story.id))
    assert (said.version, said.validator) == (2, story.cast.validator.address)
    assert (said.accuracy, said.training_accuracy) == (880_000, 930_000)
    assert (said.verdict, said.metrics) == (Verdict.CONCERN, '{"f1":0.9}')
    assert (said.block, said.transaction) == (receipt.block, receipt.transaction)


def test_enums_in_events_are_the_enums(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 80)
    story.complete()
    told = {event.name: event.arguments for event in events.read(registry, model=story.id)}
    assert told["RolledBackAutomatically"]["cause"] is Verdict.SEVERE_DROP
    assert told["ModelCompleted"]["cause"] is CompletionReason.MANUAL


def test_registrations_are_found_by_weights_in_any_model(
    registry: ModelRegistry, create: Create
) -> None:
    one, other = create(), create()
    one.play(90, 91)
    other.play(90)
    found = events.registered(events.read(registry, weights=weights_of(1)))
    assert [(record.model, record.version) for record in found] == [(one.id, 1), (other.id, 1)]
    (found_in_one,) = events.registered(events.read(registry, model=one.id, weights=weights_of(2)))
    assert found_in_one.version == 2


def test_events_are_found_by_name(registry: ModelRegistry, story: Story) -> None:
    story.play(90)
    assert [event.name for event in events.read(registry, name="ModelCreated")] == ["ModelCreated"]


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_search_in_steps_finds_what_one_search_finds(
    registry: ModelRegistry, story: Story, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    story.play(90, 91)
    whole = events.read(registry)
    monkeypatch.setattr(contract, "BLOCKS_PER_CALL", blocks)
    assert events.read(registry) == whole


def test_text_that_is_no_utf8_is_read_and_hashes_as_on_chain(
    registry: ModelRegistry, story: Story
) -> None:
    name = b"\xff\x00\xfe\xf0\x9f"
    creator = story.cast.stranger
    call = registry.contract.createModel.encode_input(
        "?" * len(name), False, TEST_SET, (bytes(32), 0), astuple(Policy()), (NO_ACCOUNT,) * 3
    )
    creator.transfer(registry.address, 0, data=bytes(call).replace(b"?" * len(name), name))
    *_, created = events.read(registry, name="ModelCreated")
    assert created.arguments["name"].encode("utf-8", "surrogateescape") == name
    assert created.model == commitment.model_id(creator.address, created.arguments["name"])


# --- What a lying node says -----------------------------------------------------------------------


def moved(logs: list[Log]) -> list[Log]:
    return [{**log, "address": NO_ACCOUNT} for log in logs]


def unnamed(logs: list[Log]) -> list[Log]:
    return [{**log, "topics": []} for log in logs]


def no_list(_: list[Log]) -> object:
    return {"logs": []}


def nothing(_: list[Log]) -> None:
    return None


def no_logs(_: list[Log]) -> list[object]:
    return ["log", 5, {}]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_topic(1, bytes(32)), id="another model's event"),
        pytest.param(with_topic(0, bytes(32)), id="an event that the contract does not have"),
        pytest.param(moved, id="an event of another contract"),
        pytest.param(unnamed, id="no topics"),
        pytest.param(cut(100), id="data cut off"),
        pytest.param(cut(101), id="half a byte of data"),
        pytest.param(cut(2), id="no data"),
        pytest.param(with_word(1, 2**255), id="a number that its type does not hold"),
        pytest.param(with_word(2, 99), id="a verdict that there is not"),
        pytest.param(no_list, id="an object for the list"),
        pytest.param(nothing, id="null for the list"),
        pytest.param(no_logs, id="what are no logs"),
    ],
)
def test_answer_that_cannot_be_is_not_believed(tale: Tale, liar: LyingNode, lie: Lie) -> None:
    liar.lie = lie
    with pytest.raises(NotVerified, match=r"not asked for: ask another node\.$"):
        events.read(tale.story.registry, model=tale.story.id)


def test_other_weights_than_asked_for_are_not_believed(tale: Tale, liar: LyingNode) -> None:
    liar.lie = with_topic(3, weights_of(2))
    with pytest.raises(NotVerified, match="not asked for"):
        events.read(tale.story.registry, weights=weights_of(1))


def test_other_event_than_asked_for_is_not_believed(tale: Tale, liar: LyingNode) -> None:
    events.read(tale.story.registry)
    everything = liar.seen[-1]
    liar.lie = lambda _: everything
    with pytest.raises(NotVerified, match="not asked for"):
        events.read(tale.story.registry, name="ModelCreated")
