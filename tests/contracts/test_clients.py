"""Clients of federated models: their indices, and who may contribute."""

from __future__ import annotations

import pytest

from ml.chain.registry import NO_ACCOUNT

from .story import Story, refused

REASON = "sends garbage"
DATASET = b"dataset".ljust(32, b"d")
INDICES = [0, 1, 127, 255]


@pytest.mark.parametrize("index", INDICES)
def test_enrolled_client_is_active_at_its_index(story: Story, index: int) -> None:
    story.enrol(index)
    assert story.registry.client(story.id, index) == story.cast.client.address
    assert story.model.active_clients == 1 << index


@pytest.mark.parametrize("index", INDICES)
def test_excluded_client_keeps_its_index_and_leaves_the_others_active(
    story: Story, index: int
) -> None:
    for each in INDICES:
        story.enrol(each)
    every = story.model.active_clients
    story.exclude(index)
    assert story.model.active_clients == every ^ 1 << index
    assert story.registry.client(story.id, index) == story.cast.client.address
    story.reinstate(index)
    assert story.model.active_clients == every


def test_enrolment_is_told_in_full(story: Story) -> None:
    assert story.log(story.enrol(7, dataset=DATASET)) == [
        (
            "ClientEnrolled",
            {
                "modelId": story.id,
                "index": 7,
                "client": story.cast.client.address,
                "by": story.cast.admin.address,
                "dataset": DATASET,
            },
        )
    ]


def test_exclusion_and_reinstatement_are_told_with_their_reason(story: Story) -> None:
    story.enrol(7)
    by = story.cast.operator.address
    expected = {"modelId": story.id, "index": 7, "by": by, "reason": REASON}
    assert story.log(story.exclude(7, REASON)) == [("ClientExcluded", expected)]
    assert story.log(story.reinstate(7, REASON)) == [("ClientReinstated", expected)]


def test_one_address_may_have_several_indices(story: Story) -> None:
    story.enrol(0)
    story.enrol(1)
    assert story.registry.client(story.id, 0) == story.registry.client(story.id, 1)


def test_index_that_nobody_has_reads_as_none(story: Story) -> None:
    assert story.registry.client(story.id, 0) is None


def test_clients_of_one_model_are_none_of_another(story: Story, create: object) -> None:
    story.enrol(0)
    other = Story.begin(story.registry, story.cast)
    assert other.registry.client(other.id, 0) is None
    assert other.model.active_clients == 0


def test_client_without_an_address_is_refused(story: Story) -> None:
    with refused("ClientIsZero", index=3):
        story.enrol(3, NO_ACCOUNT)


@pytest.mark.parametrize("excluded", [False, True])
def test_index_is_given_once_and_for_good(story: Story, excluded: bool) -> None:
    story.enrol(3)
    if excluded:
        story.exclude(3)
    with refused("ClientIndexTaken", index=3, client=story.cast.client.address):
        story.enrol(3, story.cast.stranger.address)


@pytest.mark.parametrize("act", ["exclude", "reinstate"])
def test_index_that_nobody_has_is_neither_excluded_nor_reinstated(story: Story, act: str) -> None:
    story.enrol(3)
    with refused("UnknownClient", index=4):
        getattr(story, act)(4)


def test_excluded_client_is_not_excluded_again(story: Story) -> None:
    story.enrol(3)
    story.exclude(3)
    with refused("ClientNotActive", index=3):
        story.exclude(3)


def test_active_client_is_not_reinstated(story: Story) -> None:
    story.enrol(3)
    with refused("ClientNotExcluded", index=3):
        story.reinstate(3)


def test_clients_may_change_while_a_version_waits_and_after_completion(story: Story) -> None:
    story.register()
    story.enrol(0)
    story.complete()
    story.exclude(0)
    story.reinstate(0)
    assert story.model.active_clients == 1


def test_exclusion_holds_for_later_registrations_only(story: Story) -> None:
    story.enrol(0)
    story.register(contributors=1)
    story.exclude(0)
    story.validate()
    assert story.state.current == 1
    with refused("InactiveContributors", inactive=1):
        story.register(contributors=1)
