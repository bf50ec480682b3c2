"""Creating a model: its id, its first roles, its policy, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.commitment import model_id, role_id
from ml.chain.policy import PRESETS
from ml.chain.records import Model, Role
from ml.chain.registry import NO_ACCOUNT, ModelRegistry
from ml.chain.types import MAX_PPM, ModelKind, ModelState, Policy

from .mirror import policy_values
from .story import TEST_SET, Cast, Story, ask, refused

Create = Callable[..., Story]
ROLES = [role for role in Role if role is not Role.NONE]


def test_new_model_is_strict_and_empty(story: Story) -> None:
    model = story.model
    assert model == Model(
        id=story.id,
        state=ModelState(kind=ModelKind.STRICT),
        test_set=TEST_SET,
        head=model.head,
        active_clients=0,
        policy=Policy(),
    )
    assert model.head != bytes(32)


def test_creation_is_told_with_the_roles_it_grants(story: Story) -> None:
    admin = story.cast.admin.address
    told = story.log(story.created)
    assert told[0] == (
        "ModelCreated",
        {
            "modelId": story.id,
            "creator": admin,
            "originModel": bytes(32),
            "originVersion": 0,
            "kind": ModelKind.STRICT,
            "name": story.name,
            "testSet": TEST_SET,
            "policy": policy_values(Policy()),
        },
    )
    assert told[1:] == [
        (
            "RoleGranted",
            {
                "role": role_id(story.id, role),
                "account": story.cast.holder(role).address,
                "sender": admin,
            },
        )
        for role in ROLES
    ]


@pytest.mark.parametrize("policy", PRESETS.values(), ids=PRESETS)
def test_model_keeps_its_policy(create: Create, policy: Policy) -> None:
    assert create(policy).model.policy == policy


def test_model_keeps_a_policy_of_many_validators(create: Create) -> None:
    policy = Policy(quorum=255, independent=True)
    assert create(policy).model.policy == policy


def test_each_account_named_holds_its_role_and_no_other(story: Story) -> None:
    held = {
        (holder, role): story.registry.has_role(story.id, role, story.cast.holder(holder).address)
        for holder in ROLES
        for role in ROLES
    }
    assert held == {(holder, role): holder is role for holder in ROLES for role in ROLES}


def test_role_named_with_no_account_is_granted_to_nobody(
    registry: ModelRegistry, cast: Cast
) -> None:
    model, receipt = registry.create_model("alone", TEST_SET, Policy(), sender=cast.admin)
    granted = [event for event, _ in Story(registry, cast, "", model, receipt).log(receipt)]
    assert granted == ["ModelCreated", "RoleGranted"]
    assert not any(registry.has_role(model, role, NO_ACCOUNT) for role in ROLES)


def test_id_is_of_creator_and_name_with_its_last_byte_zero(story: Story) -> None:
    admin = story.cast.admin.address
    assert story.id == model_id(admin, story.name)
    assert story.id[-1] == 0
    assert ask(story.registry, "modelIdOf", admin, story.name) == story.id


def test_other_creator_may_use_the_same_name(story: Story, cast: Cast) -> None:
    other, _ = story.registry.create_model(story.name, TEST_SET, Policy(), sender=cast.stranger)
    assert other == model_id(cast.stranger.address, story.name)
    assert other != story.id


@pytest.mark.parametrize("name", ["a", "x" * 128, "é" * 64, "名" * 42 + "ab"])
def test_name_of_1_to_128_bytes_will_do(registry: ModelRegistry, cast: Cast, name: str) -> None:
    model, _ = registry.create_model(name, TEST_SET, Policy(), sender=cast.admin)
    assert registry.model(model).test_set == TEST_SET


@pytest.mark.parametrize(("name", "length"), [("", 0), ("x" * 129, 129), ("é" * 65, 130)])
def test_name_is_refused_for_its_length_in_bytes(
    registry: ModelRegistry, cast: Cast, name: str, length: int
) -> None:
    with refused("InvalidName", length=length, max=128):
        registry.create_model(name, TEST_SET, Policy(), sender=cast.admin)


def test_name_is_refused_the_second_time(story: Story) -> None:
    with refused("ModelExists", modelId=story.id):
        story.registry.create_model(story.name, TEST_SET, Policy(), sender=story.cast.admin)


def test_model_without_a_test_set_is_refused(registry: ModelRegistry, cast: Cast) -> None:
    with refused("MissingDigest", modelId=model_id(cast.admin.address, "untested")):
        registry.create_model("untested", bytes(32), Policy(), sender=cast.admin)


# --- The policy's limits --------------------------------------------------------------------------

AT_THEIR_BOUNDS = [
    Policy(tolerance=20_000),
    Policy(tolerance=MAX_PPM, max_drop=0),
    Policy(max_drop=MAX_PPM),
    Policy(min_accuracy=900_000, target_accuracy=900_000),
    Policy(min_accuracy=MAX_PPM),
    Policy(min_improvement=MAX_PPM, target_accuracy=MAX_PPM, max_gap=MAX_PPM),
    Policy(patience=65_535, convergence_patience=65_535, max_rollbacks=65_535),
    Policy(max_iterations=2**32 - 1),
]
TOO_LARGE = [
    (name, MAX_PPM)
    for name in (
        "tolerance",
        "max_drop",
        "min_accuracy",
        "min_improvement",
        "target_accuracy",
        "max_gap",
    )
] + [(name, 65_535) for name in ("patience", "convergence_patience", "max_rollbacks")]
INVALID = [
    (
        replace(Policy(max_drop=0), **{name: value}),
        "PolicyValueTooLarge",
        {"value": value, "max": highest},
    )
    for name, highest in TOO_LARGE
    for value in (highest + 1, 2**32 - 1)
] + [
    (
        Policy(tolerance=20_001),
        "ToleranceAboveMaxDrop",
        {"tolerance": 20_001, "maxDrop": 20_000},
    ),
    (
        Policy(min_accuracy=900_001, target_accuracy=900_000),
        "MinAccuracyAboveTarget",
        {"minAccuracy": 900_001, "targetAccuracy": 900_000},
    ),
    (Policy(quorum=0), "QuorumIsZero", {}),
]


@pytest.mark.parametrize("policy", AT_THEIR_BOUNDS)
def test_policy_at_its_bounds_is_accepted(create: Create, policy: Policy) -> None:
    assert create(policy).model.policy == policy


@pytest.mark.parametrize(("policy", "error", "values"), INVALID)
def test_invalid_policy_is_refused_at_creation_and_at_a_change(
    story: Story, policy: Policy, error: str, values: dict[str, int]
) -> None:
    with refused(error, **values):
        story.registry.create_model("invalid", TEST_SET, policy, sender=story.cast.admin)
    with refused(error, **values):
        story.set_policy(policy)
