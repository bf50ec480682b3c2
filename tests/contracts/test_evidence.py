"""Equivocation: a validator who signed two evaluations that cannot both be true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import pytest

from ml.chain.commitment import commitment, role_id
from ml.chain.head import text_digest
from ml.chain.records import Evaluation, Receipt, Role, SignedEvaluation
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import evaluation_hash
from ml.chain.types import MAX_PPM, Policy, Status
from tests.chain.plays import ppm

from .signing import SPOILT, Key, key
from .story import (
    FOREVER,
    TEST_SET,
    Cast,
    Story,
    flipped,
    refused,
    refused_as_anothers,
    weights_of,
)

Create = Callable[..., Story]
LIAR, HONEST = key("liar"), key("honest")


def said(
    story: Story,
    evaluation: Evaluation,
    by: Key = LIAR,
    metrics: str = "",
    deadline: int = FOREVER,
) -> SignedEvaluation:
    """An evaluation with its signature, as it lies about before anybody carries it."""
    digest = text_digest(metrics)
    hashed = evaluation_hash(story.id, evaluation, digest, deadline)
    return SignedEvaluation(evaluation, digest, deadline, by.sign(story.domain, hashed))


def report(story: Story, first: SignedEvaluation, second: SignedEvaluation) -> Receipt:
    """By somebody who holds no role."""
    stranger = story.cast.stranger
    return story.registry.report_equivocation(story.id, first, second, sender=stranger)


@pytest.fixture
def lied(story: Story) -> Story:
    """A version waits, and whoever lied about it may validate."""
    story.appoint(LIAR)
    story.register()
    return story


@pytest.fixture(scope="module")
def kept(registry: ModelRegistry, cast: Cast) -> Story:
    """The same, of which no test changes anything."""
    story = Story.begin(registry, cast)
    story.appoint(LIAR, HONEST)
    story.register()
    story.validate()
    story.register()
    return story


# --- What a report does ---------------------------------------------------------------------------


def test_contradiction_is_recorded_once_and_told(lied: Story) -> None:
    first, second = lied.evaluation(ppm(90)), lied.evaluation(ppm(99))
    assert lied.registry.equivocation_of(lied.id, LIAR.address) == 0
    receipt = report(lied, said(lied, first), said(lied, second))
    assert lied.registry.equivocation_of(lied.id, LIAR.address) == 1
    assert lied.log(receipt) == [
        (
            "EquivocationRecorded",
            {
                "modelId": lied.id,
                "validator": LIAR.address,
                "version": 1,
                "first": astuple(first),
                "second": astuple(second),
                "by": lied.cast.stranger.address,
            },
        )
    ]
    with refused("EquivocationAlreadyRecorded", validator=LIAR.address, version=1):
        report(lied, said(lied, second), said(lied, first))


def test_report_decides_nothing(lied: Story) -> None:
    """A stranger's evidence moves neither the head nor a role, nor is what was said judged."""
    before = lied.model
    report(lied, said(lied, lied.evaluation(ppm(90))), said(lied, lied.evaluation(ppm(99))))
    assert lied.model == before
    assert lied.registry.has_role(lied.id, Role.VALIDATOR, LIAR.address)
    assert lied.statuses == [Status.PENDING]


def test_first_report_about_a_validator_stays(lied: Story) -> None:
    report(lied, said(lied, lied.evaluation(ppm(90))), said(lied, lied.evaluation(ppm(99))))
    lied.discard()
    lied.register()
    later = [said(lied, lied.evaluation(ppm(percent))) for percent in (90, 99)]
    with refused("EquivocationAlreadyRecorded", validator=LIAR.address, version=1):
        report(lied, *later)
    assert lied.registry.equivocation_of(lied.id, LIAR.address) == 1


def test_report_is_about_one_validator_of_one_model(lied: Story, create: Create) -> None:
    report(lied, said(lied, lied.evaluation(ppm(90))), said(lied, lied.evaluation(ppm(99))))
    other = create()
    assert other.registry.equivocation_of(other.id, LIAR.address) == 0
    assert lied.registry.equivocation_of(lied.id, HONEST.address) == 0


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "accuracy": {"accuracy": ppm(90) + 1},
    "training accuracy": {"training_accuracy": 1},
    "accepted": {"accepted": False},
    "accuracy that nobody can have": {"accuracy": MAX_PPM + 1},
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_difference_in_what_was_judged_is_a_contradiction(lied: Story, what: str) -> None:
    true = lied.evaluation(ppm(90))
    report(lied, said(lied, true), said(lied, replace(true, **CONTRADICTIONS[what])))
    assert lied.registry.equivocation_of(lied.id, LIAR.address) == 1


@pytest.mark.parametrize("status", [Status.PASSED, Status.DISCARDED])
def test_version_that_no_longer_waits_can_have_been_lied_about(lied: Story, status: Status) -> None:
    statements = [said(lied, lied.evaluation(ppm(percent))) for percent in (90, 99)]
    if status is Status.PASSED:
        lied.validate()
    else:
        lied.discard()
    report(lied, *statements)
    assert lied.registry.equivocation_of(lied.id, LIAR.address) == 1


def test_what_a_quorum_recorded_contradicts_what_was_said_elsewhere(create: Create) -> None:
    story = create()
    story.appoint(LIAR)
    story.register()
    recorded, elsewhere = story.evaluation(ppm(95)), story.evaluation(ppm(60))
    signed = said(story, recorded, metrics="{}")
    story.validate_by_quorum(recorded, [signed.signature], "{}")
    report(story, signed, said(story, elsewhere, deadline=0))
    assert story.registry.equivocation_of(story.id, LIAR.address) == 1


# --- What is no contradiction ---------------------------------------------------------------------


