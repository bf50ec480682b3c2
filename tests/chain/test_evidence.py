"""Evidence against validators and trainers: put on record by anyone, believed of no node alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml.chain import events, evidence, history, verification
from ml.chain.evidence import Equivocation, Evidence, HiddenClient
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import Domain, sign, update_hash
from ml.errors import ModelproofError, NotVerified
from tests.contracts.story import Story, weights_of

from .federation import CLIENTS, Federation
from .lying_node import Lie, LyingNode, with_topic, without
from .panel import Panel, account


@pytest.fixture(scope="module")
def panel(shared: ModelRegistry) -> Panel:
    """One of whose validators has signed a contradiction that is on record; v1 waits."""
    panel = Panel.begin(shared)
    one, other = panel.file(liar_of(panel), 900_000), panel.file(liar_of(panel), 910_000)
    evidence.report_equivocation(shared, one, other, sender=account(9))
    return panel


def liar_of(panel: Panel) -> Any:
    return panel.validators[0]


@pytest.fixture(scope="module")
def federation(shared: ModelRegistry) -> Federation:
    """Of which it is on record that client 3 was hidden."""
    told = Federation.begin(shared)
    evidence.prove_update(shared, told.record, told.files[3], sender=account(9))
    return told


def evidence_of(story: Story) -> Evidence:
    return history.read(story.registry, story.id).evidence


# --- Equivocation ---------------------------------------------------------------------------------


def test_contradiction_is_on_record_with_both_statements(
    shared: ModelRegistry, panel: Panel
) -> None:
    liar = liar_of(panel).address
    (found,) = evidence_of(panel.story).equivocations
    assert (found.validator, found.version, found.by) == (liar, 1, account(9).address)
    assert (found.first.accuracy, found.second.accuracy) == (900_000, 910_000)
    assert shared.equivocation_of(panel.story.id, liar) == 1
    assert shared.equivocation_of(panel.story.id, panel.validators[1].address) == 0


def test_contradiction_is_told_in_a_sentence(panel: Panel) -> None:
    sentences = [
        one.sentence for one in history.read(panel.story.registry, panel.story.id).happenings
    ]
    assert sentences[-1] == (
        f"{account(9).address} proved that {liar_of(panel).address} signed two evaluations of v1"
        " that contradict each other: 90.00 %, and 91.00 %"
    )


def test_evidence_leaves_the_model_and_its_head_alone(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared)
    before = panel.story.model
    one, other = (panel.file(liar_of(panel), accepted=said) for said in (True, False))
    evidence.report_equivocation(shared, one, other, sender=account(9))
    assert panel.story.model == before


def test_version_says_that_its_validator_has_signed_a_contradiction(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared, quorum=1)
    story, liar = panel.story, panel.story.cast.validator
    story.validate()
    one, other = panel.file(liar, 1), panel.file(liar, 2)
    evidence.report_equivocation(shared, one, other, sender=account(9))
    found = verification.by_number(shared, story.id, 1)
    assert found.reproaches == (
        f"its validator {liar.address} signed two evaluations of v1 that contradict each other.",
    )


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({}, ContractRefused, "both evaluations say the same of version 1"),
        ({"metrics": "{}", "deadline": 5}, ContractRefused, "say the same"),
        ({"weights": bytes(32), "accuracy": 1}, ContractRefused, "are of two contents"),
        ({"version": 2, "accuracy": 1}, ContractRefused, r"two contents \(of v1 and v2\)"),
        ({"model": bytes(32)}, ModelproofError, "are of versions of two models"),
        (
            {"domain": Domain(1, "0x" + "11" * 20)},
            ModelproofError,
            "was signed for the registry at 0x1111111111111111111111111111111111111111 on chain 1",
        ),
    ],
)
def test_what_is_no_contradiction_is_not_recorded(
    shared: ModelRegistry,
    panel: Panel,
    changes: dict[str, Any],
    error: type[ModelproofError],
    says: str,
) -> None:
    honest = panel.validators[1]
    with pytest.raises(error, match=says):
        evidence.report_equivocation(
            shared, panel.file(honest), panel.file(honest, **changes), sender=account(9)
        )
    assert shared.equivocation_of(panel.story.id, honest.address) == 0


def test_two_validators_may_disagree(shared: ModelRegistry, panel: Panel) -> None:
    one, other = panel.file(panel.validators[1], 1), panel.file(panel.validators[2], 2)
    with pytest.raises(ContractRefused, match="two validators may disagree"):
        evidence.report_equivocation(shared, one, other, sender=account(9))


def test_forged_statement_is_found_out_before_anything_is_sent(
    shared: ModelRegistry, panel: Panel
) -> None:
    one, other = panel.file(panel.validators[1], 1), panel.file(account(9), 2)
    forged = replace(other, signer=one.signer)
    with pytest.raises(NotVerified, match=f"is not {one.signer}'s"):
        evidence.report_equivocation(shared, one, forged, sender=account(9))


def test_contradiction_is_recorded_once(shared: ModelRegistry, panel: Panel) -> None:
    one, other = panel.file(liar_of(panel), 1), panel.file(liar_of(panel), 2)
    with pytest.raises(
        ContractRefused, match="signed a contradiction, about version 1, is on record"
    ):
        evidence.report_equivocation(shared, one, other, sender=account(9))


# --- Hidden clients -------------------------------------------------------------------------------


def test_hidden_client_is_on_record_with_its_registrar(
    shared: ModelRegistry, federation: Federation
) -> None:
    story = federation.story
    (found,) = evidence_of(story).hidden_clients
    assert (found.version, found.index, found.client) == (1, 3, CLIENTS[3].address)
    assert (found.registrar, found.by) == (story.cast.trainer.address, account(9).address)
    assert found.digest == bytes([3]) * 32
    assert shared.hidden_clients(story.id, 1) == 1 << 3
    assert verification.by_number(shared, story.id, 1).reproaches == (
        f"the update of client 3 went into v1, and its registrar, {found.registrar}, did not say"
        " so.",
    )


def test_client_who_is_named_is_not_hidden(shared: ModelRegistry, federation: Federation) -> None:
    assert evidence.is_hidden(shared, federation.record, federation.files[0]) is False
    assert evidence.is_hidden(shared, federation.record, federation.files[0]) is False


def test_hidden_client_can_be_asked_for_without_recording_it(shared: ModelRegistry) -> None:
    told = Federation.begin(shared)
    assert evidence.is_hidden(shared, told.record, told.files[3])
    assert shared.hidden_clients(told.story.id, 1) == 0


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"proof": (bytes(32),)}, ContractRefused, "is not below the version's root"),
        ({"proof": ()}, ContractRefused, "is not below the version's root"),
        ({"index": 3}, ContractRefused, f"client 3 is {CLIENTS[3].address}, and"),
        ({"index": 9}, ContractRefused, "no client has the index 9"),
        ({"client": CLIENTS[3].address}, NotVerified, f"is not {CLIENTS[3].address}'s"),
        ({"domain": Domain(1, "0x" + "11" * 20)}, ModelproofError, "was signed for the registry"),
        ({"model": bytes(32)}, NotVerified, "the signature is not"),
    ],
)
def test_update_that_the_version_was_not_made_of_proves_nothing(
    shared: ModelRegistry,
    federation: Federation,
    changes: dict[str, Any],
    error: type[ModelproofError],
    says: str,
) -> None:
    changed = replace(federation.files[0], **changes)
    with pytest.raises(error, match=says):
        evidence.is_hidden(shared, federation.record, changed)


def test_update_of_another_round_proves_nothing(
    shared: ModelRegistry, federation: Federation
) -> None:
    file = federation.files[0]
    update = replace(file.update, iteration=2)
    signature = sign(CLIENTS[0], file.domain, update_hash(file.model, update))
    other = replace(file, update=update, signature=signature)
    with pytest.raises(ContractRefused, match="is of epoch 0, iteration 2, base v0"):
        evidence.is_hidden(shared, federation.record, other)


def test_client_beyond_those_that_can_be_enrolled_proves_nothing(
    shared: ModelRegistry, federation: Federation
) -> None:
    other = replace(federation.files[0], index=256)
    with pytest.raises(ModelproofError, match="client 256 is not enrolled"):
        evidence.is_hidden(shared, federation.record, other)


def test_update_for_another_model_proves_nothing(
    shared: ModelRegistry, federation: Federation
) -> None:
    file, model = federation.files[0], bytes(32)
    signature = sign(CLIENTS[0], file.domain, update_hash(model, file.update))
    with pytest.raises(ModelproofError, match="for another model than the version is of"):
        evidence.is_hidden(
            shared, federation.record, replace(file, model=model, signature=signature)
        )


def test_hidden_client_is_recorded_once(shared: ModelRegistry, federation: Federation) -> None:
    with pytest.raises(ContractRefused, match="that client 3 was hidden is on record"):
        evidence.prove_update(shared, federation.record, federation.files[3], sender=account(9))


# --- A lying node ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(with_topic(2, bytes(31) + b"\2"), id="another validator or version"),
        pytest.param(with_topic(3, bytes(31) + b"\2"), id="another version or client"),
        pytest.param(lambda logs: [*logs, logs[-1]], id="told twice"),
    ],
)
def test_evidence_that_a_node_makes_up_is_not_believed(
    panel: Panel, federation: Federation, liar: LyingNode, lie: Lie
) -> None:
    for story, name in (
        (panel.story, Equivocation.EVENT),
        (federation.story, HiddenClient.EVENT),
    ):
        told = events.read(story.registry, model=story.id)
        liar.lie = lie
        made_up = events.read(story.registry, model=story.id, name=name)
        liar.lie = list
        history_without = [event for event in told if event.name != name]
        with pytest.raises(NotVerified, match="made up evidence that is not on record"):
            evidence.read(story.registry, story.id, [*history_without, *made_up])


def test_hidden_client_that_a_node_leaves_out_is_missed(
    federation: Federation, liar: LyingNode
) -> None:
    liar.lie = without(HiddenClient.EVENT)
    with pytest.raises(NotVerified, match="leave out evidence that is on record"):
        history.read(federation.story.registry, federation.story.id)


def test_contradiction_that_a_node_leaves_out_is_missed_of_a_known_validator(
    shared: ModelRegistry, liar: LyingNode
) -> None:
    panel = Panel.begin(shared, quorum=1)
    validator = panel.story.cast.validator
    panel.story.validate()
    one, other = panel.file(validator, 1), panel.file(validator, 2)
    evidence.report_equivocation(shared, one, other, sender=account(9))
    liar.lie = without(Equivocation.EVENT)
    with pytest.raises(NotVerified, match="leave out evidence that is on record"):
        history.read(shared, panel.story.id)


def test_evidence_that_came_while_reading_is_no_lie(
    shared: ModelRegistry, federation: Federation
) -> None:
    """The events were read before it came, the registry's answers after."""
    story = federation.story
    told = events.read(shared, model=story.id)
    earlier = [event for event in told if event.name != HiddenClient.EVENT]
    (found,) = evidence.read(shared, story.id, earlier).hidden_clients
    assert found.index == 3


def test_weights_verify_with_the_evidence_against_them(
    shared: ModelRegistry, federation: Federation
) -> None:
    found = [
        one
        for one in verification.identify(shared, weights_of(1), model=federation.story.id)
        if one.reproaches
    ]
    assert [one.version.number for one in found] == [1]
