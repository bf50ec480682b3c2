"""What a validator's machine has signed: a folder of files, so that it signs no contradiction.

Two evaluations of the same content with different results, signed by one validator, are an
equivocation, which anyone may put on record for good. The folder is the memory that keeps an honest
validator from it; `docs/quorum.md` says why it must not be thrown away.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from ml import files
from ml.artifact.errors import quoted_path
from ml.artifact.keccak import keccak256
from ml.chain.records import Evaluation
from ml.chain.signed_files import EvaluationFile, dump_evaluation, read_evaluation
from ml.chain.signing import Domain, evaluation_hash
from ml.chain.types import format_ppm
from ml.errors import ModelproofError

DEFAULT_FOLDER: Final = Path("signatures")
_LOCK: Final = ".lock"
_SHORT: Final = 8
_KEY_DIGITS: Final = 16


class SignedBefore:
    """The evaluations that were signed on this machine."""

    def __init__(self, folder: Path = DEFAULT_FOLDER) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out, so that none signs between looking and keeping."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def check_agrees(
        self, domain: Domain, model: bytes, evaluation: Evaluation, signer: str
    ) -> None:
        """Check that an evaluation does not contradict what its signer has signed before.

        Raises:
            ModelproofError: it does, or the file that is kept cannot be read.
        """
        path = self._path(domain, model, evaluation, signer)
        if not path.exists():
            return
        said = read_evaluation(path).evaluation
        if said != evaluation:
            raise ModelproofError(
                f"{signer} has signed another evaluation of the same content before"
                f" ({quoted_path(path)}: {_result(said)}, now {_result(evaluation)}). Both together"
                " would prove equivocation, for which a validator can lose the role: find out why"
                " the results differ."
            )

    def keep(self, file: EvaluationFile) -> Path:
        """Write down what was signed; a later deadline takes the place of an earlier one."""
        path = self._path(file.domain, file.model, file.evaluation, file.signer)
        files.write_text(path, dump_evaluation(file))
        return path

    def _path(self, domain: Domain, model: bytes, evaluation: Evaluation, signer: str) -> Path:
        """One place for all evaluations of one content by one signer, whatever they say of it.

        Its name is for people: the model, the version, the signer. What tells contents apart is the
        key at its end.
        """
        content = replace(evaluation, accuracy=0, training_accuracy=0, accepted=False)
        struct = evaluation_hash(model, content, bytes(32), 0)
        key = keccak256(domain.separator + struct + signer.encode()).hex()[:_KEY_DIGITS]
        who = signer.removeprefix("0x")[:_SHORT]
        what = f"{model.hex()[:_SHORT]}-v{evaluation.version}"
        return self.folder / f"{what}-{who}-{key}.json"


def default_folder() -> Path:
    """Where this machine keeps what it signed: MODELPROOF_SIGNATURES, or ``signatures``."""
    return Path(os.environ.get("MODELPROOF_SIGNATURES", DEFAULT_FOLDER))


def _result(evaluation: Evaluation) -> str:
    refused = "" if evaluation.accepted else ", not accepted"
    training = format_ppm(evaluation.training_accuracy)
    return f"{format_ppm(evaluation.accuracy)} % (training {training} %){refused}"
