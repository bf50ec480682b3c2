"""Registering a version: it waits, no pointer moves, and nothing out of turn gets in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.chain.commitment import commitment, details_fields, details_hash
from ml.chain.outbox.chain import Chain
from ml.chain.records import Details, Version
from ml.chain.types import CompletionReason, Status

from .story import TEST_SET, Story, refused, weights_of

FULL = {
    "object": b"object".ljust(32, b"o"),
    "content": b"content".ljust(32, b"c"),
    "updates": b"updates".ljust(32, b"u"),
}
METADATA = '{"hyperparameters": {"learning_rate": 0.01}, "note": "é"}'


def test_registered_version_waits_and_moves_no_pointer(story: Story) -> None:
    story.play(90)
    before = story.state
    story.register()
    assert story.state == replace(before, latest=2, waiting=1)
    assert story.statuses == [Status.PASSED, Status.PENDING]


def test_registration_is_told_in_full(story: Story) -> None:
    story.enrol(0)
    story.enrol(255)
    story.play(90)
    trainer = story.cast.trainer.address
    details = Details(1, 2, 0, **FULL, contributors=1 << 255 | 1)
    receipt = story.register(metadata=METADATA, **FULL, contributors=1 << 255 | 1)
    hashed = details_hash(story.id, 2, trainer, details, METADATA)
    assert story.log(receipt) == [
        (
            "VersionRegistered",
            {
                "modelId": story.id,
                "version": 2,
                "weights": weights_of(2),
                "commitment": commitment(TEST_SET, weights_of(2), hashed),
                "registrar": trainer,
                "details": details_fields(details),
                "metadata": METADATA,
            },
        )
    ]


def test_record_of_a_new_version_has_25_bytes_of_its_commitment(story: Story) -> None:
    story.play(90)
    story.register(metadata=METADATA, **FULL)
    full = commitment(TEST_SET, *story.said[2])
    assert story.registry.version(story.id, 2) == Version(
        number=2, parent=1, accuracy=0, status=Status.PENDING, commitment=full[:25]
    )


def test_same_weights_may_be_registered_again(story: Story) -> None:
    story.register(weights=weights_of(1))
    story.validate()
    story.register(weights=weights_of(1))
    assert story.state.pending == 2


def test_discarded_number_is_not_used_again_but_its_iteration_is(story: Story) -> None:
    story.register()
    story.discard()
    with refused("UnexpectedVersion", version=1, expected=2):
        story.register(1)
    story.register(2, iteration=1, epoch=1)
    assert story.state.pending == 2


def test_second_version_is_refused_while_one_waits(story: Story) -> None:
    story.register()
    with refused("VersionIsPending", modelId=story.id, version=1):
        story.register()


def test_completed_model_takes_no_version(story: Story) -> None:
    story.complete()
    cause = CompletionReason.MANUAL
    with refused("ModelIsCompleted", modelId=story.id, cause=cause):
        story.register()


@pytest.mark.parametrize("version", [0, 1, 2, 4, 2**32 - 1])
def test_version_that_is_not_the_next_is_refused(story: Story, version: int) -> None:
    story.play(90, 91)
    with refused("UnexpectedVersion", version=version, expected=3):
        story.register(version)


@pytest.mark.parametrize("parent", [0, 1, 3, 2**32 - 1])
def test_parent_that_is_not_current_is_refused(story: Story, parent: int) -> None:
    story.play(90, 91)
    with refused("UnexpectedParent", parent=parent, expected=2):
        story.register(parent=parent)


@pytest.mark.parametrize("iteration", [0, 2, 4, 2**32 - 1])
def test_iteration_that_is_not_the_next_is_refused(story: Story, iteration: int) -> None:
    story.play(90, 91)
    with refused("UnexpectedIteration", iteration=iteration, expected=3):
        story.register(iteration=iteration)


@pytest.mark.parametrize("epoch", [0, 2, 2**32 - 1])
def test_epoch_that_is_not_the_present_one_is_refused(story: Story, epoch: int) -> None:
    story.play(90, 80)  # a severe drop, and so a new epoch
    with refused("UnexpectedEpoch", epoch=epoch, expected=1):
        story.register(epoch=epoch)


def test_version_without_weights_is_refused(story: Story) -> None:
    with refused("MissingDigest", modelId=story.id):
        story.register(weights=bytes(32))


@pytest.mark.parametrize(
    ("contributors", "inactive"),
    [
        (0b100, 0b100),  # never enrolled
        (0b010, 0b010),  # excluded
        (0b111, 0b110),
        (1 << 255 | 1, 1 << 255),
    ],
)
def test_contributors_that_are_not_active_are_refused_by_name(
    story: Story, contributors: int, inactive: int
) -> None:
    story.enrol(0)
    story.enrol(1)
    story.exclude(1)
    with refused("InactiveContributors", inactive=inactive):
        story.register(contributors=contributors)


def test_active_contributors_will_do(story: Story) -> None:
    for index in (0, 7, 255):
        story.enrol(index)
    story.register(contributors=1 << 255 | 1 << 7 | 1)
    assert story.state.pending == 1


def test_transaction_that_another_one_overtook_is_refused_by_name(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = story.due()
    send = Chain.send

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(Chain, "send", send)
        contract, operator = story.registry.contract, story.cast.operator
        contract.complete(story.id, "meanwhile", sender=operator)
        return send(*arguments)

    monkeypatch.setattr(Chain, "send", overtaken)
    with refused("ModelIsCompleted", modelId=story.id, cause=CompletionReason.MANUAL):
        story.registry.register(story.id, 1, weights_of(1), due, "", sender=story.cast.trainer)
