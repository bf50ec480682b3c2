"""The end of a training: the final report, which alone reads the holdout, and telling everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ml.chain.records import Model
from ml.chain.types import MAX_PPM, CompletionReason
from ml.errors import NotVerified
from ml.federated.aggregation import Weights
from ml.federated.measuring import measure
from ml.federated.parts import Part
from ml.federated.run_configuration import RunConfiguration
from ml.federated.tasks import (
    FinalMetadata,
    FinalModelInfo,
    TrainingCompletePayload,
    TrainingCompleteTask,
    TrainingSummary,
    task_id,
)
from ml.training.metrics import Metrics

from .context import Context
from .news import TrainingOver
from .post import metadata_now

REASONS: Final = {
    CompletionReason.ROLLBACK_LIMIT: "Rollback limit reached - investigation recommended",
    CompletionReason.TARGET_REACHED: "Accuracy threshold reached",
    CompletionReason.CONVERGED: "Convergence detected",
    CompletionReason.MAX_ITERATIONS: "Maximum iterations reached",
    CompletionReason.OVERTRAINING: "Overtraining detected",
    CompletionReason.MANUAL: "Completed by an operator",
}
"""Why a training ended, as its last message says it."""


def finish(context: Context, model: Model, holdout: Callable[[], Part]) -> FinalModelInfo:
    """Measure the final model on the holdout, once, and tell all clients and validators.

    After a reopening, or a rollback of a completed model, another final model is measured too.

    Args:
        context: the training
        model: completed
        holdout: reads the holdout; not called where the report was made before

    Raises:
        NotVerified: the holdout is not the one that was committed to.
    """
    info = context.journal.final(model.state.epoch, model.state.current)
    if info is None:
        info = _final_info(context, model, holdout)
        context.journal.finish(model.state.epoch, info)
    base: dict[str, Any] = {
        "model": model.id,
        "epoch": model.state.epoch,
        "iteration": model.state.iteration,
        "model_version_id": info.final_model_version_id,
        "parent_version_id": 0,
        "metadata": metadata_now(),
        "payload": TrainingCompletePayload(info),
    }
    names, run, state = context.post.names, context.run, model.state
    numbers = (model.id, state.epoch, state.iteration, info.final_model_version_id)
    for client in run.clients:
        task = TrainingCompleteTask(
            task_id=task_id("TRAINING_COMPLETE", *numbers, client.index), **base
        )
        context.post.send(names.client(client.index), task)
    for validator in run.validators:
        named = f"{task_id('TRAINING_COMPLETE', *numbers)}-{validator.address.lower()}"
        context.post.send(
            names.validator(validator.address), TrainingCompleteTask(task_id=named, **base)
        )
    context.tell(TrainingOver(state.completed, info.final_model_version_id))
    return info


def _final_info(context: Context, model: Model, holdout: Callable[[], Part]) -> FinalModelInfo:
    state, journal = model.state, context.journal
    base = context.bases.of(state.current)
    measured = measure_holdout(context.run, holdout(), base.tensors) if state.current else None
    reports = journal.reports()
    return FinalModelInfo(
        final_model_version_id=state.current,
        final_accuracy=measured.accuracy_ppm if measured else 0,
        final_metrics=_figures(measured, state.best_accuracy),
        final_weights_cid=str(base.cid) if base.cid else "",
        training_summary=TrainingSummary(
            total_iterations=state.iteration,
            clients_participated=journal.participants(),
            training_duration=sum(sum(report.seconds.values()) for report in reports),
            total_rounds=journal.rounds(),
        ),
        metadata=FinalMetadata(
            hyperparameters_used=_hyperparameters(context.run),
            dataset_info={
                "name": context.run.dataset_name,
                "version": context.run.dataset_version,
                "validation_root": "0x" + context.run.test_set.hex(),
                "holdout_root": "0x" + context.run.holdout.hex(),
            },
            completion_reason=REASONS[state.completed],
        ),
    )


def measure_holdout(run: RunConfiguration, holdout: Part, weights: Weights) -> Metrics:
    """Measure a model on the holdout that was committed to.

    Raises:
        NotVerified: the holdout is another one.
    """
    if holdout.root != run.holdout:
        raise NotVerified(
            f"the holdout at hand has the root 0x{holdout.root.hex()}, and 0x{run.holdout.hex()}"
            " was committed to."
        )
    return measure(run.architecture, weights, holdout)


def _figures(measured: Metrics | None, best_ppm: int) -> dict[str, float]:
    validation = {"validation_accuracy": best_ppm / MAX_PPM}
    if measured is None:
        return validation
    return {
        **validation,
        "f1": measured.f1,
        "loss": measured.loss,
        "precision": measured.precision,
        "recall": measured.recall,
    }


def _hyperparameters(run: RunConfiguration) -> dict[str, str | int | float | bool]:
    local = run.local
    used: dict[str, str | int | float | bool] = {
        "architecture": str(run.architecture.name),
        "batch_size": local.batch_size,
        "clients": len(run.clients),
        "decay": local.decay,
        "fraction": run.fraction,
        "learning_rate": local.learning_rate,
        "local_epochs": local.epochs,
        "momentum": local.momentum,
        "mu": local.mu,
        "rule": run.rule.name,
        "seed": run.seed,
        "weight_decay": local.weight_decay,
    }
    if local.privacy:
        used["noise_multiplier"] = local.privacy.noise_multiplier
        used["max_grad_norm"] = local.privacy.max_grad_norm
    return used
