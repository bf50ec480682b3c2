"""Who holds which role."""

from __future__ import annotations

from ml.chain.commitment import role_id
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.roles import holders
from tests.contracts.story import Story

from .conftest import Tale
from .lying_node import Log, LyingNode, with_topic


def test_new_model_has_one_holder_of_each_role(registry: ModelRegistry, story: Story) -> None:
    cast = story.cast
    assert holders(registry, story.id) == {
        Role.ADMIN: [cast.admin.address],
        Role.TRAINER: [cast.trainer.address],
        Role.VALIDATOR: [cast.validator.address],
        Role.OPERATOR: [cast.operator.address],
    }


def test_who_was_granted_a_role_holds_it_after_who_had_it_before(
    registry: ModelRegistry, story: Story
) -> None:
    admin, stranger = story.cast.admin, story.cast.stranger.address
    registry.grant_role(story.id, Role.VALIDATOR, stranger, sender=admin)
    assert holders(registry, story.id)[Role.VALIDATOR] == [story.cast.validator.address, stranger]


def test_who_lost_a_role_holds_it_no_longer(registry: ModelRegistry, story: Story) -> None:
    admin, trainer = story.cast.admin, story.cast.trainer.address
    registry.revoke_role(story.id, Role.TRAINER, trainer, sender=admin)
    assert holders(registry, story.id)[Role.TRAINER] == []
    registry.grant_role(story.id, Role.TRAINER, trainer, sender=admin)
    assert holders(registry, story.id)[Role.TRAINER] == [trainer]


def test_roles_on_another_model_are_not_among_them(registry: ModelRegistry, story: Story) -> None:
    stranger = story.cast.stranger
    registry.create_model("theirs", story.model.test_set, story.model.policy, sender=stranger)
    assert holders(registry, story.id)[Role.ADMIN] == [story.cast.admin.address]


def test_grant_that_a_node_made_up_is_not_believed(tale: Tale, liar: LyingNode) -> None:
    story = tale.story
    role = role_id(story.id, Role.ADMIN)
    account = bytes.fromhex(story.cast.stranger.address[2:])

    def grant_to_a_stranger(logs: list[Log]) -> list[Log]:
        grant = [{**logs[0], "topics": list(logs[0]["topics"])}]
        return [*logs, *with_topic(2, bytes(12) + account)(with_topic(1, role)(grant))]

    liar.lie = grant_to_a_stranger
    assert holders(story.registry, story.id)[Role.ADMIN] == [story.cast.admin.address]
