"""Dataclasses as canonical JSON: one text per value, and no other text is read.

Keys are sorted, there is no white space, text is UTF-8 and not escaped, numbers are the shortest
that give the same value back, and bytes are 0x and hexadecimal digits. What is read must be written
again as the very same bytes, so that a digest of the text is a digest of the value.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter, ValidationError

from ml.artifact import strict_json
from ml.errors import ModelproofError

_Value = TypeVar("_Value")
_DIGEST_BYTES: Final = 32
_ADAPTERS: Final[dict[Any, TypeAdapter[Any]]] = {}
"""What reads and writes each kind of dataclass: made once, since that takes milliseconds."""


class MalformedJson(ModelproofError):
    """The text is not the canonical JSON of the value that was expected."""


def _to_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("it must be 0x and hexadecimal digits")
    data = bytes.fromhex(value.removeprefix("0x"))
    if len(data) != _DIGEST_BYTES:
        raise ValueError(f"it must have {_DIGEST_BYTES} bytes, not {len(data)}")
    return data


Digest = Annotated[
    bytes, BeforeValidator(_to_bytes), PlainSerializer(lambda data: "0x" + data.hex())
]
"""32 bytes, in JSON 0x and 64 hexadecimal digits."""


def canonical_json(value: object) -> str:
    """Write what JSON can hold as its canonical text, which ends without a newline.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def dump(value: object) -> str:
    """Write a dataclass as canonical JSON."""
    return canonical_json(_adapter(type(value)).dump_python(value, mode="json"))


def load(kind: type[_Value], data: bytes, what: str) -> _Value:
    """Read a dataclass from canonical JSON; ``what`` names the text in errors.

    Raises:
        MalformedJson: the text is anything but what ``dump`` writes for such a dataclass.
        ModelproofError: the dataclass refuses the values.
    """
    try:
        strict_json.loads(data, fractions=True)
        value: _Value = _adapter(kind).validate_json(data, strict=True, extra="forbid")
        canonical = dump(value)
    except ValidationError as error:
        raise MalformedJson(f"{what} cannot be used: {_first(error)}") from None
    except ValueError as error:  # also StrictJsonError
        raise MalformedJson(f"{what} cannot be used: {error}") from None
    if canonical.encode() != data:
        raise MalformedJson(
            f"{what} is not in canonical form, with sorted keys and no white space;"
            " use it as it was written"
        )
    return value


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _first(error: ValidationError) -> str:
    """Say what is wrong at the first place where something is."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"at {place}: {message}" if place else message
