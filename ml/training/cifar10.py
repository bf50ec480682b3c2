"""CIFAR-10: 50,000 training and 10,000 test colour images of ten classes, from its binary version.

Six files of 10,000 records each; a record is one byte of label and 3,072 of pixels, the red ones in
row-major order, then the green, then the blue. The Python version holds the same records as
pickles, which are not read here. The files are known by their size and labels alone: which images
they hold, the data set's roots say. Source: Krizhevsky, "Learning Multiple Layers of Features from
Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError, NotVerified

TRAIN_BATCHES: Final = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_BATCH: Final = "test_batch.bin"
CLASS_NAMES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCH_RECORDS: Final = 10_000
RECORD_BYTES: Final = 1 + 3 * 32 * 32


def read_batches(
    folder: Path, names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read some of the files, one after the other.

    Returns:
        The pixels as they are, 0 to 255, as float32 of shape (n, 3, 32, 32), and the labels as
        int64 of shape (n,), each 0 to 9.

    Raises:
        ModelproofError: a file is missing or cannot be read.
        NotVerified: a file has another size, or a label that is none.
    """
    records = np.concatenate([_read(folder / name) for name in names])
    pixels = records[:, 1:].reshape(-1, 3, 32, 32)
    return pixels.astype(np.float32), records[:, 0].astype(np.int64)


def _read(path: Path) -> NDArray[np.uint8]:
    """Read the records of one file: (10,000, 3,073)."""
    expected = BATCH_RECORDS * RECORD_BYTES
    try:
        with path.open("rb") as stream:
            data = stream.read(expected + 1)
    except FileNotFoundError:
        raise ModelproofError(
            f"the CIFAR-10 file {path} is missing; name the folder that the binary version was"
            " unpacked to (the Python version, of pickles, is not read)"
        ) from None
    except OSError as error:
        raise ModelproofError(
            f"the CIFAR-10 file {path} cannot be read ({error.strerror or error});"
            " check its permissions, or name another folder"
        ) from None
    if len(data) != expected:
        size = f"{len(data)}" if len(data) < expected else "more"
        raise NotVerified(
            f"{path} is not a file of CIFAR-10: it has {size} bytes, not {expected}; get it again"
        )
    records = np.frombuffer(data, np.uint8).reshape(BATCH_RECORDS, RECORD_BYTES)
    worst = records[:, 0].max()
    if worst >= len(CLASS_NAMES):
        raise NotVerified(
            f"{path} is not a file of CIFAR-10: it has the label {worst}; get it again"
        )
    return records
