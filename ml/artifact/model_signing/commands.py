"""What ``sign-bundle`` and ``verify-bundle`` do: options in, an answer out, nothing printed."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from ml import files
from ml.artifact.commands import Answer
from ml.artifact.differences import summarize
from ml.artifact.entries import check_path
from ml.artifact.errors import ArtifactError, FileChanged, quoted, quoted_path
from ml.artifact.progress_bar import ProgressBar
from ml.errors import NotVerified

from .resources import GIT_PATHS, Serialization, by_file
from .signed_model import path_inside, sign_model, verify_model


def sign(options: Namespace) -> Answer:
    """Sign the files of a model."""
    model = Path(options.model)
    output = Path(options.output) if options.output is not None else None
    if options.shard_size is not None and options.shard_size < 1:
        raise ArtifactError("a shard has at least one byte")
    if options.shard_size is not None and options.digest == "blake3":
        raise ArtifactError(
            "the model_signing library digests whole files by BLAKE3: leave --shard-size out"
        )
    ignored = {*GIT_PATHS, *map(_rule, options.ignore)}
    if output is not None:
        ignored.update(path_inside(output, model))
    serialization = Serialization(
        options.digest, options.shard_size, options.follow_links, tuple(sorted(ignored))
    )
    with ProgressBar() as progress:
        text = sign_model(model, Path(options.key), serialization, progress)
    if output is None:
        return Answer(json.loads(text), text)
    files.write_text(output, text)
    return Answer({"output": options.output}, f"Written to {quoted_path(output)}.\n")


def verify(options: Namespace) -> Answer:
    """Tell whether the files of a model are those that were signed."""
    try:
        with ProgressBar() as progress:
            verdict = verify_model(
                Path(options.model), Path(options.bundle), Path(options.key), progress
            )
    except FileChanged as error:
        raise NotVerified(str(error), data={"verified": False}) from error
    signed = verdict.statement
    data: dict[str, object] = {
        "verified": not verdict.differences,
        "name": signed.name,
        "algorithm": signed.serialization.algorithm,
        "shard_bytes": signed.serialization.shard_bytes,
        "ignored": list(signed.serialization.ignored),
    }
    if verdict.differences:
        rows = [
            {"kind": one.kind.value, "what": "file", "name": one.path, "text": str(one)}
            for one in verdict.differences
        ]
        raise NotVerified(
            f"{quoted_path(options.model)} is not what was signed:"
            f" {summarize(verdict.differences)}; get the files again from whoever signed them",
            data={**data, "differences": rows},
        )
    data["files"] = len(by_file(signed.resources))
    text = (
        f"Verified: {quoted_path(options.model)} has the files that {quoted_path(options.key)}"
        f" signed (files: {data['files']:,}, digests: {signed.serialization.algorithm}).\n"
    )
    if signed.serialization.ignored:
        text += f"Not signed: {', '.join(map(quoted, signed.serialization.ignored))}.\n"
    return Answer(data, text)


def _rule(path: str) -> str:
    """A path in the model to be left out; a folder may end in a slash, as a shell completes it."""
    rule = path.rstrip("/")
    check_path(rule)
    return rule
