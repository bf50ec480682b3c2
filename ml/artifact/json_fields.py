"""Taking a parsed JSON document apart, field by field, each of exactly one form.

Every function says ``what`` it was looking at where that is something else.
"""

from __future__ import annotations

from .errors import quoted
from .strict_json import StrictJsonError


def fields_of(value: object, what: str) -> dict[str, object]:
    """An object with any keys."""
    if not isinstance(value, dict):
        raise StrictJsonError(f"{what} is not an object")
    return value


def object_of(value: object, what: str, keys: set[str]) -> dict[str, object]:
    """An object with exactly these keys."""
    fields = fields_of(value, what)
    if fields.keys() == keys:
        return fields
    missing, unknown = sorted(keys - fields.keys()), sorted(fields.keys() - keys)
    if missing:
        raise StrictJsonError(f"{what} has no {quoted(missing[0])}")
    raise StrictJsonError(f"{what} has the unknown key {quoted(unknown[0])}")


def list_of(value: object, what: str) -> list[object]:
    """A list."""
    if not isinstance(value, list):
        raise StrictJsonError(f"{what} is not a list")
    return value


def string(value: object, what: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise StrictJsonError(f"{what} is not a string")
    return value


def integer(value: object, what: str) -> int:
    """A whole number, of any size and sign."""
    if type(value) is not int:
        raise StrictJsonError(f"{what} is not a whole number")
    return value


def bytes32(value: object, what: str) -> bytes:
    """32 bytes, as 0x and lower-case hexadecimal digits."""
    text = string(value, what)
    if len(text) == 66 and text.startswith("0x"):
        try:
            digest = bytes.fromhex(text[2:])
        except ValueError:
            digest = b""
        if f"0x{digest.hex()}" == text:  # so no capitals, and none of the spaces fromhex skips
            return digest
    raise StrictJsonError(f"{what} is not 0x and 64 lower-case hexadecimal digits")
