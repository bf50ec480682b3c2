"""How scripts show versions: one table, one form for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.chain.history import History, HistoryRow
    from ml.chain.models import NamedModel
    from ml.chain.records import Model
    from ml.chain.registry import ModelRegistry
    from ml.chain.verification import NamedOrigin

_COLUMNS = ["version", "parent", "status", "", "accuracy", "verdict", "weights", "block"]


def show(ui: Ui, model: Model, rows: Sequence[HistoryRow]) -> None:
    """Print versions as a table."""
    from ml.chain.history import mark, percent

    ui.table(
        _COLUMNS,
        [
            [
                f"v{row.version.number}",
                f"v{row.version.parent}" if row.version.parent else "-",
                row.version.status.name.lower(),
                mark(row, model),
                percent(row.version.accuracy) if row.validated else "-",
                row.validated.verdict.name.lower() if row.validated else "-",
                ui.short(row.registered.weights),
                row.registered.block,
            ]
            for row in rows
        ],
    )


def show_version(
    ui: Ui, registry: ModelRegistry, model: NamedModel, number: int, more: dict[str, Any]
) -> None:
    """Print one version's row; for machines, with what else the command has to say."""
    from ml.chain import history

    whole = history.read(registry, model.id)
    row = next(row for row in whole.rows if row.version.number == number)
    show(ui, whole.model, [row])
    ui.result({"model": model.id, "name": model.name, **as_data(row), **more})


def as_data(row: HistoryRow) -> dict[str, Any]:
    """A version for machines."""
    validated = row.validated
    return {
        "version": row.version.number,
        "parent": row.version.parent,
        "status": row.version.status.name,
        "weights": row.registered.weights,
        "commitment": row.registered.commitment,
        "registrar": row.registered.registrar,
        "iteration": row.registered.details.iteration,
        "epoch": row.registered.details.epoch,
        "metadata": row.registered.metadata,
        "block": row.registered.block,
        "transaction": row.registered.transaction,
        "validation": None
        if validated is None
        else {
            "validator": validated.validator,
            "signers": list(validated.signers),
            "accuracy_ppm": row.version.accuracy,
            "training_accuracy_ppm": validated.training_accuracy,
            "verdict": validated.verdict.name,
            "metrics": validated.metrics,
            "block": validated.block,
            "transaction": validated.transaction,
        },
    }


def origin_data(origin: NamedOrigin | None) -> dict[str, Any] | None:
    """Where a fork starts, for machines."""
    if origin is None:
        return None
    return {
        "model": origin.model.id,
        "name": origin.model.name,
        "version": origin.version,
        "status": origin.status.name,
    }


def model_data(whole: History) -> dict[str, Any]:
    """How a model stands, for machines."""
    state, successor = whole.model.state, whole.successor
    return {
        "model": whole.model.id,
        "name": whole.named.name,
        "creator": whole.named.creator,
        "kind": state.kind.name,
        "origin": origin_data(whole.origin),
        "test_set": whole.model.test_set,
        "quorum": whole.model.policy.quorum,
        "current": state.current,
        "best": state.best,
        "best_accuracy_ppm": state.best_accuracy,
        "iteration": state.iteration,
        "epoch": state.epoch,
        "pending": state.pending,
        "waiting": [row.version.number for row in whole.rows if row.waits],
        "completed": state.completed.name,
        "head": whole.model.head,
        "successor": successor and {"registry": successor.registry, "model": successor.model},
        "evidence": {
            "equivocations": [
                {"validator": one.validator, "version": one.version, "by": one.by}
                for one in whole.evidence.equivocations
            ],
            "hidden_clients": [
                {"version": one.version, "index": one.index, "client": one.client, "by": one.by}
                for one in whole.evidence.hidden_clients
            ],
        },
    }
