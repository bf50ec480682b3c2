"""Every aggregate of a model again, bit for bit, from the chain and the stores alone.

The chain says of each version its weights, its parent, the root over the updates that it was made
of, whose they were, and the digest of its metadata; that names the updates and the run's
configuration. All of it is checked against the chain before it is used, each update as it was when
it was admitted, and what the run's rule makes of them must have the identity on record. What cannot
be checked afterwards is when an update came, and whether others came that were left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ml.chain import events
from ml.chain.events import Registered, Validated
from ml.chain.records import NO_DIGEST, Model
from ml.chain.registry import ModelRegistry
from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain
from ml.chain.verification import check_registration, read_checked
from ml.errors import ModelproofError, NotVerified
from ml.storage.cid import Cid
from ml.storage.errors import InvalidCid, StorageError, UnknownObject
from ml.storage.recorded import RecordedObject, sidecar_of
from ml.storage.retention import Retention
from ml.training.round_metadata import RoundMetadata
from ml.training.stated import stated_metadata_digest, stated_metadata_object

from . import admission, updates, version_files
from . import replay_checks as checks
from .admission import Participant, Round
from .aggregation import NO_STATE, ClientUpdate, ServerState, Weights, aggregate
from .enrolments import Enrolled, active_at
from .objects import Objects
from .run_configuration import RunConfiguration

Progress = Callable[[float, int], None]
"""Called with versions done, the part of one that is under way counted, and versions in all."""

_MAX_METADATA_BYTES: Final = 16 << 20
_MAX_RUN_BYTES: Final = 256 << 20
"""A million clients fit."""
_KEPT: Final = 3
"""Versions in memory, as those that the next one may be made from."""
_FORMAT: Final = "modelproof.round.v1"


class Outcome(StrEnum):
    """What became of making a version again."""

    REPLAYED = "replayed"
    """The same, bit for bit."""
    DIFFERS = "differs"
    """Something is not as it was said to be."""
    MISSING = "missing"
    """Something that it takes is in none of the stores, and no rule gave it up."""
    DROPPED = "dropped"
    """Its updates were given up by the rule for how long they are kept."""
    ELSEWHERE = "made elsewhere"
    """It was not made by a federated training."""

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to object to."""
        return self not in (Outcome.DIFFERS, Outcome.MISSING)


@dataclass(frozen=True, slots=True)
class ReplayedVersion:
    """A version, and what became of making it again."""

    version: int
    outcome: Outcome
    reason: str = ""
    """In a sentence, unless it is the same."""
    clients: int = 0
    """Whose updates it was made of."""


class _Elsewhere(Exception):
    """The version was not made by a federated training; the text says by what."""


class _Gone(ModelproofError):
    """Something that a version takes is in none of the stores."""


class _UpdateGone(_Gone):
    """An update is."""


def replay(
    registry: ModelRegistry,
    model: bytes,
    objects: Objects,
    *,
    retention: Retention,
    run: RunConfiguration | None = None,
    progress: Progress = lambda _done, _total: None,
) -> list[ReplayedVersion]:
    """Make every version of a model again, in the order in which they were registered.

    Args:
        registry: where the model is
        model: its id
        objects: the stores, with the keys that open the versions and the updates
        retention: the rule by which updates were given up; what it keeps has to be there
        run: the configuration that is taken where the stores do not have it, if it is the one on
            record
        progress: told how far it is

    Raises:
        NotVerified: what the node says happened is not what the chain's state commits to.
        StorageError: a store does not answer, or no key opens an object.
        ModelproofError: the model changes faster than it can be read.
    """
    known, told = read_checked(registry, model)
    records = events.registered(told)
    on_record = {version.number: version for version in registry.versions(model)}
    for record in records:
        check_registration(known, record, on_record.get(record.version))
    validations = {one.version: one for one in events.validated(told)}
    domain = Domain(registry.chain_id, registry.address)
    line = _Line(known, domain, objects, {r.version: r for r in records}, active_at(told), run)
    found = []
    for done, record in enumerate(records):

        def part(share: float, done: int = done) -> None:
            progress(done + share, len(records))

        part(0.0)
        found.append(line.replayed(record, validations.get(record.version), retention, part))
    progress(len(records), len(records))
    return found