def test_same_values_said_twice_are_no_contradiction(kept: Story) -> None:
    """Other metrics or another deadline alone are none either."""
    same = kept.evaluation(ppm(90), training_accuracy=ppm(95))
    values = {"version": 2, "accuracy": ppm(90), "trainingAccuracy": ppm(95), "accepted": True}
    for metrics, deadline in (("", FOREVER), ("{}", FOREVER), ("", 1), ("{}", 1)):
        again = said(kept, same, metrics=metrics, deadline=deadline)
        with refused("NotDifferent", **values):
            report(kept, said(kept, same), again)


@pytest.mark.parametrize("part", ["test_set", "weights", "details"])
def test_evaluations_of_different_content_are_no_contradiction(kept: Story, part: str) -> None:
    first = kept.evaluation(ppm(90))
    second = replace(first, accuracy=ppm(99), **{part: flipped(getattr(first, part))})
    with refused(
        "NotTheSameContent",
        firstVersion=2,
        firstCommitment=commitment(first.test_set, first.weights, first.details),
        secondVersion=2,
        secondCommitment=commitment(second.test_set, second.weights, second.details),
    ):
        report(kept, said(kept, first), said(kept, second))


def test_evaluations_of_two_versions_are_no_contradiction(kept: Story) -> None:
    first, second = kept.evaluation(ppm(90)), kept.evaluation(ppm(99), version=1)
    full = commitment(TEST_SET, *kept.said[2])
    with refused(
        "NotTheSameContent",
        firstVersion=2,
        firstCommitment=full,
        secondVersion=1,
        secondCommitment=full,
    ):
        report(kept, said(kept, first), said(kept, second))


def test_evaluations_of_something_else_than_was_registered_are_refused(kept: Story) -> None:
    made_up = [kept.evaluation(accuracy, weights=weights_of(9)) for accuracy in (1, 2)]
    stated = commitment(TEST_SET, weights_of(9), made_up[0].details)
    recorded = commitment(TEST_SET, *kept.said[2])[:25]
    with refused("CommitmentMismatch", version=2, recorded=recorded, stated=stated):
        report(kept, *(said(kept, one) for one in made_up))


@pytest.mark.parametrize("version", [0, 3, 2**32 - 1])
def test_evaluations_of_no_version_are_refused(kept: Story, version: int) -> None:
    statements = [said(kept, kept.evaluation(ppm, version=version)) for ppm in (1, 2)]
    with refused("UnknownVersion", modelId=kept.id, version=version):
        report(kept, *statements)


# --- Who said it ----------------------------------------------------------------------------------


def test_two_validators_who_differ_are_no_equivocation(kept: Story) -> None:
    first = said(kept, kept.evaluation(ppm(90)), by=LIAR)
    second = said(kept, kept.evaluation(ppm(99)), by=HONEST)
    with refused("SignersDiffer", first=LIAR.address, second=HONEST.address):
        report(kept, first, second)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("how", SPOILT)
def test_signature_that_nobody_can_have_made_is_no_evidence(
    kept: Story, how: str, place: int
) -> None:
    statements = [said(kept, kept.evaluation(ppm(percent))) for percent in (90, 99)]
    one = statements[place]
    statements[place] = replace(one, signature=SPOILT[how](one.signature))
    with refused("InvalidSignature", index=place):
        report(kept, *statements)


def test_who_is_no_validator_cannot_equivocate(kept: Story) -> None:
    nobody = key("nobody")
    statements = [said(kept, kept.evaluation(ppm(percent)), by=nobody) for percent in (90, 99)]
    with refused(
        "AccessControlUnauthorizedAccount",
        account=nobody.address,
        neededRole=role_id(kept.id, Role.VALIDATOR),
    ):
        report(kept, *statements)


def test_who_is_no_validator_any_more_cannot_be_reported(lied: Story) -> None:
    statements = [said(lied, lied.evaluation(ppm(percent))) for percent in (90, 99)]
    admin = lied.cast.admin
    lied.registry.revoke_role(lied.id, Role.VALIDATOR, LIAR.address, sender=admin)
    with refused_as_anothers():
        report(lied, *statements)


def test_statements_made_for_elsewhere_are_no_evidence(kept: Story, create: Create) -> None:
    """Another model, chain or registry: what is signed is not what was said here."""
    other = create(Policy(quorum=2))
    here = kept.domain
    domains = [
        replace(here, chain_id=here.chain_id + 1),
        replace(here, registry=kept.cast.stranger.address),
    ]
    pairs = [[said(other, kept.evaluation(ppm(percent))) for percent in (90, 99)]]
    for domain in domains:
        pair = [said(kept, kept.evaluation(ppm(percent))) for percent in (90, 99)]
        hashed = [evaluation_hash(kept.id, s.evaluation, s.metrics, FOREVER) for s in pair]
        signed = [LIAR.sign(domain, each) for each in hashed]
        pairs.append([replace(s, signature=mark) for s, mark in zip(pair, signed, strict=True)])
    for first, second in pairs:
        with pytest.raises(ContractRefused) as caught:
            report(kept, first, second)
        assert caught.value.name in ("SignersDiffer", "InvalidSignature")


@pytest.mark.parametrize("field", ["metrics", "deadline"])
def test_metrics_and_deadline_are_part_of_what_was_signed(kept: Story, field: str) -> None:
    first, second = (said(kept, kept.evaluation(ppm(percent))) for percent in (90, 99))
    changed = {"metrics": text_digest("{}"), "deadline": FOREVER - 1}[field]
    with pytest.raises(ContractRefused) as caught:
        report(kept, first, replace(second, **{field: changed}))
    assert caught.value.name in ("SignersDiffer", "InvalidSignature")
