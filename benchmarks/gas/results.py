"""Where the figures are kept, each with what it depends on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "results"
GAS: Final = FOLDER / "gas.json"
HISTORY: Final = FOLDER / "gas_history.json"


def conditions_of(results: Path) -> Path:
    """The file beside some results that says what they depend on."""
    return results.with_name(f"{results.stem}.conditions.json")


def write(results: Path, figures: Any, conditions: dict[str, Any]) -> None:
    """Write figures and conditions."""
    FOLDER.mkdir(exist_ok=True)
    for path, content in ((results, figures), (conditions_of(results), conditions)):
        path.write_text(json.dumps(content, indent=2) + "\n")
