"""Forks: models that start from a version of another one, and the lineage across them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from ml.chain import registry as registry_client
from ml.chain.commitment import model_id
from ml.chain.policy import PRESETS
from ml.chain.records import LineageStep, Origin
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind, Policy, Status

from .story import TEST_SET, Cast, Story, lineage, refused

Create = Callable[..., Story]
NOBODY = b"no such model".ljust(31, b"?") + b"\0"
NOTHING = (bytes(32), 0)
HIGHEST = 2**256 - 1
FREE = PRESETS["open"]


def fork(story: Story, version: int, policy: Policy = FREE, **created: ModelKind) -> Story:
    """A model that starts from a version of the story's."""
    origin = Origin(story.id, version)
    return Story.begin(story.registry, story.cast, policy, origin=origin, **created)


# --- Creating -------------------------------------------------------------------------------------


def test_fork_names_its_origin_and_how_that_stands(story: Story) -> None:
    story.play(90, 91)
    child = fork(story, 1)
    assert child.model.origin == Origin(story.id, 1)
    assert child.model.origin_status is Status.PASSED
    _, told = child.log(child.created)[0]
    assert (told["originModel"], told["originVersion"]) == (story.id, 1)


def test_model_that_is_no_fork_has_no_origin(story: Story) -> None:
    assert (story.model.origin, story.model.origin_status) == (None, Status.NONE)
    _, told = story.log(story.created)[0]
    assert (told["originModel"], told["originVersion"]) == NOTHING


def test_fork_may_be_anybodys(story: Story) -> None:
    story.play(90)
    registry, stranger = story.registry, story.cast.stranger
    child, _ = registry.create_model(
        "fork", TEST_SET, FREE, sender=stranger, origin=Origin(story.id, 1)
    )
    assert registry.model(child).origin == Origin(story.id, 1)


def test_origin_that_is_revoked_later_shows_as_such(story: Story) -> None:
    story.play(90, 91)
    child = fork(story, 1)
    story.revoke(1)
    assert child.model.origin_status is Status.REVOKED
    child.play(80)
    assert child.state.current == 1


def failed(story: Story) -> Status:
    story.judge_next(80)
    return Status.FAILED


def pending(story: Story) -> Status:
    story.register()
    return Status.PENDING


def discarded(story: Story) -> Status:
    story.register()
    story.discard()
    return Status.DISCARDED


def revoked(story: Story) -> Status:
    story.play(91, 92)
    story.revoke(2)
    return Status.REVOKED


@pytest.mark.parametrize("prepare", [failed, pending, discarded, revoked])
def test_version_that_has_not_passed_is_no_origin(
    story: Story, prepare: Callable[[Story], Status]
) -> None:
    story.play(90)
    status = prepare(story)
    with refused("VersionNotPassed", version=2, status=status):
        fork(story, 2)


@pytest.mark.parametrize("version", [0, 2, 2**32 - 1])
def test_no_version_is_no_origin(story: Story, version: int) -> None:
    story.play(90)
    with refused("UnknownVersion", modelId=story.id, version=version):
        fork(story, version)


@pytest.mark.parametrize("model", [NOBODY, bytes(32)], ids=["never created", "zero"])
def test_no_model_is_no_origin(create: Create, model: bytes) -> None:
    with refused("UnknownModel", modelId=model):
        create(FREE, origin=Origin(model, 1))


def test_model_is_not_its_own_origin(registry: ModelRegistry, cast: Cast) -> None:
    itself = model_id(cast.admin.address, "itself")
    with refused("UnknownModel", modelId=itself):
        registry.create_model("itself", TEST_SET, FREE, sender=cast.admin, origin=Origin(itself, 1))


def test_policy_of_a_fork_is_checked_before_its_origin(create: Create) -> None:
    with refused("QuorumIsZero"):
        create(Policy(quorum=0), origin=Origin(NOBODY, 1))


