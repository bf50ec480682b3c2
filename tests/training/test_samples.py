"""The root of a data set stands for every sample, its label and its place."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from ml.errors import ModelproofError
from ml.training.datasets import Dataset
from ml.training.samples import SampleTree

INPUTS = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
LABELS = np.array([0, 1, 2, 1, 0])
ROOT = SampleTree(INPUTS, LABELS).root


def test_leaf_is_as_documented() -> None:
    sample = np.array([[0.5, -1.25]], dtype=np.float32)
    values = bytes.fromhex("0000003f0000a0bf")  # IEEE 754, little-endian
    content = hashlib.sha256(values + (7).to_bytes(8, "little")).digest()
    leaf = keccak(keccak(encode(["uint256", "bytes32"], [0, content])))
    assert SampleTree(sample, np.array([7])).root == leaf


def test_changed_value_changes_the_root() -> None:
    changed = INPUTS.copy()
    changed[3, 1, 2] = np.nextafter(changed[3, 1, 2], np.float32(0))
    assert SampleTree(changed, LABELS).root != ROOT


def test_changed_label_changes_the_root() -> None:
    assert SampleTree(INPUTS, np.array([0, 1, 2, 1, 1])).root != ROOT


def test_changed_order_changes_the_root() -> None:
    assert SampleTree(INPUTS[::-1], LABELS[::-1]).root != ROOT


def test_missing_sample_changes_the_root() -> None:
    assert SampleTree(INPUTS[:-1], LABELS[:-1]).root != ROOT


def test_memory_layout_does_not_change_the_root() -> None:
    assert SampleTree(np.asfortranarray(INPUTS), LABELS.astype(np.int32)).root == ROOT


@given(st.integers(0, 4))
def test_each_sample_can_be_proved(index: int) -> None:
    assert SampleTree(INPUTS, LABELS).proof(index).verify(ROOT)


def test_proof_for_another_place_fails() -> None:
    proof = SampleTree(INPUTS, LABELS).proof(2)
    assert not replace(proof, index=3).verify(ROOT)


def test_proof_for_another_sample_fails() -> None:
    proof = SampleTree(INPUTS, LABELS).proof(2)
    assert not replace(proof, content=bytes(32)).verify(ROOT)


@pytest.mark.parametrize("index", [-1, 5])
def test_sample_that_is_not_there_has_no_proof(index: int) -> None:
    with pytest.raises(ModelproofError, match=f"no sample {index}: this data set has 0 to 4"):
        SampleTree(INPUTS, LABELS).proof(index)


def test_tree_of_ten_thousand_images_takes_well_under_a_second(mnist: Dataset) -> None:
    start = time.process_time()
    SampleTree(mnist.test_inputs, mnist.test_labels)
    assert time.process_time() - start < 0.5
