"""The head of a model: it commits to every operation, to nothing else, and can be replayed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ml.chain.head import NO_HEAD, advance, creation_digest
from ml.chain.line import Line
from ml.chain.policy import PRESETS
from ml.chain.records import Evaluation, Operation, Origin, Role
from ml.chain.refusals import ContractRefused
from ml.chain.replay import Step, replay
from ml.chain.types import ModelKind, Policy
from ml.chain.words import state_word

from .histories import Dice, next_move, policy_from_dice
from .mirror import METADATA, METRICS, REASON, Move
from .signing import ring
from .story import TEST_SET, Story

Create = Callable[..., Story]
MOVES = 45
HISTORIES = [ModelKind.STRICT, ModelKind.STRICT, ModelKind.OPEN]
VALIDATORS = ring("head", 3)
SUCCESSOR = b"successor".ljust(31, b"s") + b"\0"


def steps(story: Story) -> list[Step]:
    """The model's history, replayed from its events alone."""
    return list(replay(story.history))


def test_head_of_a_new_model_commits_to_its_creation(story: Story) -> None:
    digest = creation_digest(story.id, TEST_SET, Policy())
    admin = story.cast.admin.address
    word = state_word(story.state)
    assert story.model.head == advance(NO_HEAD, Operation.CREATE, admin, 0, digest, word)


@pytest.mark.parametrize("kind", [ModelKind.STRICT, ModelKind.OPEN])
def test_head_of_a_fork_commits_to_its_kind_and_its_origin(
    story: Story, create: Create, kind: ModelKind
) -> None:
    story.play(90)
    origin = Origin(story.id, 1)
    fork = create(PRESETS["open"], kind=kind, origin=origin)
    digest = creation_digest(fork.id, TEST_SET, fork.model.policy, origin)
    word = state_word(fork.state)
    admin = story.cast.admin.address
    assert fork.model.head == advance(NO_HEAD, Operation.CREATE, admin, 0, digest, word)
    assert [step.head for step in steps(fork)] == [fork.model.head]


# --- Random histories -----------------------------------------------------------------------------

CLIENT_ACTS: tuple[Callable[[Story, int], Any], ...] = (
    lambda story, index: story.enrol(index, dataset=bytes([index]) * 32),
    lambda story, index: story.exclude(index, REASON),
    lambda story, index: story.reinstate(index, REASON),
)


def make(story: Story, move: Move) -> None:
    """Make a move on the registry, as the account that holds the role for it."""
    arguments = move.arguments
    match move.function:
        case "register":
            version, parent, iteration, epoch = arguments
            story.register(
                version, parent=parent, iteration=iteration, epoch=epoch, metadata=METADATA
            )
        case "validate":
            story.validate(stated(story, *arguments), METRICS)
        case "validateByQuorum":
            *judged, places = arguments
            evaluation, signers = stated(story, *judged), [VALIDATORS[at] for at in places]
            signatures = story.signed(evaluation, signers, METRICS)
            story.validate_by_quorum(evaluation, signatures, METRICS)
        case "setPolicy":
            story.set_policy(*arguments)
        case "discard":
            story.discard(REASON, *arguments)
        case _:
            getattr(story, move.function)(*arguments, REASON)


def stated(story: Story, version: int, *judged: Any) -> Evaluation:
    """An evaluation of a version that may not even exist."""
    said = story.said.get(version, (bytes(32), bytes(32)))
    return Evaluation(version, *judged, TEST_SET, *said)


def act(story: Story, dice: Dice) -> None:
    """Do something to the model, most often a move on its line."""
    if dice.pick((False, False, False, False, True)):
        dice.pick(CLIENT_ACTS)(story, dice.pick((0, 1, 255)))
    else:
        model, versions = story.model, tuple(story.registry.versions(story.id))
        make(story, next_move(dice, Line(model.policy, model.state, versions)))


@pytest.mark.parametrize(("seed", "kind"), enumerate(HISTORIES))
def test_head_replays_from_the_events_of_any_history(
    create: Create, seed: int, kind: ModelKind
) -> None:
    dice = Dice(random.Random(seed).randbytes(MOVES * 40))
    story = create(policy_from_dice(dice, kind), kind=kind)
    story.appoint(*VALIDATORS)
    heads = [story.model.head]
    for _ in range(MOVES):
        before = story.model
        try:
            act(story, dice)
        except ContractRefused:
            assert story.model == before
        else:
            heads.append(story.model.head)
    replayed = steps(story)
    assert [step.head for step in replayed] == heads
    assert MOVES // 3 < len(heads) == len(set(heads))
    last = replayed[-1].line
    assert (last.policy, last.state) == (story.model.policy, story.state)
    told = list(story.registry.versions(story.id))
    assert [(r.commitment, r.parent, r.accuracy, r.status) for r in last.versions] == [
        (v.commitment, v.parent, v.accuracy, v.status) for v in told
    ]


