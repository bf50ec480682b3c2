"""Open models: registries of candidates, of which several may wait and the best is pointed at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.chain.commitment import commitment, model_id
from ml.chain.policy import PRESETS
from ml.chain.records import Details
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.types import MAX_PPM, ModelKind, ModelState, Policy, Status, Verdict
from tests.chain.plays import ppm

from .batch import Batch, encode
from .histories import EXCESSIVE, INVALID
from .mirror import excess, policy_error, policy_values
from .signing import ring
from .story import TEST_SET, Cast, Story, refused, weights_of

Create = Callable[..., Story]
FREE = PRESETS["open"]
REASON = "trained on the test set"


@pytest.fixture
def candidates(create: Create) -> Story:
    """A new open model without limits."""
    return create(FREE, kind=ModelKind.OPEN)


def wait(story: Story, count: int) -> None:
    """Register some versions made from nothing."""
    for _ in range(count):
        story.register()


def judge(story: Story, version: int, percent: float, accepted: bool = True) -> Verdict:
    """Validate one of the versions that wait."""
    evaluation = story.evaluation(ppm(percent), of=version, accepted=accepted)
    return story.validate(evaluation)[0]


# --- Creation and policy --------------------------------------------------------------------------


def test_open_model_is_told_as_one_and_is_empty(candidates: Story) -> None:
    assert candidates.state == ModelState(kind=ModelKind.OPEN)
    _, told = candidates.log(candidates.created)[0]
    assert told["kind"] == ModelKind.OPEN


@pytest.mark.parametrize(
    "policy",
    [
        FREE,
        replace(FREE, max_drop=MAX_PPM, min_accuracy=MAX_PPM),
        replace(FREE, quorum=255, independent=True),
    ],
)
def test_open_model_keeps_the_four_limits_that_it_may_have(create: Create, policy: Policy) -> None:
    story = create(policy, kind=ModelKind.OPEN)
    assert story.model.policy == policy
    story.set_policy(FREE)
    assert story.model.policy == FREE


@pytest.mark.parametrize("policy", EXCESSIVE)
def test_limit_that_no_open_model_has_is_refused_at_creation_and_at_a_change(
    candidates: Story, policy: Policy
) -> None:
    with refused("PolicyNotForOpenModels", excess=excess(policy)):
        Story.begin(candidates.registry, candidates.cast, policy, kind=ModelKind.OPEN)
    with refused("PolicyNotForOpenModels", excess=excess(policy)):
        candidates.set_policy(policy)


@pytest.mark.parametrize("policy", INVALID)
def test_policy_that_is_invalid_anyway_is_refused_for_that(
    candidates: Story, policy: Policy
) -> None:
    with pytest.raises(ContractRefused) as caught:
        candidates.set_policy(policy)
    assert (caught.value.name, *caught.value.values.values()) == policy_error(policy)


# --- Registering ----------------------------------------------------------------------------------


def test_several_versions_may_wait(candidates: Story) -> None:
    wait(candidates, 3)
    assert candidates.statuses == [Status.PENDING] * 3
    assert candidates.state == ModelState(latest=3, waiting=3, kind=ModelKind.OPEN)
    assert candidates.state.pending == 0


def test_255_versions_may_wait_and_no_more(batch: Batch) -> None:
    contract, model = batch.registry.contract, model_id(batch.address, "crowded")
    begin = (TEST_SET, (bytes(32), 0), policy_values(FREE), (batch.address,) * 3)
    nothing = (0, 0, 0, bytes(32), bytes(32), bytes(32), 0)

    def register(version: int) -> bytes:
        said = (model, version, weights_of(version), nothing, "")
        return encode(contract, "register", *said)

    calls = [encode(contract, "createModel", "crowded", True, *begin)]
    calls += [register(version) for version in range(1, 257)]
    calls += [encode(contract, "discard", model, 100, ""), register(256), register(257)]
    outcomes = batch.call_each(batch.registry.address, calls)
    succeeded = [outcome.succeeded for outcome in outcomes]
    assert succeeded == [True] * 256 + [False, True, True, False]
    full = batch.interface.error("TooManyWaiting", {"max": 255}, model)
    assert (outcomes[256].returned, outcomes[-1].returned) == (full, full)


def test_version_is_made_from_any_that_has_passed_or_from_nothing(candidates: Story) -> None:
    wait(candidates, 3)
    for version, percent in ((1, 91), (2, 90), (3, 92)):
        judge(candidates, version, percent)
    for parent in (0, 1, 2, 3):
        candidates.register(parent=parent)
    told = [candidates.registry.version(candidates.id, number) for number in (4, 5, 6, 7)]
    assert [version.parent for version in told] == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def mixed(registry: ModelRegistry, cast: Cast) -> Story:
    """Versions 1 … 5: current, failed, discarded, revoked, waiting."""
    story = Story.begin(registry, cast, FREE, kind=ModelKind.OPEN)
    wait(story, 5)
    judge(story, 1, 91)
    judge(story, 2, 90, accepted=False)
    story.discard(version=3)
    judge(story, 4, 90)
    story.revoke(4)
    return story


STANDING = {2: Status.FAILED, 3: Status.DISCARDED, 4: Status.REVOKED, 5: Status.PENDING}


def test_each_version_stands_where_it_was_left(mixed: Story) -> None:
    assert mixed.statuses == [Status.PASSED, *STANDING.values()]


@pytest.mark.parametrize("parent", STANDING)
def test_parent_that_has_not_passed_is_refused(mixed: Story, parent: int) -> None:
    with refused("VersionNotPassed", version=parent, status=STANDING[parent]):
        mixed.register(parent=parent)


@pytest.mark.parametrize("parent", [6, 7, 2**32 - 1])
def test_parent_that_is_no_version_is_refused(mixed: Story, parent: int) -> None:
    with refused("UnknownVersion", modelId=mixed.id, version=parent):
        mixed.register(parent=parent)


@pytest.mark.parametrize("version", [0, 1, 5, 7, 2**32 - 1])
def test_number_that_is_not_the_next_is_refused(mixed: Story, version: int) -> None:
    with refused("UnexpectedVersion", version=version, expected=6):
        mixed.register(version)


@pytest.mark.parametrize("value", [1, 6, 2**32 - 1])
def test_open_model_has_neither_iterations_nor_epochs(mixed: Story, value: int) -> None:
    with refused("UnexpectedIteration", iteration=value, expected=0):
        mixed.register(iteration=value)
    with refused("UnexpectedEpoch", epoch=value, expected=0):
        mixed.register(epoch=value)


def test_clients_of_an_open_model_are_checked_as_anywhere(candidates: Story) -> None:
    candidates.enrol(3)
    with refused("InactiveContributors", inactive=1):
        candidates.register(contributors=0b1001)
    candidates.register(contributors=0b1000)


# --- Validating -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "best", "accuracy", "accepted", "verdict"),
    [
        (FREE, None, 0, True, Verdict.FIRST_BEST),
        (FREE, None, 100, False, Verdict.REJECTED),
        (FREE, 90, 90.01, True, Verdict.NEW_BEST),
        (FREE, 90, 90, True, Verdict.CONTENDER),
        (FREE, 90, 0, True, Verdict.CONTENDER),
        (FREE, 90, 100, False, Verdict.REJECTED),
        (replace(FREE, max_drop=ppm(2)), 90, 88, True, Verdict.CONTENDER),
        (replace(FREE, max_drop=ppm(2)), 90, 87.9999, True, Verdict.SEVERE_DROP),
        (replace(FREE, max_drop=ppm(2)), None, 1, True, Verdict.FIRST_BEST),
        (replace(FREE, min_accuracy=ppm(85)), None, 85, True, Verdict.FIRST_BEST),
        (replace(FREE, min_accuracy=ppm(85)), None, 84.9999, True, Verdict.BELOW_MINIMUM),
        (replace(FREE, min_accuracy=ppm(85)), 90, 84.9999, True, Verdict.BELOW_MINIMUM),
        (replace(FREE, min_accuracy=ppm(85)), 90, 85, True, Verdict.CONTENDER),
        (
            replace(FREE, min_accuracy=ppm(85), max_drop=ppm(2)),
            90,
            80,
            True,
            Verdict.BELOW_MINIMUM,
        ),
        (replace(FREE, min_accuracy=ppm(85)), 90, 80, False, Verdict.REJECTED),
    ],
)
def test_validation_is_judged_by_the_first_rule_that_matches(
    create: Create,
    policy: Policy,
    best: float | None,
    accuracy: float,
    accepted: bool,
    verdict: Verdict,
) -> None:
    story = create(policy, kind=ModelKind.OPEN)
    if best is not None:
        wait(story, 1)
        judge(story, 1, best)
    wait(story, 1)
    before, version = story.state, story.state.latest
    assert judge(story, version, accuracy, accepted) is verdict
    moved = {"current": version, "best": version, "best_accuracy": ppm(accuracy)}
    becomes_best = verdict in (Verdict.FIRST_BEST, Verdict.NEW_BEST)
    assert story.state == replace(before, waiting=0, **moved if becomes_best else {})
    assert story.statuses[-1] is (Status.FAILED if verdict.fails else Status.PASSED)
    assert story.registry.version(story.id, version).accuracy == ppm(accuracy)


def test_those_that_wait_are_validated_in_any_order(candidates: Story) -> None:
    wait(candidates, 3)
    assert judge(candidates, 3, 90) is Verdict.FIRST_BEST
    assert candidates.statuses == [Status.PENDING, Status.PENDING, Status.PASSED]
    assert judge(candidates, 1, 92) is Verdict.NEW_BEST
    assert judge(candidates, 2, 91) is Verdict.CONTENDER
    assert candidates.state == ModelState(
        current=1, best=1, best_accuracy=ppm(92), latest=3, kind=ModelKind.OPEN
    )


def test_failure_of_an_open_model_is_told_without_a_rollback(candidates: Story) -> None:
    wait(candidates, 1)
    evaluation = candidates.evaluation(training_accuracy=ppm(95), accepted=False)
    _, receipt = candidates.validate(evaluation, "{}")
    assert candidates.log(receipt) == [
        (
            "VersionValidated",
            {
                "modelId": candidates.id,
                "version": 1,
                "validator": candidates.cast.validator.address,
                "accuracy": ppm(90),
                "trainingAccuracy": ppm(95),
                "verdict": Verdict.REJECTED,
                "metrics": "{}",
            },
        )
    ]
    assert candidates.state == ModelState(latest=1, kind=ModelKind.OPEN)


def test_quorum_validates_candidates_too(create: Create) -> None:
    story, validators = create(replace(FREE, quorum=2), kind=ModelKind.OPEN), ring("open", 2)
    story.appoint(*validators)
    wait(story, 2)
    with refused("QuorumRequired", quorum=2):
        judge(story, 1, 90)
    for version, expected in ((2, Verdict.FIRST_BEST), (1, Verdict.CONTENDER)):
        evaluation = story.evaluation(of=version)
        signed = story.signed(evaluation, validators)
        assert story.validate_by_quorum(evaluation, signed)[0] is expected


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_version_that_no_longer_waits_is_not_validated(mixed: Story, version: int) -> None:
    with refused("VersionIsNotPending", modelId=mixed.id, version=version, pending=0):
        judge(mixed, version, 90)


@pytest.mark.parametrize("version", [0, 6, 2**32 - 1])
def test_no_version_is_not_validated(mixed: Story, version: int) -> None:
    with refused("UnknownVersion", modelId=mixed.id, version=version):
        mixed.validate(mixed.evaluation(version=version))


@pytest.mark.parametrize("name", ["accuracy", "training_accuracy"])
def test_candidates_accuracy_above_a_hundred_percent_is_refused(mixed: Story, name: str) -> None:
    with refused("AccuracyOutOfRange", accuracy=MAX_PPM + 1, max=MAX_PPM):
        mixed.validate(mixed.evaluation(of=5, **{name: MAX_PPM + 1}))


def test_evaluation_of_one_candidate_does_not_pass_for_another(candidates: Story) -> None:
    wait(candidates, 2)
    weights, details = candidates.said[1]
    recorded = commitment(TEST_SET, *candidates.said[2])[:25]
    stated = commitment(TEST_SET, weights, details)
    with refused("CommitmentMismatch", version=2, recorded=recorded, stated=stated):
        candidates.validate(candidates.evaluation(of=1, version=2))


# --- Operating ------------------------------------------------------------------------------------


def test_discard_withdraws_any_that_waits_and_no_other(candidates: Story) -> None:
    wait(candidates, 3)
    operator = candidates.cast.operator.address
    assert candidates.log(candidates.discard(REASON, version=2)) == [
        (
            "VersionDiscarded",
            {"modelId": candidates.id, "version": 2, "by": operator, "reason": REASON},
        )
    ]
    assert candidates.statuses == [Status.PENDING, Status.DISCARDED, Status.PENDING]
    assert candidates.state == ModelState(latest=3, waiting=2, kind=ModelKind.OPEN)
    assert judge(candidates, 3, 90) is Verdict.FIRST_BEST


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_version_that_no_longer_waits_is_not_discarded(mixed: Story, version: int) -> None:
    with refused("VersionIsNotPending", modelId=mixed.id, version=version, pending=0):
        mixed.discard(version=version)


@pytest.mark.parametrize("version", [0, 6, 2**32 - 1])
def test_no_version_is_not_discarded(mixed: Story, version: int) -> None:
    with refused("UnknownVersion", modelId=mixed.id, version=version):
        mixed.discard(version=version)


def test_rollback_moves_the_pointer_and_leaves_what_waits(candidates: Story) -> None:
    wait(candidates, 3)
    judge(candidates, 1, 91)
    judge(candidates, 2, 92)
    operator = candidates.cast.operator.address
    assert candidates.log(candidates.rollback(1, REASON)) == [
        (
            "RolledBackManually",
            {"modelId": candidates.id, "from": 2, "to": 1, "by": operator, "reason": REASON},
        )
    ]
    assert candidates.state == ModelState(
        current=1, best=1, best_accuracy=ppm(91), latest=3, waiting=1, kind=ModelKind.OPEN
    )
    assert judge(candidates, 3, 91.5) is Verdict.NEW_BEST


def test_rollback_reaches_a_contender_that_was_never_current(candidates: Story) -> None:
    wait(candidates, 2)
    judge(candidates, 1, 92)
    assert judge(candidates, 2, 90) is Verdict.CONTENDER
    candidates.rollback(2)
    assert (candidates.state.current, candidates.state.best_accuracy) == (2, ppm(90))


def test_rollback_to_none_lets_the_next_that_passes_be_the_best(candidates: Story) -> None:
    wait(candidates, 2)
    judge(candidates, 1, 100)
    candidates.rollback(0)
    assert (candidates.state.current, candidates.state.best_accuracy) == (0, 0)
    assert judge(candidates, 2, 50) is Verdict.FIRST_BEST


@pytest.mark.parametrize("target", STANDING)
def test_rollback_to_a_version_that_has_not_passed_is_refused(mixed: Story, target: int) -> None:
    with refused("VersionNotPassed", version=target, status=STANDING[target]):
        mixed.rollback(target)


def test_rollback_to_the_current_version_is_refused(mixed: Story) -> None:
    with refused("AlreadyCurrent", version=1):
        mixed.rollback(1)


def test_contender_can_be_revoked_and_the_current_version_cannot(candidates: Story) -> None:
    wait(candidates, 2)
    judge(candidates, 1, 92)
    judge(candidates, 2, 91)
    candidates.revoke(2, REASON)
    assert candidates.statuses == [Status.PASSED, Status.REVOKED]
    with refused("VersionInUse", version=1, current=1, best=1):
        candidates.revoke(1)


@pytest.mark.parametrize("version", [2, 3, 5])
def test_version_that_has_not_passed_is_not_revoked(mixed: Story, version: int) -> None:
    with refused("VersionNotPassed", version=version, status=STANDING[version]):
        mixed.revoke(version)


def test_open_model_has_no_training_to_end_or_to_take_up_again(mixed: Story) -> None:
    with refused("ModelIsOpen", modelId=mixed.id):
        mixed.complete()
    with refused("ModelIsNotCompleted", modelId=mixed.id):
        mixed.reopen()


def test_policy_does_not_change_while_any_version_waits(candidates: Story) -> None:
    wait(candidates, 2)
    with refused("VersionsWait", modelId=candidates.id, waiting=2):
        candidates.set_policy(FREE)
    candidates.discard(version=1)
    with refused("VersionsWait", modelId=candidates.id, waiting=1):
        candidates.set_policy(FREE)
    judge(candidates, 2, 90)
    candidates.set_policy(replace(FREE, min_accuracy=ppm(91)))
    wait(candidates, 1)
    assert judge(candidates, 3, 90.5) is Verdict.BELOW_MINIMUM


# --- What can be asked ----------------------------------------------------------------------------


def test_lineage_and_active_line_follow_parents_that_are_not_the_last(candidates: Story) -> None:
    wait(candidates, 2)
    judge(candidates, 1, 90)
    judge(candidates, 2, 89)
    for parent in (2, 3):
        candidates.register(parent=parent)
        judge(candidates, candidates.state.latest, 90 + parent)
    client, model = candidates.registry, candidates.id
    assert [step.version.number for step in client.lineage(model, 4)] == [4, 3, 2]
    assert [n for n in (1, 2, 3, 4) if client.on_active_line(model, n)] == [2, 3, 4]


def test_details_of_a_candidate_are_all_zero_but_for_its_parent(candidates: Story) -> None:
    assert candidates.due() == Details(0, 0, 0)
    receipt = candidates.register()
    ((_, told),) = candidates.log(receipt)
    assert tuple(told["details"])[:3] == (0, 0, 0)


def test_each_candidate_of_a_page_is_what_it_is_alone(mixed: Story) -> None:
    alone = [mixed.registry.version(mixed.id, number) for number in range(1, 6)]
    assert list(mixed.registry.versions(mixed.id)) == alone
