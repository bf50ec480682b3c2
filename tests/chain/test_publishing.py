"""Registering the next version, and validating the one that waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ml.chain import publishing
from ml.chain.anvil import AnvilNode
from ml.chain.models import NamedModel
from ml.chain.publishing import Pending
from ml.chain.records import Receipt, Role
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.roles import check_holds
from ml.chain.types import CompletionReason, Policy, Status, Verdict
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Story, weights_of

from .lying_node import LyingNode, with_word, without


@pytest.fixture
def model(story: Story) -> NamedModel:
    return NamedModel(story.id, story.name, story.cast.admin.address)


@pytest.fixture
def register(registry: ModelRegistry, story: Story, model: NamedModel) -> Callable[[], int]:
    """Register weights in the turn that is next, and return its version."""

    def call() -> int:
        turn = publishing.next_turn(registry, model)
        trainer = story.cast.trainer
        publishing.register(registry, model, turn, weights_of(1), "{}", sender=trainer)
        return turn.version

    return call


@pytest.fixture
def drained(story: Story, node: AnvilNode) -> Iterator[None]:
    """The trainer's account is empty for the time of the test."""
    address = story.cast.trainer.address
    before = node.rpc("eth_getBalance", address, "latest")
    node.rpc("anvil_setBalance", address, "0x0")
    yield
    node.rpc("anvil_setBalance", address, before)


def validate(
    registry: ModelRegistry, story: Story, waiting: Pending, accuracy: int
) -> publishing.Validation:
    return publishing.validate(
        registry, waiting, accuracy, 0, '{"f1":0.9}', sender=story.cast.validator
    )


# --- Registering ----------------------------------------------------------------------------------


def test_next_version_builds_on_the_current_one(
    registry: ModelRegistry, story: Story, register: Callable[[], int]
) -> None:
    story.play(90, 91)
    assert register() == 3
    (*_, version) = registry.versions(story.id)
    assert (version.number, version.parent, version.status) == (3, 2, Status.PENDING)


def test_next_version_after_a_rollback_builds_on_its_target(
    registry: ModelRegistry, story: Story, register: Callable[[], int]
) -> None:
    story.play(90, 91)
    story.rollback(1)
    assert register() == 3
    assert registry.version(story.id, 3).parent == 1


def test_no_turn_comes_while_a_version_waits(register: Callable[[], int]) -> None:
    register()
    with pytest.raises(
        ModelproofError, match=r"v1 of model \d+ waits for its validation: `ape run"
    ):
        register()


def test_no_turn_comes_once_training_is_over(story: Story, register: Callable[[], int]) -> None:
    story.complete()
    with pytest.raises(ModelproofError, match=rf"training of {story.name} is over \(MANUAL\)"):
        register()


def test_turn_passes_when_a_rollback_comes_between(
    registry: ModelRegistry, story: Story, model: NamedModel
) -> None:
    """What was trained from v2 is not registered as if it had been trained from v1."""
    story.play(90, 91)
    turn = publishing.next_turn(registry, model)
    story.rollback(1, "poisoned")
    with pytest.raises(ContractRefused, match="the current version is 1, not 2"):
        publishing.register(registry, model, turn, weights_of(3), "{}", sender=story.cast.trainer)


def test_turn_can_be_taken_for_another_parent_and_is_then_refused(
    registry: ModelRegistry, story: Story, model: NamedModel
) -> None:
    story.play(90, 91)
    turn = publishing.next_turn(registry, model, parent=1)
    assert turn.details.parent == 1
    with pytest.raises(ContractRefused, match="the current version is 2, not 1"):
        publishing.register(registry, model, turn, weights_of(3), "{}", sender=story.cast.trainer)


def test_who_is_no_trainer_is_told_before_and_cannot_register(
    registry: ModelRegistry, story: Story, model: NamedModel
) -> None:
    stranger = story.cast.stranger
    turn = publishing.next_turn(registry, model)
    check_holds(registry, model, Role.TRAINER, story.cast.trainer.address)
    with pytest.raises(ModelproofError, match=f"{stranger.address} does not hold TRAINER on model"):
        check_holds(registry, model, Role.TRAINER, stranger.address)
    with pytest.raises(ContractRefused, match=f"{stranger.address} does not hold TRAINER on model"):
        publishing.register(registry, model, turn, weights_of(1), "{}", sender=stranger)


def test_metadata_fits_up_to_its_limit() -> None:
    publishing.check_text("ä" * 8192)
    with pytest.raises(ModelproofError, match="has 16386 bytes and at most 16384 fit: shorten it"):
        publishing.check_text("ä" * 8193)


def test_metadatas_limit_is_the_contracts(
    registry: ModelRegistry, story: Story, model: NamedModel
) -> None:
    turn, trainer = publishing.next_turn(registry, model), story.cast.trainer
    with pytest.raises(ContractRefused, match="has 16385 bytes and at most 16384 fit"):
        publishing.register(registry, model, turn, weights_of(1), "x" * 16385, sender=trainer)
    publishing.register(registry, model, turn, weights_of(1), "x" * 16384, sender=trainer)
    assert story.state.pending == 1


