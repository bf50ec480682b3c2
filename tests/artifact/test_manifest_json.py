"""The manifest's text form: exact, and read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import DigestAlgorithm, MalformedManifest, Manifest, TensorEntry
from ml.errors import ModelproofError

from .test_manifest import MODEL

DIGEST = "0x" + 64 * "0"

ENTRIES = st.builds(
    lambda name, count, digest: TensorEntry(name, "F32", (count,), digest, 4 * count),
    st.text(max_size=20),
    st.integers(0, 2**40),
    st.binary(min_size=32, max_size=32),
)
MANIFESTS = st.builds(
    Manifest,
    st.lists(ENTRIES, max_size=5, unique_by=lambda entry: entry.name).map(tuple),
    st.just(()),
    st.sampled_from(DigestAlgorithm),
)


@given(MANIFESTS)
def test_what_was_written_is_read(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_files_are_written_and_read() -> None:
    assert Manifest.from_json(MODEL.to_json().encode()) == MODEL


def test_text_has_a_line_per_tensor() -> None:
    tensor = TensorEntry("a", "U8", (2, 1), bytes(32), 2)
    assert Manifest((tensor,)).to_json().splitlines()[4:8] == [
        '  "tensors": [',
        f'    {{"name": "a", "dtype": "U8", "shape": [2, 1], "digest": "{DIGEST}"}}',
        "  ],",
        '  "files": []',
    ]


def mutate(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(MODEL.to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.pop("files"), "has no 'files'"),
        (lambda d: d.update(extra=1), "unknown key 'extra'"),
        (lambda d: d.update(format="modelproof.manifest.v2"), "its format is 'modelproof.manif"),
        (lambda d: d.update(digest_algorithm="MD5"), "known are BLAKE3 and SHA256"),
        (lambda d: d.update(digest_algorithm=1), "digest algorithm is '1'"),
        (lambda d: d.update(digest_algorithm="SHA256"), "its entries give 0x"),
        (lambda d: d.update(weights=DIGEST), "its entries give 0x"),
        (lambda d: d.update(weights=d["weights"].upper()), "lower-case hexadecimal"),
        (lambda d: d.update(weights=d["weights"][2:]), "lower-case hexadecimal"),
        (lambda d: d.update(weights="0x" + " 0" * 32), "lower-case hexadecimal"),
        (lambda d: d.update(weights=None), '"weights" is not a string'),
        (lambda d: d.update(tensors={}), '"tensors" is not a list'),
        (lambda d: d["tensors"].pop(), "its entries give 0x"),
        (lambda d: d["tensors"].append(d["tensors"][0]), "occurs twice"),
        (lambda d: d["tensors"][0].update(nbytes=6), "a tensor has the unknown key 'nbytes'"),
        (lambda d: d["tensors"][0].update(name=3), "a tensor's name is not a string"),
        (lambda d: d["tensors"][0].update(dtype="F31"), "unknown dtype 'F31'"),
        (lambda d: d["tensors"][0].update(shape=[True]), "is not a whole number"),
        (lambda d: d["tensors"][0].update(shape=[-3]), "dimension outside"),
        (lambda d: d["tensors"][0].update(shape=[4]), "its entries give 0x"),
        (lambda d: d["files"][0].update(path="../x"), "inside the model"),
        (lambda d: d["files"][0].update(size=-1), "cannot have -1 bytes"),
        (lambda d: d["files"][0].update(size="1"), "is not a whole number"),
    ],
)
def test_wrong_field_is_refused_by_name(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(MalformedManifest) as caught:
        Manifest.from_json(mutate(change))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON at character 0"),
        ("[]", "the document is not an object"),
        ('{"a": 1, "a": 1}', "key 'a' twice"),
        ('{"a": 1.5}', "has 1.5 where only whole numbers"),
        ('{"a": NaN}', "has NaN where"),
        ('{"a": 1' + 5000 * "0" + "}", "number of absurd length"),
        (100_000 * "[", "nested too deeply"),
        (b"\xff{}", "not UTF-8 at byte 0"),
        ("\ud800", "UTF-8"),
    ],
)
def test_text_that_is_no_manifest_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(MalformedManifest) as caught:
        Manifest.from_json(text)
    assert reason in str(caught.value)


@given(st.one_of(st.text(), st.binary()))
def test_random_text_raises_nothing_but_our_own_errors(text: str | bytes) -> None:
    with pytest.raises(ModelproofError):
        Manifest.from_json(text)
