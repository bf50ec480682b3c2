"""The paged views: any page of any history, and what is asked of models that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from ml.chain import registry as registry_client
from ml.chain.records import LineageStep
from ml.chain.registry import ModelRegistry
from ml.chain.types import Status

from .story import Cast, Story, ask, lineage, refused, weights_of

NOBODY = b"no such model".ljust(31, b"?") + b"\0"
HIGHEST = 2**256 - 1


def numbers(page: Any) -> list[int]:
    return [view.version for view in page]


@pytest.fixture(scope="module")
def straight(registry: ModelRegistry, cast: Cast) -> Story:
    """1 ← 2 ← 3, then 4 ← 3 failed and 5 waits."""
    story = Story.begin(registry, cast)
    story.play(90, 91, 90.9, 80)
    story.register()
    return story


@pytest.fixture(scope="module")
def branched(registry: ModelRegistry, cast: Cast) -> Story:
    """1 ← 2 ← 3; after a rollback to 1: 1 ← 4 ← 5, and 6 ← 5 failed."""
    story = Story.begin(registry, cast)
    story.play(90, 91, 92)
    story.rollback(1)
    story.play(90.5, 91.5, 80)
    return story


# --- Versions in order ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [
        (1, 0, []),
        (1, 1, [1]),
        (1, 4, [1, 2, 3, 4]),
        (1, 5, [1, 2, 3, 4, 5]),
        (1, 6, [1, 2, 3, 4, 5]),
        (1, HIGHEST, [1, 2, 3, 4, 5]),
        (3, 2, [3, 4]),
        (5, 1, [5]),
        (5, HIGHEST, [5]),
        (6, 1, []),
        (2**32 - 1, HIGHEST, []),
        (0, 5, []),
    ],
)
def test_page_of_versions_has_those_asked_for(
    straight: Story, start: int, limit: int, expected: list[int]
) -> None:
    page = ask(straight.registry, "getVersions", straight.id, start, limit)
    assert numbers(page) == expected


def test_each_version_of_a_page_is_what_it_is_alone(story: Story) -> None:
    story.play(90, 91, 80)
    story.register()
    story.discard()
    story.register()
    page = list(story.registry.versions(story.id))
    assert [version.status for version in page] == [
        Status.PASSED,
        Status.PASSED,
        Status.FAILED,
        Status.DISCARDED,
        Status.PENDING,
    ]
    assert page == [story.registry.version(story.id, number) for number in range(1, 6)]


@pytest.mark.parametrize("start", [0, 1, 2])
def test_empty_model_has_no_page(story: Story, start: int) -> None:
    assert ask(story.registry, "getVersions", story.id, start, 10) == []
    assert list(story.registry.versions(story.id)) == []


@pytest.mark.parametrize("number", [0, 6, 2**32 - 1])
def test_version_that_does_not_exist_is_refused(straight: Story, number: int) -> None:
    with refused("UnknownVersion", modelId=straight.id, version=number):
        straight.registry.version(straight.id, number)


# --- Lineage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "limit", "expected"),
    [
        (5, HIGHEST, [5, 4, 1]),
        (5, 3, [5, 4, 1]),
        (5, 4, [5, 4, 1]),
        (5, 2, [5, 4]),
        (5, 1, [5]),
        (5, 0, []),
        (3, 10, [3, 2, 1]),
        (6, 10, [6, 5, 4, 1]),
        (1, 10, [1]),
    ],
)
def test_lineage_follows_parents_from_any_version(
    branched: Story, version: int, limit: int, expected: list[int]
) -> None:
    page, after = lineage(branched.registry, branched.id, version, limit)
    alone = [branched.registry.version(branched.id, number) for number in expected]
    assert page == [LineageStep(branched.id, one) for one in alone]
    left = (alone[-1].parent if alone else version) if len(page) == limit else 0
    assert after == ((branched.id, left) if left else (bytes(32), 0))


@pytest.mark.parametrize("version", [0, 7])
def test_lineage_of_no_version_is_refused(branched: Story, version: int) -> None:
    with refused("UnknownVersion", modelId=branched.id, version=version):
        ask(branched.registry, "getLineage", branched.id, version, 5)


def test_lineage_begins_anew_after_a_rollback_to_none(story: Story) -> None:
    story.play(100)
    story.rollback(0)
    story.play(97, 98)
    assert [step.version.number for step in story.registry.lineage(story.id, 3)] == [3, 2]


# --- The active line ------------------------------------------------------------------------------


def test_active_line_is_the_current_version_and_its_ancestors(branched: Story) -> None:
    on_line = [n for n in range(1, 7) if branched.registry.on_active_line(branched.id, n)]
    assert on_line == [1, 4, 5]


@pytest.mark.parametrize(
    ("version", "start", "limit", "expected"),
    [
        (5, 0, 0, (True, 0)),  # current itself takes no step
        (4, 0, 0, (False, 5)),  # not yet found: go on from 5
        (4, 0, 1, (True, 0)),
        (1, 0, 1, (False, 4)),
        (1, 4, 1, (True, 0)),
        (1, 0, 2, (True, 0)),
        (1, 0, HIGHEST, (True, 0)),
        (3, 0, 1, (False, 4)),
        (3, 4, 1, (False, 0)),  # 1 lies below 3: not on the line
        (2, 0, HIGHEST, (False, 0)),
        (6, 0, HIGHEST, (False, 0)),  # above current
        (3, 3, 0, (True, 0)),  # from where it is said to start
        (1, 2**32 - 1, HIGHEST, (False, 0)),  # from a version that does not exist
    ],
)
def test_search_on_the_active_line_can_be_paged(
    branched: Story, version: int, start: int, limit: int, expected: tuple[bool, int]
) -> None:
    answer = ask(branched.registry, "onActiveLine", branched.id, version, start, limit)
    assert tuple(answer) == expected


@pytest.mark.parametrize("version", [0, 7])
def test_no_version_is_on_no_line(branched: Story, version: int) -> None:
    with refused("UnknownVersion", modelId=branched.id, version=version):
        branched.registry.on_active_line(branched.id, version)


def test_nothing_is_on_the_line_of_a_model_rolled_back_to_none(story: Story) -> None:
    story.play(90, 91)
    story.rollback(0)
    assert not any(story.registry.on_active_line(story.id, number) for number in (1, 2))


# --- The client's paging --------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 3, 6, 7])
def test_client_reads_the_same_in_pages_of_any_size(
    branched: Story, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(registry_client, "PAGE", page)
    client, model = branched.registry, branched.id
    assert [version.number for version in client.versions(model)] == [1, 2, 3, 4, 5, 6]
    assert [version.number for version in client.versions(model, 5)] == [5, 6]
    assert [step.version.number for step in client.lineage(model, 6)] == [6, 5, 4, 1]
    assert [n for n in range(1, 7) if client.on_active_line(model, n)] == [1, 4, 5]


# --- Models that do not exist ---------------------------------------------------------------------

EVALUATION = (1, 0, 0, True, bytes(32), bytes(32), bytes(32))
SIGNED = (EVALUATION, bytes(32), 0, (bytes(32), bytes(32)))
CONTENT = (bytes(32), "0x" + "11" * 20, (0, 0, 0, bytes(32), bytes(32), bytes(32), 0), bytes(32))
QUESTIONS: dict[str, tuple[Any, ...]] = {
    "getModel": (),
    "getClient": (0,),
    "getVersion": (1,),
    "getVersions": (1, 1),
    "getLineage": (1, 1),
    "onActiveLine": (1, 0, 1),
    "verifyWeights": (1, bytes(32), bytes(32)),
    "verifyTensor": (
        1,
        bytes(32),
        (bytes(32), 1, 4, 1, bytes(32)),
        ("w", "F32", [1], bytes(32)),
        [],
    ),
    "register": (1, weights_of(1), (0, 1, 0, bytes(32), bytes(32), bytes(32), 0), ""),
    "validate": (EVALUATION, ""),
    "validateByQuorum": (EVALUATION, "", [], 2**64 - 1),
    "rollback": (0, ""),
    "discard": (1, ""),
    "complete": ("",),
    "reopen": ("",),
    "revoke": (1, ""),
    "setPolicy": ((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, False),),
    "announceSuccessor": ("0x" + "11" * 20, bytes(32)),
    "enrolClient": (0, "0x" + "11" * 20, bytes(32)),
    "excludeClient": (0, ""),
    "reinstateClient": (0, ""),
    "reportEquivocation": (SIGNED, SIGNED),
    "proveUpdate": (1, CONTENT, 0, (0, 0, 0, bytes(32), 0), (bytes(32), bytes(32)), []),
    "equivocationOf": ("0x" + "11" * 20,),
    "hiddenClients": (1,),
}


@pytest.mark.parametrize("function", QUESTIONS)
@pytest.mark.parametrize("which", ["never created", "a role's id"])
def test_unknown_model_is_refused_by_every_function(
    straight: Story, function: str, which: str
) -> None:
    model = NOBODY if which == "never created" else straight.id[:-1] + b"\1"
    with refused("UnknownModel", modelId=model):
        ask(straight.registry, function, model, *QUESTIONS[function], sender=straight.cast.admin)


def test_zero_is_no_model(registry: ModelRegistry) -> None:
    with refused("UnknownModel", modelId=bytes(32)):
        registry.model(bytes(32))
