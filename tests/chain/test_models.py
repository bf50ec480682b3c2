"""Which model a user means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml.chain import models
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Story

from .conftest import Tale
from .lying_node import LyingNode, with_text, with_topic


def in_other_hands(story: Story) -> Story:
    """A stranger's model of the same name."""
    model, receipt = story.registry.create_model(
        story.name, story.model.test_set, story.model.policy, sender=story.cast.stranger
    )
    return replace(story, id=model, created=receipt)


def test_model_is_meant_by_its_name_or_by_its_id(registry: ModelRegistry, story: Story) -> None:
    by_name = models.resolve(registry, story.name)
    assert (by_name.id, by_name.creator) == (story.id, story.cast.admin.address)
    assert models.resolve(registry, "0x" + story.id.hex()) == by_name


def test_name_that_two_creators_use_means_neither_and_the_ids_are_told(
    registry: ModelRegistry, story: Story
) -> None:
    other = in_other_hands(story)
    with pytest.raises(ModelproofError, match="several models") as caught:
        models.resolve(registry, story.name)
    for model in (story, other):
        assert f"0x{model.id.hex()}" in str(caught.value)
        assert models.resolve(registry, "0x" + model.id.hex()).id == model.id


def test_model_named_by_anothers_id_does_not_stand_in_its_way(
    registry: ModelRegistry, story: Story
) -> None:
    text = "0x" + story.id.hex()
    in_other_hands(replace(story, name=text))
    assert models.resolve(registry, text).id == story.id
    assert models.resolve(registry, "0x" + text[2:].upper()).id == story.id


def test_name_in_the_form_of_an_id_names_nothing(registry: ModelRegistry, story: Story) -> None:
    text = "0x" + "5" * 64
    in_other_hands(replace(story, name=text))
    with pytest.raises(ModelproofError, match="has no model"):
        models.resolve(registry, text)


def test_unknown_name_is_refused_with_the_known_ones(registry: ModelRegistry, story: Story) -> None:
    with pytest.raises(ModelproofError, match=rf"has no model mnits \(known here: {story.name}\)"):
        models.resolve(registry, "mnits")


def test_registry_without_models_says_so(registry: ModelRegistry) -> None:
    with pytest.raises(ModelproofError, match="it has none yet"):
        models.resolve(registry, "mnist")


@pytest.mark.parametrize("text", ["", "0x", "0x" + "00" * 32, "../mnist", "\x1b[31m"])
def test_text_that_names_nothing_is_refused(
    registry: ModelRegistry, story: Story, text: str
) -> None:
    with pytest.raises(ModelproofError, match="has no model"):
        models.resolve(registry, text)


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_text("model", "mnist"), id="another name"),
        pytest.param(with_topic(1, bytes(32)), id="another id"),
        pytest.param(with_topic(2, bytes(32)), id="another creator"),
    ],
)
def test_model_that_its_id_was_not_made_of_is_not_believed(
    tale: Tale, liar: LyingNode, lie
) -> None:
    liar.lie = lie
    with pytest.raises(NotVerified, match="is not what its id was made of: ask another node"):
        models.all_models(tale.story.registry)
