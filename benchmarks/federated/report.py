"""Where the tables stand in prose."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.gas.report import Sheet, document

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "federated-results.md"


def show(name: str, sheet: Sheet) -> None:
    """Print a table and put it into the document, where its name is."""
    sheet.print()
    document(f"bench-federated, {name}", sheet, DOCUMENT)


def points(ppm: float) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return f"{ppm / 10_000:+.2f}".replace("-", "−")


def percent(ppm: float) -> str:
    """An accuracy in percent."""
    return f"{ppm / 10_000:.2f}"
