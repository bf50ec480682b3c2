"""Validating by the signatures of several validators: who counts, for what, and once only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from ml.chain.commitment import commitment, details_hash, model_id, role_id
from ml.chain.head import text_digest
from ml.chain.records import Details, Evaluation, Role, Signature
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import (
    DOMAIN_FIELDS,
    EVALUATION_FIELDS,
    Domain,
    Fields,
    evaluation_hash,
    recover,
    sign,
    signing_hash,
)
from ml.chain.types import MAX_PPM, CompletionReason, Policy, Status, Verdict
from tests.chain.plays import ppm

from .batch import Batch, Outcome, encode
from .mirror import policy_values
from .signing import (
    LOWEST_HIGH_S,
    ORDER,
    PARITY,
    SPOILT,
    Key,
    ascending,
    compact,
    key,
    key_that_signs,
    ring,
)
from .story import (
    FOREVER,
    TEST_SET,
    Cast,
    Story,
    ask,
    flipped,
    refused,
    refused_as_anothers,
    weights_of,
)

Create = Callable[..., Story]
METRICS = '{"loss": 0.31}'
THREE = Policy(quorum=3)
VALIDATORS = ring("validator", 3)
OUTSIDER = key("outsider")


@pytest.fixture(scope="module")
def waiting(registry: ModelRegistry, cast: Cast) -> Story:
    """A version waits for three validators. No test that uses this changes it."""
    story = Story.begin(registry, cast, THREE)
    story.appoint(*VALIDATORS)
    story.register()
    return story


@pytest.fixture(scope="module")
def alone(registry: ModelRegistry, cast: Cast) -> Story:
    """A version waits for one validator's signature. No test that uses this changes it."""
    story = Story.begin(registry, cast)
    story.appoint(VALIDATORS[0])
    story.register()
    return story


def unauthorized(story: Story, account: str) -> dict[str, Any]:
    return {"account": account, "neededRole": role_id(story.id, Role.VALIDATOR)}


# --- What a quorum does ---------------------------------------------------------------------------


def test_quorum_validates_whoever_carries_its_signatures(create: Create) -> None:
    story = create(THREE)
    story.appoint(*VALIDATORS)
    story.register()
    evaluation = story.evaluation(912_345, training_accuracy=954_321)
    signatures = story.signed(evaluation, VALIDATORS, METRICS, FOREVER - 1)
    verdict, receipt = story.validate_by_quorum(evaluation, signatures, METRICS, FOREVER - 1)
    assert verdict is Verdict.FIRST_BEST
    assert (story.state.current, story.state.best_accuracy) == (1, 912_345)
    assert story.registry.version(story.id, 1).status is Status.PASSED
    assert story.log(receipt) == [
        (
            "QuorumReached",
            {
                "modelId": story.id,
                "version": 1,
                "signers": tuple(validator.address for validator in VALIDATORS),
                "deadline": FOREVER - 1,
            },
        ),
        (
            "VersionValidated",
            {
                "modelId": story.id,
                "version": 1,
                "validator": story.cast.stranger.address,
                "accuracy": 912_345,
                "trainingAccuracy": 954_321,
                "verdict": Verdict.FIRST_BEST,
                "metrics": METRICS,
            },
        ),
    ]


def test_quorum_is_judged_by_the_whole_policy(create: Create) -> None:
    story = create(Policy(quorum=2, max_rollbacks=1))
    story.appoint(*VALIDATORS)
    story.register()
    evaluation = story.evaluation(accepted=False)
    signatures = story.signed(evaluation, VALIDATORS[1:])
    verdict, receipt = story.validate_by_quorum(evaluation, signatures)
    assert verdict is Verdict.REJECTED
    assert story.statuses == [Status.FAILED]
    assert [name for name, _ in story.log(receipt)] == [
        "QuorumReached",
        "VersionValidated",
        "RolledBackAutomatically",
        "ModelCompleted",
    ]
    assert story.state.completed is CompletionReason.ROLLBACK_LIMIT


