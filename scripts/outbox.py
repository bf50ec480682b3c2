"""What was sent, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.outbox.entry import Entry
    from ml.chain.outbox.queue import SenderQueue
    from ml.chain.session import Session

_number = click.argument("number", type=click.IntRange(1), metavar="ENTRY")


class _ShowsByDefault(click.Group):
    """`ape run outbox` alone is `ape run outbox show`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        known = {*self.commands, "-h", "--help"}
        named = bool(arguments) and arguments[0] in known
        return super().parse_args(context, arguments if named else ["show", *arguments])


@command_group("ape run outbox", _ShowsByDefault)
def cli() -> None:
    """Look at what was sent and has not come to its end, send it again, take it back.

    Every transaction stands in a journal before it is sent (docs/sending.md).
    """


@command("ape run outbox --network sepolia", name="show", group=cli)
@click.option("--all", "everything", is_flag=True, help="Also what has come to its end.")
def show(ui: Ui, everything: bool) -> None:
    """The entries that are not final, refused or dropped."""
    from ml.chain.batching import left_in
    from ml.chain.outbox.entry import OPEN, WATCHED

    with ui.connect() as session:
        journal = session.outbox.journal
        waiting = journal.entries(states=OPEN)
        if waiting:
            session.outbox.keeper.look_for(waiting)
        found = journal.entries(states=() if everything else WATCHED)
        _show(ui, found)
        left = left_in(session)
        for path, kept in left:
            ui.note(f"Records that wait in {path}: {kept.waiting}; `retry` records them.")
        if not found and not left:
            ui.say("Nothing is under way.")
        ui.result([_as_data(entry) for entry in found])


@command("ape run outbox retry --account owner", name="retry", group=cli)
@click.option("--told", is_flag=True, help="Their commands, run again, are to do the same again.")
def retry(ui: Ui, told: bool) -> None:
    """Find out what became of all entries, send again what the chain does not have, and wait.

    A command that did not live to tell its result, run again, tells it and sends nothing. With
    --told it sends the same again, as on purpose.

    Records that an ended recorder left are recorded too; that takes its account.
    """
    from ml.chain.batching import finish
    from ml.chain.outbox.entry import OPEN

    with ui.connect() as session:
        journal = session.outbox.journal
        session.outbox.keeper.restore()
        waiting = journal.entries(states=OPEN)
        for sender in sorted({entry.call.sender for entry in waiting}):
            queue = _queue(ui, session, sender)
            queue.settle()
            queue.wait([one for one in journal.entries(sender, OPEN) if not one.is_held])
        done = [journal.entry(entry.id) for entry in waiting]
        if told:
            done = [
                _queue(ui, session, one.call.sender).tell(one) if one.has_succeeded else one
                for one in done
            ]
        _show(ui, done)
        recorded = finish(session, partial(_account, ui, session))
        for path, count in recorded:
            ui.note(f"Records of {path} that are in the log now: {count}.")
        if not done and not recorded:
            ui.say("Nothing is under way.")
        ui.result([_as_data(entry) for entry in done])


@command("ape run outbox drop 7 --cancel", name="drop", group=cli)
@_number
@click.option("--cancel", is_flag=True, help="Use its nonce for a transaction that does nothing.")
@click.option("--anyway", is_flag=True, help="Forget it, although it may still be mined.")
@click.option("--told", is_flag=True, help="Leave it: its command, run again, is to do it again.")
def drop(ui: Ui, number: int, cancel: bool, anyway: bool, told: bool) -> None:
    """Take ENTRY back, so that it is not sent again.

    One that may still be mined is dropped only with --cancel or --anyway. One that is in a block
    stays there; with --told its command, run again, is not taken for the one that sent it.
    """
    from ml.chain.outbox.entry import State
    from ml.errors import ModelproofError

    if cancel + anyway + told > 1:
        raise click.UsageError("--cancel, --anyway and --told exclude each other")
    with ui.connect() as session:
        entry = session.outbox.journal.entry(number)
        queue = _queue(ui, session, entry.call.sender)
        if told:
            done = queue.tell(entry)
            _show(ui, [done])
            ui.result(_as_data(done))
            return
        dropped = queue.cancel(entry) if cancel else queue.drop(entry, anyway=anyway)
        _show(ui, [dropped])
        ui.result(_as_data(dropped))
        if dropped.state is not State.DROPPED:
            raise ModelproofError(
                f"entry {number} was quicker: it is {dropped.state}, in transaction"
                f" {dropped.inclusion.transaction if dropped.inclusion else '-'}."
            )


def _queue(ui: Ui, session: Session, sender: str) -> SenderQueue:
    """The queue of a sender, whose key may be at hand."""
    account = session.account_at(sender, ui.account_name)
    if account is None:
        return session.outbox.keyless_queue(sender)
    return session.outbox.queue(account)


def _account(ui: Ui, session: Session, address: str) -> AccountAPI:
    """The account that is to record what its recorder left."""
    from ml.chain.session import NoAccount

    account = session.account_at(address, ui.account_name)
    if account is None:
        raise NoAccount(f"records wait that are {address}'s: name that account with --account.")
    return account


def _show(ui: Ui, entries: Sequence[Entry]) -> None:
    if entries:
        ui.table(
            ["entry", "state", "what", "sender", "nonce", "tries", "transaction", "block", "since"],
            [list(_row(ui, entry)) for entry in entries],
        )
    for entry in entries:
        if entry.failure:
            ui.say(f"Entry {entry.id}: {entry.failure}.")


def _row(ui: Ui, entry: Entry) -> Iterator[object]:
    found = entry.inclusion
    yield entry.id
    yield entry.state
    yield entry.call.label
    yield ui.short(entry.call.sender)
    yield entry.nonce
    yield len(entry.attempts)
    yield ui.short(found.transaction if found else entry.latest.hash)
    yield found.block if found else "-"
    yield entry.created


def _as_data(entry: Entry) -> dict[str, object]:
    found = entry.inclusion
    return {
        "entry": entry.id,
        "key": entry.key,
        "state": entry.state,
        "what": entry.call.label,
        "sender": entry.call.sender,
        "to": entry.call.to,
        "data": entry.call.data,
        "value": entry.call.value,
        "nonce": entry.nonce,
        "transactions": [
            {
                "hash": one.hash,
                "nonce": one.nonce,
                "gas": one.gas,
                "max_fee": one.max_fee,
                "priority_fee": one.priority_fee,
            }
            for one in entry.attempts
        ],
        "transaction": found.transaction if found else None,
        "block": found.block if found else None,
        "gas": found.gas_used if found else None,
        "failure": entry.failure,
        "reported": entry.reported,
        "created": entry.created,
        "changed": entry.changed,
    }
