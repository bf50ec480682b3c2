"""What storing and reading objects can fail with: a sentence each, saying what, where, what now.

What is damaged or forged is `NotVerified` and ends a script with 1; a key that is missing or
another one, or an object that is not here, is the caller's to change and ends it with 2.
"""

from __future__ import annotations

from typing import Final

from ml.errors import ModelproofError, NotVerified

_REMEDY: Final = "fetch it again, or repair it from a replica"


class StorageError(ModelproofError):
    """An object cannot be stored or read as things are."""


class InvalidCid(StorageError):
    """The text is no name of an object here: a CIDv1 in base32, raw or dag-pb, with a SHA-256."""


class UnknownObject(StorageError):
    """The store has no such object, or no sidecar of it."""


class ObjectTooLarge(StorageError):
    """The object has more segments than their counter has numbers for."""


class InvalidKey(StorageError):
    """What was given as a key is none, or is kept where others can read it."""


class NoKey(StorageError):
    """No key is at hand at all."""


class WrongKey(StorageError):
    """A key of the right kind is at hand, but it is not the one."""


class MissingRecipient(StorageError):
    """The object was not encrypted for any key at hand."""


class DamagedObject(NotVerified):
    """The object's bytes are not those that were stored."""


class WrongContent(DamagedObject):
    """The bytes under a CID have another one."""

    def __init__(self, expected: object, actual: object) -> None:
        """Name the CID that was asked for and the one that the bytes have."""
        super().__init__(f"what is stored as {expected} is damaged: its CID is {actual}; {_REMEDY}")


class DamagedHeader(DamagedObject):
    """The first bytes of the object are not a header, or not the one that its sidecar names."""

    def __init__(self, name: str, reason: str) -> None:
        """Name the object and what is wrong with its header."""
        super().__init__(f"the header of {name} is damaged: {reason}; {_REMEDY}")


class TruncatedObject(DamagedObject):
    """Bytes are missing."""

    def __init__(self, name: str, expected_bytes: int, actual_bytes: int) -> None:
        """Name the object, how many bytes it should have at least, and how many are there."""
        super().__init__(
            f"{name} is cut short: {actual_bytes} of {expected_bytes} bytes are there; {_REMEDY}"
        )


class ExtendedObject(DamagedObject):
    """There are more bytes than were stored."""

    def __init__(self, name: str, expected_bytes: int) -> None:
        """Name the object and how many bytes it should have."""
        super().__init__(
            f"{name} goes on after its end: it has more than its {expected_bytes} bytes; {_REMEDY}"
        )


class DamagedSegment(DamagedObject):
    """A segment does not authenticate."""

    def __init__(self, name: str, index: int, *, may_be_cut: bool) -> None:
        """Name the object and the segment, counted from 0.

        ``may_be_cut``: the object ends with this segment, and its true size is not known.
        """
        cut = ", or the object is cut short there" if may_be_cut else ""
        super().__init__(f"segment {index} of {name} is damaged{cut}; {_REMEDY}")
        self.index = index


class MisplacedSegment(DamagedObject):
    """A segment authenticates, but as another one: segments were exchanged or repeated."""

    def __init__(self, name: str, index: int, belongs_at: int) -> None:
        """Name the object, the place, and the number of the segment that lies there."""
        super().__init__(
            f"segments of {name} are out of order: segment {belongs_at} stands in the place of"
            f" segment {index}; {_REMEDY}"
        )
        self.index = index
        self.belongs_at = belongs_at


class DamagedSidecar(NotVerified):
    """The sidecar's text is not one that was ever written; no key is needed to see that."""

    def __init__(self, name: object, reason: str) -> None:
        """Name the object and the first thing that is wrong with its sidecar."""
        super().__init__(f"the sidecar of {name} is damaged: {reason}; {_REMEDY}")
        self.reason = reason


class ForgedSidecar(NotVerified):
    """The sidecar is well-formed, but nobody who has the object's key wrote it."""

    def __init__(self, name: object, reason: str) -> None:
        """Name the object and what does not fit."""
        super().__init__(
            f"the sidecar of {name} was changed by somebody without the object's key: {reason};"
            " take it from a backup or a replica"
        )


class SwappedSidecar(NotVerified):
    """The sidecar is another object's."""

    def __init__(self, asked: object, found: object) -> None:
        """Name the object that was asked for and the one that the sidecar is of."""
        super().__init__(
            f"the sidecar kept for {asked} is the one of {found};"
            " take the right one from a backup or a replica"
        )
