"""What the registration of a version that was trained here states of its training metadata."""

from __future__ import annotations

from typing import Any, Final

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.chain.events import Registered
from ml.errors import ModelproofError
from ml.storage.cid import Cid
from ml.storage.errors import InvalidCid

from .metadata import OBJECT_KEY

_DIGEST_BYTES: Final = 32


def stated_metadata_digest(record: Registered) -> bytes | None:
    """The SHA-256 that a registration states of its training metadata, None if it states none."""
    try:
        digest = bytes.fromhex(_stated(record)["metadata_sha256"])
    except (KeyError, TypeError, ValueError):
        return None
    return digest if len(digest) == _DIGEST_BYTES else None


def stated_metadata_object(record: Registered) -> Cid | None:
    """The object that a registration says holds its training metadata, None if it names none."""
    named = _stated(record).get(OBJECT_KEY)
    try:
        return Cid.parse(named) if isinstance(named, str) else None
    except InvalidCid:
        return None


def metadata_digest(record: Registered, name: str) -> bytes:
    """The SHA-256 of a version's training metadata; ``name`` is the model's, for messages.

    Raises:
        ModelproofError: the version was not trained by this project.
    """
    digest = stated_metadata_digest(record)
    if digest is None:
        raise ModelproofError(
            f"v{record.version} of {name} was not trained by this project, so it cannot be loaded"
            " here: measure it where it runs, and hand its metrics to `ape run validate --metrics`."
        )
    return digest


def _stated(record: Registered) -> dict[str, Any]:
    """The metadata's members, whatever they are."""
    try:
        stated = strict_json.loads(record.metadata.encode(), fractions=True)
    except (StrictJsonError, UnicodeEncodeError):
        return {}
    return stated if isinstance(stated, dict) else {}
