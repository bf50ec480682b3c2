"""Validating by several validators: what each may sign, and what is submitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml.chain import events, history, publishing, quorum
from ml.chain.policy import PRESETS
from ml.chain.publishing import MAX_TEXT_BYTES
from ml.chain.quorum import Measured, deadline_after, gather, sign_evaluation, submit
from ml.chain.records import Role
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signed_before import SignedBefore
from ml.chain.signed_files import EvaluationFile, read_evaluation
from ml.chain.types import ModelKind, Status, Verdict
from ml.errors import ModelproofError, NotVerified

from .panel import DEADLINE, METRICS, Panel, account, by_path, named

NOW = DEADLINE - 100
MEASURED = Measured(900_000, 0, METRICS)


@pytest.fixture(scope="module")
def panel(shared: ModelRegistry) -> Panel:
    """Of which nothing is sent: its version goes on waiting."""
    return Panel.begin(shared)


@pytest.fixture
def before(tmp_path: Path) -> SignedBefore:
    return SignedBefore(tmp_path / "signatures")


def signed(
    panel: Panel,
    before: SignedBefore,
    measured: Measured = MEASURED,
    deadline: int = DEADLINE,
    place: int = 0,
) -> tuple[EvaluationFile, Path]:
    signer = panel.validators[place]
    registry = panel.story.registry
    return sign_evaluation(registry, panel.waiting, measured, deadline, before, signer=signer)


# --- The deadline ---------------------------------------------------------------------------------

HOUR = 3600


@pytest.mark.parametrize(
    ("now", "hours", "deadline"),
    [
        (0, 24, 48),
        (1, 24, 48),
        (24 * HOUR - 1, 24, 48),
        (24 * HOUR, 24, 72),
        (100 * HOUR, 24, 144),
        (-5, 24, 48),  # a clock that is behind the chain's
        (30, 1, 2),
        (HOUR, 1, 3),
    ],
)
def test_deadline_is_one_to_two_periods_away_counted_from_the_registration(
    now: int, hours: int, deadline: int
) -> None:
    registered = 1_763_000_000
    assert deadline_after(registered, registered + now, hours) == registered + deadline * HOUR


def test_time_is_the_chains_where_that_is_ahead(shared: ModelRegistry) -> None:
    assert quorum.current_time(shared) >= shared.block_time()


# --- Signing --------------------------------------------------------------------------------------


def test_what_is_signed_is_kept_in_a_file_of_its_own(panel: Panel, before: SignedBefore) -> None:
    file, path = signed(panel, before)
    assert read_evaluation(path) == file
    assert path.parent == before.folder
    file.check_signature()
    assert file == panel.file(panel.validators[0])


def test_validators_who_measure_alike_sign_alike_on_two_machines(
    panel: Panel, tmp_path: Path
) -> None:
    one, _ = signed(panel, SignedBefore(tmp_path / "one"))
    other, _ = signed(panel, SignedBefore(tmp_path / "other"), place=1)
    assert one.signer != other.signer
    assert replace(one, signer=other.signer, signature=other.signature) == other


def test_later_deadline_takes_the_place_of_an_earlier_one(
    panel: Panel, before: SignedBefore
) -> None:
    _, path = signed(panel, before)
    again, same = signed(panel, before, deadline=DEADLINE + 1)
    assert same == path
    assert read_evaluation(path) == again


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (replace(MEASURED, accuracy=899_999), r"90\.00 % .*, now 89\.9999 %"),
        (replace(MEASURED, training_accuracy=910_000), r"training 0\.00 %.*training 91\.00 %"),
        (replace(MEASURED, accepted=False), "not accepted"),
    ],
)
def test_validator_is_kept_from_signing_a_contradiction(
    panel: Panel, before: SignedBefore, other: Measured, says: str
) -> None:
    first, path = signed(panel, before)
    with pytest.raises(ModelproofError, match=f"has signed another evaluation.*{says}.*equivoc"):
        signed(panel, before, other)
    assert read_evaluation(path) == first


def test_other_validators_on_the_same_machine_are_free_to_disagree(
    panel: Panel, before: SignedBefore
) -> None:
    signed(panel, before)
    _, path = signed(panel, before, replace(MEASURED, accuracy=1), place=1)
    assert read_evaluation(path).evaluation.accuracy == 1


def test_same_validator_may_say_something_else_of_other_content(
    panel: Panel, before: SignedBefore
) -> None:
    signed(panel, before)
    record = replace(panel.waiting.registered, metadata="other metadata")
    other = replace(panel, waiting=replace(panel.waiting, registered=record))
    _, path = signed(other, before, replace(MEASURED, accuracy=1))
    assert read_evaluation(path).evaluation.accuracy == 1
    assert len(list(before.folder.glob("*.json"))) == 2


def test_memory_that_cannot_be_read_keeps_from_signing(panel: Panel, before: SignedBefore) -> None:
    _, path = signed(panel, before)
    path.write_text("{}")
    with pytest.raises(ModelproofError, match="is not a file of what was signed"):
        signed(panel, before)


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (replace(MEASURED, accuracy=1_000_001), "the accuracy of 1000001 ppm is out of range"),
        (replace(MEASURED, training_accuracy=-1), "the training accuracy of -1 ppm"),
        (replace(MEASURED, metrics="x" * (MAX_TEXT_BYTES + 1)), "the metrics has 16385 bytes"),
    ],
)
def test_what_the_contract_would_not_take_is_not_signed(
    panel: Panel, before: SignedBefore, measured: Measured, says: str
) -> None:
    with pytest.raises(ModelproofError, match=says):
        signed(panel, before, measured)
    assert not list(before.folder.glob("*.json"))


def test_who_is_no_validator_does_not_sign(panel: Panel, before: SignedBefore) -> None:
    stranger = replace(panel, validators=(account(9),))
    with pytest.raises(ModelproofError, match=f"{account(9).address} does not hold VALIDATOR"):
        signed(stranger, before)


# --- Gathering ------------------------------------------------------------------------------------


def gathered(panel: Panel, *files: EvaluationFile, now: int = NOW) -> list[EvaluationFile]:
    return gather(panel.story.registry, panel.waiting, by_path(files), now)


def test_files_come_in_the_order_of_their_signers(panel: Panel) -> None:
    one, two, _ = map(panel.file, panel.validators)
    assert gathered(panel, two, one) == [one, two]


def test_exactly_as_many_are_taken_as_the_policy_asks_for(panel: Panel) -> None:
    one, two, three = map(panel.file, panel.validators)
    assert gathered(panel, three, two, one) == [one, two]


def test_deadline_is_good_until_its_last_second(panel: Panel) -> None:
    one, two, _ = map(panel.file, panel.validators)
    assert gathered(panel, one, two, now=DEADLINE) == [one, two]


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda p, one, two: [one], ModelproofError, "1 of the 2 validators"),
        (
            lambda p, one, two: [one, two, one],
            ModelproofError,
            "'a.json' and 'c.json' are both signed by",
        ),
        (
            lambda p, one, two: [one, replace(two, signature=one.signature)],
            NotVerified,
            "'b.json': the signature is not",
        ),
        (
            lambda p, one, two: [one, replace(two, deadline=two.deadline + 1)],
            NotVerified,
            "'b.json': the signature is not",
        ),
        (
            lambda p, one, two: [one, p.file(account(9))],
            ModelproofError,
            "'b.json': .* does not hold VALIDATOR",
        ),
        (
            lambda p, one, two: [p.file(p.validators[0], deadline=NOW - 1), two],
            ModelproofError,
            "'a.json': this was good until 2096-10-02 07:04:",
        ),
        (
            lambda p, one, two: [
                one,
                p.file(p.validators[1], domain=replace(p.domain, chain_id=1)),
            ],
            ModelproofError,
            "'b.json': this was signed for the registry at .* on chain 1, and",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], model=bytes(32))],
            ModelproofError,
            "'b.json': this was signed about another version",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], version=2)],
            ModelproofError,
            "'b.json': this was signed about another version",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], weights=bytes(32))],
            ModelproofError,
            "or other weights, details or test set",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], accuracy=899_000)],
            NotVerified,
            r"disagree: the accuracy is 90\.00 % in 'a.json' and 89\.90 % in 'b.json'",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], training_accuracy=1)],
            NotVerified,
            "disagree: the training accuracy is",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], accepted=False)],
            NotVerified,
            "do not both accept the version",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], metrics="{}")],
            ModelproofError,
            "have other metrics' texts: let all sign the same",
        ),
        (
            lambda p, one, two: [one, p.file(p.validators[1], deadline=DEADLINE + 3600)],
            ModelproofError,
            "let the earlier one be signed again, with the same --deadline-hours",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    panel: Panel,
    spoil: Callable[[Panel, EvaluationFile, EvaluationFile], list[EvaluationFile]],
    error: type[ModelproofError],
    says: str,
) -> None:
    one, two, _ = map(panel.file, panel.validators)
    with pytest.raises(error, match=says) as refused:
        gathered(panel, *spoil(panel, one, two))
    assert type(refused.value) is error


# --- Submitting -----------------------------------------------------------------------------------


def test_quorum_validates_and_is_told_by_name(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared)
    one, two, _ = map(panel.file, panel.validators)
    carrier = account(9)
    validation = submit(shared, panel.waiting, gathered(panel, two, one), sender=carrier)
    assert validation.judgement.verdict is Verdict.FIRST_BEST
    assert validation.judgement.state == panel.story.state
    assert shared.version(panel.story.id, 1).status is Status.PASSED
    whole = history.read(shared, panel.story.id)
    validated = whole.row(1).validated
    assert validated is not None
    assert validated.validators == validated.signers == (one.signer, two.signer)
    assert (validated.validator, validated.deadline) == (carrier.address, DEADLINE)
    assert validated.metrics == METRICS
    assert f"2 validators signed v1: {one.signer}, {two.signer}" in [
        happening.sentence for happening in whole.happenings
    ]


def test_validator_who_lost_the_role_after_signing_does_not_count(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared)
    one, two, _ = map(panel.file, panel.validators)
    ready = gathered(panel, one, two)
    admin = panel.story.cast.admin
    shared.revoke_role(panel.story.id, Role.VALIDATOR, two.signer, sender=admin)
    with pytest.raises(ModelproofError, match=f"'b.json': {two.signer} does not hold VALIDATOR"):
        gathered(panel, one, two)
    with pytest.raises(ContractRefused, match=f"{two.signer} does not hold VALIDATOR"):
        submit(shared, panel.waiting, ready, sender=admin)


def test_validator_who_trains_does_not_count_where_they_have_to_be_independent(
    shared: ModelRegistry, before: SignedBefore
) -> None:
    panel = Panel.begin(shared, policy=replace(PRESETS["thesis"], independent=True))
    one, two, _ = map(panel.file, panel.validators)
    admin = panel.story.cast.admin
    shared.grant_role(panel.story.id, Role.TRAINER, one.signer, sender=admin)
    for call in (lambda: gathered(panel, one, two), lambda: signed(panel, before)):
        with pytest.raises(ModelproofError, match=f"{one.signer} holds TRAINER"):
            call()


def test_signatures_serve_once(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared)
    one, two, _ = map(panel.file, panel.validators)
    ready = gathered(panel, one, two)
    submit(shared, panel.waiting, ready, sender=account(9))
    with pytest.raises(ContractRefused, match="version 1 does not wait for a validation"):
        submit(shared, panel.waiting, ready, sender=account(9))
    with pytest.raises(ModelproofError, match="does not wait for its validation"):
        publishing.pending(shared, named(panel.story), 1)


def test_one_validator_alone_is_told_so_where_several_have_to_agree(panel: Panel) -> None:
    with pytest.raises(ModelproofError, match="asks for 2 validators: each signs with `ape run va"):
        publishing.check_single(panel.waiting.model, "digits")
    with pytest.raises(ContractRefused, match="asks for 2 validators, and one alone cannot"):
        publishing.validate(
            panel.story.registry, panel.waiting, 1, 0, "{}", sender=panel.validators[0]
        )


def test_quorum_of_one_signs_and_submits_too(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared, quorum=1)
    publishing.check_single(panel.waiting.model, "digits")
    submit(
        shared, panel.waiting, gathered(panel, panel.file(panel.validators[2])), sender=account(9)
    )
    *_, validated = events.validated(events.read(shared, model=panel.story.id))
    assert validated.validators == (panel.validators[2].address,)


def test_quorum_judges_the_candidates_of_an_open_model(shared: ModelRegistry) -> None:
    panel = Panel.begin(shared, policy=PRESETS["open"], kind=ModelKind.OPEN)
    one, two, _ = map(panel.file, panel.validators)
    validation = submit(shared, panel.waiting, gathered(panel, one, two), sender=account(9))
    assert validation.judgement.state == panel.story.state
    assert panel.story.state.current == 1
