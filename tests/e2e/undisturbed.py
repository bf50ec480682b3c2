"""What a training's rounds make in one process, where nothing is on record or goes wrong."""

from __future__ import annotations

from pathlib import Path

from ml.federated import prepared, run_configuration, version_files
from ml.federated.configuration import SERVICE_PATH, client_configuration_path
from ml.federated.plain import PlainTask, PlainTraining


def weights_after(run_file: Path, data: Path, rounds: int) -> str:
    """The identity of the version after so many rounds, as `ape run history` writes it."""
    run = run_configuration.read(run_file)
    paths = [data / client_configuration_path(client.index) for client in run.clients]
    task = PlainTask(
        run.architecture,
        run.local,
        run.rule,
        run.seed,
        run.fraction,
        [prepared.read_client(path).part for path in paths],
        prepared.read_validation(data / SERVICE_PATH),
    )
    with PlainTraining(task) as training:
        for _ in range(rounds):
            training.advance(training.updates())
        made = version_files.dump(training.weights, training.state, run.rule)
    return "0x" + made.weights.hex()