def test_fork_of_an_open_model_may_be_strict_and_the_other_way_round(create: Create) -> None:
    candidates = create(FREE, kind=ModelKind.OPEN)
    for version, accuracy in ((1, 900_000), (2, 890_000)):
        candidates.register()
        candidates.validate(candidates.evaluation(accuracy, of=version))
    line = fork(candidates, 2, Policy())
    line.play(95)
    back = fork(line, 1, kind=ModelKind.OPEN)
    assert [story.model.origin for story in (line, back)] == [
        Origin(candidates.id, 2),
        Origin(line.id, 1),
    ]
    assert (line.state.kind, back.state.kind) == (ModelKind.STRICT, ModelKind.OPEN)


def test_candidate_that_waits_or_was_discarded_is_no_origin(create: Create) -> None:
    candidates = create(FREE, kind=ModelKind.OPEN)
    candidates.register()
    candidates.register()
    candidates.discard(version=2)
    for version, status in ((1, Status.PENDING), (2, Status.DISCARDED)):
        with refused("VersionNotPassed", version=version, status=status):
            fork(candidates, version)


# --- Lineage --------------------------------------------------------------------------------------


class Family(NamedTuple):
    """1 ← 2 ← 3; from 2 a fork with 1 ← 2 and 3 made from nothing; from 2 of that an open one."""

    first: Story
    second: Story
    third: Story

    def steps(self, *path: tuple[int, int]) -> list[LineageStep]:
        """Versions of the family, by model and number, as the views tell them alone."""
        return [
            LineageStep(self[model].id, self[model].registry.version(self[model].id, number))
            for model, number in path
        ]


@pytest.fixture(scope="module")
def family(registry: ModelRegistry, cast: Cast) -> Family:
    first = Story.begin(registry, cast)
    first.play(90, 91, 92)
    second = fork(first, 2, Policy(max_drop=0))
    second.play(80, 81)
    second.rollback(0)
    second.play(82)
    third = fork(second, 2, kind=ModelKind.OPEN)
    for parent in (0, 1):
        third.register(parent=parent)
        third.validate(third.evaluation())
    return Family(first, second, third)


WHOLE = [(2, 2), (2, 1), (1, 2), (1, 1), (0, 2), (0, 1)]
"""From the open model's second version back to where it all began: model and version."""


@pytest.mark.parametrize("start", range(len(WHOLE)))
@pytest.mark.parametrize("limit", [*range(len(WHOLE) + 2), HIGHEST])
def test_page_of_a_lineage_ends_at_its_limit_and_says_where_to_go_on(
    family: Family, start: int, limit: int
) -> None:
    path = WHOLE[start:]
    model, version = path[0]
    page, then = lineage(family.first.registry, family[model].id, version, limit)
    assert page == family.steps(*path[:limit])
    rest = path[limit:]
    assert then == ((family[rest[0][0]].id, rest[0][1]) if rest else NOTHING)


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        (0, 3, [(0, 3), (0, 2), (0, 1)]),
        (1, 3, [(1, 3), (0, 2), (0, 1)]),  # made from nothing: from where its model starts
        (2, 1, WHOLE[1:]),
    ],
)
def test_lineage_goes_on_at_the_origin_where_a_line_begins(
    family: Family, model: int, version: int, path: list[tuple[int, int]]
) -> None:
    page, then = lineage(family.first.registry, family[model].id, version, HIGHEST)
    assert (page, then) == (family.steps(*path), NOTHING)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_client_reads_a_lineage_across_forks_in_pages_of_any_size(
    family: Family, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(registry_client, "PAGE", size)
    read: Iterator[LineageStep] = family.first.registry.lineage(family.third.id, 2)
    assert list(read) == family.steps(*WHOLE)


def test_active_line_ends_where_the_model_begins(family: Family) -> None:
    client, third = family.first.registry, family.third.id
    assert [number for number in (1, 2) if client.on_active_line(third, number)] == [1]
