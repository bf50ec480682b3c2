"""Validating the pending version: what is recorded and told, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ml.chain.commitment import commitment
from ml.chain.records import Role, Version
from ml.chain.types import MAX_PPM, CompletionReason, ModelState, Policy, Status, Verdict
from tests.chain.plays import ppm

from .story import TEST_SET, Story, flipped, refused, weights_of

Create = Callable[..., Story]
METRICS = '{"loss": 0.31, "f1": [0.9, 0.8]}'


def test_validated_version_has_its_accuracy_on_record(story: Story) -> None:
    story.register()
    verdict, _ = story.validate(story.evaluation(912_345))
    assert verdict is Verdict.FIRST_BEST
    assert story.registry.version(story.id, 1) == Version(
        number=1,
        parent=0,
        accuracy=912_345,
        status=Status.PASSED,
        commitment=commitment(TEST_SET, *story.said[1])[:25],
    )
    assert story.state == ModelState(
        current=1, best=1, best_accuracy=912_345, latest=1, iteration=1
    )


def test_validation_is_told_in_full(story: Story) -> None:
    story.register()
    evaluation = story.evaluation(912_345, training_accuracy=954_321)
    _, receipt = story.validate(evaluation, METRICS)
    assert story.log(receipt) == [
        (
            "VersionValidated",
            {
                "modelId": story.id,
                "version": 1,
                "validator": story.cast.validator.address,
                "accuracy": 912_345,
                "trainingAccuracy": 954_321,
                "verdict": Verdict.FIRST_BEST,
                "metrics": METRICS,
            },
        )
    ]


@pytest.mark.parametrize(
    ("accuracy", "accepted", "cause"),
    [
        (ppm(95), False, Verdict.REJECTED),
        (ppm(84), True, Verdict.BELOW_MINIMUM),
        (ppm(87), True, Verdict.SEVERE_DROP),
        (ppm(90.9), True, Verdict.PATIENCE_EXHAUSTED),
    ],
)
def test_automatic_rollback_is_told_with_its_cause(
    create: Create, accuracy: int, accepted: bool, cause: Verdict
) -> None:
    story = create(Policy(min_accuracy=ppm(85), patience=2))
    story.play(91, 90.9)
    story.register()
    verdict, receipt = story.validate(story.evaluation(accuracy, accepted=accepted))
    assert verdict is cause
    validated, rolled_back = story.log(receipt)
    assert (validated[0], validated[1]["verdict"]) == ("VersionValidated", cause)
    assert rolled_back == (
        "RolledBackAutomatically",
        {"modelId": story.id, "from": 3, "to": 1, "cause": cause},
    )
    assert story.statuses[2] is Status.FAILED
    assert story.registry.version(story.id, 3).accuracy == accuracy


def test_automatic_rollback_to_none_is_told_as_zero(story: Story) -> None:
    story.register()
    _, receipt = story.validate(story.evaluation(accepted=False))
    cause = Verdict.REJECTED
    expected = {"modelId": story.id, "from": 1, "to": 0, "cause": cause}
    assert story.log(receipt)[1] == ("RolledBackAutomatically", expected)


@pytest.mark.parametrize(
    ("policy", "changes", "cause", "current"),
    [
        (Policy(max_rollbacks=1), {"accepted": False}, CompletionReason.ROLLBACK_LIMIT, 1),
        (Policy(target_accuracy=ppm(91)), {}, CompletionReason.TARGET_REACHED, 2),
        (
            Policy(convergence_patience=1),
            {"accuracy": ppm(90)},
            CompletionReason.CONVERGED,
            1,
        ),
        (Policy(max_iterations=2), {}, CompletionReason.MAX_ITERATIONS, 2),
        (
            Policy(max_gap=ppm(3)),
            {"training_accuracy": ppm(95)},
            CompletionReason.OVERTRAINING,
            2,
        ),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, CompletionReason) else "",
)
def test_completion_by_the_policy_is_told_with_its_cause(
    create: Create, policy: Policy, changes: dict[str, Any], cause: CompletionReason, current: int
) -> None:
    story = create(policy)
    story.play(90)
    story.register()
    _, receipt = story.validate(replace(story.evaluation(ppm(91)), **changes))
    assert story.log(receipt)[-1] == (
        "ModelCompleted",
        {
            "modelId": story.id,
            "current": current,
            "by": story.cast.validator.address,
            "cause": cause,
            "reason": "",
        },
    )
    assert (story.state.completed, story.state.current) == (cause, current)


def test_accuracy_of_a_hundred_percent_will_do(story: Story) -> None:
    story.register()
    story.validate(story.evaluation(MAX_PPM, training_accuracy=MAX_PPM))
    assert story.state.best_accuracy == MAX_PPM


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accuracy", "training_accuracy"])
@pytest.mark.parametrize("value", [MAX_PPM + 1, 2**32 - 1])
def test_accuracy_above_a_hundred_percent_is_refused(story: Story, name: str, value: int) -> None:
    story.register()
    with refused("AccuracyOutOfRange", accuracy=value, max=MAX_PPM):
        story.validate(replace(story.evaluation(), **{name: value}))


@pytest.mark.parametrize("version", [0, 1, 3, 2**32 - 1])
def test_version_other_than_the_pending_one_is_refused(story: Story, version: int) -> None:
    story.play(90)
    story.register()
    with refused("VersionIsNotPending", modelId=story.id, version=version, pending=2):
        story.validate(story.evaluation(version=version))


def test_version_zero_is_refused_where_nothing_waits(story: Story) -> None:
    story.play(90)
    with refused("VersionIsNotPending", modelId=story.id, version=0, pending=0):
        story.validate(story.evaluation(version=0))


def test_version_is_not_validated_twice(story: Story) -> None:
    story.play(90)
    with refused("VersionIsNotPending", modelId=story.id, version=1, pending=0):
        story.validate()


def test_validation_under_way_finds_its_version_discarded_by_a_rollback(story: Story) -> None:
    story.play(90, 91)
    story.register()
    story.rollback(1)
    with refused("VersionIsNotPending", modelId=story.id, version=3, pending=0):
        story.validate()


def test_completed_model_takes_no_validation(story: Story) -> None:
    story.register()
    story.complete()
    with refused("ModelIsCompleted", modelId=story.id, cause=CompletionReason.MANUAL):
        story.validate()


@pytest.mark.parametrize("part", ["test_set", "weights", "details"])
def test_evaluation_of_anything_else_than_what_was_registered_is_refused(
    story: Story, part: str
) -> None:
    story.register()
    true = story.evaluation()
    false = replace(true, **{part: flipped(getattr(true, part))})
    stated = commitment(false.test_set, false.weights, false.details)
    recorded = commitment(TEST_SET, *story.said[1])[:25]
    with refused("CommitmentMismatch", version=1, recorded=recorded, stated=stated):
        story.validate(false)


def test_evaluation_of_an_earlier_version_does_not_pass_for_a_later_one(story: Story) -> None:
    story.play(90)
    story.register(weights=weights_of(1))
    weights, details = story.said[1]
    evaluation = story.evaluation(weights=weights, details=details)
    recorded = commitment(TEST_SET, *story.said[2])[:25]
    stated = commitment(TEST_SET, weights, details)
    with refused("CommitmentMismatch", version=2, recorded=recorded, stated=stated):
        story.validate(evaluation)


@pytest.mark.parametrize("quorum", [2, 255])
def test_plain_call_is_refused_where_several_validators_must_agree(
    create: Create, quorum: int
) -> None:
    story = create(Policy(quorum=quorum))
    story.register()
    with refused("QuorumRequired", quorum=quorum):
        story.validate()


def test_validator_who_holds_trainer_is_refused_where_independence_is_asked(
    create: Create,
) -> None:
    story = create(Policy(independent=True))
    validator = story.cast.validator
    story.registry.grant_role(story.id, Role.TRAINER, validator.address, sender=story.cast.admin)
    story.register()
    with refused("ValidatorNotIndependent", validator=validator.address):
        story.validate()
    story.registry.revoke_role(story.id, Role.TRAINER, validator.address, sender=story.cast.admin)
    assert story.validate()[0] is Verdict.FIRST_BEST


def test_validator_who_holds_trainer_will_do_where_independence_is_not_asked(
    story: Story,
) -> None:
    validator = story.cast.validator
    story.registry.grant_role(story.id, Role.TRAINER, validator.address, sender=story.cast.admin)
    story.register(sender=validator)
    assert story.validate()[0] is Verdict.FIRST_BEST
