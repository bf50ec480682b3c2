"""Classifiers by scikit-learn: a standardising logistic regression, saved with joblib.

A joblib file is a pickle, and a pickle can run code. So its bytes are verified before they are
unpickled, and even then only what such a model consists of is looked up: a verified file is the one
that was registered, which does not say that whoever registered it means well.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from typing import Any, Final

import joblib
import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ml.artifact import DigestAlgorithm, FileEntry, Manifest
from ml.artifact.entries import OPAQUE_PATH
from ml.errors import ModelproofError

from .architectures import Architecture
from .datasets import Dataset
from .hyperparameters import LbfgsHyperparameters

SUFFIX: Final = ".joblib"
_NUMPY_SCALAR: Final[Any] = np.int64(0).__reduce__()[0]
"""What pickles of numpy's scalars are rebuilt by; numpy has no public name for it."""


class SklearnClassifier:
    """A fitted pipeline with the joblib bytes that it was saved as or loaded from."""

    suffix: Final = SUFFIX

    def __init__(self, pipeline: Pipeline, architecture: Architecture, data: bytes) -> None:
        self.pipeline = pipeline
        self.architecture: Final = architecture
        self._data = data

    def log_probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return log-probabilities (n, classes), computed by one thread: see ``Classifier``."""
        with threadpool_limits(1):
            probabilities = self.pipeline.predict_proba(_flat(inputs))
        # A probability that underflowed to zero would make the loss infinite.
        scores: NDArray[np.float64] = np.log(
            np.maximum(probabilities, np.finfo(probabilities.dtype).tiny)
        )
        return scores

    def serialize(self) -> bytes:
        """Return the joblib file."""
        return self._data

    def manifest(self) -> Manifest:
        """Return the identity of the file as a whole, by its SHA-256."""
        digest = hashlib.sha256(self._data).digest()
        entry = FileEntry(OPAQUE_PATH, len(self._data), digest)
        return Manifest((), (entry,), DigestAlgorithm.SHA256)


def train_sklearn(
    architecture: Architecture,
    hyperparameters: LbfgsHyperparameters,
    dataset: Dataset,
    parent: SklearnClassifier | None = None,
    threads: int = 1,
) -> SklearnClassifier:
    """Fit a logistic regression from zero, or from the coefficients of ``parent``.

    It draws no random numbers. Stopping before convergence is no fault here.

    Raises:
        ModelproofError: the training part lacks a class.
    """
    if len(np.unique(dataset.train_labels)) != architecture.classes:
        raise ModelproofError(
            f"the training part of {dataset.name!r} does not have samples of all"
            f" {architecture.classes} classes, which scikit-learn needs"
        )
    logistic = LogisticRegression(
        C=hyperparameters.inverse_regularization,
        max_iter=hyperparameters.epochs,
        warm_start=parent is not None,
    )
    if parent is not None:
        fitted = parent.pipeline[-1]
        logistic.coef_, logistic.intercept_ = fitted.coef_.copy(), fitted.intercept_.copy()
    pipeline = Pipeline([("scaler", StandardScaler()), ("logistic", logistic)])
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(_flat(dataset.train_inputs), dataset.train_labels)
    logistic.set_params(warm_start=False)
    stream = io.BytesIO()
    joblib.dump(pipeline, stream)
    return SklearnClassifier(pipeline, architecture, stream.getvalue())


def restore_sklearn(architecture: Architecture, data: bytes) -> SklearnClassifier:
    """Unpickle the bytes of a joblib file that were verified before.

    Raises:
        ModelproofError: they hold anything but such a pipeline, or one of another architecture.
    """
    try:
        pipeline = _AllowListUnpickler(io.BytesIO(data)).load()
    except ModelproofError:
        raise
    except Exception as error:  # noqa: BLE001 - a damaged pickle can raise anything
        raise ModelproofError(
            f"the joblib file cannot be read ({type(error).__name__}: {error}); save it again"
        ) from None
    fault = _fault(pipeline, architecture)
    if fault:
        raise ModelproofError(f"the joblib file holds {fault}; save a model trained here")
    return SklearnClassifier(pipeline, architecture, data)


def _fault(pipeline: object, architecture: Architecture) -> str | None:
    """Say what keeps an unpickled object from being a model of this architecture."""
    if not isinstance(pipeline, Pipeline) or [type(step) for _, step in pipeline.steps] != [
        StandardScaler,
        LogisticRegression,
    ]:
        return f"a {type(pipeline).__name__} and not a scaler with a logistic regression"
    features = int(np.prod(architecture.input_shape))
    coefficients = getattr(pipeline[-1], "coef_", np.empty(0))
    rows = architecture.classes if architecture.classes > 2 else 1
    if coefficients.shape != (rows, features):
        return f"coefficients of shape {coefficients.shape}, not {(rows, features)}"
    return None


def _flat(inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    return inputs.reshape(len(inputs), -1).astype(np.float64)


class _PlainArrayWrapper(NumpyArrayWrapper):  # type: ignore[misc]
    """joblib's stand-in for an array, which reads arrays of objects with the plain unpickler."""

    def read(self, unpickler: Any, ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:
            raise ModelproofError("the joblib file holds an array of objects, which is not loaded")
        return super().read(unpickler, ensure_native_byte_order)


class _AllowListUnpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's unpickler, which looks up nothing but what a pipeline of ours consists of."""

    _ALLOWED: Final[dict[tuple[str, str], Callable[..., Any]]] = {
        ("joblib.numpy_pickle", "NumpyArrayWrapper"): _PlainArrayWrapper,
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy.core.multiarray", "scalar"): _NUMPY_SCALAR,
        ("numpy._core.multiarray", "scalar"): _NUMPY_SCALAR,  # its place in numpy 2
        ("sklearn.linear_model._logistic", "LogisticRegression"): LogisticRegression,
        ("sklearn.pipeline", "Pipeline"): Pipeline,
        ("sklearn.preprocessing._data", "StandardScaler"): StandardScaler,
    }

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__("", stream, ensure_native_byte_order=True)

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what a name in the pickle stands for.

        Raises:
            ModelproofError: it is not part of a pipeline of ours.
        """
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise ModelproofError(
                f"the joblib file asks for {module}.{name}, which no model trained here needs;"
                " it was not loaded"
            ) from None