def test_text_that_the_chain_cannot_take_is_refused(
    registry: ModelRegistry, story: Story, model: NamedModel
) -> None:
    turn = publishing.next_turn(registry, model)
    with pytest.raises(ModelproofError, match="register cannot take this"):
        publishing.register(
            registry, model, turn, weights_of(1), "\udcff", sender=story.cast.trainer
        )


def test_sender_with_nothing_to_pay_with_is_told_so(
    registry: ModelRegistry, register: Callable[[], int], drained: None
) -> None:
    with pytest.raises(ModelproofError, match="has no ether on this chain to pay for gas with"):
        register()


# --- The version that waits -----------------------------------------------------------------------


def test_waiting_version_is_found_with_its_registration(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    story.play(90)
    register()
    waiting = publishing.pending(registry, model)
    assert (waiting.registered.version, waiting.registered.weights) == (2, weights_of(1))
    assert waiting.model.state.pending == 2
    assert publishing.pending(registry, model, 2) == waiting


def test_no_version_waits(registry: ModelRegistry, story: Story, model: NamedModel) -> None:
    story.play(90)
    with pytest.raises(ModelproofError, match=rf"no version of {story.name} waits for its valid"):
        publishing.pending(registry, model)
    with pytest.raises(ModelproofError, match=rf"version 1 of {story.name} does not wait for its"):
        publishing.pending(registry, model, 1)


def test_another_version_waits_than_expected(
    registry: ModelRegistry, model: NamedModel, register: Callable[[], int]
) -> None:
    register()
    with pytest.raises(ModelproofError, match=r"does not wait for its validation; version 1 does"):
        publishing.pending(registry, model, 2)


def test_waiting_version_that_the_node_has_no_event_of_is_not_judged(
    registry: ModelRegistry, model: NamedModel, register: Callable[[], int], liar: LyingNode
) -> None:
    register()
    liar.lie = without("VersionRegistered")
    with pytest.raises(ModelproofError, match="no event of version 1"):
        publishing.pending(registry, model)


def test_waiting_version_that_the_node_lies_about_is_not_judged(
    registry: ModelRegistry, model: NamedModel, register: Callable[[], int], liar: LyingNode
) -> None:
    register()
    liar.lie = with_word(5, 1)
    with pytest.raises(NotVerified, match="is not what that version commits to"):
        publishing.pending(registry, model)


# --- Validating -----------------------------------------------------------------------------------


def test_validation_says_what_the_policy_made_of_it(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    story.play(90)
    register()
    validation = validate(registry, story, publishing.pending(registry, model), 870_000)
    assert validation.judgement.verdict is Verdict.SEVERE_DROP
    assert validation.judgement.state == story.state
    assert validation.sentence.endswith("rolled back to v1")
    assert isinstance(validation.receipt, Receipt)


def test_validation_that_completes_training_says_so(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    story.set_policy(Policy(target_accuracy=900_000))
    register()
    validation = validate(registry, story, publishing.pending(registry, model), 950_000)
    assert validation.judgement.state.completed is CompletionReason.TARGET_REACHED
    assert story.state.completed is CompletionReason.TARGET_REACHED


def test_version_can_be_refused_on_other_grounds(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    register()
    waiting = publishing.pending(registry, model)
    validation = publishing.validate(
        registry, waiting, 990_000, 0, "{}", accepted=False, sender=story.cast.validator
    )
    assert validation.judgement.verdict is Verdict.REJECTED
    assert registry.version(story.id, 1).status is Status.FAILED


@pytest.mark.parametrize(
    ("accuracy", "training_accuracy", "name"),
    [
        (-1, 0, "accuracy of -1"),
        (1_000_001, 0, "accuracy of 1000001"),
        (0, -1, "training accuracy of -1"),
        (0, 1_000_001, "training accuracy of 1000001"),
    ],
)
def test_accuracy_out_of_range_is_refused_before_anything_is_sent(
    registry: ModelRegistry,
    story: Story,
    model: NamedModel,
    register: Callable[[], int],
    accuracy: int,
    training_accuracy: int,
    name: str,
) -> None:
    register()
    waiting = publishing.pending(registry, model)
    with pytest.raises(ModelproofError, match=f"the {name} ppm is out of range: 0 to 1000000"):
        publishing.evaluation(waiting, accuracy, training_accuracy, accepted=True)


def test_version_that_was_discarded_meanwhile_is_not_judged(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    register()
    waiting = publishing.pending(registry, model)
    story.discard("in between")
    with pytest.raises(ContractRefused, match=r"version 1 does not wait for a validation\.$"):
        validate(registry, story, waiting, 900_000)


def test_who_is_no_validator_cannot_validate(
    registry: ModelRegistry, story: Story, model: NamedModel, register: Callable[[], int]
) -> None:
    register()
    waiting = publishing.pending(registry, model)
    with pytest.raises(ContractRefused, match="does not hold VALIDATOR"):
        publishing.validate(registry, waiting, 1, 0, "{}", sender=story.cast.trainer)
    assert story.state.pending == 1
