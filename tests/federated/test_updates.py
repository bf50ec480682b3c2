"""An update's file has one form, and its signature holds for every byte of it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given

from ml.chain import signing
from ml.chain.records import Update
from ml.errors import ModelproofError
from ml.federated import tensor_file, updates
from ml.federated.aggregation import Weights

from .clients import DOMAIN, KEYS, MODEL, STRANGER, metadata_of, sent
from .rounds import SHAPES, model, models, weights_of


@given(weights=models())
def test_what_was_written_is_read_bit_for_bit(weights: Weights) -> None:
    metadata = metadata_of(0, correct=17)
    content = updates.load(updates.dump(metadata, weights), "it")
    assert content.metadata == metadata
    assert weights_of(content.weights) == weights_of(dict(sorted(weights.items())))


def test_equal_updates_give_equal_bytes() -> None:
    backwards = {name: model(3)[name] for name in reversed(SHAPES)}
    assert updates.dump(metadata_of(0), backwards) == updates.dump(metadata_of(0), model(3))


def test_client_signs_the_round_the_samples_and_the_digest_of_the_file() -> None:
    file, data = sent(1)
    assert file.update == Update(1, 5, 4, hashlib.sha256(data).digest(), 501)
    assert (file.model, file.domain, file.index, file.proof) == (MODEL, DOMAIN, 1, ())
    struct = signing.update_hash(MODEL, file.update)
    assert signing.recover(DOMAIN, struct, file.signature) == KEYS[1].address == file.client


def test_nobody_signs_for_another_client() -> None:
    metadata = metadata_of(1)
    with pytest.raises(ModelproofError, match=f"{STRANGER.address} cannot sign it"):
        updates.sign(STRANGER, DOMAIN, 1, metadata, updates.dump(metadata, model(1)))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_other_dtype_than_float32_is_not_written(dtype: type[np.generic]) -> None:
    weights = {"a": np.zeros(3, dtype)}
    with pytest.raises(
        ModelproofError, match=r"tensor 'a' of (float64|float16|int64), not float32"
    ):
        updates.dump(metadata_of(0), weights)  # type: ignore[arg-type]


TEXT = tensor_file.load(updates.dump(metadata_of(0), {}), "it").text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a safetensors file"),
        (updates.dump(metadata_of(0), model(0))[:-1], "not a safetensors file"),
        (tensor_file.dump({"a": np.zeros(3, np.int64)}, TEXT), "'a' of int64, not float32"),
        (tensor_file.dump({}, "{}"), "at model: "),
        (tensor_file.dump({}, TEXT.replace("update.v1", "update.v2")), "update.v1"),
        (tensor_file.dump({}, TEXT.replace(',"samples":500', "")), "samples"),
        (tensor_file.dump({}, TEXT.replace("500", "500.0")), "samples"),
        (tensor_file.dump({}, TEXT.replace("{", '{"a":1,')), "a: Unexpected"),
        (tensor_file.dump({}, TEXT + " "), "canonical"),
    ],
)
def test_other_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ModelproofError, match=reason):
        updates.load(data, "it")
