"""Which version some weights are and how it stands, asked of honest nodes and of lying ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ml.chain.models import NamedModel
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.types import Status, Verdict
from ml.chain.verification import Identified, Requirement, by_number, identify
from ml.errors import NotVerified
from tests.contracts.story import Story, weights_of

from .conftest import Tale
from .lying_node import LyingNode, with_text, with_topic, with_word, without

Create = Callable[..., Story]

UNHEARD_OF = bytes(31) + b"\1"
FIELDS = [
    *("commitment", "registrar", "parent", "iteration", "epoch"),
    *("object", "content", "updates", "contributors"),
]


def only(found: list[Identified]) -> Identified:
    (one,) = found
    return one


# --- How a version stands -------------------------------------------------------------------------


def test_current_version(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    found = only(identify(registry, weights_of(2)))
    assert found.is_current
    assert (found.model.id, found.version.number) == (story.id, 2)
    assert found.standing() == "v2 passed and is the current version."


def test_superseded_version(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    found = only(identify(registry, weights_of(1)))
    assert found.on_active_line
    assert found.standing() == "v1 passed and has been superseded: the current version is v2."


def test_version_that_was_rolled_back_from(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    story.rollback(1)
    found = only(identify(registry, weights_of(2)))
    assert not found.on_active_line
    assert found.standing() == "v2 passed, but was rolled back from: the current version is v1."


def test_parent_of_a_version_that_was_rolled_back_from(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 91, 92)
    story.rollback(1)
    assert "but was rolled back from" in only(identify(registry, weights_of(2))).standing()


def test_version_left_behind_by_the_rollback_of_a_later_one(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 89.9, 80)
    found = only(identify(registry, weights_of(2)))
    assert found.version.status is Status.PASSED
    assert not found.on_active_line
    assert found.standing() == (
        "v2 passed, but is not on the active line: the current version is v1."
    )


def test_it_is_told_who_created_the_model_registered_and_validated(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90)
    found = only(identify(registry, weights_of(1)))
    assert found.created == NamedModel(story.id, story.name, story.cast.admin.address)
    assert found.registered.registrar == story.cast.trainer.address
    assert found.validated is not None
    assert found.validated.validator == story.cast.validator.address


def test_version_that_failed(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 80)
    assert only(identify(registry, weights_of(2))).standing() == (
        "v2 failed its validation (SEVERE_DROP) and was rolled back: the current version is v1."
    )


def test_version_that_waits(registry: ModelRegistry, story: Story) -> None:
    story.register()
    assert only(identify(registry, weights_of(1))).standing() == (
        "v1 is registered and waits for its validation: no version is current."
    )


def test_version_that_was_discarded(registry: ModelRegistry, story: Story) -> None:
    story.register()
    story.discard()
    assert only(identify(registry, weights_of(1))).standing() == (
        "v1 was discarded before its validation: no version is current."
    )


def test_version_that_was_revoked(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    story.revoke(1)
    assert only(identify(registry, weights_of(1))).standing() == (
        "v1 passed once and was revoked since: the current version is v2."
    )


def test_requirements_that_a_version_meets(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91, 80, 92)
    story.revoke(1)
    story.register()
    met = {
        version: [r.value for r in Requirement if by_number(registry, story.id, version).meets(r)]
        for version in range(1, 6)
    }
    assert met == {
        1: ["any"],  # revoked
        2: ["passed", "any"],  # superseded
        3: ["any"],  # failed
        4: ["current", "passed", "any"],
        5: ["any"],  # pending
    }


# --- Which version it is --------------------------------------------------------------------------


def test_weights_that_nobody_registered_are_no_version(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90)
    assert identify(registry, UNHEARD_OF) == []


def test_version_in_the_best_standing_comes_first(registry: ModelRegistry, story: Story) -> None:
    for accuracy in (900_000, 910_000, 800_000):
        story.register(weights=UNHEARD_OF)
        story.validate(story.evaluation(accuracy))
    numbers = [found.version.number for found in identify(registry, UNHEARD_OF)]
    assert numbers == [2, 1, 3]


def test_same_weights_in_another_model_are_found_only_where_asked_for(
    registry: ModelRegistry, create: Create
) -> None:
    one, other = create(), create()
    one.play(90)
    other.play(90)
    assert len(identify(registry, weights_of(1))) == 2
    assert only(identify(registry, weights_of(1), model=other.id)).model.id == other.id


def test_version_of_another_number_is_not_found(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    assert identify(registry, weights_of(1), model=story.id, version=2) == []


def test_version_is_found_by_its_number(registry: ModelRegistry, story: Story) -> None:
    story.play(90, 91)
    found = by_number(registry, story.id, 1)
    assert (found.registered.weights, found.version.status) == (weights_of(1), Status.PASSED)
    assert found.validated is not None
    assert found.validated.verdict is Verdict.FIRST_BEST


def test_number_that_no_version_has_is_refused(registry: ModelRegistry, story: Story) -> None:
    with pytest.raises(ContractRefused, match="has no version 3"):
        by_number(registry, story.id, 3)


# --- A lying node ---------------------------------------------------------------------------------


def test_honest_node_verifies(tale: Tale, liar: LyingNode) -> None:
    registry, model = tale.story.registry, tale.story.id
    assert only(identify(registry, weights_of(1), model=model)).is_current


def test_weights_put_into_a_true_event_do_not_verify(tale: Tale, liar: LyingNode) -> None:
    """The attack that counts: swapped weights that the node says were registered."""
    registry, model = tale.story.registry, tale.story.id
    identify(registry, weights_of(1), model=model)
    (true,) = next(logs for logs in liar.seen if len(logs) == 1)
    liar.lie = lambda _: with_topic(3, UNHEARD_OF)([true])
    with pytest.raises(NotVerified, match="event of version 1 is not what that version commits to"):
        identify(registry, UNHEARD_OF, model=model)


def test_changed_metadata_does_not_verify(tale: Tale, liar: LyingNode) -> None:
    liar.lie = with_text("clean", "dirty")
    with pytest.raises(NotVerified, match="is not what that version commits to: ask another node"):
        identify(tale.story.registry, weights_of(1))


@pytest.mark.parametrize("word", range(9), ids=FIELDS)
def test_no_field_of_a_registration_can_be_changed(tale: Tale, liar: LyingNode, word: int) -> None:
    liar.lie = with_word(word, 7)
    with pytest.raises(NotVerified, match="is not what that version commits to"):
        identify(tale.story.registry, weights_of(1))


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (2, "event of version 2 is not what that version commits to"),
        (9, "event of version 9, which is not on record"),
    ],
)
def test_version_put_into_a_true_event_does_not_verify(
    tale: Tale, liar: LyingNode, number: int, sentence: str
) -> None:
    liar.lie = with_topic(2, number.to_bytes(32, "big"))
    with pytest.raises(NotVerified, match=sentence):
        identify(tale.story.registry, weights_of(1))


def test_model_put_into_a_true_event_does_not_verify(tale: Tale, liar: LyingNode) -> None:
    liar.lie = with_topic(1, UNHEARD_OF)
    with pytest.raises(NotVerified, match="a model that is not on record"):
        identify(tale.story.registry, weights_of(1))


def test_another_models_version_does_not_verify_as_this_models(tale: Tale, liar: LyingNode) -> None:
    """Same weights, same test set: only the model's id tells them apart."""
    registry = tale.story.registry
    identify(registry, weights_of(1), model=tale.other.id)
    others = next(logs for logs in liar.seen if len(logs) == 1)
    liar.lie = lambda _: others
    with pytest.raises(NotVerified, match="not asked for"):
        identify(registry, weights_of(1), model=tale.story.id)


@pytest.mark.parametrize("event", ["ModelCreated", "VersionValidated", "RolledBackManually"])
def test_left_out_event_of_the_model_does_not_verify(
    tale: Tale, liar: LyingNode, event: str
) -> None:
    liar.lie = without(event)
    with pytest.raises(NotVerified, match=r"[aA]sk another node"):
        identify(tale.story.registry, weights_of(1))


def test_left_out_registration_never_verifies(tale: Tale, liar: LyingNode) -> None:
    liar.lie = without("VersionRegistered")
    assert identify(tale.story.registry, weights_of(1)) == []


def test_left_out_registration_of_a_version_on_record_is_noticed(
    tale: Tale, liar: LyingNode
) -> None:
    liar.lie = without("VersionRegistered")
    with pytest.raises(NotVerified, match="no event of version 1, which is on record"):
        by_number(tale.story.registry, tale.story.id, 1)
