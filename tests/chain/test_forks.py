"""Forks and open models: where they come from, how they are published, read and verified."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from ml.chain import history, models, publishing, verification
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Origin
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind, Policy, Status, Verdict
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Cast, Story, weights_of

from .lying_node import LyingNode, with_topic, with_word, without
from .panel import account, named

OPEN = PRESETS["open"]


def begin(registry: ModelRegistry, policy: Policy = PRESETS["thesis"], **created: object) -> Story:
    return Story.begin(registry, Cast(*map(account, range(len(Cast._fields)))), policy, **created)


@dataclass
class Family:
    """A model with two versions, a fork of its v2 with two, and a fork of the fork's v1."""

    root: Story
    fork: Story
    twig: Story


@pytest.fixture(scope="module")
def family(shared: ModelRegistry) -> Family:
    root = begin(shared)
    root.play(90, 91)
    fork = begin(shared, origin=Origin(root.id, 2))
    fork.play(80, 81)
    twig = begin(shared, OPEN, kind=ModelKind.OPEN, origin=Origin(fork.id, 1))
    twig.register()
    twig.validate()
    return Family(root, fork, twig)


@pytest.fixture
def candidates(shared: ModelRegistry) -> tuple[Story, NamedModel]:
    """An open model in which v1 and v2 wait."""
    story = begin(shared, OPEN, kind=ModelKind.OPEN)
    story.register()
    story.register()
    return story, named(story)


# --- Forks ----------------------------------------------------------------------------------------


def test_lineage_goes_on_where_a_fork_began(shared: ModelRegistry, family: Family) -> None:
    expected = [
        (family.twig.id, 1),
        (family.fork.id, 1),
        (family.root.id, 2),
        (family.root.id, 1),
    ]
    steps = list(shared.lineage(family.twig.id, 1))
    assert [(step.model, step.version.number) for step in steps] == expected
    checked = history.lineage(shared, family.twig.id, 1)
    assert [(known.model.id, version) for known, version in checked] == expected
    assert [step.version for step in steps] == [known.row(n).version for known, n in checked]


def test_lineage_is_read_page_by_page(
    shared: ModelRegistry, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(shared.lineage(family.twig.id, 1))
    for page in (1, 2, 3):
        monkeypatch.setattr("ml.chain.registry.PAGE", page)
        assert list(shared.lineage(family.twig.id, 1)) == whole


def test_lineage_of_a_version_that_there_is_not_is_refused(
    shared: ModelRegistry, family: Family
) -> None:
    with pytest.raises(ModelproofError, match=f"{family.fork.name} has no version 9"):
        history.lineage(shared, family.fork.id, 9)


def test_fork_names_its_origin_and_what_became_of_it(shared: ModelRegistry, family: Family) -> None:
    model = shared.model(family.fork.id)
    assert (model.origin, model.origin_status) == (Origin(family.root.id, 2), Status.PASSED)
    found = verification.by_number(shared, family.fork.id, 1)
    assert found.origin is not None
    assert found.origin.model == named(family.root)
    assert str(found.origin) == f"v2 of {family.root.name}, passed"
    assert verification.by_number(shared, family.root.id, 1).origin is None


def test_fork_tells_that_its_origin_was_revoked_since(shared: ModelRegistry) -> None:
    root = begin(shared)
    root.play(90, 91)
    fork = begin(shared, origin=Origin(root.id, 1))
    fork.play(80)
    root.revoke(1)
    whole = history.read(shared, fork.id)
    assert str(whole.origin) == f"v1 of {root.name}, revoked"
    assert whole.row(1).version.status is Status.PASSED


@pytest.mark.parametrize(
    ("version", "says"), [(3, "is FAILED: only one that PASSED"), (9, "has no version 9")]
)
def test_only_a_passed_version_is_forked(shared: ModelRegistry, version: int, says: str) -> None:
    root = begin(shared)
    root.play(90, 91, 80)
    with pytest.raises(ContractRefused, match=says):
        begin(shared, origin=Origin(root.id, version))


def test_fork_begins_its_history_with_its_origin(shared: ModelRegistry, family: Family) -> None:
    whole = history.read(shared, family.twig.id)
    assert whole.happenings[0].sentence == (
        f"created by {family.twig.cast.admin.address} as open model {family.twig.name}, from v1 of"
        f" 0x{family.fork.id.hex()}"
    )


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_topic(3, b"\1" * 31 + b"\0"), id="another origin"),
        pytest.param(with_word(0, 2), id="another version of it"),
        pytest.param(with_word(1, 1), id="another kind"),
    ],
)
def test_origin_that_the_head_does_not_commit_to_is_not_believed(
    shared: ModelRegistry, family: Family, liar: LyingNode, lie: object
) -> None:
    def change(logs: list[dict[str, object]]) -> list[dict[str, object]]:
        return [*lie(logs[:1]), *logs[1:]]  # type: ignore[operator]

    liar.lie = change
    with pytest.raises(NotVerified):
        verification.read_checked(shared, family.twig.id)


def test_origin_whose_creation_the_node_leaves_out_is_not_named(
    shared: ModelRegistry, family: Family, liar: LyingNode
) -> None:
    model = shared.model(family.fork.id)
    liar.lie = without("ModelCreated")
    with pytest.raises(NotVerified, match=r"no creation of model 0x.*, which is on record"):
        verification.named_origin(shared, model)


