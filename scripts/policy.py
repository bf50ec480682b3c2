"""Show or change the policy by which a model's versions are judged."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from scripts._cli import Ui, command
from scripts._models import policy_of, policy_options

if TYPE_CHECKING:
    from ml.chain.types import Policy

_COUNTED = {
    "patience": "validations",
    "convergence_patience": "validations",
    "max_iterations": "validations",
    "max_rollbacks": "rollbacks",
    "quorum": "validators",
}
_NEVER_OFF = ("tolerance", "min_improvement")


@command("ape run policy mnist --limit max_drop=30000 --limit patience=5")
@click.argument("model")
@policy_options
def cli(ui: Ui, model: str, preset: str | None, limits: tuple[str, ...]) -> None:
    """Show the policy of MODEL; with --policy or --limit, change it. ADMIN.

    Without --policy, the limits that are not named stay as they are. The policy cannot change while
    a version waits for its validation. An open model has only max_drop, min_accuracy, quorum and
    independent.
    """
    from ml.chain import models
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        known = registry.model(named.id)
        now = known.policy
        wanted = now
        change: dict[str, Any] = {}
        if preset or limits:
            wanted = policy_of(preset, limits, known.kind, base=now)
            if wanted == now:
                raise ModelproofError(f"this is the policy of {named.name} already.")
            sender = ui.account(session, Role.ADMIN)
            receipt = registry.set_policy(named.id, wanted, sender=sender)
            ui.say(f"The policy of {named.name} is changed (block {receipt.block}).")
            change = {
                "before": asdict(now),
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        ui.table(["limit", "value", "unit", ""], _rows(wanted))
        ui.result({"model": named.id, "policy": asdict(wanted), **change})


def _rows(policy: Policy) -> list[tuple[str, str, str, str]]:
    """Each limit's name, value, unit, and how a person says it."""
    from ml.chain.types import format_ppm

    rows = []
    for name, value in asdict(policy).items():
        if name == "independent":
            rows.append((name, str(int(value)), "", "yes" if value else "no"))
            continue
        unit = _COUNTED.get(name, "ppm")
        shown = f"{format_ppm(value)} %" if unit == "ppm" else ""
        off = value == 0 and name not in _NEVER_OFF
        rows.append((name, f"{value:,}", unit, "off" if off else shown))
    return rows
