"""Who may do what on a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts._cli import Ui, command, command_group

if TYPE_CHECKING:
    from ml.chain.models import NamedModel
    from ml.chain.registry import ModelRegistry

_ROLE = click.Choice(["admin", "trainer", "validator", "operator"], case_sensitive=False)
_force = click.option("--force", is_flag=True, help="Even if nobody is ADMIN of the model then.")


@command_group("ape run roles grant mnist validator test:5")
def cli() -> None:
    """Who may do what on a model: list, grant, revoke, hand over."""


@command("ape run roles list mnist", name="list", group=cli)
@click.argument("model")
def list_roles(ui: Ui, model: str) -> None:
    """The accounts that hold each role on MODEL."""
    from ml.chain import models, roles

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        held = roles.holders(registry, named.id)
        rows = [(role.name, account) for role, accounts in held.items() for account in accounts]
        ui.table(["role", "account"], rows)
        ui.result({role.name: accounts for role, accounts in held.items()})


@command("ape run roles grant mnist validator test:5", name="grant", group=cli)
@click.argument("model")
@click.argument("role", type=_ROLE)
@click.argument("holder")
def grant(ui: Ui, model: str, role: str, holder: str) -> None:
    """Grant ROLE on MODEL to HOLDER (an address, an alias, or test:N). ADMIN."""
    _change(ui, model, role, holder, granted=True)


@command("ape run roles revoke mnist trainer test:1", name="revoke", group=cli)
@click.argument("model")
@click.argument("role", type=_ROLE)
@click.argument("holder")
@_force
def revoke(ui: Ui, model: str, role: str, holder: str, force: bool) -> None:
    """Take ROLE on MODEL away from HOLDER. ADMIN.

    The last ADMIN keeps the role: a model that nobody administers stays so for ever.
    """
    _change(ui, model, role, holder, granted=False, force=force)


@command("ape run roles handover mnist newowner", name="handover", group=cli)
@click.argument("model")
@click.argument("holder")
@_force
def handover(ui: Ui, model: str, holder: str, force: bool) -> None:
    """Make HOLDER the ADMIN of MODEL and give the role up: a grant and a revocation, on record."""
    from ml.chain import models
    from ml.chain.records import Role
    from ml.chain.registry import NO_ACCOUNT
    from ml.errors import ModelproofError

    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        sender = ui.account(session, Role.ADMIN)
        account = session.address(holder)
        if account == NO_ACCOUNT and not force:
            _check_administered(registry, named, without=sender.address)
        if account == sender.address:
            raise ModelproofError(f"{account} is the one who hands over: name another account.")
        registry.grant_role(named.id, Role.ADMIN, account, sender=sender)
        receipt = registry.revoke_role(named.id, Role.ADMIN, sender.address, sender=sender)
        ui.say(f"{account} is ADMIN of {named.name} now, and {sender.address} no longer is.")
        ui.result({"model": named.id, "admin": account, "transaction": receipt.transaction})


def _change(
    ui: Ui, model: str, role_name: str, holder: str, *, granted: bool, force: bool = False
) -> None:
    from ml.chain import models
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    role = Role[role_name.upper()]
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        sender = ui.account(session, Role.ADMIN)
        account = session.address(holder)
        if registry.has_role(named.id, role, account) is granted:
            holds = "holds" if granted else "does not hold"
            raise ModelproofError(f"{account} {holds} {role.name} on {named.name} already.")
        if role is Role.ADMIN and not granted and not force:
            _check_administered(registry, named, without=account)
        change = registry.grant_role if granted else registry.revoke_role
        receipt = change(named.id, role, account, sender=sender)
        verb = "holds" if granted else "no longer holds"
        ui.say(f"{account} {verb} {role.name} on {named.name} (block {receipt.block}).")
        ui.result(
            {
                "model": named.id,
                "role": role.name,
                "account": account,
                "granted": granted,
                "transaction": receipt.transaction,
            }
        )


def _check_administered(registry: ModelRegistry, model: NamedModel, *, without: str) -> None:
    """Refuse what leaves a model to nobody: no one could ever grant a role on it again."""
    from ml.chain import roles
    from ml.chain.records import Role
    from ml.chain.registry import NO_ACCOUNT
    from ml.errors import ModelproofError

    admins = roles.holders(registry, model.id)[Role.ADMIN]
    if not set(admins) - {without, NO_ACCOUNT}:
        raise ModelproofError(
            f"{without} is the last ADMIN of {model.name}, and without one nobody could ever grant"
            " a role on it again: make another account ADMIN first, or say --force."
        )