def test_model_is_found_by_its_id(shared: ModelRegistry, family: Family) -> None:
    assert models.by_id(shared, family.root.id) == named(family.root)


# --- Successors -----------------------------------------------------------------------------------


def test_latest_announced_successor_counts(shared: ModelRegistry) -> None:
    story = begin(shared)
    assert history.read(shared, story.id).successor is None
    for digit in "12":
        registry, model = f"0x{digit * 40}", bytes([int(digit)]) * 31 + b"\0"
        shared.announce_successor(story.id, registry, model, sender=story.cast.admin)
    whole = history.read(shared, story.id)
    assert whole.successor == history.Successor(
        "0x" + "2" * 40, b"\2" * 31 + b"\0", story.cast.admin.address
    )
    announced = f"announced that it goes on as 0x{'02' * 31}00 in the registry at 0x{'2' * 40}"
    assert whole.happenings[-1].sentence == f"{story.cast.admin.address} {announced}"


def test_successor_needs_a_registry(shared: ModelRegistry, family: Family) -> None:
    with pytest.raises(ContractRefused, match="a successor needs the address of its registry"):
        shared.announce_successor(
            family.root.id, "0x" + "0" * 40, bytes(32), sender=family.root.cast.admin
        )


# --- Open models ----------------------------------------------------------------------------------


def test_several_candidates_wait_and_the_one_has_to_be_named(
    shared: ModelRegistry, candidates: tuple[Story, NamedModel]
) -> None:
    story, model = candidates
    assert publishing.waiting_versions(shared, story.model) == [1, 2]
    with pytest.raises(ModelproofError, match=r"several versions .* wait .* \(1, 2\): say which"):
        publishing.pending(shared, model)
    assert publishing.pending(shared, model, 1).registered.version == 1
    with pytest.raises(
        ModelproofError, match=r"version 3 of .* does not wait .*; versions 1, 2 do"
    ):
        publishing.pending(shared, model, 3)


def test_candidates_are_judged_in_any_order(
    shared: ModelRegistry, candidates: tuple[Story, NamedModel]
) -> None:
    story, model = candidates
    judged = []
    for version, accuracy in ((2, 910_000), (1, 900_000)):
        waiting = publishing.pending(shared, model, version)
        validation = publishing.validate(
            shared, waiting, accuracy, 0, "{}", sender=story.cast.validator
        )
        judged.append((validation.judgement.verdict, validation.sentence))
    assert judged == [
        (
            Verdict.FIRST_BEST,
            "accuracy 91.00 % has no best to compare with: v2 becomes the best",
        ),
        (
            Verdict.CONTENDER,
            "accuracy 90.00 % is 1.00 points below the best, 91.00 % (v2): v1 passes as a"
            " contender",
        ),
    ]
    found = verification.by_number(shared, story.id, 1)
    assert found.standing() == "v1 passed as a candidate: the current version is v2."


def test_candidate_is_judged_against_the_best_when_it_is_recorded(
    shared: ModelRegistry, candidates: tuple[Story, NamedModel]
) -> None:
    """Another validator's candidate came in between looking and sending."""
    story, model = candidates
    looked_at = publishing.pending(shared, model, 1)
    publishing.validate(
        shared,
        publishing.pending(shared, model, 2),
        910_000,
        0,
        "{}",
        sender=story.cast.validator,
    )
    validation = publishing.validate(
        shared, looked_at, 900_000, 0, "{}", sender=story.cast.validator
    )
    assert validation.judgement.verdict is Verdict.CONTENDER
    assert validation.judgement.state == story.state


def test_candidate_that_fails_has_not_rolled_anything_back(shared: ModelRegistry) -> None:
    story = begin(shared, replace(OPEN, min_accuracy=850_000), kind=ModelKind.OPEN)
    story.register()
    story.validate(story.evaluation(800_000))
    found = verification.by_number(shared, story.id, 1)
    assert found.standing() == ("v1 failed its validation (BELOW_MINIMUM): no version is current.")
    assert [h.what for h in history.read(shared, story.id).happenings] == ["ModelCreated"]


def test_turn_of_an_open_model_has_no_round_and_any_parent(
    shared: ModelRegistry, family: Family
) -> None:
    turn = publishing.next_turn(shared, named(family.twig))
    assert (turn.version, turn.details.parent) == (2, 0)
    assert (turn.details.iteration, turn.details.epoch) == (0, 0)
    assert publishing.next_turn(shared, named(family.twig), parent=1).details.parent == 1


def test_discarded_candidate_leaves_the_other_waiting(
    shared: ModelRegistry, candidates: tuple[Story, NamedModel]
) -> None:
    story, model = candidates
    story.discard("duplicate", 1)
    assert publishing.pending(shared, model).registered.version == 2
    whole = history.read(shared, story.id)
    assert [row.waits for row in whole.rows] == [False, True]
    assert whole.happenings[-1].sentence.endswith("discarded v1: duplicate")


def test_weights_of_a_candidate_verify(shared: ModelRegistry, family: Family) -> None:
    (found,) = verification.identify(shared, weights_of(1), model=family.twig.id)
    assert found.is_current
    assert found.standing() == "v1 passed and is the current version."
