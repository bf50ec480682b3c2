"""What sidecars call the formats of files, and the suffixes that files have by them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_OPAQUE: Final = "opaque"
_OPAQUE_SUFFIX: Final = re.compile(r"\.[a-z0-9]{1,16}")
_SUFFIXES: Final = {"safetensors": ".safetensors", "torch": ".pt", "archive": ".tar"}


def format_name(layout_format: str, path: Path) -> str:
    """What a sidecar calls the format of a file: one of no known format keeps its suffix.

    ``opaque.joblib``, for one: never what an object is called that is no model.
    """
    suffix = path.suffix.lower()
    if layout_format == _OPAQUE and _OPAQUE_SUFFIX.fullmatch(suffix):
        return f"{_OPAQUE}{suffix}"
    return layout_format


def suffix_of(name: str) -> str:
    """The suffix by which a file of this format is read as one."""
    return _SUFFIXES.get(name) or name.removeprefix(_OPAQUE)
