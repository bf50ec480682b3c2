"""What verifying a model costs: whole commands beside OpenSSF Model Signing's, and their parts.

A model of 400 bf16 tensors and 1 GiB is verified in one file, in shards and as a torch checkpoint,
against the identity that a chain would give, and beside that by ``model_signing verify key``
against its signature, in the same rounds. Beside the libraries alone stands BLAKE3 over the same
bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from benchmarks import machine
from benchmarks.artifacts import inside, model_set, processes
from benchmarks.artifacts.model_set import ModelSet
from benchmarks.gas import report
from benchmarks.gas.report import Sheet
from ml.artifact import read_manifest

RESULTS: Final = Path(__file__).parents[1] / "results" / "artifacts.json"
ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs" / "artifacts.md"
TARGET: Final = "bench-artifacts"
ROUNDS: Final = 7
SMALL_ROUNDS: Final = 20
INSIDE_ROUNDS: Final = 5

OURS: Final = "ours: one file"
PEER: Final = "model_signing verify key"
SMALL: Final = "ours: 2 MB"
SMALL_PEER: Final = "model_signing verify key: 2 MB"


class Bench:
    """The files, the programs, and what was measured."""

    def __init__(self, folder: Path, peer: Path) -> None:
        self.folder = folder
        self.peer = peer
        self.environment = processes.environment(folder)
        self.models = model_set.make(folder)
        self.small = model_set.make_small(folder)
        self.weights = self._identity(self.models)
        self._make_keys()

    def whole_commands(self) -> dict[str, dict[str, float]]:
        """Verify 1 GiB in every format, and as Model Signing does."""
        manifest = self.folder / "manifest.json"
        manifest.write_text(read_manifest(self.models.one).to_json())
        commands = {
            OURS: self._verify(self.models.one, self.weights),
            "ours: in shards": self._verify(self.models.shards, self.weights),
            "ours: torch checkpoint": self._verify(self.models.checkpoint, self.weights),
            "ours: one file, by its manifest": [
                *self._verify(self.models.one, str(manifest)),
                *("--weights", self.weights),
            ],
            PEER: self._peer_verify(self.models.one.parent),
        }
        return processes.measure(commands, ROUNDS, self.environment)

    def small_commands(self) -> dict[str, dict[str, float]]:
        """Verify 2 MB: what it takes to start."""
        weights = f"0x{read_manifest(self.small).weights.hex()}"
        commands = {
            SMALL: self._verify(self.small, weights),
            SMALL_PEER: self._peer_verify(self.small.parent),
        }
        return processes.measure(commands, SMALL_ROUNDS, self.environment)

    def inside(self) -> dict[str, dict[str, float]]:
        """The work of one process each, without its start."""
        many = self.folder / "many.safetensors"
        _write_many(many)
        one = self.models.one
        return {
            "our library": self._inside("ours", one),
            "our library, verifying and loading": self._inside("load", one),
            "model_signing's library, set to BLAKE3": self._inside(
                "peer", one, self.peer / "python"
            ),
            "BLAKE3 over the same bytes, read": self._inside("raw", one),
            "BLAKE3 alone, nothing read": self._inside("hash_alone", one),
            "tree from 10⁶ leaf hashes": self._inside("tree"),
            "tree from 10⁶ leaves, encoded": self._inside("encoded_tree"),
            "header of 10⁶ tiny tensors": self._inside("many", many),
        }

    def _inside(
        self, what: str, path: Path | str = "", python: Path | str = sys.executable
    ) -> dict[str, float]:
        command = [python, inside.__file__, what, str(INSIDE_ROUNDS), path]
        variables = {**self.environment, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(
            list(map(str, command)), env=variables, check=True, capture_output=True, text=True
        )
        figures: dict[str, float] = json.loads(run.stdout)
        return figures

    def _verify(self, model: Path, expected: str) -> list[str | Path]:
        return [sys.executable, "-m", "ml.artifact", "verify", model, expected]

    def _peer_verify(self, folder: Path) -> list[str | Path]:
        return [
            *(self.peer / "model_signing", "verify", "key"),
            *("--signature", self.folder / f"{folder.name}.sig"),
            *("--public_key", self.folder / "public.pem", folder),
        ]

    def _make_keys(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "private.pem").write_bytes(private)
        (self.folder / "public.pem").write_bytes(public)
        for folder in (self.models.one.parent, self.small.parent):
            processes.run(
                [
                    *(self.peer / "model_signing", "sign", "key"),
                    *("--private_key", self.folder / "private.pem"),
                    *("--signature", self.folder / f"{folder.name}.sig", folder),
                ],
                self.environment,
            )

    @staticmethod
    def _identity(models: ModelSet) -> str:
        """The identity that all formats have."""
        found = {read_manifest(p).weights for p in (models.one, models.shards, models.checkpoint)}
        (weights,) = found
        return f"0x{weights.hex()}"


def _write_many(path: Path) -> None:
    """Write a file with a million tensors of two numbers each."""
    entries = ",".join(
        f'"layers.{i}.w":{{"dtype":"BF16","shape":[2],"data_offsets":[{4 * i},{4 * i + 4}]}}'
        for i in range(inside.LEAVES)
    )
    header = f"{{{entries}}}".encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4 * inside.LEAVES))


def ratios(results: Mapping[str, Any]) -> dict[str, tuple[float, str, bool]]:
    """What was aimed at: the figure, the aim, and whether it is met."""
    whole, small, parts = results["whole"], results["small"], results["inside"]
    ours, peer = whole[OURS], whole[PEER]
    formats = [cost for name, cost in whole.items() if name != PEER]
    library = parts["our library"]["cpu_s"]
    figures = {
        "CPU of model_signing / ours": (peer["cpu_s"] / ours["cpu_s"], "≥ 4"),
        "wall of model_signing / ours": (peer["wall_s"] / ours["wall_s"], "≥ 5"),
        "CPU of our library / model_signing's with BLAKE3": (
            library / parts["model_signing's library, set to BLAKE3"]["cpu_s"],
            "≤ 1.1",
        ),
        "CPU of BLAKE3 over the same bytes / our library": (
            parts["BLAKE3 over the same bytes, read"]["cpu_s"] / library,
            "≥ 0.8",
        ),
        "peak memory of any format, MB": (max(cost["peak_mb"] for cost in formats), "≤ 100"),
        "wall of 2 MB, s": (small[SMALL]["wall_s"], "≤ 0.1"),
        "CPU of a tree from 10⁶ leaf hashes, s": (
            parts["tree from 10⁶ leaf hashes"]["cpu_s"],
            "≤ 1",
        ),
        "CPU of a tree from 10⁶ leaves, encoded, s": (
            parts["tree from 10⁶ leaves, encoded"]["cpu_s"],
            "≤ 4",
        ),
    }
    return {name: (value, aim, _meets(value, aim)) for name, (value, aim) in figures.items()}


def _meets(value: float, aim: str) -> bool:
    sign, limit = aim.split()
    return value >= float(limit) if sign == "≥" else value <= float(limit)


def costs(results: Mapping[str, Any]) -> Sheet:
    """What was measured."""
    rows = [("1 GiB in 400 tensors, whole commands", "", "", "")]
    rows += [(name, *_figures(cost)) for name, cost in results["whole"].items()]
    rows += [("2 MB in 64 tensors, whole commands", "", "", "")]
    rows += [(name, *_figures(cost)) for name, cost in results["small"].items()]
    rows += [("1 GiB, the work of one process without its start", "", "", "")]
    rows += [(name, *_figures(cost)) for name, cost in results["inside"].items()]
    return Sheet("Best of the rounds", ("", "wall s", "CPU s", "peak MB"), rows)


def _figures(cost: Mapping[str, float]) -> tuple[str, str, str]:
    peak = f"{cost['peak_mb']:.0f}" if "peak_mb" in cost else "-"
    return f"{cost['wall_s']:.3f}", f"{cost['cpu_s']:.3f}", peak


def aims(results: Mapping[str, Any]) -> Sheet:
    """What was aimed at, and what became of it."""
    rows = [
        (name, f"{value:.2f}", aim, "met" if met else "missed")
        for name, (value, aim, met) in ratios(results).items()
    ]
    return Sheet("What was aimed at", ("", "is", "aim", "met"), rows, texts=(0, 3))


def main() -> None:
    """Measure, write the results and print them."""
    base = Path(tempfile.gettempdir()) / "modelproof-benchmark"
    base.mkdir(exist_ok=True)
    peer = processes.install_peer(base / "model_signing-1.1.1", ROOT / processes.PEER_LOCK)
    folder = Path(tempfile.mkdtemp(dir=base))
    try:
        bench = Bench(folder, peer)
        results: dict[str, Any] = {
            "whole": bench.whole_commands(),
            "small": bench.small_commands(),
            "inside": bench.inside(),
        }
        conditions = {
            **machine.describe(),
            "bytes": bench.models.nbytes,
            "weights": bench.weights,
            "peer": processes.PEER,
            "rounds": ROUNDS,
            "load_average": round(os.getloadavg()[0], 1),  # others' work costs us caches and clock
        }
    finally:
        shutil.rmtree(folder)
    results["aims"] = {
        name: {"is": round(value, 3), "aim": aim, "met": met}
        for name, (value, aim, met) in ratios(results).items()
    }
    results["machine"] = conditions
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    for target, sheet in ((TARGET, costs(results)), (f"{TARGET}, aims", aims(results))):
        sheet.print()
        report.document(target, sheet, DOCUMENT)
    print(f"Written to {RESULTS} and {DOCUMENT}.")


if __name__ == "__main__":
    main()
