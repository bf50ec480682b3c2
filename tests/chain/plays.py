"""Short words for the tests: models played through validations, accuracies in percent."""

from __future__ import annotations

from ml.chain.line import Line, create, register, validate
from ml.chain.policy import PRESETS, Judgement
from ml.chain.types import Policy, Verdict

THESIS = PRESETS["thesis"]


def ppm(percent: float) -> int:
    return round(percent * 10_000)


def register_next(line: Line) -> Line:
    state = line.state
    return register(line, state.latest + 1, state.current, state.iteration + 1, state.epoch)


def judge_next(
    line: Line, accuracy: float, training: float = 0, accepted: bool = True
) -> tuple[Line, Judgement]:
    line = register_next(line)
    return validate(line, line.state.latest, ppm(accuracy), ppm(training), accepted)


def play(line: Line, *percent: float) -> tuple[Line, list[Verdict]]:
    """Register and validate one version per accuracy; the line after, and the verdicts."""
    verdicts = []
    for accuracy in percent:
        line, judgement = judge_next(line, accuracy)
        verdicts.append(judgement.verdict)
    return line, verdicts


def trained(*percent: float, policy: Policy = THESIS) -> Line:
    return play(create(policy), *percent)[0]
