"""Who may do what, on which model, and who decides that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml.chain.commitment import role_id
from ml.chain.records import Details, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import Policy

from .story import Account, Cast, Story, ask, refused, weights_of

Act = Callable[[Story, Account], Any]
ROLES = [role for role in Role if role is not Role.NONE]

# Every function that writes to a model, and the one role it takes.
ACTS: dict[str, tuple[Role, Act]] = {
    "register": (
        Role.TRAINER,
        lambda s, by: s.registry.register(s.id, 2, weights_of(2), Details(1, 2, 0), "", sender=by),
    ),
    "validate": (Role.VALIDATOR, lambda s, by: s.validate(sender=by)),
    "rollback": (Role.OPERATOR, lambda s, by: s.registry.rollback(s.id, 0, "", sender=by)),
    "discard": (Role.OPERATOR, lambda s, by: s.registry.discard(s.id, 1, "", sender=by)),
    "complete": (Role.OPERATOR, lambda s, by: s.registry.complete(s.id, "", sender=by)),
    "revoke": (Role.OPERATOR, lambda s, by: s.registry.revoke(s.id, 1, "", sender=by)),
    "exclude": (Role.OPERATOR, lambda s, by: s.registry.exclude_client(s.id, 0, "", sender=by)),
    "reinstate": (
        Role.OPERATOR,
        lambda s, by: s.registry.reinstate_client(s.id, 0, "", sender=by),
    ),
    "reopen": (Role.ADMIN, lambda s, by: s.registry.reopen(s.id, "", sender=by)),
    "set policy": (Role.ADMIN, lambda s, by: s.registry.set_policy(s.id, Policy(), sender=by)),
    "announce a successor": (
        Role.ADMIN,
        lambda s, by: s.registry.announce_successor(
            s.id, s.registry.address, weights_of(1), sender=by
        ),
    ),
    "enrol": (
        Role.ADMIN,
        lambda s, by: s.registry.enrol_client(s.id, 1, s.cast.client.address, bytes(32), sender=by),
    ),
    "grant": (
        Role.ADMIN,
        lambda s, by: s.registry.grant_role(s.id, Role.ADMIN, s.cast.stranger.address, sender=by),
    ),
    "take away": (
        Role.ADMIN,
        lambda s, by: s.registry.revoke_role(s.id, Role.TRAINER, s.cast.trainer.address, sender=by),
    ),
}
REFUSED = [(act, role) for act, (needed, _) in ACTS.items() for role in Role if role is not needed]


@pytest.fixture(scope="module")
def waiting(registry: ModelRegistry, cast: Cast) -> Story:
    """A model with a version to validate; the stranger holds every role on another model."""
    story = Story.begin(registry, cast)
    story.register()
    stranger = cast.stranger.address
    holders = {"trainer": stranger, "validator": stranger, "operator": stranger}
    other, _ = registry.create_model(
        "other", weights_of(1), Policy(), sender=cast.stranger, **holders
    )
    assert all(registry.has_role(other, role, stranger) for role in ROLES)
    return story


@pytest.mark.parametrize(("act", "held"), REFUSED)
def test_act_is_refused_to_who_holds_another_role_or_every_role_elsewhere(
    waiting: Story, act: str, held: Role
) -> None:
    needed, attempt = ACTS[act]
    by = waiting.cast.stranger if held is Role.NONE else waiting.cast.holder(held)
    needed_id = role_id(waiting.id, needed)
    with refused("AccessControlUnauthorizedAccount", account=by.address, neededRole=needed_id):
        attempt(waiting, by)


# How a model has to stand for an act to be possible.
PREPARED: dict[str, Callable[[Story], Any]] = {
    "register": lambda s: s.play(90),
    "validate": lambda s: s.register(),
    "rollback": lambda s: s.play(90),
    "discard": lambda s: s.register(),
    "revoke": lambda s: s.play(90, 91),
    "exclude": lambda s: s.enrol(0),
    "reinstate": lambda s: (s.enrol(0), s.exclude(0)),
    "reopen": lambda s: s.complete(),
}


@pytest.mark.parametrize("act", ACTS)
def test_act_is_open_to_who_holds_its_role_and_no_other(story: Story, act: str) -> None:
    needed, attempt = ACTS[act]
    PREPARED.get(act, lambda _: None)(story)
    before = story.model
    attempt(story, story.cast.holder(needed))
    if act in ("grant", "take away"):
        assert story.model == before
    else:
        assert story.model.head != before.head


def test_role_taken_away_no_longer_counts(story: Story) -> None:
    trainer = story.cast.trainer
    story.registry.revoke_role(story.id, Role.TRAINER, trainer.address, sender=story.cast.admin)
    with refused(
        "AccessControlUnauthorizedAccount",
        account=trainer.address,
        neededRole=role_id(story.id, Role.TRAINER),
    ):
        story.register()


# --- Granting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_admin_grants_and_takes_away_every_role(story: Story, role: Role) -> None:
    account, admin = story.cast.stranger.address, story.cast.admin
    told = {"role": role_id(story.id, role), "account": account, "sender": admin.address}
    granted = story.registry.grant_role(story.id, role, account, sender=admin)
    assert story.log(granted) == [("RoleGranted", told)]
    assert story.registry.has_role(story.id, role, account)
    taken = story.registry.revoke_role(story.id, role, account, sender=admin)
    assert story.log(taken) == [("RoleRevoked", told)]
    assert not story.registry.has_role(story.id, role, account)


@pytest.mark.parametrize("role", ROLES)
def test_admin_of_the_model_is_admin_of_each_of_its_roles(story: Story, role: Role) -> None:
    administers = ask(story.registry, "getRoleAdmin", role_id(story.id, role))
    assert administers == role_id(story.id, Role.ADMIN)


def test_role_ids_are_the_model_id_and_one_byte(story: Story) -> None:
    ids = [ask(story.registry, "roleId", story.id, role) for role in ROLES]
    assert ids == [role_id(story.id, role) for role in ROLES]
    assert [each[-1] for each in ids] == [1, 2, 3, 4]
    assert {each[:-1] for each in ids} == {story.id[:-1]}


def test_new_admin_can_take_over_from_the_creator(story: Story) -> None:
    heir, creator = story.cast.stranger, story.cast.admin
    story.registry.grant_role(story.id, Role.ADMIN, heir.address, sender=creator)
    story.registry.revoke_role(story.id, Role.ADMIN, creator.address, sender=heir)
    assert story.registry.has_role(story.id, Role.ADMIN, heir.address)
    with refused(
        "AccessControlUnauthorizedAccount",
        account=creator.address,
        neededRole=role_id(story.id, Role.ADMIN),
    ):
        story.set_policy(Policy())


@pytest.mark.parametrize("last_byte", [0, 5, 6, 127, 128, 255])
def test_role_id_of_no_role_is_not_granted_even_by_the_admin(story: Story, last_byte: int) -> None:
    role = story.id[:-1] + bytes([last_byte])
    with refused("UnknownRole", role=role):
        ask(
            story.registry,
            "grantRole",
            role,
            story.cast.stranger.address,
            sender=story.cast.admin,
        )


@pytest.mark.parametrize("role", [bytes(32), bytes(31) + b"\1", b"\xff" * 31 + b"\1"])
def test_role_of_no_model_is_granted_by_nobody(
    registry: ModelRegistry, story: Story, role: bytes
) -> None:
    deployer = story.cast.deployer
    with refused(
        "AccessControlUnauthorizedAccount",
        account=deployer.address,
        neededRole=role[:-1] + b"\1",
    ):
        ask(registry, "grantRole", role, deployer.address, sender=deployer)


def test_default_admin_role_is_held_by_nobody(story: Story) -> None:
    assert ask(story.registry, "DEFAULT_ADMIN_ROLE") == bytes(32)
    holders = [ask(story.registry, "hasRole", bytes(32), each.address) for each in story.cast]
    assert holders == [False] * len(story.cast)


# --- Renouncing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_holder_renounces_a_role(story: Story, role: Role) -> None:
    holder = story.cast.holder(role)
    contract = story.registry.contract
    contract.renounceRole(role_id(story.id, role), holder.address, sender=holder)
    assert not story.registry.has_role(story.id, role, holder.address)


def test_role_is_renounced_by_its_holder_alone(story: Story) -> None:
    with refused("AccessControlBadConfirmation"):
        ask(
            story.registry,
            "renounceRole",
            role_id(story.id, Role.TRAINER),
            story.cast.trainer.address,
            sender=story.cast.admin,
        )


def test_model_whose_only_admin_renounced_has_none_for_good(story: Story) -> None:
    admin = story.cast.admin
    needed = role_id(story.id, Role.ADMIN)
    story.registry.contract.renounceRole(needed, admin.address, sender=admin)
    with refused("AccessControlUnauthorizedAccount", account=admin.address, neededRole=needed):
        story.registry.grant_role(story.id, Role.ADMIN, admin.address, sender=admin)


# --- Interfaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interface", "supported"),
    [
        ("0x01ffc9a7", True),  # ERC-165
        ("0x7965db0b", True),  # IAccessControl
        ("0xffffffff", False),
        ("0x00000000", False),
    ],
)
def test_interfaces_are_told_as_erc_165_asks(
    registry: ModelRegistry, interface: str, supported: bool
) -> None:
    assert ask(registry, "supportsInterface", bytes.fromhex(interface[2:])) is supported
