"""What the operations of the registry cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ape import project

from benchmarks.gas import signed
from benchmarks.gas.chain import gas
from benchmarks.gas.content import (
    CLIENTS,
    HYPERPARAMETERS,
    METADATA,
    METRICS,
    REASON,
    STATED_REASON,
    TENSORS,
    digest,
    tensor_proof,
)
from benchmarks.gas.line import Holders, Line, LongLine, holders_among
from ml.chain.policy import PRESETS
from ml.chain.records import Origin, Receipt, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import ModelKind, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ape.api import AccountAPI

    from benchmarks.gas.chain import Costs

LONG_HISTORY: Final = 200
"""Versions of the model on which the figures ``… at version 200`` are measured."""
SAME_CONTENT: Final = "register, the port's content"
SAME_METRICS: Final = f"validate, {len(METRICS)} bytes of metrics"
SAME_REASON: Final = f"rollback, {len(STATED_REASON)} bytes of reason"
PROVED: Final = f"verifyTensor of one in {TENSORS}"


def measure(people: Sequence[AccountAPI]) -> Costs:
    """The gas of every operation, by its name, on the connected development chain."""
    holders, client = holders_among(people), people[4]
    contract = holders[Role.ADMIN].deploy(project.ModelRegistry)
    registry = ModelRegistry(contract)
    receipts = {
        **_line(registry, holders),
        **_clients(registry, holders, client.address),
        **_same_content(registry, holders, people[: len(CLIENTS)]),
        **_open_model(registry, holders),
        **signed.measure(registry, holders),
        **_long_history(registry, holders),
    }
    return {
        "deploy": int(contract.creation_metadata.receipt.gas_used),
        **{name: receipt.gas_used for name, receipt in receipts.items()},
        PROVED: _tensor(registry, holders),
    }


def _line(registry: ModelRegistry, holders: Holders) -> dict[str, Receipt]:
    line = Line(registry, holders, "digits")
    admin, operator = holders[Role.ADMIN], holders[Role.OPERATOR]
    receipts = {"createModel": line.created}
    receipts["register, first version"] = line.register()
    receipts["validate, first version"] = line.validate(900_000)
    receipts["register"] = line.register()
    receipts["validate"] = line.validate(910_000)
    receipts[f"register, {len(METADATA)} bytes of metadata"] = line.register(METADATA)
    receipts["validate, below best"] = line.validate(909_000)
    line.register()
    receipts["validate, automatic rollback"] = line.validate(800_000)
    receipts["rollback"] = registry.rollback(line.id, 1, REASON, sender=operator)
    line.register()
    receipts["rollback, discarding"] = registry.rollback(line.id, 2, REASON, sender=operator)
    line.register()
    receipts["discard"] = registry.discard(line.id, line.latest, REASON, sender=operator)
    receipts["revoke"] = registry.revoke(line.id, 1, REASON, sender=operator)
    receipts["complete"] = registry.complete(line.id, REASON, sender=operator)
    receipts["reopen"] = registry.reopen(line.id, REASON, sender=admin)
    receipts["setPolicy"] = registry.set_policy(line.id, Policy(patience=5), sender=admin)
    receipts["announceSuccessor"] = registry.announce_successor(
        line.id, registry.address, digest("successor"), sender=admin
    )
    fork = Line(registry, holders, "digits of today", origin=Origin(line.id, 2))
    receipts["createModel, fork"] = fork.created
    return receipts


def _clients(registry: ModelRegistry, holders: Holders, client: str) -> dict[str, Receipt]:
    line = Line(registry, holders, "federated digits")
    admin, operator = holders[Role.ADMIN], holders[Role.OPERATOR]
    line.play(900_000)
    receipts = {
        "enrolClient": registry.enrol_client(line.id, 0, client, digest("data"), sender=admin),
        "enrolClient, one more": registry.enrol_client(
            line.id, 1, client, digest("more data"), sender=admin
        ),
        "excludeClient": registry.exclude_client(line.id, 0, REASON, sender=operator),
        "reinstateClient": registry.reinstate_client(line.id, 0, REASON, sender=operator),
    }
    receipts["register, with clients"] = line.register(updates=digest("updates"), contributors=3)
    receipts["grantRole"] = registry.grant_role(line.id, Role.TRAINER, client, sender=admin)
    receipts["revokeRole"] = registry.revoke_role(line.id, Role.TRAINER, client, sender=admin)
    return receipts


def _same_content(
    registry: ModelRegistry, holders: Holders, clients: Sequence[AccountAPI]
) -> dict[str, Receipt]:
    """What the port of the thesis's chaincode is told, told to ours."""
    line = Line(registry, holders, "the thesis's digits")
    for index, client in enumerate(clients):
        registry.enrol_client(
            line.id, index, client.address, digest(f"data {index}"), sender=holders[Role.ADMIN]
        )
    everybody = (1 << len(clients)) - 1
    receipts = {}
    for accuracy in (900_000, 910_000, 921_300):
        receipts[SAME_CONTENT] = line.register(
            HYPERPARAMETERS, updates=digest("updates"), contributors=everybody
        )
        receipts[SAME_METRICS] = line.validate(accuracy, METRICS)
    operator = holders[Role.OPERATOR]
    receipts[SAME_REASON] = registry.rollback(line.id, 1, STATED_REASON, sender=operator)
    return receipts


def _open_model(registry: ModelRegistry, holders: Holders) -> dict[str, Receipt]:
    line = Line(registry, holders, "candidates", PRESETS["open"], ModelKind.OPEN)
    receipts = {"createModel, open": line.created}
    line.play(900_000)
    receipts["register, open model"] = line.register()
    receipts["validate, open model, new best"] = line.validate(910_000)
    line.register()
    receipts["validate, open model, contender"] = line.validate(905_000)
    line.register()
    line.register()
    receipts["discard, open model"] = registry.discard(
        line.id, line.latest, REASON, sender=holders[Role.OPERATOR]
    )
    return receipts


def _long_history(registry: ModelRegistry, holders: Holders) -> dict[str, Receipt]:
    line = LongLine(registry, holders, "long", PRESETS["unlimited"])
    line.grow(LONG_HISTORY - 1)
    operator = holders[Role.OPERATOR]
    return {
        f"register at version {LONG_HISTORY}": line.register(),
        f"validate at version {LONG_HISTORY}": line.validate(910_000),
        f"rollback at version {LONG_HISTORY}": registry.rollback(
            line.id, LONG_HISTORY // 2, REASON, sender=operator
        ),
    }


def _tensor(registry: ModelRegistry, holders: Holders) -> int:
    """A proof as a transaction of its own; asked by a free call it costs nothing."""
    line, proof = Line(registry, holders, "tensors"), tensor_proof()
    line.register(weights=proof.identity.weights)
    tensor = (proof.tensor.name, proof.tensor.dtype, proof.tensor.shape, proof.tensor.digest)
    details = line.evaluation(0).details
    if not registry.verify_tensor(line.id, 1, details, proof):
        raise AssertionError("the proof that is measured proves nothing")
    arguments = (line.id, 1, details, tuple(proof.identity), tensor, proof.siblings)
    return gas(registry.contract, "verifyTensor", *arguments, sender=holders[Role.ADMIN])
