"""What every script shares: the options, the way it prints, and the way it fails.

Light on purpose: Ape loads all scripts to run one, so what is heavy is imported where it is used.
The package `ml` itself is imported here, since Ape takes the project off the path once the scripts
are loaded.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.records import Role
    from ml.chain.session import Session

_SHOWN_DIGITS = 10
_WIDE = 1000
_INTERRUPTED = 130


def _wide_console() -> Console:
    """A terminal as wide as it is; into a file or a pipe, no line is broken."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=_WIDE)


@dataclass
class Ui:
    """One command's options, and how it talks: results on stdout, everything else on stderr."""

    network: str
    account_name: str | None
    as_json: bool
    full: bool
    verbose: bool
    out: Console = field(default_factory=_wide_console)
    err: Console = field(
        default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True)
    )

    @contextmanager
    def connect(self, *, lasting: bool = True) -> Iterator[Session]:
        """Connect to the network of ``--network``.

        ``lasting`` is for commands that need what earlier ones did; the others may use an Anvil
        that ends with them, and say so.
        """
        from ml.chain.outbox.journal import JournalError
        from ml.chain.session import ConnectionFailed, connect

        with connect(self.network) as session:
            if lasting and not session.is_lasting:
                raise ConnectionFailed(
                    "no development node is running, and an Anvil of this command's own would be"
                    " empty: start one with `make node`, or name another --network."
                )
            if not session.is_lasting:
                self.note(
                    "No node is running: using an Anvil that ends with this command"
                    " (`make node` starts one that lasts)."
                )
            try:
                session.restore()
            except JournalError as error:  # what only reads goes on; what sends fails for it again
                self.note(f"What was sent from here is not looked after: {error}")
            yield session

    def account(self, session: Session, role: Role) -> AccountAPI:
        """The account of ``--account``, or the development chain's one for this role."""
        return session.account(self.account_name, role)

    def validator(self, session: Session, name: str | None) -> AccountAPI | None:
        """The account to validate from: the one named, or a dev chain's; None if it is not at hand.

        An address may be named of an account that somebody else holds.
        """
        from ml.chain.records import Role

        theirs = name is not None and name.startswith("0x")
        if theirs or (name is None and not session.is_development):
            return None
        return session.account(name, Role.VALIDATOR)

    def note(self, text: str) -> None:
        """Say something that is not the result."""
        self.err.print(_visible(text, "dim"))

    def say(self, text: str, style: str = "") -> None:
        """Print a line of the result, unless it is wanted as JSON."""
        if not self.as_json:
            self.out.print(_visible(text, style))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table of the result, unless it is wanted as JSON."""
        if self.as_json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, no_wrap=True)
        for row in rows:
            table.add_row(*(_visible(str(cell)) for cell in row))
        self.out.print(table, crop=False)

    def fields(self, values: Mapping[str, object]) -> None:
        """Print one record of the result, a line a field, unless it is wanted as JSON."""
        if self.as_json:
            return
        width = max(map(len, values))
        for name, value in values.items():
            self.out.print(Text(f"{name:<{width}}  ", "bold"), _visible(str(value)), sep="")

    def result(self, data: object) -> None:
        """Print the result for machines, if it is wanted as JSON."""
        if self.as_json:
            # in ASCII, which no terminal and no odd byte in a name can get wrong
            self.out.print_json(json.dumps(data, default=_plain), ensure_ascii=True)

    def short(self, value: bytes | str) -> str:
        """A hash or an address as a person reads it; whole with ``--full``."""
        text = _plain(value) if isinstance(value, bytes) else value
        if self.full or len(text) <= _SHOWN_DIGITS + 1:
            return text
        return text[:_SHOWN_DIGITS] + "…"


def command(
    example: str, name: str | None = None, group: click.Group | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function of a `Ui` and its own parameters a command with the common options.

    ``example`` is shown in its help. What `ml` raises on purpose ends it with one sentence on
    stderr and the error's exit code.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @click.option(
            "--network",
            default="auto",
            show_default=True,
            metavar="NAME",
            help="auto, local, dev, sepolia, base-sepolia, or a network as Ape writes it.",
        )
        @click.option(
            "--account",
            "account_name",
            metavar="ALIAS",
            help="Account to act from: a keystore alias, or test:0 … test:9 on a dev chain."
            "  [default there: the role's own]",
        )
        @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
        @click.option("--full", is_flag=True, help="Print hashes and addresses whole.")
        @click.option("--verbose", is_flag=True, help="Log more, and show tracebacks.")
        @functools.wraps(function)
        def run(
            network: str,
            account_name: str | None,
            as_json: bool,
            full: bool,
            verbose: bool,
            **parameters: Any,
        ) -> None:
            ui = Ui(network, account_name, as_json, full, verbose)
            with failing_clearly(ui):
                function(ui, **parameters)

        make = group.command if group is not None else click.command
        return make(name, epilog=_example(example))(run)

    return decorate


def command_group(
    example: str, kind: type[click.Group] = click.Group
) -> Callable[[Callable[[], None]], click.Group]:
    """Make a function the group of a script's commands; ``example`` is shown in its help."""
    return click.group(cls=kind, epilog=_example(example))


def _example(example: str) -> str:
    """The end of a help text, its lines left as they are."""
    return f"\b\nExample:\n  {example}"


@contextmanager
def failing_clearly(ui: Ui) -> Iterator[None]:
    """End the command with one sentence and the right exit code where it cannot go on."""
    from ape.exceptions import ApeException
    from ape.logging import logger

    logger.set_level("INFO" if ui.verbose else "ERROR")
    try:
        yield
    except ModelproofError as error:
        _fail(ui, str(error), error.exit_code, error.data)
    except (click.ClickException, click.exceptions.Exit) as error:
        if isinstance(error, ApeException):
            _fail(ui, _first_line(error), 2)
        raise
    except (OSError, ApeException) as error:
        _fail(ui, _first_line(error), 2)
    except KeyboardInterrupt:
        _fail(ui, "interrupted.", _INTERRUPTED)
    except Exception as error:  # noqa: BLE001 (a user is not helped by a traceback unasked)
        what = f"{type(error).__name__}: {_first_line(error)}"
        _fail(ui, f"something unexpected happened ({what}): --verbose shows where.", 2)


def _fail(ui: Ui, sentence: str, exit_code: int, data: Mapping[str, object] | None = None) -> None:
    if ui.verbose:
        ui.err.print_exception()
    ui.result({"error": sentence, "exit_code": exit_code, **(data or {})})
    ui.err.print(Text("Error: ", "red"), _visible(sentence), sep="")
    sys.exit(exit_code)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _visible(text: str, style: str = "") -> Text:
    """Text on one line, as it is.

    Names and reasons come from a public chain: their control codes are shown and not obeyed, their
    markup is none, and no line break lets them pass for a line of ours.
    """
    shown = (c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return Text("".join(shown), style)


def _plain(value: object) -> str:
    """What JSON has no form for: digests as 0x and hex, the rest as text."""
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
