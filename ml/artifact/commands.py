"""What the commands of ``python -m ml.artifact`` do: options in, an answer out, nothing printed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from ml.errors import NotVerified

from .digests import DigestAlgorithm
from .entries import TensorEntry
from .errors import ArtifactError, FileChanged, MalformedFile, UnsafePickle, quoted, quoted_path
from .file_reader import FileReader
from .manifest import Manifest
from .model import Model, open_model
from .model_file import check_weights
from .progress_bar import ProgressBar
from .sharded import is_index

if TYPE_CHECKING:
    from argparse import Namespace

_MAX_JSON_BYTES: Final = 1 << 30
_HEX_DIGITS: Final = "0123456789abcdefABCDEF"


class Answer(NamedTuple):
    """What a command found out."""

    data: object
    """For machines."""
    text: str
    """For people: whole lines."""
    exit_code: int = 0


def identify(options: Namespace) -> Answer:
    """Say what a model is."""
    with _open(options) as model:
        manifest = _digested(model, _algorithm(options))
        bad = _non_finite(model) if options.non_finite else None
    layout = model.layout
    data = {
        "weights": _hex(manifest.weights),
        "format": layout.format,
        "tensors": manifest.tensor_count,
        "bytes": manifest.total_bytes,
        "tree_root": _hex(manifest.tree_root),
        "digest_algorithm": manifest.digest_algorithm.name,
        "files": len(manifest.files),
        "files_root": _hex(manifest.files_root),
        "ignored": list(manifest.ignored),
    }
    lines = [
        ("weights", data["weights"]),
        ("format", layout.format),
        ("tensors", f"{manifest.tensor_count:,} of {manifest.total_bytes:,} bytes in all"),
        ("digests", manifest.digest_algorithm.name),
        ("files", f"{len(manifest.files):,}"),
    ]
    if manifest.ignored:
        lines.append(("ignored", ", ".join(map(quoted, manifest.ignored))))
    if bad is not None:
        data["non_finite"] = bad
        lines.append(("NaN or infinite", ", ".join(map(quoted, bad)) or "none"))
    width = max(len(name) for name, _ in lines)
    return Answer(data, "".join(f"{name:<{width}}  {value}\n" for name, value in lines))


def manifest(options: Namespace) -> Answer:
    """Write a model's manifest."""
    with _open(options) as model:
        made = _digested(model, _algorithm(options))
    return _written(made.to_json(), made.weights, options.output)


def _non_finite(model: Model) -> list[str]:
    from .non_finite import find_non_finite

    return find_non_finite(model)


def verify(options: Namespace) -> Answer:
    """Tell whether a model is the expected one, given by its manifest or its identity."""
    weights, expected = _expected(options)
    algorithm = expected.digest_algorithm if expected is not None else _algorithm(options)
    try:
        with _open(options) as model:
            actual = _digested(model, algorithm)
    except (MalformedFile, FileChanged, UnsafePickle) as error:
        raise NotVerified(str(error), data={"verified": False}) from error
    try:
        check_weights(options.model, actual, weights, expected)
    except NotVerified as error:
        data = {"verified": False, "weights": _hex(actual.weights), "expected": _hex(weights)}
        if expected is not None:
            data["differences"] = _differences(expected, actual)
        raise NotVerified(f"{error}{_hint(expected, actual)}", data=data) from None
    contents = f"tensors: {actual.tensor_count:,}, files: {len(actual.files):,}"
    return Answer(
        {"verified": True, "weights": _hex(weights)},
        f"Verified: {quoted_path(options.model)} is {_hex(weights)} ({contents}).\n",
    )


def compare(options: Namespace) -> Answer:
    """List in what a model differs from another; each may be given by its manifest."""
    paths = (options.model, options.other)
    known = [_read_manifest(path) if _is_manifest(path) else None for path in paths]
    stated = [manifest.digest_algorithm for manifest in known if manifest is not None]
    algorithm = stated[0] if stated else _algorithm(options)
    expected, actual = (
        manifest or _digested_at(path, options, algorithm)
        for path, manifest in zip(paths, known, strict=True)
    )
    differences = _differences(expected, actual)
    data = {
        "equal": not differences,
        "weights": [_hex(expected.weights), _hex(actual.weights)],
        "differences": differences,
    }
    lines = [f"{difference['text']}\n" for difference in differences]
    return Answer(data, "".join(lines) or f"Both are {_hex(actual.weights)}.\n", int(bool(lines)))


def prove(options: Namespace) -> Answer:
    """Write a proof that tensors are part of a model, which may be given by its manifest."""
    if _is_manifest(options.model):
        manifest = _read_manifest(options.model)
    else:
        manifest = _digested_at(options.model, options, _algorithm(options))
    return _written(manifest.proof_of(options.tensor).to_json(), manifest.weights, options.output)


