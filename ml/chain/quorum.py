"""Validating by several validators: each signs on a machine of their own, and anyone submits.

What all sign is one evaluation, down to its deadline and the metrics' text, so both have to come
out alike on every machine that measures alike: the deadline is counted from the version's
registration, and the text has counts alone (`ml.training.metrics`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ml.artifact.errors import quoted_path
from ml.chain.evidence import check_domain
from ml.chain.head import text_digest
from ml.chain.publishing import Pending, Validation, check_text, evaluation, judged
from ml.chain.records import Model, Role
from ml.chain.registry import ModelRegistry
from ml.chain.signed_before import SignedBefore
from ml.chain.signed_files import EvaluationFile
from ml.chain.signing import Domain, evaluation_hash, sign
from ml.chain.types import format_ppm, format_time
from ml.errors import ModelproofError, NotVerified

if TYPE_CHECKING:
    from ape.api import AccountAPI

HOUR_S: Final = 3600
DEFAULT_DEADLINE_HOURS: Final = 24


def deadline_after(registered: int, now: int, hours: int) -> int:
    """The deadline of an evaluation that is signed now.

    It is the end of the next whole period of so many hours, counted from the registration. Thus all
    who sign in the same period sign the same deadline, without having to agree on one; and it is
    one to two periods away.

    Args:
        registered: when the version was registered, in seconds since 1970
        now: in seconds since 1970
        hours: of a period
    """
    period = hours * HOUR_S
    return registered + (max(0, now - registered) // period + 2) * period


def current_time(registry: ModelRegistry) -> int:
    """What time it is, in seconds since 1970: by the clock here, or the chain's if that is ahead.

    The time of an idle chain's latest block has long passed, and that of a development chain may
    have been moved forward.
    """
    return max(int(time.time()), registry.block_time())


@dataclass(frozen=True, slots=True)
class Measured:
    """What a validator found out about a version. Accuracies are ppm."""

    accuracy: int
    training_accuracy: int
    """As the version's metadata states it, 0 if unknown."""
    metrics: str
    """JSON with further metrics; all validators have to sign the same text."""
    accepted: bool = True
    """False to refuse the version on other grounds than its accuracy."""


def check_validator(registry: ModelRegistry, model: Model, account: str) -> None:
    """Check that an account may validate a model's versions now.

    Raises:
        ModelproofError: it may not.
    """
    if not registry.has_role(model.id, Role.VALIDATOR, account):
        raise ModelproofError(
            f"{account} does not hold VALIDATOR on model 0x{model.id.hex()}: let an ADMIN grant it."
        )
    if model.policy.independent and registry.has_role(model.id, Role.TRAINER, account):
        raise ModelproofError(
            f"{account} holds TRAINER and the policy asks for independent validators."
        )


def sign_evaluation(
    registry: ModelRegistry,
    waiting: Pending,
    measured: Measured,
    deadline: int,
    before: SignedBefore,
    *,
    signer: AccountAPI,
) -> tuple[EvaluationFile, Path]:
    """Sign what was measured, and keep it; the file is what the others need.

    Args:
        registry: where the version is registered
        waiting: the version
        measured: what to say of it
        deadline: until when it may be recorded, in seconds since 1970
        before: what was signed on this machine before
        signer: holds VALIDATOR

    Returns:
        what was signed, and where it is kept

    Raises:
        ModelproofError: the signer may not validate, an accuracy is out of range, or something else
            was signed about this version before, which this would contradict.
    """
    model = waiting.model
    check_validator(registry, model, signer.address)
    check_text(measured.metrics, "metrics")
    stated = evaluation(
        waiting, measured.accuracy, measured.training_accuracy, accepted=measured.accepted
    )
    domain = Domain(registry.chain_id, registry.address)
    struct = evaluation_hash(model.id, stated, text_digest(measured.metrics), deadline)
    with before.locked():
        before.check_agrees(domain, model.id, stated, signer.address)
        signature = sign(signer, domain, struct)
        file = EvaluationFile(
            domain, model.id, stated, measured.metrics, deadline, signer.address, signature
        )
        return file, before.keep(file)