def test_every_operation_is_a_step_of_the_replayed_history(story: Story) -> None:
    cast = story.cast
    story.appoint(VALIDATORS[0])
    story.play(90, 91)
    story.revoke(1)
    story.register()
    story.discard(REASON)
    story.register()
    story.rollback(0, REASON)
    story.set_policy(Policy(patience=1))
    for do in CLIENT_ACTS:
        do(story, 7)
    story.register(contributors=1 << 7)
    evaluation = story.evaluation()
    story.validate_by_quorum(evaluation, story.signed(evaluation, VALIDATORS[:1]))
    story.complete(REASON)
    story.reopen(REASON)
    registry, admin = story.registry, cast.admin
    registry.announce_successor(story.id, registry.address, SUCCESSOR, sender=admin)
    replayed = steps(story)
    assert [(step.operation, step.subject, step.sender) for step in replayed] == [
        (Operation.CREATE, 0, cast.admin.address),
        (Operation.REGISTER, 1, cast.trainer.address),
        (Operation.VALIDATE, 1, cast.validator.address),
        (Operation.REGISTER, 2, cast.trainer.address),
        (Operation.VALIDATE, 2, cast.validator.address),
        (Operation.REVOKE, 1, cast.operator.address),
        (Operation.REGISTER, 3, cast.trainer.address),
        (Operation.DISCARD, 3, cast.operator.address),
        (Operation.REGISTER, 4, cast.trainer.address),
        (Operation.ROLLBACK, 0, cast.operator.address),
        (Operation.SET_POLICY, 0, cast.admin.address),
        (Operation.ENROL_CLIENT, 7, cast.admin.address),
        (Operation.EXCLUDE_CLIENT, 7, cast.operator.address),
        (Operation.REINSTATE_CLIENT, 7, cast.operator.address),
        (Operation.REGISTER, 5, cast.trainer.address),
        (Operation.VALIDATE_BY_QUORUM, 5, cast.stranger.address),
        (Operation.COMPLETE, 5, cast.operator.address),
        (Operation.REOPEN, 5, cast.admin.address),
        (Operation.ANNOUNCE_SUCCESSOR, 0, cast.admin.address),
    ]
    assert {step.operation for step in replayed} == set(Operation) - {Operation.NONE}
    assert replayed[-1].head == story.model.head


def test_discard_and_rollback_in_one_transaction_replay_as_the_two_that_they_are(
    story: Story, project: Any
) -> None:
    """As an operator that is a contract can do; a rollback that discards is something else."""
    operator = story.cast.deployer.deploy(project.BatchCaller)
    admin = story.cast.admin
    story.registry.grant_role(story.id, Role.OPERATOR, str(operator.address), sender=admin)
    story.play(90, 91)
    story.register()
    contract = story.registry.contract
    calls = [
        contract.discard.encode_input(story.id, 3, REASON),
        contract.rollback.encode_input(story.id, 1, REASON),
    ]
    operator.callEach(contract.address, calls, sender=admin)
    replayed = steps(story)
    assert [step.operation for step in replayed[-2:]] == [Operation.DISCARD, Operation.ROLLBACK]
    assert replayed[-1].head == story.model.head
    assert story.state.epoch == 2


# --- What the head does not move for --------------------------------------------------------------


def test_change_of_roles_leaves_the_head_alone(story: Story) -> None:
    before = story.model
    admin, trainer = story.cast.admin, story.cast.trainer
    story.registry.grant_role(story.id, Role.TRAINER, story.cast.stranger.address, sender=admin)
    story.registry.revoke_role(story.id, Role.TRAINER, trainer.address, sender=admin)
    story.registry.contract.renounceRole(
        story.id[:-1] + bytes([Role.OPERATOR]),
        story.cast.operator.address,
        sender=story.cast.operator,
    )
    assert story.model == before


def test_what_is_done_to_one_model_leaves_every_other_alone(story: Story, create: Create) -> None:
    other = create()
    before = other.model
    story.play(90, 80)
    story.rollback(0)
    story.enrol(0)
    assert other.model == before


# --- What is left out or added --------------------------------------------------------------------


@pytest.mark.parametrize("dropped", ["ClientEnrolled", "PolicySet", "VersionRevoked"])
def test_history_from_which_an_operation_was_left_out_ends_in_another_head(
    story: Story, dropped: str
) -> None:
    story.enrol(0)
    story.set_policy(Policy(patience=5))
    story.play(90, 91)
    story.revoke(1)
    kept = [(name, arguments) for name, arguments in story.history if name != dropped]
    assert list(replay(kept))[-1].head != story.model.head