def outcome_of(batch: Batch, signers: list[Key], deadline: int = FOREVER) -> Outcome:
    """What comes of a validation by these signers, on a model that takes as many.

    Asked by a free call of a contract that is the model's ADMIN and TRAINER.
    """
    contract, model = batch.registry.contract, model_id(batch.address, "crowded")
    due = Details(0, 1, 0)
    details = details_hash(model, 1, batch.address, due, "")
    evaluation = Evaluation(1, ppm(90), 0, True, TEST_SET, weights_of(1), details)
    hashed = evaluation_hash(model, evaluation, text_digest(""), deadline)
    domain = Domain(batch.chain_id, batch.registry.address)
    signatures = [astuple(signer.sign(domain, hashed)) for signer in signers]

    policy, roles = policy_values(Policy(quorum=len(signers))), (batch.address,) * 3
    begin = ("crowded", False, TEST_SET, (bytes(32), 0), policy, roles)
    validator = role_id(model, Role.VALIDATOR)
    calls = [
        encode(contract, "createModel", *begin),
        encode(contract, "register", model, 1, weights_of(1), astuple(due), ""),
        *(encode(contract, "grantRole", validator, signer.address) for signer in signers),
        encode(contract, "validateByQuorum", model, astuple(evaluation), "", signatures, deadline),
    ]
    *prepared, validated = batch.call_each(batch.registry.address, calls)
    assert all(outcome.succeeded for outcome in prepared)
    return validated


def test_quorum_of_255_fits_into_a_transaction(batch: Batch) -> None:
    outcome = outcome_of(batch, ring("crowd", 255))
    assert outcome.succeeded
    assert int.from_bytes(outcome.returned) == Verdict.FIRST_BEST


@pytest.mark.parametrize("signer", ["wallet", "ape"])
def test_signature_of_an_ordinary_account_counts(create: Create, signer: str) -> None:
    story = create()
    account = Account.from_key(b"wallet".ljust(32, b"!")) if signer == "wallet" else None
    account = account or story.cast.client
    story.appoint(account)
    story.register()
    evaluation = story.evaluation()
    hashed = evaluation_hash(story.id, evaluation, text_digest(METRICS), FOREVER)
    signature = sign(account, story.domain, hashed)
    assert story.validate_by_quorum(evaluation, [signature], METRICS)[0] is Verdict.FIRST_BEST


DOMAIN = [name for name, _ in DOMAIN_FIELDS]


def typed(fields: Fields) -> list[dict[str, str]]:
    """A struct's type as wallets take it."""
    return [{"name": name, "type": kind} for name, kind in fields]


def test_signature_of_typed_data_that_a_wallet_shows_counts(create: Create) -> None:
    """What is signed is hashed by eth_account alone, from the types and the domain."""
    story = create()
    account = Account.from_key(b"wallet".ljust(32, b"!"))
    story.appoint(account)
    story.register()
    evaluation = story.evaluation()
    message = dict(
        zip((name for name, _ in EVALUATION_FIELDS), shown(story, evaluation), strict=True)
    )
    _, name, version, chain_id, registry, *_ = ask(story.registry, "eip712Domain")
    whole = {
        "domain": dict(zip(DOMAIN, (name, version, chain_id, registry), strict=True)),
        "types": {"EIP712Domain": typed(DOMAIN_FIELDS), "Evaluation": typed(EVALUATION_FIELDS)},
        "primaryType": "Evaluation",
        "message": message,
    }
    signed = account.sign_message(encode_typed_data(full_message=whole))
    signature = compact(signed.r, signed.s, signed.v == 28)
    assert story.validate_by_quorum(evaluation, [signature], METRICS)[0] is Verdict.FIRST_BEST


def shown(story: Story, evaluation: Evaluation) -> tuple[Any, ...]:
    """The values of the signed struct, in its order."""
    return story.id, *astuple(evaluation), text_digest(METRICS), FOREVER


def test_domain_is_the_project_this_chain_and_this_registry(registry: ModelRegistry) -> None:
    fields, name, version, chain_id, contract, salt, extensions = ask(registry, "eip712Domain")
    assert (bytes(fields), name, version) == (b"\x0f", "Modelproof", "1")
    assert (chain_id, contract) == (registry.chain_id, registry.address)
    assert (bytes(salt), list(extensions)) == (bytes(32), [])


