"""All checks, place by place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ml.chain import deployments
from ml.chain.fsck.batch_check import check_batches
from ml.chain.fsck.chain_check import check_deployments, check_log, read_models
from ml.chain.fsck.disagreement import Disagreement, Place
from ml.chain.fsck.index_check import check_index
from ml.chain.fsck.journal_check import check_journal
from ml.chain.fsck.store_check import NamedObject, check_stores
from ml.chain.history import History, HistoryRow
from ml.chain.index.database import IndexUnusable
from ml.chain.index.reading import indexed_registry
from ml.chain.outbox.chain import Chain
from ml.chain.outbox.journal import JournalError
from ml.chain.outbox.rpc import Rpc
from ml.chain.records import NO_DIGEST
from ml.chain.session import Session
from ml.storage.places import Places

Named = Callable[[str, HistoryRow], Iterable[NamedObject]]
"""Which objects a version names; it is given what to call the version, for people."""


def object_of(name: str, row: HistoryRow) -> Iterator[NamedObject]:
    """The object with a version's weights, if it names one."""
    stated = row.registered.details
    if stated.content != NO_DIGEST:
        sha256 = stated.object if stated.object != NO_DIGEST else None
        yield NamedObject(name, stated.content, sha256)


def check(
    session: Session,
    *,
    index: str | None = None,
    places: Places | None = None,
    named: Named = object_of,
) -> Iterator[Disagreement]:
    """Hold chain, index, journal, files of records and stores against each other.

    Args:
        session: the chain
        index: where the index is: see `open_index`
        places: the stores; None if none is looked at
        named: which objects a version names

    Raises:
        NoDeployment: there is no registry on this chain.
        StorageError: a store cannot say what it has.
        ModelproofError: the chain changes faster than it can be read.
    """
    dead = list(check_deployments(session))
    yield from dead
    unusable = {one.which for one in dead}
    histories: list[History] = []
    if "ModelRegistry" not in unusable:
        histories, wrong = read_models(session.registry())
        yield from wrong
    if deployments.standing("ProvenanceLog", session) is not None:
        yield from check_log(session.provenance_log())
    if not dead:
        yield from _check_index(session, index)
    yield from _check_journal(session)
    yield from check_batches(session)
    if places is not None:
        yield from check_stores(places, list(_objects(histories, named)))


def _check_index(session: Session, place: str | None) -> Sequence[Disagreement]:
    try:
        return check_index(indexed_registry(session, place).index)
    except IndexUnusable as error:
        return [Disagreement(Place.INDEX, "cannot be read", place or "index", str(error))]


def _check_journal(session: Session) -> Iterator[Disagreement]:
    chain = Chain(Rpc.of(session.provider), session.chain_id, session.genesis)
    try:
        entries = session.outbox.journal.entries()
    except JournalError as error:
        yield Disagreement(Place.JOURNAL, "cannot be read", "journal", str(error))
    else:
        yield from check_journal(entries, chain)


def _objects(histories: Iterable[History], named: Named) -> Iterator[NamedObject]:
    for whole in histories:
        for row in whole.rows:
            yield from named(f"v{row.version.number} of {whole.named.name}", row)
