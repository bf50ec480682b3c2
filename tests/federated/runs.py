"""Runs of a federated training on small data, for tests of those who take part in one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address

from ml.federated.aggregation import FedAvg
from ml.federated.run_configuration import (
    DiagnosisSettings,
    LocalTraining,
    RunClient,
    RunConfiguration,
    RunValidator,
)
from ml.training.architectures import Architecture, ArchitectureName

IRIS = Architecture(ArchitectureName.LOGISTIC, (4,), 3, mean=(5.8, 3.1, 3.8, 1.2))
"""The smallest network."""

RUN = RunConfiguration(
    model=b"m" * 32,
    name="iris",
    chain_id=31337,
    registry="0x5FbDB2315678afecb367f032d93F642f64180aa3",
    dataset_name="iris",
    dataset_version="iris-00000000",
    class_names=("setosa", "versicolor", "virginica"),
    test_set=b"t" * 32,
    holdout=b"h" * 32,
    architecture=IRIS,
    local=LocalTraining(epochs=1, batch_size=10, learning_rate=0.1),
    rule=FedAvg(),
    seed=1,
    fraction=1.0,
    min_updates=1,
    deadline_s=None,
    diagnosis=DiagnosisSettings(),
    coordinator=b"c" * 32,
    clients=(RunClient(0, Account.from_key(b"\x01" * 32).address, b"k" * 32, 50, b"d" * 32),),
    validators=(RunValidator(Account.from_key(b"\x02" * 32).address, b"v" * 32),),
)
"""A run of one client, which exists on no chain."""


def run_of(**changes: Any) -> RunConfiguration:
    """`RUN`, but for some changes."""
    return replace(RUN, **changes)


def many_clients(count: int) -> tuple[RunClient, ...]:
    """Clients with addresses of their own, which nobody has the keys of."""
    return tuple(
        RunClient(index, to_checksum_address((index + 1).to_bytes(20)), b"k" * 32, 1, b"d" * 32)
        for index in range(count)
    )
