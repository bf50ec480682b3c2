"""What can be checked of a version of a federated training without its updates' files. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml.artifact import strict_json
from ml.artifact.strict_json import StrictJsonError
from ml.chain.events import Registered, Validated
from ml.chain.records import Signature, Update
from ml.chain.signed_files import UpdateFile
from ml.chain.types import Verdict
from ml.errors import NotVerified
from ml.training.round_metadata import RecordedUpdate, RoundMetadata

from . import update_tree
from .enrolments import Enrolled
from .run_configuration import RunConfiguration


def format_of(data: bytes) -> object:
    """What a version's metadata says that it is.

    Raises:
        NotVerified: it is no JSON.
    """
    try:
        document = strict_json.loads(data, fractions=True)
    except StrictJsonError as error:
        raise NotVerified(f"its metadata cannot be used: {error}") from None
    return document.get("format") if isinstance(document, dict) else None


def check_metadata(
    record: Registered, metadata: RoundMetadata, run: RunConfiguration, base_weights: bytes
) -> None:
    """Check that what the metadata states is what is on record, and what the run says.

    Raises:
        NotVerified: something is not.
    """
    stated = record.details
    for what, said, expected in (
        ("the weights", metadata.weights, record.weights),
        ("the model", metadata.model, record.model),
        ("the version", metadata.version, record.version),
        ("the parent", metadata.parent, stated.parent),
        ("the parent's weights", metadata.parent_weights, base_weights),
        ("the epoch", metadata.epoch, stated.epoch),
        ("the iteration", metadata.iteration, stated.iteration),
        ("the root over the updates", metadata.updates_root, stated.updates),
        ("the architecture", metadata.architecture, run.architecture),
        ("the classes", metadata.class_names, run.class_names),
        ("the data set", metadata.dataset, run.dataset_name),
        ("the rule", metadata.rule, run.rule.name),
    ):
        if said != expected:
            raise NotVerified(f"{what} in its metadata is {_shown(said)}, not {_shown(expected)}")


def check_training_accuracy(metadata: RoundMetadata, validated: Validated | None) -> None:
    """Check the training accuracy that a validator took from the trainer; 0 is unknown.

    Raises:
        NotVerified: it is not what the clients counted together.
    """
    if validated is None or validated.verdict is Verdict.REJECTED:
        return
    if validated.training_accuracy not in (0, metadata.training_accuracy_ppm):
        raise NotVerified(
            f"its validation states a training accuracy of {validated.training_accuracy} ppm, and"
            f" its clients counted {metadata.training_accuracy_ppm} ppm"
        )


def check_contributors(
    record: Registered,
    run: RunConfiguration,
    files: Sequence[UpdateFile],
    active: Mapping[int, Enrolled],
) -> None:
    """Check whose updates a version was made of: their root, and the clients on chain.

    Args:
        record: the version's registration
        run: its run
        files: what the clients signed, as the metadata has it
        active: the clients that could contribute when it was registered

    Raises:
        NotVerified: the root or the named contributors are others, a client was not active, is not
            the one that was enrolled, or there are too few.
    """
    root = update_tree.root_of(files)
    if root != record.details.updates:
        raise NotVerified(
            f"the root over its updates is 0x{root.hex()}, and 0x{record.details.updates.hex()}"
            " was registered"
        )
    if len(files) < run.min_updates:
        raise NotVerified(
            f"it was made of {len(files)} updates, and its run asks for {run.min_updates}"
        )
    if not run.is_enrolled:
        return
    for file in files:
        _check_enrolled(file, run, active.get(file.index))
    named, stated = update_tree.contributors(files), record.details.contributors
    if named != stated:
        raise NotVerified(
            f"its updates are those of {_clients(named)}, and {_clients(stated)} were named as its"
            " contributors"
        )


def _check_enrolled(file: UpdateFile, run: RunConfiguration, enrolled: Enrolled | None) -> None:
    if enrolled is None:
        raise NotVerified(
            f"client {file.index}, whose update is in it, was not active when it was registered"
        )
    known = run.by_index.get(file.index)
    if known is None or (known.address, known.dataset_root) != (enrolled.address, enrolled.dataset):
        raise NotVerified(
            f"client {file.index} of its run has another address, or other samples, than the one"
            " that was enrolled"
        )


def file_of(one: RecordedUpdate, metadata: RoundMetadata, run: RunConfiguration) -> UpdateFile:
    """What a client signed, as the metadata has it."""
    update = Update(metadata.epoch, metadata.iteration, metadata.parent, one.digest, one.samples)
    signature = Signature(one.signature_r, one.signature_vs)
    return UpdateFile(
        run.domain, run.model, update, one.client_id, one.address, signature, proof=()
    )


def _clients(bitmap: int) -> str:
    indices = [str(index) for index in range(bitmap.bit_length()) if bitmap >> index & 1]
    return f"clients {', '.join(indices)}" if indices else "no clients"


def _shown(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
