"""How much shorter deltas are than versions: ``python -m benchmarks.deltas``.

A model of 64 MiB in one tensor, its weights normal with a standard deviation of 0.02 as a
transformer's, and a version after it: each weight changed by a relative step of 10⁻³ or 10⁻⁵ (in
bf16, most of the small ones round to no change), or one weight in a thousand. The ratio is the
file's size to the delta's; speeds are in GB (10⁹ bytes of the file) per CPU-second and include the
digests that both sides check.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from ml.artifact import open_model, read_manifest
from ml.artifact.file_reader import FileReader
from ml.storage.deltas import apply_delta, encode_delta

RESULTS: Final = Path(__file__).parent / "results" / "deltas.json"
SIZE: Final = 64 << 20
SEED: Final = 1

Weights = NDArray[np.float32]


def cases() -> Iterator[tuple[str, str, Weights, Weights]]:
    """What is measured: a name, the dtype, and the weights before and after."""
    draw = np.random.default_rng(SEED)
    weights = draw.normal(0, 0.02, SIZE // 2).astype(np.float32)
    step = draw.normal(size=weights.size).astype(np.float32)
    sparse = np.where(draw.random(weights.size) < 1e-3, weights * np.float32(1.1), weights)
    half = SIZE // 4
    yield "fp32, all by 10⁻³", "F32", weights[:half], (weights * (1 + 1e-3 * step))[:half]
    yield "fp32, all by 10⁻⁵", "F32", weights[:half], (weights * (1 + 1e-5 * step))[:half]
    yield "fp32, one in a thousand", "F32", weights[:half], sparse[:half]
    yield "bf16, all by 10⁻³", "BF16", weights, weights * (1 + 1e-3 * step)
    yield "bf16, all by 10⁻⁵", "BF16", weights, weights * (1 + 1e-5 * step)
    yield "bf16, one in a thousand", "BF16", weights, sparse


def tensor_bytes(dtype: str, weights: Weights) -> bytes:
    """The tensor's bytes; to bf16, round to nearest even."""
    single = weights.astype("<f4")
    if dtype == "F32":
        return single.tobytes()
    bits = single.view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def write(path: Path, dtype: str, weights: Weights) -> Path:
    """A safetensors file with one tensor."""
    data = tensor_bytes(dtype, weights)
    entry = {"dtype": dtype, "shape": [weights.size], "data_offsets": [0, len(data)]}
    header = json.dumps({"weights": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def measure(folder: Path, dtype: str, before: Weights, after: Weights) -> dict[str, float]:
    """Write a delta and apply it."""
    old, new = (
        write(folder / "before", dtype, before),
        write(folder / "after", dtype, after),
    )
    old_manifest, new_manifest, delta = read_manifest(old), read_manifest(new), folder / "delta"
    begun = time.process_time()
    with open_model(old) as base, open_model(new) as target, delta.open("wb") as file:
        file.writelines(encode_delta(base, old_manifest, target, new_manifest, 1))
    written = time.process_time()
    with FileReader(delta) as reader:
        apply_delta(reader.pieces(0, reader.size), old, folder / "made", new_manifest.weights)
    read, size = time.process_time(), new.stat().st_size
    return {
        "ratio": round(size / delta.stat().st_size, 2),
        "write": round(size / (written - begun) / 1e9, 3),
        "read": round(size / (read - written) / 1e9, 3),
    }


def main() -> None:
    """Measure, write the results and print them."""
    figures = {}
    for name, dtype, before, after in cases():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = measure(Path(folder), dtype, before, after)
    conditions = {**machine.describe(), "zstandard": zstandard.__version__, "bytes": SIZE}
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"unit": "GB of the file per CPU-second", "figures": figures, "machine": conditions}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    table = Table("change", title="Deltas to the version before")
    for heading in ("file : delta", "write, GB/s", "read, GB/s"):
        table.add_column(heading, justify="right")
    for name, row in figures.items():
        table.add_row(name, *map(str, row.values()))
    console = Console()
    console.print(table)
    console.print(f"Written to {RESULTS}.", soft_wrap=True)


if __name__ == "__main__":
    main()
