"""A model's history: all of it, in sentences, and only what the model's head commits to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from ml.chain import history
from ml.chain.anvil import AnvilNode
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.types import Policy, Verdict
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Story, weights_of

from .conftest import Tale
from .lying_node import Lie, Log, LyingNode, is_log_of, with_text, with_word, without

Create = Callable[..., Story]


def sentences(registry: ModelRegistry, story: Story) -> list[str]:
    return [happening.sentence for happening in history.read(registry, story.id).happenings]


# --- What it says ---------------------------------------------------------------------------------


def test_each_version_has_its_registration_and_its_validation(
    registry: ModelRegistry, story: Story
) -> None:
    story.play(90, 91)
    story.register()
    rows = history.read(registry, story.id).rows
    assert [row.version.number for row in rows] == [1, 2, 3]
    assert [row.registered.weights for row in rows] == [weights_of(n) for n in (1, 2, 3)]
    verdicts = [row.validated.verdict if row.validated else None for row in rows]
    assert verdicts == [Verdict.FIRST_BEST, Verdict.NEW_BEST, None]


def test_current_and_best_version_are_marked(registry: ModelRegistry, story: Story) -> None:
    story.play(89, 91, 90.8)
    whole = history.read(registry, story.id)
    assert [history.mark(row, whole.model) for row in whole.rows] == ["", "best", "current"]
    story.rollback(1)
    whole = history.read(registry, story.id)
    assert [history.mark(row, whole.model) for row in whole.rows] == ["current, best", "", ""]


def test_everything_that_happened_is_told_in_a_sentence(
    registry: ModelRegistry, story: Story
) -> None:
    story.enrol(0)
    story.exclude(0, "flips labels")
    story.reinstate(0, "it was a bug")
    story.play(90, 80, 91)
    story.rollback(1, "poisoned")
    story.register()
    story.discard("wrong data")
    story.revoke(3, "backdoor")
    story.set_policy(Policy(max_iterations=4))
    story.play(90.5)
    story.set_policy(Policy())
    story.reopen("more data")
    story.complete("enough")
    cast = story.cast
    operator, admin = cast.operator.address, cast.admin.address
    assert sentences(registry, story) == [
        f"created by {admin} as {story.name}",
        f"client 0 enrolled: {cast.client.address}",
        f"{operator} excluded client 0: flips labels",
        f"{operator} reinstated client 0: it was a bug",
        "the policy rolled back from v2 to v1: SEVERE_DROP",
        f"{operator} rolled back from v3 to v1: poisoned",
        f"{operator} discarded v4: wrong data",
        f"{operator} revoked v3: backdoor",
        f"{admin} changed the policy",
        "training completed with v5 (MAX_ITERATIONS)",
        f"{admin} changed the policy",
        f"{admin} reopened it: more data",
        "training completed with v5 (MANUAL): enough",
    ]


def test_rollback_to_none_says_so(registry: ModelRegistry, story: Story) -> None:
    story.play(100)
    story.rollback(0, "the test set had leaked")
    assert sentences(registry, story)[-1].endswith(
        "rolled back from v1 to none: the test set had leaked"
    )


def test_percent_is_exact() -> None:
    assert [history.percent(ppm) for ppm in (902_000, 1, 1_000_000)] == [
        "90.20 %",
        "0.0001 %",
        "100.00 %",
    ]


def test_model_that_there_is_not_has_no_history(registry: ModelRegistry) -> None:
    with pytest.raises(ContractRefused, match="there is no model"):
        history.read(registry, bytes(31) + b"\0")


# --- A lying node ---------------------------------------------------------------------------------


def reordered(logs: list[Log]) -> list[Log]:
    return [*logs[:-2], logs[-1], logs[-2]]


def repeated(logs: list[Log]) -> list[Log]:
    return [*logs, logs[-1]]


def test_honest_node_is_believed(tale: Tale, liar: LyingNode) -> None:
    assert len(history.read(tale.story.registry, tale.story.id).rows) == 2


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_text("clean", "dirty"), id="metadata changed"),
        pytest.param(with_text("f1", "f9"), id="metrics changed"),
        pytest.param(with_text("poisoned", "perfect!"), id="reason changed"),
        pytest.param(without("VersionRegistered"), id="registrations left out"),
        pytest.param(without("VersionValidated"), id="validations left out"),
        pytest.param(without("RolledBackManually"), id="rollback left out"),
        pytest.param(without("ModelCreated"), id="creation left out"),
        pytest.param(lambda logs: logs[:-1], id="end left out"),
        pytest.param(lambda _: [], id="all left out"),
        pytest.param(reordered, id="order changed"),
        pytest.param(repeated, id="told twice"),
    ],
)
def test_history_that_the_head_does_not_commit_to_is_not_believed(
    tale: Tale, liar: LyingNode, lie: Lie
) -> None:
    liar.lie = lie
    with pytest.raises(NotVerified, match=r"[aA]sk another node"):
        history.read(tale.story.registry, tale.story.id)


@pytest.mark.parametrize("word", [0, 1, 2], ids=["accuracy", "training accuracy", "verdict"])
def test_no_field_of_a_validation_can_be_changed(tale: Tale, liar: LyingNode, word: int) -> None:
    def lie(logs: list[Log]) -> list[Log]:
        change = with_word(word, 3)
        return [change([log])[0] if is_log_of("VersionValidated", log) else log for log in logs]

    liar.lie = lie
    with pytest.raises(NotVerified, match=r"[aA]sk another node"):
        history.read(tale.story.registry, tale.story.id)


def test_another_models_history_is_not_this_models(tale: Tale, liar: LyingNode) -> None:
    history.read(tale.other.registry, tale.other.id)
    others = liar.seen[-1]
    liar.lie = lambda _: others
    with pytest.raises(NotVerified, match="not asked for"):
        history.read(tale.story.registry, tale.story.id)


def mine(node: AnvilNode, transaction: dict[str, str]) -> None:
    """Send a transaction and wait for it: Anvil answers a moment before it has mined."""
    digest = node.rpc("eth_sendTransaction", transaction)
    while node.rpc("eth_getTransactionReceipt", digest) is None:
        time.sleep(0.01)


def test_operation_that_comes_in_while_reading_is_no_lie(
    registry: ModelRegistry, story: Story, liar: LyingNode, node: AnvilNode
) -> None:
    """The node rolls back right after it has answered the first time."""
    story.play(90, 91)
    call = registry.contract.rollback.encode_input(story.id, 1, "in between")
    rollback = {
        "from": story.cast.operator.address,
        "to": registry.address,
        "data": "0x" + bytes(call).hex(),
    }
    answers = itertools.count()

    def roll_back_once(logs: list[Log]) -> Any:
        if next(answers) == 0:
            mine(node, rollback)
        return logs

    liar.lie = roll_back_once
    whole = history.read(registry, story.id)
    assert whole.model.state.current == 1
    assert whole.happenings[-1].sentence.endswith("from v2 to v1: in between")


def test_model_that_changes_with_every_reading_is_given_up(
    registry: ModelRegistry, story: Story, liar: LyingNode, node: AnvilNode
) -> None:
    call = registry.contract.enrolClient.encode_input
    indices = itertools.count(1)

    def enrol(logs: list[Log]) -> Any:
        index = next(indices)
        data = call(story.id, index, f"0x{index:040x}", bytes(32))
        sent = {
            "from": story.cast.admin.address,
            "to": registry.address,
            "data": "0x" + bytes(data).hex(),
        }
        mine(node, sent)
        return logs

    liar.lie = enrol
    with pytest.raises(ModelproofError, match="changed 5 times while it was read"):
        history.read(registry, story.id)
