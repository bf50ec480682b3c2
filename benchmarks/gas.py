"""What each operation of the registry costs: ``python -m benchmarks.gas``.

The figures are ``gas_used`` from the receipts of real transactions on Anvil, on the contract as it
is deployed. Accounts, names and digests are always the same, so that the figures are too, to the
last unit of gas: ``results/gas.json`` is committed, and a test holds it true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ape import accounts, networks, project
from ape.logging import logger
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from ml.artifact.keccak import keccak256
from ml.chain.commitment import details_fields, details_hash
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Evaluation, Receipt, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import Policy

if TYPE_CHECKING:
    from ape.api import AccountAPI

RESULTS: Final = Path(__file__).parent / "results" / "gas.json"
CONDITIONS: Final = RESULTS.with_name("gas.conditions.json")
NETWORK: Final = "ethereum:local:foundry"
HARDFORK: Final = "shanghai"
"""That of the contracts' own target; later ones have priced these operations alike so far."""

REASON: Final = "poisoning"
"""Of rollbacks, discards and all else that takes a reason: 9 bytes."""
METRICS: Final = ""
METADATA: Final = "x" * 300
LONG_HISTORY: Final = 200
"""Versions of the model on which the figures ``… at version 200`` are measured."""

BUDGETS: Final = {
    "createModel": 225_000,
    "register": 71_000,
    "register, 300 bytes of metadata": 79_000,
    "register, with clients": 73_200,
    "register at version 200": 71_000,
    "validate": 52_000,
    "validate at version 200": 52_000,
    "validate, automatic rollback": 55_000,
    "rollback": 42_000,
    "rollback at version 200": 42_000,
    "rollback, discarding": 46_000,
}
"""What the design allows; the other operations have no budget."""


def digest(name: str) -> bytes:
    """A digest as good as a real one: the zero bytes of 32 random ones are few."""
    return keccak256(name.encode())


@dataclass
class Line:
    """One model, and the gas of what is done to it, by accounts of one role each."""

    registry: ModelRegistry
    holders: dict[Role, AccountAPI]
    name: str
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        """Create the model."""
        self.id, self.created = self.registry.create_model(
            self.name,
            digest("test set"),
            self.policy,
            sender=self.holders[Role.ADMIN],
            trainer=self.holders[Role.TRAINER].address,
            validator=self.holders[Role.VALIDATOR].address,
            operator=self.holders[Role.OPERATOR].address,
        )

    def register(self, metadata: str = "", **stated: Any) -> Receipt:
        """Register the version that is due."""
        state = self.registry.model(self.id).state
        version, trainer = state.latest + 1, self.holders[Role.TRAINER]
        stored = {"object": digest(f"object {version}"), "content": digest(f"content {version}")}
        details = Details(state.current, state.iteration + 1, state.epoch, **stored | stated)
        weights = digest(f"weights {version}")
        receipt = self.registry.register(
            self.id, version, weights, details, metadata, sender=trainer
        )
        self.said = (
            version,
            weights,
            details_hash(self.id, version, trainer.address, details, metadata),
        )
        return receipt

    def validate(self, accuracy: int) -> Receipt:
        """Validate the pending version; ppm."""
        version, weights, details = self.said
        test_set = digest("test set")
        evaluation = Evaluation(version, accuracy, 950_000, True, test_set, weights, details)
        validator = self.holders[Role.VALIDATOR]
        return self.registry.validate(self.id, evaluation, METRICS, sender=validator)[1]

    def play(self, *accuracies: int) -> list[Receipt]:
        """Register and validate one version per accuracy; the receipts of the validations."""
        receipts = []
        for accuracy in accuracies:
            self.register()
            receipts.append(self.validate(accuracy))
        return receipts

    def play_in_bulk(self, versions: int) -> None:
        """Make a long history fast: all of it by one contract, many versions a transaction."""
        admin = self.holders[Role.ADMIN]
        player = admin.deploy(project.BatchCaller)
        for role in (Role.TRAINER, Role.VALIDATOR):
            self.registry.grant_role(self.id, role, str(player.address), sender=admin)
        calls: list[bytes] = []
        for version in range(1, versions + 1):
            calls += self._round(version, str(player.address))
        for start in range(0, len(calls), 80):
            player.callEach(self.registry.address, calls[start : start + 80], sender=admin)
        if self.registry.model(self.id).state.current != versions:
            raise AssertionError(f"the history ended before version {versions}")

    def _round(self, version: int, registrar: str) -> Iterable[bytes]:
        """The calls that register a version on the one before and validate it."""
        contract = self.registry.contract
        details = Details(version - 1, version, 0)
        hashed = details_hash(self.id, version, registrar, details, "")
        weights, test_set = digest(f"weights {version}"), digest("test set")
        evaluated = (version, 900_000, 0, True, test_set, weights, hashed)
        yield contract.register.encode_input(self.id, version, weights, details_fields(details), "")
        yield contract.validate.encode_input(self.id, evaluated, METRICS)


