"""Where the tables of the research questions stand in prose."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.gas.report import Sheet, document

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "research-questions.md"


def show(target: str, name: str, sheet: Sheet) -> None:
    """Print a table, and put it into the document where its target of make and its name are."""
    sheet.print()
    document(f"{target}, {name}", sheet, DOCUMENT)