# --- Who counts -----------------------------------------------------------------------------------


def of(story: Story, *signers: Key) -> list[Signature]:
    """True signatures of the version that waits."""
    return story.signed(story.evaluation(), signers)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 255])
def test_other_number_of_signatures_than_the_quorum_is_refused(waiting: Story, count: int) -> None:
    given = (of(waiting, *VALIDATORS) * 85)[:count]
    with refused("WrongSignatureCount", given=count, quorum=3):
        waiting.validate_by_quorum(waiting.evaluation(), given)


@pytest.mark.parametrize("count", [0, 2])
def test_quorum_of_one_takes_one_signature(alone: Story, count: int) -> None:
    with refused("WrongSignatureCount", given=count, quorum=1):
        alone.validate_by_quorum(alone.evaluation(), of(alone, *VALIDATORS[:count]))


@pytest.mark.parametrize(
    ("order", "previous", "signer"),
    [((1, 0, 2), 1, 0), ((0, 2, 1), 2, 1), ((0, 0, 1), 0, 0), ((0, 1, 1), 1, 1)],
)
def test_signer_out_of_order_or_twice_is_refused(
    waiting: Story, order: tuple[int, ...], previous: int, signer: int
) -> None:
    given = of(waiting, *(VALIDATORS[place] for place in order))
    by, then = VALIDATORS[previous].address, VALIDATORS[signer].address
    with refused("SignersNotAscending", previous=by, signer=then):
        waiting.validate_by_quorum(waiting.evaluation(), given)


def test_signer_without_the_role_is_refused(waiting: Story) -> None:
    given = of(waiting, *ascending([*VALIDATORS[:2], OUTSIDER]))
    with refused("AccessControlUnauthorizedAccount", **unauthorized(waiting, OUTSIDER.address)):
        waiting.validate_by_quorum(waiting.evaluation(), given)


def test_signer_whose_role_was_taken_away_since_is_refused(create: Create) -> None:
    story = create()
    story.appoint(VALIDATORS[0])
    story.register()
    given, gone = of(story, VALIDATORS[0]), VALIDATORS[0].address
    story.registry.revoke_role(story.id, Role.VALIDATOR, gone, sender=story.cast.admin)
    with refused("AccessControlUnauthorizedAccount", **unauthorized(story, gone)):
        story.validate_by_quorum(story.evaluation(), given)
    story.appoint(VALIDATORS[0])
    assert story.validate_by_quorum(story.evaluation(), given)[0] is Verdict.FIRST_BEST


def test_signer_who_holds_trainer_is_refused_where_independence_is_asked(create: Create) -> None:
    story = create(Policy(quorum=2, independent=True))
    story.appoint(*VALIDATORS[:2])
    story.register()
    given, second = of(story, *VALIDATORS[:2]), VALIDATORS[1].address
    story.registry.grant_role(story.id, Role.TRAINER, second, sender=story.cast.admin)
    with refused("ValidatorNotIndependent", validator=second):
        story.validate_by_quorum(story.evaluation(), given)
    story.registry.revoke_role(story.id, Role.TRAINER, second, sender=story.cast.admin)
    assert story.validate_by_quorum(story.evaluation(), given)[0] is Verdict.FIRST_BEST


# --- Signatures that are none ---------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("how", SPOILT)
def test_signature_that_nobody_can_have_made_is_refused_by_its_place(
    waiting: Story, how: str, index: int
) -> None:
    given = of(waiting, *VALIDATORS)
    given[index] = SPOILT[how](given[index])
    with refused("InvalidSignature", index=index):
        waiting.validate_by_quorum(waiting.evaluation(), given)