def measure() -> dict[str, int]:
    """The gas of every operation, by its name, on the connected development chain."""
    admin, trainer, validator, operator, client = accounts.test_accounts[:5]
    holders = {
        Role.ADMIN: admin,
        Role.TRAINER: trainer,
        Role.VALIDATOR: validator,
        Role.OPERATOR: operator,
    }
    contract = admin.deploy(project.ModelRegistry)
    registry = ModelRegistry(contract)
    receipts = {
        **_line(registry, holders),
        **_clients(registry, holders, client.address),
        **_long_history(registry, holders),
    }
    deployed = {"deploy": int(contract.creation_metadata.receipt.gas_used)}
    return deployed | {name: receipt.gas_used for name, receipt in receipts.items()}


def _line(registry: ModelRegistry, holders: dict[Role, AccountAPI]) -> dict[str, Receipt]:
    line = Line(registry, holders, "digits")
    admin, operator = holders[Role.ADMIN], holders[Role.OPERATOR]
    receipts = {"createModel": line.created}
    receipts["register, first version"] = line.register()
    receipts["validate, first version"] = line.validate(900_000)
    receipts["register"] = line.register()
    receipts["validate"] = line.validate(910_000)
    receipts["register, 300 bytes of metadata"] = line.register(METADATA)
    receipts["validate, below best"] = line.validate(909_000)
    line.register()
    receipts["validate, automatic rollback"] = line.validate(800_000)
    receipts["rollback"] = registry.rollback(line.id, 1, REASON, sender=operator)
    line.register()
    receipts["rollback, discarding"] = registry.rollback(line.id, 2, REASON, sender=operator)
    line.register()
    receipts["discard"] = registry.discard(line.id, REASON, sender=operator)
    receipts["revoke"] = registry.revoke(line.id, 1, REASON, sender=operator)
    receipts["complete"] = registry.complete(line.id, REASON, sender=operator)
    receipts["reopen"] = registry.reopen(line.id, REASON, sender=admin)
    receipts["setPolicy"] = registry.set_policy(line.id, Policy(patience=5), sender=admin)
    return receipts


def _clients(
    registry: ModelRegistry, holders: dict[Role, AccountAPI], client: str
) -> dict[str, Receipt]:
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


def _long_history(registry: ModelRegistry, holders: dict[Role, AccountAPI]) -> dict[str, Receipt]:
    line = Line(registry, holders, "long", PRESETS["unlimited"])
    line.play_in_bulk(LONG_HISTORY - 1)
    operator = holders[Role.OPERATOR]
    return {
        f"register at version {LONG_HISTORY}": line.register(),
        f"validate at version {LONG_HISTORY}": line.validate(910_000),
        f"rollback at version {LONG_HISTORY}": registry.rollback(
            line.id, LONG_HISTORY // 2, REASON, sender=operator
        ),
    }


def conditions() -> dict[str, Any]:
    """What the figures depend on, and the machine, on which they do not."""
    node = networks.provider
    compiler = project.config.solidity
    return {
        "node": node.client_version,
        "hardfork": node.make_request("anvil_nodeInfo", [])["hardFork"],
        "solc": str(compiler.version),
        "evm_version": str(compiler.evm_version),
        "optimization_runs": int(compiler.optimization_runs),
        "via_ir": bool(compiler.via_ir),
        "reason": REASON,
        "metrics": METRICS,
        "machine": machine.describe(),
    }


def print_table(figures: dict[str, int], console: Console) -> None:
    """The figures beside what the design allows."""
    table = Table("operation", title="Gas by operation")
    for heading in ("gas", "budget", "left"):
        table.add_column(heading, justify="right")
    for name, gas in figures.items():
        budget = BUDGETS.get(name)
        allowed = ("", "") if budget is None else (f"{budget:,}", f"{budget - gas:,}")
        table.add_row(name, f"{gas:,}", *allowed)
    console.print(table)


def main() -> None:
    """Measure on an Anvil of its own, write the results and print them."""
    logger.set_level("WARNING")
    settings = {"evm_version": HARDFORK}
    with networks.parse_network_choice(NETWORK, provider_settings=settings):
        figures, known = measure(), conditions()
    RESULTS.parent.mkdir(exist_ok=True)
    for path, content in ((RESULTS, figures), (CONDITIONS, known)):
        path.write_text(json.dumps(content, indent=2) + "\n")
    console = Console()
    print_table(figures, console)
    console.print(f"Written to {RESULTS}; conditions beside it.", soft_wrap=True)


if __name__ == "__main__":
    main()
