"""How a version came about, whichever way it was made: what is needed to load and to judge it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.errors import ModelproofError, NotVerified

from .architectures import Architecture
from .canonical import MalformedJson
from .metadata import TrainingMetadata
from .round_metadata import RoundMetadata


class VersionMetadata(Protocol):
    """What is asked of the metadata of a version that was trained here, or aggregated."""

    @property
    def weights(self) -> bytes:
        """The identity of the version that this belongs to."""

    @property
    def architecture(self) -> Architecture:
        """What the model looks like."""

    @property
    def dataset_name(self) -> str:
        """Of what it was trained on."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What it tells apart."""

    @property
    def training_accuracy_ppm(self) -> int:
        """On what it was trained on; 0 if that is not known."""


_FORMATS: Final[dict[str, Callable[[bytes, str], VersionMetadata]]] = {
    "modelproof.training.v1": TrainingMetadata.from_json,
    "modelproof.round.v1": RoundMetadata.from_json,
}


def read_metadata(path: Path, digest: bytes | None = None) -> VersionMetadata:
    """Read the metadata file of a version, by what its ``format`` says.

    Args:
        path: the ``.json`` file.
        digest: the SHA-256 that it must have, from the chain; anything is taken if None.

    Raises:
        NotVerified: its SHA-256 is another.
        ModelproofError: it cannot be read, or is metadata of no known format.
    """
    data, what = _read_checked(path, digest), f"the metadata {path}"
    try:
        document = strict_json.loads(data, fractions=True)
    except StrictJsonError as error:
        raise MalformedJson(f"{what} cannot be used: {error}") from None
    named = document.get("format") if isinstance(document, dict) else None
    read = _FORMATS.get(named) if isinstance(named, str) else None
    if read is None:
        raise MalformedJson(
            f"{what} cannot be used: its format is none of {', '.join(sorted(_FORMATS))}"
        )
    return read(data, what)


def _read_checked(path: Path, digest: bytes | None) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelproofError(
            f"the metadata {path} cannot be read ({error.strerror}); it belongs beside the model,"
            " and was written when the model was trained"
        ) from None
    found = hashlib.sha256(data).digest()
    if digest is not None and found != digest:
        raise NotVerified(
            f"the metadata {path} is not the one on record: its SHA-256 is {found.hex()}, not"
            f" {digest.hex()}; get it again from where the model was registered"
        )
    return data
