"""JSON without the freedoms that let one text mean two things to two readers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from .errors import ArtifactError, quoted_path

if TYPE_CHECKING:
    from pathlib import Path

MAX_DEPTH: Final = 8
"""How deep brackets may nest, far above what any format here needs."""

_HARMLESS_BRACKETS: Final = 200
_HARMLESS_VALUES: Final = 1_000_000
_BYTES_PER_VALUE: Final = 12
_ALL_BUT_BRACKETS_AND_QUOTES: Final = bytes(set(range(256)) - set(b'[]{}"'))


class StrictJsonError(ValueError):
    """The text is not JSON, or JSON that allows two readings; the message is a clause."""


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object's keys and values a dict.

    Raises:
        StrictJsonError: a key occurs twice.
    """
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise StrictJsonError(f"its JSON has the key {key[:100]!r} twice")
            seen.add(key)
    return mapping


def loads(
    data: bytes,
    *,
    fractions: bool = False,
    take_object: Callable[[list[tuple[str, object]]], object] = unique,
) -> object:
    """Parse one JSON value in UTF-8; numbers must be whole unless ``fractions`` are allowed.

    Python's parser would keep the last of two equal keys (another reader keeps the first), take
    NaN and Infinity, which are not JSON, and round numbers with a fraction.

    Args:
        data: the text.
        fractions: whether numbers may have one.
        take_object: makes an object's keys and values what it is read as, innermost first; it is
            for it to refuse a key that occurs twice, as `unique` does.

    Raises:
        StrictJsonError: the text is anything else.
    """
    _check_brackets(data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"it is not UTF-8 at byte {error.start}") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=take_object,
            parse_float=_finite if fractions else _refuse_number,
            parse_constant=_refuse_number,
        )
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"it is not JSON at character {error.pos} ({error.msg})") from None
    except StrictJsonError:
        raise
    except ValueError:  # Python's limit on the digits of an integer
        raise StrictJsonError("its JSON has a number of absurd length") from None
    except RecursionError:  # called from deep inside something else
        raise StrictJsonError("its JSON is nested too deeply") from None


def read(path: Path) -> object:
    """Parse a user's JSON file, fractions allowed.

    Raises:
        ArtifactError: it cannot be read, or is not JSON, or allows two readings.
    """
    try:
        return loads(path.read_bytes(), fractions=True)
    except OSError as error:
        raise ArtifactError(f"{quoted_path(path)} cannot be read: {error.strerror}") from error
    except StrictJsonError as error:
        raise ArtifactError(f"{quoted_path(path)} cannot be used: {error}") from error


def _check_brackets(data: bytes) -> None:
    """Refuse brackets outside strings that are dangerous to parse: nested deep, or hardly filled.

    Python's parser recurses in C. Its own guard is the recursion limit, which libraries raise until
    the stack overflows first, and then a file of brackets kills the process. And an empty list in
    Python takes twenty times the two bytes that it has in a file; no format here is made of such.
    """
    if data.count(b"[") + data.count(b"{") <= _HARMLESS_BRACKETS:
        return
    size = len(data)
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside_strings = data.translate(None, _ALL_BUT_BRACKETS_AND_QUOTES).split(b'"')[::2]
    brackets = b"".join(outside_strings)
    values = brackets.count(b"[") + brackets.count(b"{")
    for _ in range(MAX_DEPTH):  # each time, every innermost pair goes
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    # What is left is too deep or unmatched; a little of it is for the parser to point out.
    if len(brackets) > _HARMLESS_BRACKETS:
        raise StrictJsonError("its JSON is nested too deeply")
    if values > max(_HARMLESS_VALUES, size // _BYTES_PER_VALUE):
        raise StrictJsonError("its JSON has too many lists or objects for its size")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise StrictJsonError(f"its JSON has {text[:100]}, which is beyond a 64-bit float")
    return value


def _refuse_number(text: str) -> NoReturn:
    raise StrictJsonError(f"its JSON has {text[:100]} where only whole numbers are allowed")
