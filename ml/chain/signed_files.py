r"""What validators and clients signed, as JSON files that travel between machines, read strictly.

An evaluation's file::

    {
      "format": "modelproof.signed-evaluation.v1",
      "domain": {
        "name": "Modelproof", "version": "1", "chainId": 31337, "verifyingContract": "0x…"
      },
      "evaluation": {
        "modelId": "0x…", "version": 3, "accuracy": 986800, "trainingAccuracy": 991000,
        "accepted": true, "testSet": "0x…", "weights": "0x…", "details": "0x…"
      },
      "metrics": "{\"accuracy_ppm\":986800,\"correct\":9868,\"samples\":10000}",
      "deadline": 1763812800,
      "signer": "0x…",
      "signature": {"r": "0x…", "vs": "0x…"}
    }

An update's file has ``update``, ``index``, ``client`` and ``proof`` in the place of what stands
between ``domain`` and ``signature``. Accuracies are ppm, deadlines seconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from eth_utils.address import is_checksum_address

from ml.artifact import strict_json
from ml.artifact.errors import quoted, quoted_path
from ml.artifact.json_fields import bytes32, integer, list_of, object_of, string
from ml.artifact.strict_json import StrictJsonError
from ml.chain import signing
from ml.chain.head import text_digest
from ml.chain.records import Evaluation, Signature, SignedEvaluation, Update
from ml.chain.signing import DOMAIN_NAME, DOMAIN_VERSION, Domain, evaluation_hash, update_hash
from ml.errors import ModelproofError, NotVerified

EVALUATION_FORMAT: Final = "modelproof.signed-evaluation.v1"
UPDATE_FORMAT: Final = "modelproof.signed-update.v1"
MAX_FILE_BYTES: Final = 1 << 20
"""Far above what a file of either kind needs."""

_Parsed = TypeVar("_Parsed")
_has_checksum: Final = lru_cache(maxsize=4_096)(is_checksum_address)
"""By a hash each: the same few addresses sign again and again."""


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """What one validator says of one version, and signed."""

    domain: Domain
    model: bytes
    evaluation: Evaluation
    metrics: str
    deadline: int
    """Until when it may be recorded, in seconds since 1970."""
    signer: str
    signature: Signature

    @property
    def signed(self) -> SignedEvaluation:
        """What the contract takes as evidence."""
        digest = text_digest(self.metrics)
        return SignedEvaluation(self.evaluation, digest, self.deadline, self.signature)

    def check_signature(self) -> None:
        """Check that the signer signed just this.

        Raises:
            NotVerified: somebody else did, or nobody.
        """
        metrics = text_digest(self.metrics)
        struct = evaluation_hash(self.model, self.evaluation, metrics, self.deadline)
        _check_signer(self.domain, struct, self.signature, self.signer)


@dataclass(frozen=True, slots=True)
class UpdateFile:
    """What one client says of one update that it sent, and signed; and where that was put."""

    domain: Domain
    model: bytes
    update: Update
    index: int
    """The client's."""
    client: str
    signature: Signature
    proof: tuple[bytes, ...]
    """Siblings from the update's leaf to the root ``updates`` of the version made of it."""

    def check_signature(self) -> None:
        """Check that the client signed just this.

        Raises:
            NotVerified: somebody else did, or nobody.
        """
        struct = update_hash(self.model, self.update)
        _check_signer(self.domain, struct, self.signature, self.client)


def dump_evaluation(file: EvaluationFile) -> str:
    """Write an evaluation's file."""
    stated = zip(_names(signing.EVALUATION_FIELDS[:-2]), _stated(file), strict=True)
    return _dump(
        {
            "format": EVALUATION_FORMAT,
            "domain": _domain_document(file.domain),
            "evaluation": dict(stated),
            "metrics": file.metrics,
            "deadline": file.deadline,
            "signer": file.signer,
            "signature": {"r": file.signature.r, "vs": file.signature.vs},
        }
    )


def dump_update(file: UpdateFile) -> str:
    """Write an update's file."""
    stated = zip(_names(signing.UPDATE_FIELDS), (file.model, *astuple(file.update)), strict=True)
    return _dump(
        {
            "format": UPDATE_FORMAT,
            "domain": _domain_document(file.domain),
            "update": dict(stated),
            "index": file.index,
            "client": file.client,
            "signature": {"r": file.signature.r, "vs": file.signature.vs},
            "proof": list(file.proof),
        }
    )


def read_evaluation(path: Path) -> EvaluationFile:
    """Read an evaluation's file; whether its signature holds is not looked at.

    Raises:
        ModelproofError: it cannot be read, or is not such a file.
    """
    return _read(path, _evaluation_file)


def read_update(path: Path) -> UpdateFile:
    """Read an update's file; whether its signature holds is not looked at.

    Raises:
        ModelproofError: it cannot be read, or is not such a file.
    """
    return _read(path, _update_file)


def parse_evaluation(data: bytes, what: str) -> EvaluationFile:
    """Read what `dump_evaluation` wrote; ``what`` names it in errors. No signature is checked.

    Raises:
        ModelproofError: it is something else.
    """
    return _parse(data, what, _evaluation_file)


