"""What differs between the model that was expected and the one that is there, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .entries import OPAQUE_PATH, FileEntry, TensorEntry
from .errors import ArtifactError, quoted
from .manifest import Manifest


class DifferenceKind(Enum):
    """How one tensor or file differs; where several hold, the first one here is given."""

    MISSING = "missing"
    ADDED = "added"
    DTYPE = "dtype"
    SHAPE = "shape"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One tensor or file that differs; ``expected`` or ``actual`` is None where it is absent."""

    kind: DifferenceKind
    expected: TensorEntry | FileEntry | None
    actual: TensorEntry | FileEntry | None

    @property
    def entry(self) -> TensorEntry | FileEntry:
        """The entry that is there: the actual one, or what is missing."""
        entry = self.actual or self.expected
        if entry is None:
            raise ValueError("a difference is about at least one entry")
        return entry

    @property
    def name(self) -> str:
        """The tensor's name or the file's path."""
        return self.entry.name if isinstance(self.entry, TensorEntry) else self.entry.path

    def __str__(self) -> str:
        """Say it in a clause, as ``tensor 'fc.weight' changed``."""
        if self.name == OPAQUE_PATH and isinstance(self.entry, FileEntry):
            subject = "the file itself"
        else:
            what = "tensor" if isinstance(self.entry, TensorEntry) else "file"
            subject = f"{what} {quoted(self.name)}"
        return f"{subject} {self._predicate()}"

    def _predicate(self) -> str:
        if isinstance(self.expected, TensorEntry) and isinstance(self.actual, TensorEntry):
            if self.kind is DifferenceKind.DTYPE:
                return f"has dtype {self.actual.dtype}, not {self.expected.dtype}"
            if self.kind is DifferenceKind.SHAPE:
                return f"has shape {list(self.actual.shape)}, not {list(self.expected.shape)}"
        return {
            DifferenceKind.MISSING: "is missing",
            DifferenceKind.ADDED: "was added",
        }.get(self.kind, "changed")


def compare(expected: Manifest, actual: Manifest) -> list[Difference]:
    """List every tensor and file that differs, tensors first, each in order of their names.

    The list is empty if and only if the two identities are equal.

    Raises:
        ArtifactError: the manifests use different digest algorithms, so digests say nothing.
    """
    same_kind = expected.is_opaque == actual.is_opaque
    if same_kind and expected.digest_algorithm != actual.digest_algorithm:
        raise ArtifactError(
            f"cannot compare {expected.digest_algorithm.name} digests with"
            f" {actual.digest_algorithm.name} ones;"
            f" read the model again with {expected.digest_algorithm.name}"
        )
    return [
        *_differences(
            {tensor.name: tensor for tensor in expected.tensors},
            {tensor.name: tensor for tensor in actual.tensors},
        ),
        *_differences(
            {file.path: file for file in expected.files},
            {file.path: file for file in actual.files},
        ),
    ]


def summarize(differences: Sequence[object], limit: int = 5) -> str:
    """Say at most ``limit`` differences in one line, and how many more there are."""
    clauses = [str(difference) for difference in differences[:limit]]
    if len(differences) > limit:
        clauses.append(f"{len(differences) - limit} more")
    return ", ".join(clauses)


def _differences(
    expected: Mapping[str, TensorEntry | FileEntry], actual: Mapping[str, TensorEntry | FileEntry]
) -> list[Difference]:
    differences = []
    for name in sorted(expected.keys() | actual.keys()):
        kind = _kind(expected.get(name), actual.get(name))
        if kind is not None:
            differences.append(Difference(kind, expected.get(name), actual.get(name)))
    return differences


def _kind(
    expected: TensorEntry | FileEntry | None, actual: TensorEntry | FileEntry | None
) -> DifferenceKind | None:
    if expected == actual:
        return None
    if expected is None:
        return DifferenceKind.ADDED
    if actual is None:
        return DifferenceKind.MISSING
    if isinstance(expected, TensorEntry) and isinstance(actual, TensorEntry):
        if expected.dtype != actual.dtype:
            return DifferenceKind.DTYPE
        if expected.shape != actual.shape:
            return DifferenceKind.SHAPE
    return DifferenceKind.CHANGED
