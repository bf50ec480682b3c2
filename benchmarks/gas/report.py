"""How measured tables are shown: on a console, and in a document that holds them too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

DOCUMENT: Final = Path(__file__).parents[2] / "docs/gas.md"
BEGIN: Final = "<!-- begin: make {} -->\n"
END: Final = "<!-- end -->\n"
WIDTH: Final = 132
"""In which every table fits; a console that is no terminal would have 80 characters."""


@dataclass(frozen=True)
class Sheet:
    """A table of texts and numbers. A row of which only the first cell is filled is a heading."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int] = (0,)
    """The columns that hold texts."""

    def print(self) -> None:
        """Print it."""
        table = Table(title=self.title)
        for index, heading in enumerate(self.headings):
            table.add_column(heading, justify="left" if index in self.texts else "right")
        for row in self.rows:
            if any(row[1:]):
                table.add_row(*row)
            else:
                table.add_section()
                table.add_row(f"[bold]{row[0]}")
        console = Console()
        console.width = max(console.width, WIDTH)
        console.print(table)

    def as_markdown(self) -> str:
        """Write it as Markdown."""
        rules = ["---" if i in self.texts else "--:" for i in range(len(self.headings))]
        body = [row if any(row[1:]) else (f"**{row[0]}**", *row[1:]) for row in self.rows]
        lines = ["|".join(["", *(f" {c} " if c else " " for c in row), ""]) for row in body]
        return "\n".join([f"| {' | '.join(self.headings)} |", f"|{'|'.join(rules)}|", *lines, ""])


def documented(target: str, path: Path = DOCUMENT) -> str:
    """What a document says that a target of make measured."""
    return path.read_text().partition(BEGIN.format(target))[2].partition(END)[0]


def document(target: str, sheet: Sheet, path: Path = DOCUMENT) -> None:
    """Put into a document what a target of make measured."""
    before, begin, rest = path.read_text().partition(BEGIN.format(target))
    _, end, after = rest.partition(END)
    path.write_text(f"{before}{begin}{sheet.as_markdown()}{end}{after}")