def parse_update(data: bytes, what: str) -> UpdateFile:
    """Read what `dump_update` wrote; ``what`` names it in errors. No signature is checked.

    Raises:
        ModelproofError: it is something else.
    """
    return _parse(data, what, _update_file)


def _stated(file: EvaluationFile) -> tuple[Any, ...]:
    return (file.model, *astuple(file.evaluation))


def _names(fields: signing.Fields) -> list[str]:
    return [name for name, _ in fields]


def _dump(document: Mapping[str, object]) -> str:
    return json.dumps(document, indent=2, default=lambda data: f"0x{data.hex()}") + "\n"


def _domain_document(domain: Domain) -> dict[str, object]:
    values = (DOMAIN_NAME, DOMAIN_VERSION, domain.chain_id, domain.registry)
    return dict(zip(_names(signing.DOMAIN_FIELDS), values, strict=True))


def _read(path: Path, parse: Callable[[object], _Parsed]) -> _Parsed:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelproofError(f"{quoted_path(path)} cannot be read: {error.strerror}.") from error
    return _parse(data, quoted_path(path), parse)


def _parse(data: bytes, what: str, parse: Callable[[object], _Parsed]) -> _Parsed:
    try:
        if len(data) > MAX_FILE_BYTES:
            raise StrictJsonError("it is too long")
        return parse(strict_json.loads(data))
    except StrictJsonError as error:
        raise ModelproofError(f"{what} is not a file of what was signed: {error}.") from error


def _evaluation_file(document: object) -> EvaluationFile:
    keys = {"format", "domain", "evaluation", "metrics", "deadline", "signer", "signature"}
    fields = _opened(document, EVALUATION_FORMAT, keys)
    model, *stated = _struct(fields["evaluation"], "the evaluation", signing.EVALUATION_FIELDS[:-2])
    return EvaluationFile(
        domain=_domain(fields["domain"]),
        model=model,
        evaluation=Evaluation(*stated),
        metrics=_text(fields["metrics"], "the metrics' text"),
        deadline=_value(fields["deadline"], "the deadline", "uint64"),
        signer=_value(fields["signer"], "the signer", "address"),
        signature=_signature(fields["signature"]),
    )


def _update_file(document: object) -> UpdateFile:
    keys = {"format", "domain", "update", "index", "client", "signature", "proof"}
    fields = _opened(document, UPDATE_FORMAT, keys)
    model, *stated = _struct(fields["update"], "the update", signing.UPDATE_FIELDS)
    siblings = list_of(fields["proof"], "the proof")
    return UpdateFile(
        domain=_domain(fields["domain"]),
        model=model,
        update=Update(*stated),
        index=_value(fields["index"], "the client's index", "uint32"),
        client=_value(fields["client"], "the client", "address"),
        signature=_signature(fields["signature"]),
        proof=tuple(bytes32(sibling, "a sibling of the proof") for sibling in siblings),
    )


def _opened(document: object, known: str, keys: set[str]) -> dict[str, object]:
    if isinstance(document, dict) and document.get("format", known) != known:
        raise StrictJsonError(f"its format is {quoted(document['format'])}, not {known!r}")
    return object_of(document, "the document", keys)


def _domain(value: object) -> Domain:
    name, version, chain_id, registry = _struct(value, "the domain", signing.DOMAIN_FIELDS)
    if (name, version) != (DOMAIN_NAME, DOMAIN_VERSION):
        raise StrictJsonError(f"the domain is not {DOMAIN_NAME}, version {DOMAIN_VERSION}")
    return Domain(chain_id, registry)


def _signature(value: object) -> Signature:
    fields = (("r", "bytes32"), ("vs", "bytes32"))
    return Signature(*_struct(value, "the signature", fields))


def _struct(value: object, what: str, fields: signing.Fields) -> list[Any]:
    """The values of a struct of EIP-712, in the order of its fields."""
    document = object_of(value, what, set(_names(fields)))
    return [_value(document[name], f"{name} of {what}", kind) for name, kind in fields]


def _value(value: object, what: str, kind: str) -> Any:
    """A value of a type of EIP-712, as JSON has it."""
    if kind == "bytes32":
        return bytes32(value, what)
    if kind == "string":
        return string(value, what)
    if kind == "bool":
        if not isinstance(value, bool):
            raise StrictJsonError(f"{what} is neither true nor false")
        return value
    if kind == "address":
        address = string(value, what)
        if not _has_checksum(address):
            raise StrictJsonError(f"{what} is not an address with its checksum")
        return address
    number = integer(value, what)
    if not 0 <= number < 1 << int(kind.removeprefix("uint")):
        raise StrictJsonError(f"{what} does not fit in {kind}")
    return number


def _text(value: object, what: str) -> str:
    text = string(value, what)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StrictJsonError(f"{what} is not Unicode") from None
    return text


def _check_signer(domain: Domain, struct: bytes, signature: Signature, signer: str) -> None:
    try:
        by = signing.recover(domain, struct, signature)
    except signing.InvalidSignature as error:
        raise NotVerified(f"the signature is not {signer}'s: {error}") from error
    if by != signer:
        raise NotVerified(f"the signature is not {signer}'s: this was not signed by that account.")
