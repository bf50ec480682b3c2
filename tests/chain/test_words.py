"""The packed words in Python: what does not fit is refused, whatever the contract would do."""

from __future__ import annotations

import pytest

from ml.chain.types import CompletionReason, ModelKind, ModelState, Policy
from ml.chain.words import POLICY_LAYOUT, STATE_LAYOUT, Layout, policy_word, state_word


@pytest.mark.parametrize("layout", [STATE_LAYOUT, POLICY_LAYOUT], ids=["state", "policy"])
def test_fields_of_a_layout_follow_each_other_without_gap_or_overlap(layout: Layout) -> None:
    ends = [offset + width for offset, width in layout.values()]
    assert [offset for offset, _ in layout.values()] == [0, *ends[:-1]]
    assert ends[-1] <= 256


def test_each_field_of_a_state_stands_where_the_layout_says() -> None:
    state = ModelState(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, CompletionReason.CONVERGED, ModelKind.OPEN)
    word = "02_0a_03_0009_0008_0007_00000006_00000005_000003_00000004_00000002_00000001"
    assert state_word(state) == int(word, 16)


@pytest.mark.parametrize(
    ("state", "pending"),
    [
        (ModelState(latest=3), 0),
        (ModelState(latest=3, waiting=1), 3),
        (ModelState(latest=3, waiting=1, kind=ModelKind.OPEN), 0),
    ],
)
def test_latest_version_is_the_pending_one_only_of_a_strict_model_in_which_it_waits(
    state: ModelState, pending: int
) -> None:
    assert state.pending == pending


def test_word_of_no_model_is_zero() -> None:
    assert state_word(ModelState(kind=ModelKind.NONE)) == 0


def test_each_field_of_a_policy_stands_where_the_layout_says() -> None:
    policy = Policy(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, independent=True)
    word = "01_0b_00000008_0009_0007_0003_00000a_000006_000005_000004_000002_000001"
    assert policy_word(policy) == int(word, 16)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (ModelState(current=2**32), "current is 4294967296"),
        (ModelState(best_accuracy=2**24), "24 bits"),
        (ModelState(rollbacks=65_536), "16 bits"),
        (ModelState(epoch=-1), "epoch is -1"),
        (ModelState(waiting=256), "waiting is 256"),
    ],
)
def test_state_that_does_not_fit_is_refused(state: ModelState, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        state_word(state)


@pytest.mark.parametrize(
    "policy", [Policy(quorum=256), Policy(patience=65_536), Policy(max_iterations=2**32)]
)
def test_policy_that_does_not_fit_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        policy_word(policy)
