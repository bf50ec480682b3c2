"""What differs between two models."""

from __future__ import annotations

import pytest

from ml.artifact import (
    ArtifactError,
    DifferenceKind,
    DigestAlgorithm,
    FileEntry,
    Manifest,
    TensorEntry,
    compare,
)
from ml.artifact.differences import summarize

from .builders import changed
from .test_manifest import BIAS, CONFIG, MODEL, WEIGHT


def with_tensors(*tensors: TensorEntry) -> Manifest:
    return Manifest(tensors, MODEL.files)


def kinds(actual: Manifest) -> list[tuple[DifferenceKind, str]]:
    return [(difference.kind, difference.name) for difference in compare(MODEL, actual)]


def test_equal_models_do_not_differ() -> None:
    assert compare(MODEL, Manifest.from_json(MODEL.to_json())) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"digest": bytes(32)}, DifferenceKind.CHANGED),
        ({"shape": (3, 2)}, DifferenceKind.SHAPE),
        ({"shape": (3, 2), "digest": bytes(32)}, DifferenceKind.SHAPE),
        ({"dtype": "I32"}, DifferenceKind.DTYPE),
        ({"dtype": "I64", "shape": (3,)}, DifferenceKind.DTYPE),
    ],
)
def test_difference_of_one_tensor_is_named(change: dict[str, object], kind: DifferenceKind) -> None:
    other = changed(WEIGHT, **change)
    assert kinds(with_tensors(BIAS, other)) == [(kind, "fc.weight")]


def test_renamed_tensor_is_missing_and_added() -> None:
    renamed = changed(WEIGHT, name="dense.weight")
    assert kinds(with_tensors(BIAS, renamed)) == [
        (DifferenceKind.ADDED, "dense.weight"),
        (DifferenceKind.MISSING, "fc.weight"),
    ]


def test_difference_of_a_file_is_named() -> None:
    other = Manifest(MODEL.tensors, (changed(CONFIG, size=1),))
    assert [str(d) for d in compare(MODEL, other)] == ["file 'config/model.json' changed"]


def test_difference_of_an_opaque_file_has_no_name() -> None:
    first, second = (Manifest((), (FileEntry("", size, bytes(32)),)) for size in (1, 2))
    assert [str(d) for d in compare(first, second)] == ["the file itself changed"]


def test_opaque_file_in_place_of_tensors_differs_in_everything() -> None:
    opaque = Manifest((), (FileEntry("", 1, bytes(32)),), DigestAlgorithm.SHA256)
    assert [str(d) for d in compare(Manifest((BIAS,)), opaque)] == [
        "tensor 'fc.bias' is missing",
        "the file itself was added",
    ]


def test_manifests_of_different_algorithms_are_not_compared() -> None:
    other = Manifest(MODEL.tensors, MODEL.files, DigestAlgorithm.SHA256)
    with pytest.raises(ArtifactError, match="cannot compare BLAKE3 digests with SHA256 ones"):
        compare(MODEL, other)


def test_summary_counts_what_it_leaves_out() -> None:
    many = Manifest(tuple(TensorEntry(f"t{i}", "U8", (), bytes(32), 1) for i in range(8)))
    summary = summarize(compare(Manifest(()), many), limit=2)
    assert summary == "tensor 't0' was added, tensor 't1' was added, 6 more"
