"""Data sets are those that their names stand for, split the same way everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from ml.errors import ModelproofError, NotVerified
from ml.training import datasets
from ml.training.datasets import Dataset, load_dataset


def test_root_of_the_mnist_test_set_is_the_recorded_one(mnist: Dataset) -> None:
    assert mnist.test_digest.hex() == (
        "93df1998d6174126462671e731c40eb15815053b73d6ed87d5bf326417deb1aa"
    )


def test_iris_is_split_evenly_by_class(iris: Dataset) -> None:
    assert np.bincount(iris.train_labels).tolist() == [40, 40, 40]
    assert np.bincount(iris.test_labels).tolist() == [10, 10, 10]


def test_iris_keeps_its_centimetres(iris: Dataset) -> None:
    both = np.concatenate([iris.train_inputs, iris.test_inputs])
    assert sorted(map(tuple, both)) == sorted(map(tuple, load_iris().data.astype(np.float32)))


def test_digits_are_images_of_one_channel(digits: Dataset) -> None:
    assert (digits.train_inputs.shape, digits.test_inputs.shape) == (
        (1437, 1, 8, 8),
        (360, 1, 8, 8),
    )


def test_other_samples_under_a_known_name_are_refused() -> None:
    source = load_iris()
    source.data[0, 0] += 0.1
    with pytest.raises(NotVerified, match="'iris' of this scikit-learn is not the one recorded"):
        datasets._split("iris", source.data, source.target, ("a", "b", "c"))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelproofError, match=r"no data set 'cifar'.*iris, digits, mnist"):
        load_dataset("cifar")


def test_folder_for_a_data_set_that_has_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match="'digits' comes with scikit-learn"):
        load_dataset("digits", tmp_path)


def test_folder_without_mnist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=f"{tmp_path}/train-images-idx3-ubyte is missing"):
        load_dataset("mnist", tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train_labels": np.zeros(119, np.int64)}, "training part .* labels of shape"),
        ({"test_inputs": np.zeros((30, 4))}, "test part .* not float32"),
        ({"test_inputs": np.zeros((30, 5), np.float32)}, r"shape \(4,\) .* and \(5,\)"),
        ({"test_inputs": np.zeros((4, 30), np.float32).T}, "not contiguous"),
        ({"test_inputs": np.full((30, 4), np.nan, np.float32)}, "NaN or infinite"),
        ({"test_labels": np.full(30, 3)}, "labels from 3 to 3 for 3 classes"),
        ({"test_labels": np.full(30, -1)}, "labels from -1 to -1"),
        (
            {"test_inputs": np.zeros((0, 4), np.float32), "test_labels": np.zeros(0, np.int64)},
            "no samples",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    iris: Dataset, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelproofError, match=reason):
        replace(iris, **changes)
