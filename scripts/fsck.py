"""See whether chain, index, journal and stores agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from scripts._cli import Ui, command
from scripts._index import index_option
from scripts._stores import open_places, stores_option

if TYPE_CHECKING:
    from ml.chain.fsck.disagreement import Disagreement
    from ml.chain.fsck.store_check import NamedObject
    from ml.chain.history import History
    from ml.chain.session import Session


@command("ape run fsck --store objects")
@stores_option
@index_option
def cli(ui: Ui, places: tuple[str, ...], place: str | None) -> None:
    """Hold chain, index, journal and stores against each other, and report every disagreement.

    The code of recorded contracts, every model's history against its head, the log against its
    root, every row of the index, every entry of the journal, and with --store every object that a
    version names. Nothing is mended. Ends with 1 if anything disagrees.
    """
    from ml.chain.fsck.disagreement import Place
    from ml.errors import NotVerified

    with ui.connect() as session:
        found = list(_check(session, places, place))
        data: dict[str, object] = {
            "disagreements": [
                {"place": one.place, "what": one.what, "which": one.which, "why": one.why}
                for one in found
            ]
        }
        if found:
            ui.table(
                ["place", "what", "which", "why"],
                [[one.place, one.what, one.which, one.why] for one in found],
            )
            first = found[0]
            count = f"{len(found)} disagreements, first" if len(found) > 1 else "1 disagreement"
            raise NotVerified(
                f"{count}: {first.what} in the {first.place}, {first.which}.", data=data
            )
        without = [] if places else [Place.STORE]
        ui.say(f"{', '.join(p for p in Place if p not in without)}: no disagreement.", "green")
        if without:
            ui.note("No store was looked at: name them with --store.")
        ui.result(data)


def _check(session: Session, places: tuple[str, ...], index: str | None) -> Iterator[Disagreement]:
    """All that disagrees, place by place."""
    from ml.chain.fsck import chain_check
    from ml.chain.fsck.store_check import check_stores

    dead = list(chain_check.check_deployments(session))
    yield from dead
    unusable = {one.which for one in dead}
    histories: list[History] = []
    if "ModelRegistry" not in unusable:
        histories, wrong = chain_check.read_models(session.registry())
        yield from wrong
    if "ProvenanceLog" not in unusable and _has_log(session):
        yield from chain_check.check_log(session.provenance_log())
    if not dead:
        yield from _check_index(session, index)
    yield from _check_journal(session)
    if places:
        yield from check_stores(open_places(places), list(_named(histories)))


def _has_log(session: Session) -> bool:
    from ml.chain import deployments

    return deployments.standing("ProvenanceLog", session) is not None


def _check_index(session: Session, place: str | None) -> Iterable[Disagreement]:
    from ml.chain.fsck.disagreement import Disagreement, Place
    from ml.chain.fsck.index_check import check_index
    from ml.chain.index.database import IndexUnusable
    from ml.chain.index.reading import indexed_registry

    try:
        return check_index(indexed_registry(session, place).index)
    except IndexUnusable as error:
        return [Disagreement(Place.INDEX, "cannot be read", place or "index", str(error))]


def _check_journal(session: Session) -> Iterable[Disagreement]:
    from ml.chain.fsck.disagreement import Disagreement, Place
    from ml.chain.fsck.journal_check import check_journal
    from ml.chain.outbox.chain import Chain
    from ml.chain.outbox.journal import JournalError
    from ml.chain.outbox.rpc import Rpc

    chain = Chain(Rpc(session.provider.web3), session.chain_id, session.genesis)
    try:
        entries = session.outbox.journal.entries()
    except JournalError as error:
        return [Disagreement(Place.JOURNAL, "cannot be read", "journal", str(error))]
    return check_journal(entries, chain)


def _named(histories: Iterable[History]) -> Iterator[NamedObject]:
    """The objects that versions name: with their weights, and with their training metadata."""
    from ml.chain.fsck.store_check import NamedObject
    from ml.chain.records import NO_DIGEST
    from ml.training.stated import stated_metadata_object

    for whole in histories:
        for row in whole.rows:
            name, stated = f"v{row.version.number} of {whole.named.name}", row.registered.details
            if stated.content != NO_DIGEST:
                sha256 = stated.object if stated.object != NO_DIGEST else None
                yield NamedObject(name, stated.content, sha256)
            metadata = stated_metadata_object(row.registered)
            if metadata is not None:
                yield NamedObject(f"the training metadata of {name}", metadata.digest)
