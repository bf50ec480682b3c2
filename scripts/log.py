"""Record digests in the provenance log, and check what is on record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group

if TYPE_CHECKING:
    from ml.chain.log_proofs import InclusionProof, LogPlace
    from ml.chain.log_records import Batch, LogRecord, Recorded, RecordKind
    from ml.chain.provenance_log import ProvenanceLog
    from ml.chain.session import Session

KINDS = ("data", "pre-training", "epoch", "post-training", "client-update", "batch")
_path = click.Path(path_type=Path)
_submitter = click.option(
    "--submitter", metavar="ACCOUNT", help="Whose record: an address, an alias or test:N."
)


@command_group("ape run log append data/train.csv --kind data")
def cli() -> None:
    """Record digests in the provenance log, and check what is on record.

    WHAT is a file or a folder, or a digest: 0x and 64 hex digits. A file is known by its SHA-256, a
    folder by a Merkle root over its files (docs/log.md).
    """


@command(
    'ape run log append data/ --kind data --metadata \'{"set": "mnist"}\'', name="append", group=cli
)
@click.argument("what", nargs=-1, required=True)
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it stands for.")
@click.option("--count", type=click.IntRange(min=1), help="Of how many things.  [default: 1]")
@click.option("--metadata", default="", metavar="TEXT", help="Public for ever; 16 KiB at most.")
@click.option(
    "--batch",
    "folder",
    type=_path,
    metavar="FOLDER",
    help="All files in one record, their proofs here.",
)
def append(
    ui: Ui, what: tuple[str, ...], kind: str, count: int | None, metadata: str, folder: Path | None
) -> None:
    """Record each WHAT, as the account's; what it recorded before is told and not sent again.

    With --batch, every file that WHAT leads to becomes a statement of that kind, one record stands
    for all of them, and the proof of each is written below FOLDER.
    """
    from ml.chain.log_records import RecordKind
    from ml.chain.recording import record_once
    from ml.chain.records import Role

    if folder is not None and count is not None:
        raise click.UsageError("a batch counts its files: leave --count out")
    if kind == "batch" and (folder is not None or not all(text.startswith("0x") for text in what)):
        raise click.UsageError("--kind batch is for the root of a batch, 0x and 64 hex digits")
    meant = _kind(kind)
    named = [(text, meant, _digest(text), count or 1) for text in what if folder is None]
    with ui.connect() as session:
        log, place = _log(session)
        sender = ui.account(session, Role.TRAINER)
        if folder is not None:
            batch = _batch(place, str(sender.address), what, meant, folder)
            named = [(f"{len(batch)} files", RecordKind.BATCH, batch.root, len(batch))]
        entries = [
            (name, record_once(log, of, digest, sender=sender, count=number, metadata=metadata))
            for name, of, digest, number in named
        ]
        ui.table(
            ["index", "time", "digest", "", "gas"],
            [
                [
                    entry.record.index,
                    _time(entry.record),
                    ui.short(entry.digest),
                    f"{name}{'' if entry.receipt else ' (recorded before)'}",
                    entry.receipt.gas_used if entry.receipt else "-",
                ]
                for name, entry in entries
            ],
        )
        ui.result(
            [
                {
                    "what": name,
                    "digest": entry.digest,
                    "index": entry.record.index,
                    "time": entry.record.time,
                    "submitter": sender.address,
                    "count": entry.record.count,
                    "transaction": entry.receipt.transaction if entry.receipt else None,
                    "gas": entry.receipt.gas_used if entry.receipt else 0,
                }
                for name, entry in entries
            ]
        )


@command("ape run log show --submitter test:1", name="show", group=cli)
@click.argument("what", required=False)
@_submitter
def show(ui: Ui, what: str | None, submitter: str | None) -> None:
    """Show the records, all of them or those of WHAT: a file, a folder, a digest or an index.

    The whole log is read, and shown only if it is what the log's root commits to.
    """
    from ml.chain.log_verification import read_whole
    from ml.errors import ModelproofError

    with ui.connect() as session:
        whole = read_whole(*_log(session))
        by = session.address(submitter) if submitter else None
        found = [one for one in whole.records if by in (None, one.submitter)]
        if what is not None and what.isdecimal() and not Path(what).exists():
            found = [one for one in found if one.index == int(what)]
            if not found:
                raise ModelproofError(f"the log has no record {what}{f' of {by}' if by else ''}.")
        elif what is not None:
            digest = _digest(what)
            found = [one for one in found if one.statement.digest == digest]
        _show(ui, found)
        ui.say(f"Records in the log: {whole.head.size}; its root: {ui.short(whole.head.root)}.")
        ui.result([_as_data(one) for one in found])


@command("ape run log verify data/train.csv --submitter test:1", name="verify", group=cli)
@click.argument("what")
@_submitter
@click.option("--proof", "proof_file", type=_path, help="What `append --batch` or `prove` wrote.")
@click.option("--head", "head_file", type=_path, help="With an inclusion proof: no chain is asked.")
def verify(
    ui: Ui, what: str, submitter: str | None, proof_file: Path | None, head_file: Path | None
) -> None:
    """Check that WHAT is on record: by itself, or as the proof says. Ends with 1 if it is not.

    Anybody can record anything: say --submitter, or look whose record it is.
    """
    from ml.chain import log_proofs, log_verification
    from ml.chain.log_proofs import BatchProof
    from ml.errors import ModelproofError, NotVerified

    digest = _digest(what)
    proof = log_proofs.read_proof(proof_file) if proof_file else None
    if proof is not None and proof.statement.digest != digest:
        raise NotVerified(
            f"{what} is 0x{digest.hex()}, and the proof is about 0x{proof.statement.digest.hex()}."
        )
    if head_file is not None:
        if proof is None or isinstance(proof, BatchProof):
            raise ModelproofError(
                "--head takes the place of the chain for an inclusion proof: name one with --proof"
                " (`ape run log prove` makes it)."
            )
        if submitter is not None and not submitter.startswith("0x"):
            raise ModelproofError("without a chain, --submitter is an address.")
        log_verification.check_included(proof, log_proofs.read_head(head_file))
        _check_submitter(submitter, proof.submitter)
        _verified(ui, proof)
        return
    with ui.connect() as session:
        log, place = _log(session)
        by = session.address(submitter) if submitter else None
        if proof is not None:
            _check_submitter(by, proof.submitter)
        if isinstance(proof, BatchProof):
            found = [log_verification.check_batched(log, place, proof)]
            of, one = _shown_kind(proof.statement.kind), found[0]
            ui.say(f"{what}, as {of}, is one of the {one.statement.count} of record {one.index}:")
        elif proof is not None:
            log_verification.check_included_now(log, place, proof)
            _verified(ui, proof)
            return
        else:
            found = log_verification.records_of(log, digest, by)
        _show(ui, found)
        ui.say("Verified.", style="green")
        ui.result({"verified": True, "records": [_as_data(one) for one in found]})


@command("ape run log prove data/train.csv --output proof.json", name="prove", group=cli)
@click.argument("what")
@_submitter
@click.option("--at", "head_file", type=_path, help="For the log with this head: a file of `head`.")
@click.option("--output", type=_path, required=True, help="Where the proof goes.")
def prove(ui: Ui, what: str, submitter: str | None, head_file: Path | None, output: Path) -> None:
    """Write the proof that WHAT is on record, for whoever has the log's head and not the log."""
    from ml import files
    from ml.chain import log_proofs
    from ml.chain.log_verification import read_whole

    digest = _digest(what)
    kept = log_proofs.read_head(head_file) if head_file else None
    with ui.connect() as session:
        by = session.address(submitter) if submitter else None
        proof = read_whole(*_log(session)).prove(digest, by, kept)
        files.write_text(output, log_proofs.dump(proof))
        values = {
            "index": proof.index,
            "submitter": proof.submitter,
            "size": proof.head.size,
            "root": proof.head.root,
            "output": str(output),
        }
        ui.fields({**values, "root": ui.short(proof.head.root)})
        ui.result(values)


