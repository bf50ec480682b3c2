"""What became of mutants, kept line by line, so that a run which was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.mutation.workspace import ROOT, Sources

FOLDER: Final = ROOT / ".mutation"


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``killed``, ``survived``, or ``refused`` by the compiler."""

    end: str
    by: str = ""


class Outcomes:
    """Outcomes by their mutants, for one state of the contracts and of their tests."""

    def __init__(self, code: Sources, tests: Iterable[Path]) -> None:
        state = hashlib.sha256(json.dumps(code, sort_keys=True).encode())
        for test in sorted(tests):
            state.update(test.read_bytes())
        self._path: Final = FOLDER / f"{state.hexdigest()[:16]}.jsonl"
        self._lock: Final = threading.Lock()
        self._known: Final = dict(self._read())

    def _read(self) -> Iterable[tuple[str, Outcome]]:
        if not self._path.exists():
            return
        for line in self._path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # the last may have been cut off
                fields = json.loads(line)
                yield fields.pop("mutant"), Outcome(**fields)

    def get(self, mutant: str) -> Outcome | None:
        """What became of a mutant, if it was tried."""
        return self._known.get(mutant)

    def add(self, mutant: str, outcome: Outcome) -> None:
        """Keep what became of a mutant."""
        record: Mapping[str, str] = {"mutant": mutant, **asdict(outcome)}
        with self._lock:
            self._known[mutant] = outcome
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