def check(options: Namespace) -> Answer:
    """Tell whether a proof holds."""
    from .proofs import TensorsProof

    proof = TensorsProof.from_json(_read_json(options.proof))
    stated = proof.identity.weights
    weights = stated if options.weights is None else _identity(options.weights)
    names = [tensor.name for tensor in proof.tensors]
    if not proof.verify(weights):
        raise NotVerified(
            f"{quoted_path(options.proof)} does not prove that its tensors are part of"
            f" {_hex(weights)}",
            data={"verified": False, "weights": _hex(weights), "tensors": names},
        )
    lines = [
        f"tensor {quoted(tensor.name)} ({tensor.dtype} {list(tensor.shape)}, {_hex(tensor.digest)})"
        for tensor in proof.tensors
    ]
    lines.append(f"Verified: part of {_hex(weights)}.")
    if options.weights is None:
        lines.append("Whether that is the model you mean is for you to compare (--weights).")
    data = {"verified": True, "weights": _hex(weights), "tensors": names}
    return Answer(data, "".join(f"{line}\n" for line in lines))


def pack(options: Namespace) -> Answer:
    """Write the archive of a folder, which has the identity of the folder."""
    from pathlib import Path

    from . import folder_archive

    folder_archive.pack(Path(options.folder), Path(options.output))
    with open_model(options.output) as model:
        weights = _digested(model, DigestAlgorithm.BLAKE3).weights
    return _said_written(options.output, weights)


def sign_bundle(options: Namespace) -> Answer:
    """Sign the files of a model as OpenSSF Model Signing does."""
    from .model_signing import commands  # which loads OpenSSL

    return commands.sign(options)


def verify_bundle(options: Namespace) -> Answer:
    """Tell whether the files of a model are those that a Model Signing bundle is about."""
    from .model_signing import commands

    return commands.verify(options)


def _open(options: Namespace, path: str | None = None) -> Model:
    return open_model(
        path or options.model, key=options.key, tensors=options.tensors, ignore=options.ignore
    )


def _algorithm(options: Namespace) -> DigestAlgorithm:
    return DigestAlgorithm.SHA256 if options.sha256 else DigestAlgorithm.BLAKE3


def _digested(model: Model, algorithm: DigestAlgorithm) -> Manifest:
    with ProgressBar() as progress:
        return model.manifest(algorithm, progress)


def _digested_at(path: str, options: Namespace, algorithm: DigestAlgorithm) -> Manifest:
    with _open(options, path) as model:
        return _digested(model, algorithm)


def _is_manifest(path: str) -> bool:
    return path.lower().endswith(".json") and not is_index(path)


def _read_manifest(path: str) -> Manifest:
    return Manifest.from_json(_read_json(path))


def _read_json(path: str) -> bytes:
    with FileReader(path) as reader:
        if reader.size > _MAX_JSON_BYTES:
            raise ArtifactError(f"{quoted_path(path)} is larger than any manifest or proof")
        return reader.read(0, reader.size)


def _expected(options: Namespace) -> tuple[bytes, Manifest | None]:
    """The identity that is expected, and the manifest that has it, if there is one at hand."""
    expected, weights = None, b""
    if options.expected.startswith("0x"):
        weights = _identity(options.expected)
    else:
        expected = _read_manifest(options.expected)
        weights = expected.weights
    if options.weights is not None and weights != _identity(options.weights):
        what = f"the manifest {quoted_path(options.expected)}" if expected else "what is expected"
        raise NotVerified(
            f"{what} is that of {_hex(weights)}, not of {options.weights}",
            data={"verified": False},
        )
    return weights, expected


def _identity(text: str) -> bytes:
    digits = text.removeprefix("0x")
    if len(digits) != 64 or not set(digits) <= set(_HEX_DIGITS):
        raise ArtifactError(f"{quoted(text)} is no identity, which is 0x and 64 hex digits")
    return bytes.fromhex(digits)


def _hint(expected: Manifest | None, actual: Manifest) -> str:
    """What may explain a difference: rules are not taken from a manifest that anybody can write."""
    if expected is None or not actual.ignored:
        return ""
    rules = sorted(set(expected.ignored) - set(actual.ignored))
    if not rules:
        return ""
    named = ", ".join(map(quoted, rules))
    return f"; files were left out of the expected one: to do that here too, --ignore {named}"


def _differences(expected: Manifest, actual: Manifest) -> list[dict[str, str]]:
    from .differences import compare as differences_between

    return [
        {
            "kind": difference.kind.value,
            "what": "tensor" if isinstance(difference.entry, TensorEntry) else "file",
            "name": difference.name,
            "text": str(difference),
        }
        for difference in differences_between(expected, actual)
    ]


def _written(text: str, weights: bytes, output: str | None) -> Answer:
    """Text that goes to a file, or is the answer itself, which is JSON already."""
    if output is None:
        return Answer(json.loads(text), text)
    from pathlib import Path

    from ml import files

    files.write_text(Path(output), text)
    return _said_written(output, weights)


def _said_written(output: str, weights: bytes) -> Answer:
    data = {"weights": _hex(weights), "output": output}
    return Answer(data, f"Written to {quoted_path(output)}: {_hex(weights)}.\n")


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"
