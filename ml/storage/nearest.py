"""What an unknown file resembles: the known version that it differs from least."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ml.artifact import Difference, Manifest, TensorEntry, compare
from ml.storage.model_files import ModelFiles


@dataclass(frozen=True, slots=True)
class Resemblance:
    """The version with these weights, and all that differs from it."""

    weights: bytes
    differences: list[Difference]


def nearest(
    files: ModelFiles, manifest: Manifest, known: Iterable[bytes], *, of_one_model: bool
) -> Resemblance | None:
    """The known identity whose manifest is here and differs least; None if none resembles it.

    Models resemble each other by the tensors that they share, and those that share none do not.
    One opaque file resembles another only as a version of the same model. Where two differ in as
    many entries, the later one in ``known``.

    Args:
        files: where manifests are looked for
        manifest: the unknown file's
        known: the identities of versions, oldest first
        of_one_model: whether all those are of the model that the file is said to be of
    """
    if manifest.is_opaque and not of_one_model:
        return None
    best: Resemblance | None = None
    for weights in known:
        expected = files.manifest(weights)
        if expected is None or not _comparable(expected, manifest):
            continue
        differences = compare(expected, manifest)
        if not manifest.is_opaque and not _shares_a_tensor(expected, differences):
            continue
        if best is None or len(differences) <= len(best.differences):
            best = Resemblance(weights, differences)
    return best


def _comparable(expected: Manifest, actual: Manifest) -> bool:
    return (
        expected.is_opaque == actual.is_opaque
        and expected.digest_algorithm == actual.digest_algorithm
    )


def _shares_a_tensor(expected: Manifest, differences: list[Difference]) -> bool:
    differing = sum(isinstance(difference.expected, TensorEntry) for difference in differences)
    return differing < expected.tensor_count
