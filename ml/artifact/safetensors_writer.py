"""Writing a model's tensors as a safetensors file, whatever format they come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from .dtypes import DTYPE_BITS
from .errors import UnsupportedFormat, quoted, quoted_path
from .file_reader import FilePath
from .model import Model
from .safetensors import LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY
from .spans import TensorSpan

_ALIGNMENT: Final = 8


def start_of(
    spans: Iterable[TensorSpan], path: FilePath, metadata: Mapping[str, str] | None = None
) -> tuple[bytes, list[TensorSpan]]:
    """The first bytes of the safetensors file that has these tensors, and their order in it.

    Args:
        spans: the tensors, in any order, which the result does not depend on
        path: what messages call the model
        metadata: text about the file, by its names

    Raises:
        UnsupportedFormat: no safetensors file can hold what a checkpoint may.
    """
    ordered = sorted(spans, key=lambda span: (-DTYPE_BITS[span.dtype], span.name))
    header: dict[str, object] = {} if metadata is None else {METADATA_KEY: metadata}
    start = 0
    for span in ordered:
        if span.name == METADATA_KEY:
            raise UnsupportedFormat(
                f"{quoted_path(path)} has a tensor {quoted(span.name)}, a name that no tensor has"
                " in a safetensors file"
            )
        stop = start + span.nbytes
        offsets = [start, stop]
        header[span.name] = {"dtype": span.dtype, "shape": span.shape, "data_offsets": offsets}
        start = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise UnsupportedFormat(
            f"the names of the tensors in {quoted_path(path)} take more than the"
            f" {MAX_HEADER_BYTES} bytes that a safetensors file has for them"
        )
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, ordered


def save(model: Model, path: Path) -> None:
    """Write an open model's tensors as a safetensors file, which has the same identity.

    Raises:
        UnsupportedFormat: no safetensors file can hold them, or there is more than tensors.
        UnreadableFile, FileChanged: as for `Model.manifest`.
    """
    from ml import files  # of no use to those who read

    if model.layout.files:
        raise UnsupportedFormat(f"{quoted_path(model.path)} has more than tensors")
    start, ordered = start_of(model.layout.tensors, model.path)
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(start)
        for span in ordered:
            file.writelines(model.pieces(span.name))