def gather(
    registry: ModelRegistry, waiting: Pending, files: Mapping[Path, EvaluationFile], now: int
) -> list[EvaluationFile]:
    """Check what validators signed, and put together exactly as many as the policy asks for.

    Args:
        registry: where the version is registered
        waiting: the version
        files: what they signed, by where it was read
        now: in seconds since 1970

    Returns:
        the files to submit, in the order of their signers' addresses

    Raises:
        NotVerified: a signature is not that of the signer whom its file names.
        ModelproofError: a file is about something else, has expired, is not by a validator, says
            something else than the others, or there are too few.
    """
    check_together(registry, waiting, files, now)
    quorum = waiting.model.policy.quorum
    if len(files) < quorum:
        raise ModelproofError(
            f"{len(files)} of the {quorum} validators whom the policy asks for have signed: gather"
            " the others' files first."
        )
    ordered = sorted(files.values(), key=lambda file: int(file.signer, 16))
    return ordered[:quorum]


def check_together(
    registry: ModelRegistry, waiting: Pending, files: Mapping[Path, EvaluationFile], now: int
) -> None:
    """Check what validators signed, each for itself and all together, however many there are.

    Arguments and errors as `gather`, but that there are too few.
    """
    kept: dict[str, Path] = {}
    for path, file in files.items():
        with _naming(path):
            _check_file(registry, waiting, file, now)
        if file.signer in kept:
            raise ModelproofError(
                f"{quoted_path(kept[file.signer])} and {quoted_path(path)} are both signed by"
                f" {file.signer}: give one file of each validator."
            )
        kept[file.signer] = path
    _check_agreement(files)


def submit(
    registry: ModelRegistry,
    waiting: Pending,
    signed: list[EvaluationFile],
    *,
    sender: AccountAPI,
) -> Validation:
    """Send what `gather` gave, and say what the policy made of it.

    Raises:
        ContractRefused: something has changed since it was gathered.
    """
    first = signed[0]
    verdict, receipt = registry.validate_by_quorum(
        waiting.model.id,
        first.evaluation,
        first.metrics,
        [file.signature for file in signed],
        first.deadline,
        sender=sender,
    )
    return judged(registry, waiting, first.evaluation, verdict, receipt)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of which file it is that something does not hold."""
    try:
        yield
    except NotVerified as error:
        raise NotVerified(f"{quoted_path(path)}: {error}") from error
    except ModelproofError as error:
        raise ModelproofError(f"{quoted_path(path)}: {error}") from error


def _check_file(registry: ModelRegistry, waiting: Pending, file: EvaluationFile, now: int) -> None:
    """Check one validator's file for itself."""
    check_domain(registry, file.domain)
    stated = file.evaluation
    expected = evaluation(
        waiting, stated.accuracy, stated.training_accuracy, accepted=stated.accepted
    )
    if (file.model, stated) != (waiting.model.id, expected):
        raise ModelproofError(
            "this was signed about another version, or other weights, details or test set, than"
            f" those of v{expected.version}, which waits."
        )
    if file.deadline < now:
        raise ModelproofError(
            f"this was good until {format_time(file.deadline)}: let {file.signer} sign again."
        )
    file.check_signature()
    check_validator(registry, waiting.model, file.signer)


def _check_agreement(files: Mapping[Path, EvaluationFile]) -> None:
    """Check that all files say the same."""
    (path, first), *others = files.items()
    for other_path, other in others:
        for what, one, two in (
            ("the accuracy", first.evaluation.accuracy, other.evaluation.accuracy),
            (
                "the training accuracy",
                first.evaluation.training_accuracy,
                other.evaluation.training_accuracy,
            ),
        ):
            if one != two:
                raise NotVerified(
                    f"the validators disagree: {what} is {format_ppm(one)} % in"
                    f" {quoted_path(path)} and {format_ppm(two)} % in {quoted_path(other_path)}."
                )
        if first.evaluation.accepted != other.evaluation.accepted:
            raise NotVerified(
                f"the validators disagree: {quoted_path(path)} and {quoted_path(other_path)} do not"
                " both accept the version."
            )
        if first.metrics != other.metrics:
            raise ModelproofError(
                f"{quoted_path(path)} and {quoted_path(other_path)} have other metrics' texts: let"
                " all sign the same."
            )
        if first.deadline != other.deadline:
            raise ModelproofError(
                f"{quoted_path(path)} is good until {format_time(first.deadline)} and"
                f" {quoted_path(other_path)} until {format_time(other.deadline)}: let the earlier"
                " one be signed again, with the same --deadline-hours."
            )