def test_second_signature_of_a_signature_is_refused(create: Create) -> None:
    """Either s fits, and EIP-2 rules out the higher one: no third party makes two out of one."""
    story = create()
    story.register()
    hashed = evaluation_hash(story.id, story.evaluation(), text_digest(""), FOREVER)
    signer = key_that_signs(signing_hash(story.domain, hashed), LOWEST_HIGH_S)
    story.appoint(signer)
    low = signer.sign(story.domain, hashed)
    odd = int.from_bytes(low.vs) < PARITY  # with s its parity changes
    assert int.from_bytes(low.vs) % PARITY == ORDER - LOWEST_HIGH_S
    with refused("InvalidSignature", index=0):
        high = compact(int.from_bytes(low.r), LOWEST_HIGH_S, odd)
        story.validate_by_quorum(story.evaluation(), [high])
    assert story.validate_by_quorum(story.evaluation(), [low])[0] is Verdict.FIRST_BEST


@pytest.mark.parametrize("part", ["r", "vs"])
@pytest.mark.parametrize("bit", [0, 128, 255])
def test_flipped_bit_of_a_signature_makes_it_another_ones_or_none(
    alone: Story, part: str, bit: int
) -> None:
    (given,) = of(alone, VALIDATORS[0])
    number = int.from_bytes(getattr(given, part)) ^ 1 << bit
    with refused_as_anothers():
        alone.validate_by_quorum(
            alone.evaluation(), [replace(given, **{part: number.to_bytes(32, "big")})]
        )


# --- What was signed, and for where ---------------------------------------------------------------


