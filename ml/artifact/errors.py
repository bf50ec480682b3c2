"""What reading and verifying a model can fail with: a sentence each, saying what, where, what now.

Paths and tensor names come from files that nobody vouches for yet, so messages show them through
``quoted``, which leaves no control character for a terminal to obey.
"""

from __future__ import annotations

import os
from typing import Final

from ml.errors import ModelproofError, NotVerified

_MAX_QUOTED_LENGTH: Final = 120


def quoted(text: object) -> str:
    """Show foreign text on one line, quoted, with all that is unprintable escaped, cut if long."""
    plain = str(text)
    if len(plain) > _MAX_QUOTED_LENGTH:
        return f"{plain[:_MAX_QUOTED_LENGTH]!r} (and {len(plain) - _MAX_QUOTED_LENGTH} more)"
    return repr(plain)


def quoted_path(path: str | os.PathLike[str]) -> str:
    """Show a path whole, quoted, with all that is unprintable escaped."""
    return repr(os.fspath(path))


class ArtifactError(ModelproofError):
    """A model, or what was said about one, cannot be used as it is."""


class UnreadableFile(ArtifactError):
    """The file is missing, is not a regular file, or the system refuses to give its bytes."""


class FileChanged(ArtifactError):
    """The file's size changed between opening it and its last byte."""

    def __init__(
        self, path: str | os.PathLike[str], expected_bytes: int, actual_bytes: int
    ) -> None:
        """Name the file with its size at opening and the size seen since, both in bytes."""
        super().__init__(
            f"{quoted_path(path)} changed while it was read, from {expected_bytes} to"
            f" {actual_bytes} bytes; wait until nothing writes to it, then try again"
        )


class MalformedFile(ArtifactError):
    """The file breaks the rules of its own format; nothing of it was loaded."""

    def __init__(self, path: str | os.PathLike[str], reason: str, what: str) -> None:
        """Name the file, the first rule that it breaks, and what it should be."""
        super().__init__(
            f"{quoted_path(path)} is not a valid {what}: {reason}; save or download it again"
        )
        self.reason = reason


class UnsupportedFormat(ArtifactError):
    """The format has no strict reader here, and guessing an identity for it would mislead."""


class UnsafePickle(ArtifactError):
    """A pickle asks for more than tensors and plain values; nothing of it was run."""


class AmbiguousModel(ArtifactError):
    """A file or folder holds several models, and which one is meant is for the caller to say."""


class InvalidEntry(ArtifactError):
    """A tensor or file is described in a way that no valid model can be."""


class MalformedManifest(ArtifactError):
    """The manifest is not one that this format version allows, or contradicts itself."""

    def __init__(self, reason: str) -> None:
        """Name the first rule that the manifest breaks."""
        super().__init__(f"this is not a valid manifest: {reason}; make it again from the model")


class MalformedProof(ArtifactError):
    """The proof is not of the form that this format version has, or contradicts itself."""

    def __init__(self, reason: str) -> None:
        """Name the first rule that the proof breaks."""
        super().__init__(f"this is not a valid proof: {reason}; make it again from the model")


class UnusableKey(ArtifactError):
    """The file is no key of the kind that is needed, or not kept as a secret."""


class WrongSigner(NotVerified):
    """The signature is not that of the key which was expected to have signed."""


class UnknownTensor(ArtifactError):
    """The manifest has no tensor of that name."""


class WeightsMismatch(NotVerified):
    """The bytes read are not those that the expected identity stands for."""