@command("ape run log head --since kept.json --output kept.json", name="head", group=cli)
@click.option("--since", type=_path, help="Check that the log goes on from this head.")
@click.option("--output", type=_path, help="Keep the head in this file.")
@click.option("--publish", is_flag=True, help="Have it written into an event (a transaction).")
def head(ui: Ui, since: Path | None, output: Path | None, publish: bool) -> None:
    """The log's size and root, after the whole log was checked against it.

    With --since, that the log begins with the one that a kept head is of, nothing changed, taken
    out or put in; ends with 1 if it does not.
    """
    from ml import files
    from ml.chain import log_proofs
    from ml.chain.log_proofs import KeptHead
    from ml.chain.log_verification import read_whole
    from ml.chain.records import Role

    kept = log_proofs.read_head(since) if since else None
    with ui.connect() as session:
        log, place = _log(session)
        whole = read_whole(log, place)
        if kept is not None:
            whole.extends(kept)
        receipt = log.checkpoint(sender=ui.account(session, Role.TRAINER)) if publish else None
        if output is not None:
            files.write_text(output, log_proofs.dump(KeptHead(place, whole.head)))
        values = {"log": place.address, "size": whole.head.size, "root": whole.head.root}
        ui.fields({**values, "root": ui.short(whole.head.root)})
        if kept is not None:
            ui.say(f"It begins with the log of size {kept.head.size} that was kept.", "green")
        ui.result(
            {
                **values,
                "since": kept.head.size if kept else None,
                "transaction": receipt.transaction if receipt else None,
            }
        )


