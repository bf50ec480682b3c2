"""Which clients made a round worse: leave-one-out over an evaluation, decided by a threshold.

Trying each update alone, as the thesis does, accuses honest clients: the update of one client alone
is nearly always worse than the average of all. What tells is how much better the round is without a
client. Where several spoil it together, leaving out one shows only part of the gain; so the one
whose absence gains most is left out for good, and the rest is tried again, until nobody's absence
gains more than the threshold. Clients whose updates cancel each other out spoil nothing together
and are not found. Pure but for the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ml.errors import ModelproofError

from .aggregation import NO_STATE, ClientUpdate, Rule, ServerState, Weights, aggregate

Evaluate: TypeAlias = Callable[[Weights], int]
"""The accuracy of a model on the validation part, in ppm; weights are finite."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found of one client's update."""

    client: int
    alone_ppm: int
    """Accuracy of the aggregate of this update alone: evidence that decides nothing."""
    without_ppm: int
    """Accuracy of the aggregate of all the others."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """A client whose absence makes the round better."""

    client: int
    gain_ppm: int
    """By how much, with the culprits before it left out already."""
    excluded: bool
    """False if there would be too few clients left."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found of a round."""

    baseline_ppm: int
    """Accuracy of the model that the round started from."""
    together_ppm: int
    """Accuracy of the aggregate of all updates."""
    threshold_ppm: int
    trials: tuple[Trial, ...]
    """Of every client, in ascending order."""
    culprits: tuple[Culprit, ...]
    """In the order in which they were left out."""
    cleaned_ppm: int
    """Accuracy of the aggregate without the culprits."""

    @property
    def excluded(self) -> tuple[int, ...]:
        """The clients to exclude, in ascending order."""
        return tuple(sorted(one.client for one in self.culprits if one.excluded))


def diagnose(
    rule: Rule,
    base: Weights,
    updates: Sequence[ClientUpdate],
    evaluate: Evaluate,
    *,
    threshold_ppm: int,
    active: int,
    min_clients: int,
    state: ServerState = NO_STATE,
) -> Diagnosis:
    """Find the clients whose updates made a round worse.

    A round of n updates takes 2 n + 2 evaluations, and up to n - 1 more for each culprit. Among
    equal gains the lower index is left out first.

    Args:
        rule: that the round was aggregated by; it must work with one update alone, as FedAvg does.
        base: the model that the round started from.
        updates: of the round, in any order.
        evaluate: measures a model.
        threshold_ppm: a client is a culprit if leaving it out gains more than this.
        active: how many clients are active, in this round or not.
        min_clients: how many must stay active; culprits beyond that are named, not excluded.
        state: that the round was aggregated with.

    Raises:
        ModelproofError: a number is out of its range, the updates cannot be aggregated, or not by
            this rule one by one.
    """
    _check(updates, threshold_ppm, active, min_clients)

    def accuracy(some: Sequence[ClientUpdate]) -> int:
        return evaluate(aggregate(rule, base, some, state).weights)

    def without(left_out: ClientUpdate, some: Sequence[ClientUpdate]) -> int:
        return accuracy([each for each in some if each.client != left_out.client])

    rest = sorted(updates, key=lambda update: update.client)
    together = now = accuracy(rest)
    found = [without(each, rest) if len(rest) > 1 else now for each in rest]
    trials = tuple(
        Trial(each.client, accuracy([each]), accuracy_without)
        for each, accuracy_without in zip(rest, found, strict=True)
    )
    culprits: list[Culprit] = []
    while len(rest) > 1:
        best = max(range(len(rest)), key=found.__getitem__)  # the first of equals
        gain = found[best] - now
        if gain <= threshold_ppm:
            break
        excluded = active - len(culprits) > min_clients
        culprits.append(Culprit(rest.pop(best).client, gain, excluded))
        now = found[best]
        found = [without(each, rest) for each in rest] if len(rest) > 1 else []
    return Diagnosis(
        baseline_ppm=evaluate(base),
        together_ppm=together,
        threshold_ppm=threshold_ppm,
        trials=trials,
        culprits=tuple(culprits),
        cleaned_ppm=now,
    )


def _check(
    updates: Sequence[ClientUpdate], threshold_ppm: int, active: int, min_clients: int
) -> None:
    if threshold_ppm < 0:
        raise ModelproofError(f"the threshold of a diagnosis is 0 ppm or more, not {threshold_ppm}")
    if min_clients < 1:
        raise ModelproofError(f"at least 1 client stays active, not {min_clients}")
    if active < len(updates):
        raise ModelproofError(f"{len(updates)} clients took part, and only {active} are active")
