"""Flower's simulation, a round at a time, in its environment.

``python -c "import flower_app; flower_app.main()" SETTINGS``, since Ray's processes have to import
it by its name. SETTINGS is a file of JSON: see `Settings`. Each round begins with a line on the
standard input, and ends with a line on the standard output: the seconds that it took and the
accuracy, in ppm.
"""

# ruff: noqa: INP001 - a script, in an environment of its own
# mypy: ignore-errors

from __future__ import annotations

import json
import os
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

SETTINGS_VARIABLE = "MODELPROOF_FLOWER_SETTINGS"
Tensors: TypeAlias = "OrderedDict[str, torch.Tensor]"


@dataclass(frozen=True)
class Settings:
    """What is trained, and how."""

    data: str
    """A folder: ``client_N.npz``, ``validation.npz`` and ``initial.npz``, arrays by their names."""
    project: str
    """The folder of the project, whose kernel and networks the clients use."""
    kernel: str
    """``dense``, the project's, or ``module``, which is nn.Module and torch.optim.SGD."""
    architecture: dict[str, Any]
    clients: int
    fraction: float
    batch: int
    rate: float
    rounds: int
    workers: int


@cache
def settings() -> Settings:
    """As the file says that the environment names."""
    return Settings(**json.loads(Path(os.environ[SETTINGS_VARIABLE]).read_text()))


@cache
def architecture() -> Any:
    """The network, as the project describes it."""
    sys.path.insert(0, settings().project)
    torch.set_num_threads(1)
    from ml.training.architectures import Architecture, ArchitectureName

    fields = settings().architecture
    as_tuples = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Architecture(**{**as_tuples, "name": ArchitectureName(fields["name"])})


@cache
def network() -> nn.Module:
    """Built once in a process."""
    described = architecture()
    from ml.training.networks import build_network

    return build_network(described, seed=0)


@cache
def samples(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of a client, or of the validation part; read once in a process."""
    with np.load(Path(settings().data) / f"{name}.npz") as held:
        inputs = torch.from_numpy(held["inputs"]).reshape(-1, *architecture().input_shape)
        return inputs, torch.from_numpy(held["labels"])


def train_by_module(base: Tensors, name: str) -> Tensors:
    """Train one epoch by autograd and SGD."""
    net, (inputs, labels) = network(), samples(name)
    net.load_state_dict(base)
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=settings().rate)
    loss_of = nn.CrossEntropyLoss()
    for batch in torch.split(torch.randperm(len(labels)), settings().batch):
        optimizer.zero_grad()
        loss_of(net(inputs[batch]), labels[batch]).backward()
        optimizer.step()
    return OrderedDict(net.state_dict())


def train_by_dense_kernel(base: Tensors, name: str) -> Tensors:
    """Train one epoch by the project's own kernel."""
    described = architecture()
    from ml.federated.client.dense_kernel import DenseKernel
    from ml.federated.client.kernel import Samples

    inputs, labels = samples(name)
    own = {tensor_name: tensor.clone() for tensor_name, tensor in base.items()}
    kernel = DenseKernel(described, own, Samples(inputs, labels), settings().batch, settings().rate)
    kernel.train_epoch(torch.arange(len(labels)), torch.Generator())
    return OrderedDict(kernel.weights())


client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train one client."""
    architecture()
    name = f"client_{context.node_config['partition-id']}"
    base = OrderedDict(message.content["arrays"].to_torch_state_dict())
    step = train_by_dense_kernel if settings().kernel == "dense" else train_by_module
    trained = step(base, name)
    metrics = MetricRecord({"num-examples": len(samples(name)[1])})
    content = RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics})
    return Message(content=content, reply_to=message)


server_app = ServerApp()


@server_app.main()
def serve(grid: Grid, _: Context) -> None:
    """Run rounds, each when it is asked for."""
    with np.load(Path(settings().data) / "initial.npz") as held:
        initial = ArrayRecord(OrderedDict((k, torch.from_numpy(held[k])) for k in held.files))
    begun = [0.0]

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        accuracy = accuracy_ppm(OrderedDict(arrays.to_torch_state_dict()))
        seconds = time.perf_counter() - begun[0] if number else 0.0
        print(json.dumps({"round": number, "seconds": seconds, "ppm": accuracy}), flush=True)
        if number < settings().rounds and not sys.stdin.readline():
            os._exit(0)  # whoever asked is gone
        begun[0] = time.perf_counter()
        return MetricRecord({"accuracy": accuracy / 1e6})

    strategy = FedAvg(fraction_train=settings().fraction, fraction_evaluate=0.0, min_train_nodes=1)
    strategy.start(
        grid=grid,
        initial_arrays=initial,
        num_rounds=settings().rounds,
        train_config=ConfigRecord(),
        evaluate_fn=evaluate,
    )


def accuracy_ppm(weights: Tensors) -> int:
    """On the validation part, as the project measures it: 500 samples at a time, one thread."""
    net, (inputs, labels) = network(), samples("validation")
    net.load_state_dict(weights)
    net.eval()
    with torch.inference_mode():
        found = torch.cat([net(batch).argmax(dim=1) for batch in torch.split(inputs, 500)])
    return int((found == labels).sum()) * 1_000_000 // len(labels)


def main() -> None:
    """Run a simulation of as many nodes as there are clients, a core each."""
    os.environ[SETTINGS_VARIABLE] = sys.argv[1]
    backend: dict[str, Any] = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": settings().workers, "include_dashboard": False},
    }
    run_simulation(server_app, client_app, settings().clients, backend_config=backend)