OTHERWISE: dict[str, Callable[[Evaluation], Evaluation]] = {
    "version": lambda true: replace(true, version=2),
    "accuracy": lambda true: replace(true, accuracy=true.accuracy + 1),
    "training accuracy": lambda true: replace(true, training_accuracy=1),
    "accepted": lambda true: replace(true, accepted=False),
    "test set": lambda true: replace(true, test_set=flipped(true.test_set)),
    "weights": lambda true: replace(true, weights=flipped(true.weights)),
    "details": lambda true: replace(true, details=flipped(true.details)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_signature_is_of_one_evaluation_alone(alone: Story, what: str) -> None:
    given = of(alone, VALIDATORS[0])
    with refused_as_anothers():
        alone.validate_by_quorum(OTHERWISE[what](alone.evaluation()), given)


def test_signature_is_of_its_metrics_and_its_deadline(alone: Story) -> None:
    evaluation = alone.evaluation()
    given = alone.signed(evaluation, VALIDATORS[:1], METRICS, FOREVER - 1)
    for metrics, deadline in (("", FOREVER - 1), (METRICS + " ", FOREVER - 1), (METRICS, FOREVER)):
        with refused_as_anothers():
            alone.validate_by_quorum(evaluation, given, metrics, deadline)


def test_every_field_that_is_signed_is_falsified_by_some_test() -> None:
    elsewhere = {"modelId", "metrics", "deadline"}
    falsified = {what.replace(" a", "A").replace(" s", "S") for what in OTHERWISE}
    assert falsified | elsewhere == {name for name, _ in EVALUATION_FIELDS}


def test_signature_is_of_one_model_alone(alone: Story, waiting: Story) -> None:
    """Two models, the same evaluation: but for the model's id nothing differs."""
    given = alone.signed(waiting.evaluation(), VALIDATORS[:1])
    hashed = evaluation_hash(waiting.id, waiting.evaluation(), text_digest(""), FOREVER)
    assert recover(alone.domain, hashed, given[0]) != VALIDATORS[0].address
    with refused_as_anothers():
        waiting.validate_by_quorum(waiting.evaluation(), given * 3)


@pytest.mark.parametrize("where", ["another chain", "another registry"])
def test_signature_is_for_one_registry_on_one_chain(alone: Story, where: str) -> None:
    here = alone.domain
    elsewhere = {
        "another chain": replace(here, chain_id=here.chain_id + 1),
        "another registry": replace(here, registry=alone.cast.stranger.address),
    }
    evaluation = alone.evaluation()
    hashed = evaluation_hash(alone.id, evaluation, text_digest(""), FOREVER)
    with refused_as_anothers():
        alone.validate_by_quorum(evaluation, [VALIDATORS[0].sign(elsewhere[where], hashed)])


def test_signature_cannot_be_carried_to_the_same_model_of_another_registry(
    project: Any, cast: Cast, alone: Story
) -> None:
    twin = ModelRegistry(cast.deployer.deploy(project.ModelRegistry))
    holders = {"trainer": cast.trainer.address, "validator": VALIDATORS[0].address}
    model, receipt = twin.create_model(alone.name, TEST_SET, Policy(), sender=cast.admin, **holders)
    copy = Story(twin, cast, alone.name, model, receipt)
    copy.register()
    assert (copy.id, copy.said) == (alone.id, alone.said)
    with refused_as_anothers():
        copy.validate_by_quorum(alone.evaluation(), of(alone, VALIDATORS[0]))
    assert copy.validate_by_quorum(copy.evaluation(), of(copy, VALIDATORS[0]))


def test_signatures_count_once(create: Create) -> None:
    story = create()
    story.appoint(VALIDATORS[0])
    story.register()
    evaluation, given = story.evaluation(), of(story, VALIDATORS[0])
    story.validate_by_quorum(evaluation, given)
    with refused("VersionIsNotPending", modelId=story.id, version=1, pending=0):
        story.validate_by_quorum(evaluation, given)
    story.register(weights=weights_of(1))
    with refused("VersionIsNotPending", modelId=story.id, version=1, pending=2):
        story.validate_by_quorum(evaluation, given)


# --- In time --------------------------------------------------------------------------------------


def test_signatures_are_refused_after_their_deadline(alone: Story) -> None:
    latest = alone.registry.contract.provider.get_block("latest").timestamp
    evaluation, deadline = alone.evaluation(), latest - 1
    given = alone.signed(evaluation, VALIDATORS[:1], deadline=deadline)
    with pytest.raises(ContractRefused) as caught:
        alone.validate_by_quorum(evaluation, given, deadline=deadline)
    assert caught.value.name == "EvaluationExpired"
    assert caught.value.values["deadline"] == deadline < caught.value.values["time"]


def test_signatures_count_up_to_the_very_second_of_their_deadline(batch: Batch) -> None:
    now = int.from_bytes(outcome_of(batch, VALIDATORS, deadline=0).returned[-32:])
    expired = batch.interface.error("EvaluationExpired", {"deadline": now - 1, "time": now})
    assert outcome_of(batch, VALIDATORS, deadline=now - 1).returned == expired
    assert outcome_of(batch, VALIDATORS, deadline=now).succeeded


# --- What no signature changes --------------------------------------------------------------------


def test_signed_evaluation_of_other_weights_is_refused(alone: Story) -> None:
    evaluation = alone.evaluation(weights=weights_of(9))
    stated = commitment(TEST_SET, weights_of(9), evaluation.details)
    recorded = commitment(TEST_SET, *alone.said[1])[:25]
    with refused("CommitmentMismatch", version=1, recorded=recorded, stated=stated):
        alone.validate_by_quorum(evaluation, alone.signed(evaluation, VALIDATORS[:1]))


@pytest.mark.parametrize("name", ["accuracy", "training_accuracy"])
def test_signed_accuracy_above_a_hundred_percent_is_refused(alone: Story, name: str) -> None:
    evaluation = replace(alone.evaluation(), **{name: MAX_PPM + 1})
    with refused("AccuracyOutOfRange", accuracy=MAX_PPM + 1, max=MAX_PPM):
        alone.validate_by_quorum(evaluation, alone.signed(evaluation, VALIDATORS[:1]))


def test_signed_evaluation_of_a_discarded_version_is_refused(create: Create) -> None:
    story = create()
    story.appoint(VALIDATORS[0])
    story.register()
    story.discard()
    with refused("VersionIsNotPending", modelId=story.id, version=1, pending=0):
        story.validate_by_quorum(story.evaluation(), of(story, VALIDATORS[0]))


def test_completed_model_takes_no_quorum(create: Create) -> None:
    story = create()
    story.appoint(VALIDATORS[0])
    story.register()
    story.complete()
    with refused("ModelIsCompleted", modelId=story.id, cause=CompletionReason.MANUAL):
        story.validate_by_quorum(story.evaluation(), of(story, VALIDATORS[0]))
