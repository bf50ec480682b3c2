"""What a person sees of a federated training while it goes on, and at its end."""

from __future__ import annotations

from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.chain.registry import ModelRegistry
    from ml.federated.coordinator.news import News, RoundDiagnosed, RoundOver, WentBack
    from ml.federated.local.running import Outcome
    from ml.federated.run_configuration import RunConfiguration
    from ml.federated.run_folder import RunFolder

_SHOWN_ROUNDS = 12


class Watcher:
    """Shows what a coordinator tells: a bar for the round that goes on, a line for each that is."""

    def __init__(self, ui: Ui) -> None:
        """Nothing is shown yet."""
        self._ui = ui
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} updates"),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=ui.err, transient=True)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._ui.err.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def tell(self, news: News) -> None:
        """Show one piece of news."""
        from ml.federated.coordinator.news import RoundBegan, UpdateCame

        if isinstance(news, RoundBegan):
            self._begin(f"round {news.iteration}", len(news.clients))
        elif isinstance(news, UpdateCame):
            if self._task is not None:
                self._bar.update(self._task, completed=news.count, total=news.expected)
        elif sentence := _sentence(news):
            self._ui.note(sentence)

    def _begin(self, what: str, clients: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=clients)


def show_outcome(
    ui: Ui,
    run: RunConfiguration,
    registry: ModelRegistry,
    folder: RunFolder,
    outcome: Outcome,
) -> None:
    """Print the last rounds as a table, then how it ended."""
    from ml.chain.types import format_ppm

    rows = outcome.rounds[-_SHOWN_ROUNDS:]
    if len(outcome.rounds) > len(rows):
        ui.say(f"The last {len(rows)} of {len(outcome.rounds)} rounds:")
    ui.table(
        ["round", "version", "from", "clients", "accuracy", "verdict", "seconds"],
        [
            [
                each.iteration,
                f"v{each.version}",
                f"v{each.base}" if each.base else "seed",
                len(each.clients),
                f"{format_ppm(each.accuracy_ppm)} %",
                each.verdict.name,
                f"{sum(each.seconds.values()):.2f}",
            ]
            for each in rows
        ],
    )
    ui.say("")
    state = outcome.model.state
    if outcome.final:
        final = outcome.final
        ui.say(f"Training is over: {final.metadata.completion_reason}.")
        ui.say(
            f"v{final.final_model_version_id} has {format_ppm(final.final_accuracy)} % on the"
            " holdout, which was read once."
        )
    else:
        again = f"ape run federate --resume --folder {folder.root}"
        ui.say(f"Training goes on: `{again}` (v{state.current} is current).")
    gas = _gas(registry, run)
    rounds = max(len(outcome.rounds), 1)
    ui.say(
        f"{gas:,} gas, {gas // rounds:,} a round; {outcome.bytes_stored / 1e6:,.1f} MB of versions"
        f" stored; {outcome.refused_updates} updates refused; {state.rollbacks} rollbacks."
    )
    key = f"ENCRYPTION_KEY_FILE={folder.root}/coordinator.key"
    ui.say(f"`{key} ape run replay {run.name}` computes all of it again.")
    ui.result(
        {
            "model": run.name,
            "model_id": run.model,
            "run_sha256": run.digest,
            "folder": folder.root,
            "state": asdict(state),
            "rounds": [asdict(each) for each in outcome.rounds],
            "final": asdict(outcome.final) if outcome.final else None,
            "gas": gas,
            "bytes_stored": outcome.bytes_stored,
            "refused_updates": outcome.refused_updates,
        }
    )


def _gas(registry: ModelRegistry, run: RunConfiguration) -> int:
    """What all operations on the model have cost, from their receipts."""
    from ml.chain import events

    transactions = {event.transaction for event in events.read(registry, model=run.model)}
    return sum(registry.gas_used(transactions))


def _sentence(news: News) -> str | None:
    """What is worth a line."""
    from ml.federated.coordinator import news as kinds

    match news:
        case kinds.RoundOver():
            return _line(news)
        case kinds.RoundDiagnosed():
            return _diagnosis(news)
        case kinds.WentBack():
            return _back(news)
        case kinds.UpdateTurnedDown():
            return news.reason
        case kinds.ClientFailed():
            return f"{news.who} could not: {news.reason}"
        case kinds.MessageIgnored():
            return f"A message was ignored: {news.reason}"
        case kinds.RoundGivenUp():
            return f"Round {news.iteration} was given up: {news.reason}."
        case kinds.ClientExcluded():
            return f"Client {news.client} is excluded: {news.reason}."
        case _:
            return None


def _line(over: RoundOver) -> str:
    from ml.chain.types import format_ppm

    return (
        f"round {over.iteration}: v{over.version} from {len(over.clients)} clients,"
        f" {format_ppm(over.accuracy_ppm)} %, {over.verdict.name}"
        f" ({sum(over.seconds.values()):.2f} s)"
    )


def _diagnosis(news: RoundDiagnosed) -> str:
    found = news.diagnosis.culprits
    who = ", ".join(f"client {one.client} (+{one.gain_ppm} ppm without it)" for one in found)
    return f"Round {news.iteration} was looked into: {who or 'nobody stands out'}."


def _back(news: WentBack) -> str:
    target = f"v{news.target}" if news.target else "the seeded weights"
    silent = f"; silent: {', '.join(map(str, news.silent))}" if news.silent else ""
    return (
        f"Back at {target} ({news.reason}): {len(news.acknowledged)} clients acknowledged{silent}."
    )