@dataclass(frozen=True, eq=False, slots=True)
class _Base:
    """A version that others were made from."""

    weights: bytes
    tensors: Weights
    state: ServerState


class _Line:
    """The versions of one model, as the chain has them, and those that were made again."""

    def __init__(
        self,
        model: Model,
        domain: Domain,
        objects: Objects,
        records: Mapping[int, Registered],
        active: Mapping[int, Mapping[int, Enrolled]],
        run: RunConfiguration | None,
    ) -> None:
        self._model: Final = model
        self._domain: Final = domain
        self._objects: Final = objects
        self._records: Final = records
        self._active: Final = active
        self._runs: Final = {run.digest: run} if run else {}
        self._made: Final[dict[int, _Base]] = {}
        self._digests: Final[set[bytes]] = set()

    def replayed(
        self,
        record: Registered,
        validated: Validated | None,
        retention: Retention,
        progress: Callable[[float], None],
    ) -> ReplayedVersion:
        """Make a version again, and say what became of it; raises `StorageError` as `replay`."""
        version, clients = record.version, 0
        try:
            metadata = self._metadata(record)
            clients = len(metadata.updates)
            self._again(record, metadata, validated, progress)
        except _Elsewhere as error:
            return ReplayedVersion(version, Outcome.ELSEWHERE, str(error))
        except _Gone as error:
            is_kept = retention.keeps(version, self._model.state.latest)
            given_up = isinstance(error, _UpdateGone) and not is_kept
            outcome = Outcome.DROPPED if given_up else Outcome.MISSING
            return ReplayedVersion(version, outcome, str(error), clients)
        except InvalidCid as error:  # in the metadata, which is the trainer's
            return ReplayedVersion(version, Outcome.DIFFERS, str(error), clients)
        except StorageError:
            raise
        except ModelproofError as error:
            return ReplayedVersion(version, Outcome.DIFFERS, str(error), clients)
        return ReplayedVersion(version, Outcome.REPLAYED, "", clients)

    def _again(
        self,
        record: Registered,
        metadata: RoundMetadata,
        validated: Validated | None,
        progress: Callable[[float], None],
    ) -> None:
        run = self._run(metadata)
        base = self._base(record.details.parent, run)
        checks.check_metadata(record, metadata, run, base.weights)
        checks.check_training_accuracy(metadata, validated)
        files = [checks.file_of(one, metadata, run) for one in metadata.updates]
        checks.check_contributors(record, run, files, self._active[record.version])
        admitted = list(self._updates(metadata, run, base, files, progress))
        made = aggregate(run.rule, base.tensors, admitted, base.state)
        file = version_files.dump(made.weights, made.state, run.rule)
        if file.weights != record.weights:
            raise NotVerified(
                f"what {run.rule.name} makes of its {len(files)} updates is"
                f" 0x{file.weights.hex()}, and 0x{record.weights.hex()} was registered"
            )
        self._hold(record.version, _Base(file.weights, made.weights, made.state))

    # What a version names

    def _metadata(self, record: Registered) -> RoundMetadata:
        cid, digest = stated_metadata_object(record), stated_metadata_digest(record)
        if cid is None or digest is None:
            raise _Elsewhere("its registration names no metadata")
        data = self._get(cid, _MAX_METADATA_BYTES, "its metadata")
        if hashlib.sha256(data).digest() != digest:
            raise NotVerified(f"object {cid} is not its metadata: its SHA-256 is another")
        if (named := checks.format_of(data)) != _FORMAT:
            raise _Elsewhere(f"its metadata is of the format {named}")
        return RoundMetadata.from_json(data, "its metadata")

    def _run(self, metadata: RoundMetadata) -> RunConfiguration:
        """The run that a version names, checked against its digest and the model."""
        if metadata.run not in self._runs:
            cid = Cid.parse(metadata.run_cid)
            data = self._get(cid, _MAX_RUN_BYTES, "the configuration of its run")
            if hashlib.sha256(data).digest() != metadata.run:
                raise NotVerified(f"object {cid} is not its run's configuration")
            self._runs[metadata.run] = RunConfiguration.from_json(data, "its run's configuration")
        run = self._runs[metadata.run]
        found = (run.model, run.domain, run.test_set)
        if found != (self._model.id, self._domain, self._model.test_set):
            raise NotVerified("its run is of another model, or of another validation part")
        return run

    def _base(self, number: int, run: RunConfiguration) -> _Base:
        """The version that clients started from: made again, or from the store, identified."""
        if number == 0:
            first = version_files.first_weights(run)
            return _Base(version_files.weights_of(first), first, NO_STATE)
        if number in self._made:
            return self._made[number]
        record = self._records[number]
        stated, name = record.details, f"v{number}, which it was made from,"
        if stated.content == NO_DIGEST:
            raise _Gone(f"{name} was registered without an object")
        recorded = RecordedObject(stated.object, stated.content, f"v{number}")
        try:
            cid = sidecar_of(recorded, self._objects.places.sidecars).stored.cid
        except UnknownObject as error:
            raise _Gone(f"{name} is not in the stores: {error}") from None
        limit = version_files.size_limit(run.architecture, run.rule)
        data = self._get(cid, limit, name)
        loaded = version_files.load(data, record.weights, run.rule, run.architecture)
        base = _Base(record.weights, loaded.tensors, loaded.state)
        self._hold(number, base)
        return base

    def _hold(self, number: int, base: _Base) -> None:
        self._made.pop(number, None)
        self._made[number] = base
        while len(self._made) > _KEPT:
            del self._made[next(iter(self._made))]

    def _get(self, cid: Cid, limit: int, what: str, error: type[_Gone] = _Gone) -> bytes:
        try:
            return self._objects.get(cid, limit)
        except UnknownObject:
            raise error(f"{what} ({cid}) is in none of the stores") from None
        except NotVerified as damaged:
            raise NotVerified(f"{what} cannot be used: {damaged}") from None

    # Updates

    def _updates(
        self,
        metadata: RoundMetadata,
        run: RunConfiguration,
        base: _Base,
        files: Sequence[UpdateFile],
        progress: Callable[[float], None],
    ) -> Iterable[ClientUpdate]:
        """Each update, got from the store and admitted as it was when it came."""
        participants = {
            file.index: Participant(
                run.by_index[file.index].address, run.by_index[file.index].samples
            )
            for file in files
            if file.index in run.by_index
        }
        ongoing = Round(
            domain=run.domain,
            model=run.model,
            epoch=metadata.epoch,
            iteration=metadata.iteration,
            base=metadata.parent,
            base_weights=base.weights,
            weights=base.tensors,
            clients=participants,
        )
        limit = admission.size_limit(base.tensors)
        earlier = frozenset(self._digests)
        for file in files:  # signatures, which can be checked of updates that are gone too
            admission.check_claim(ongoing, file, at=0, earlier=earlier)
        self._digests.update(file.update.digest for file in files)
        for done, (one, file) in enumerate(zip(metadata.updates, files, strict=True)):
            what = f"the update of client {file.index}"
            data = self._get(Cid.parse(one.cid), limit, what, _UpdateGone)
            yield admission.admit(ongoing, file, data, at=0, earlier=earlier)
            stated = updates.load(data, what).metadata
            if stated.correct != one.correct:
                raise NotVerified(
                    f"{what} states {stated.correct} samples told apart rightly, and the metadata"
                    f" {one.correct}"
                )
            progress((done + 1) / len(files))
