"""The folder of a prepared data set: written whole, and each file checked before it is used."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ml import files
from ml.errors import ModelproofError, NotVerified
from ml.training import canonical

from . import parts
from .configuration import (
    METADATA_PATH,
    ClientConfiguration,
    PreparationMetadata,
    ServiceConfiguration,
)
from .parts import Part

_Configuration = TypeVar("_Configuration", ClientConfiguration, ServiceConfiguration)


@dataclass(frozen=True, eq=False)
class ClientData:
    """What a client trains on."""

    configuration: ClientConfiguration
    part: Part


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files of a prepared data set, or none: the folder appears when it is whole.

    Args:
        folder: that is not there yet, or is empty.
        contents: by their paths in it: see `preparation.files_of`.

    Raises:
        ModelproofError: the folder is in use, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelproofError(
            f"{folder} is there already, and nothing in it is overwritten: name another folder, or"
            " remove it"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            for path, data in contents.items():
                files.write_bytes(made / path, data)
            made.chmod(0o755)
            made.replace(folder)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        files.sync_folder(folder.parent)
    except OSError as error:
        raise ModelproofError(
            f"{folder} cannot be written ({error.strerror or error}); name another folder"
        ) from None


def read_client(path: Path) -> ClientData:
    """Read a client's configuration and the samples that it names; no other file is opened.

    Args:
        path: of the configuration, in the folder ``config`` of what was prepared.

    Raises:
        NotVerified: the samples are not those that the configuration names.
        ModelproofError: a file is missing, cannot be read, or is malformed.
    """
    configuration = _read_configuration(path, ClientConfiguration)
    part = _read_part(
        path,
        configuration.dataset_path,
        configuration.dataset_hash,
        (configuration.dataset_size, configuration.dataset_root),
    )
    if part.distribution != configuration.classes_distribution:
        raise NotVerified(f"{path} states other numbers of samples per class than its data has")
    return ClientData(configuration, part)


def read_service(path: Path) -> ServiceConfiguration:
    """Read the service's configuration, and no data.

    Raises:
        ModelproofError: it is missing, cannot be read, or is malformed.
    """
    return _read_configuration(path, ServiceConfiguration)


def read_validation(path: Path) -> Part:
    """Read the validation part that the service's configuration names; errors as `read_client`."""
    configuration = read_service(path)
    return _read_part(
        path,
        configuration.test_dataset_path,
        configuration.test_dataset_hash,
        (configuration.test_dataset_size, configuration.test_dataset_root),
    )


def read_holdout(path: Path) -> Part:
    """Read the holdout that the service's configuration names; errors as `read_client`."""
    configuration = read_service(path)
    return _read_part(
        path,
        configuration.holdout_path,
        configuration.holdout_hash,
        (configuration.holdout_size, configuration.holdout_root),
    )


def read_metadata(folder: Path) -> PreparationMetadata:
    """Read what is known of all that was prepared in a folder.

    Raises:
        ModelproofError: it is missing, cannot be read, or is malformed.
    """
    path = folder / METADATA_PATH
    return canonical.load(PreparationMetadata, _read(path), str(path))


def check_files(folder: Path, paths: Collection[str] | None = None) -> PreparationMetadata:
    """Check files of a prepared data set against the hashes in its metadata.

    Args:
        folder: of the data set
        paths: of the files in it; None for all that there are

    Raises:
        NotVerified: a file is another.
        ModelproofError: a file is missing or cannot be read, or the metadata does not name it.
    """
    metadata = read_metadata(folder)
    for path in metadata.hashes if paths is None else paths:
        if path not in metadata.hashes:
            raise ModelproofError(f"the metadata in {folder} does not name {path}")
        _read_checked(folder / path, metadata.hashes[path])
    return metadata


def _read_configuration(path: Path, kind: type[_Configuration]) -> _Configuration:
    return canonical.load(kind, _read(path), str(path))


def _read_part(path: Path, below: str, digest: bytes, stated: tuple[int, bytes]) -> Part:
    """Read a part: its file's hash first, before anything of it is looked at.

    Args:
        path: of the configuration that names it.
        below: its path in the prepared folder.
        digest: the SHA-256 that it must have.
        stated: the number of samples and the root that it must have.
    """
    file = path.absolute().parent.parent / below
    part = parts.load(_read_checked(file, digest), str(file))
    if (len(part), part.root) != stated:
        raise NotVerified(f"{path} states another number of samples, or another root, than {file}")
    return part


def _read_checked(path: Path, digest: bytes) -> bytes:
    data = _read(path)
    found = hashlib.sha256(data).digest()
    if found != digest:
        raise NotVerified(
            f"{path} is not the file that was prepared: its SHA-256 is {found.hex()}, not"
            f" {digest.hex()}; get it again, or prepare the data set again"
        )
    return data


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelproofError(
            f"{os.fspath(path)} cannot be read ({error.strerror}); `ape run prepare` writes it"
        ) from None