def _log(session: Session) -> tuple[ProvenanceLog, LogPlace]:
    from ml.chain.log_proofs import LogPlace

    log = session.provenance_log()
    return log, LogPlace(session.chain_id, session.genesis, log.address)


def _kind(name: str) -> RecordKind:
    from ml.chain.log_records import RecordKind

    return RecordKind[name.upper().replace("-", "_")]


def _shown_kind(kind: RecordKind) -> str:
    return kind.name.lower().replace("_", "-")


def _digest(text: str) -> bytes:
    """The digest that a user means, or that of the file or folder."""
    from ml.artifact.contents import contents_of
    from ml.errors import ModelproofError

    if not text.startswith("0x"):
        return contents_of(Path(text)).digest
    try:
        digest = bytes.fromhex(text[2:])
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ModelproofError(
            f"{text} is not a digest: 0x and 64 hex digits (a file of that name: ./{text})."
        )
    return digest


def _batch(
    place: LogPlace, submitter: str, what: Sequence[str], kind: RecordKind, folder: Path
) -> Batch:
    """The batch of all files, their proofs written."""
    from ml.artifact.contents import file_entry, files_of
    from ml.chain.log_records import Statement
    from ml.chain.recording import write_batch

    statements = {
        name: Statement(kind, file_entry(file).sha256)
        for name, file in files_of([Path(text) for text in what])
    }
    return write_batch(place, submitter, statements, folder)


def _check_submitter(named: str | None, submitter: str) -> None:
    from ml.errors import NotVerified

    if named is not None and named.lower() != submitter.lower():
        raise NotVerified(f"the proof is about a record of {submitter}, not of {named}.")


def _verified(ui: Ui, proof: InclusionProof) -> None:
    """Say what an inclusion proof has shown."""
    from ml.chain.types import format_time

    values = {
        "index": proof.index,
        "time": proof.time,
        "submitter": proof.submitter,
        "kind": proof.statement.kind.name,
        "count": proof.statement.count,
        "size": proof.head.size,
    }
    ui.fields({**values, "time": format_time(proof.time)})
    ui.say("Verified.", style="green")
    ui.result({"verified": True, **values})


def _time(record: LogRecord | Recorded) -> str:
    from ml.chain.types import format_time

    return format_time(record.time)


def _show(ui: Ui, records: Sequence[Recorded]) -> None:
    ui.table(
        ["index", "time", "submitter", "kind", "count", "digest", "metadata"],
        [
            [
                one.index,
                _time(one),
                ui.short(one.submitter),
                _shown_kind(one.statement.kind),
                one.statement.count,
                ui.short(one.statement.digest),
                one.metadata or "-",
            ]
            for one in records
        ],
    )


def _as_data(one: Recorded) -> dict[str, object]:
    return {
        "index": one.index,
        "time": one.time,
        "submitter": one.submitter,
        "kind": one.statement.kind.name,
        "digest": one.statement.digest,
        "count": one.statement.count,
        "metadata": one.metadata,
        "block": one.block,
        "transaction": one.transaction,
    }
