"""Who holds which role on a model."""

from __future__ import annotations

from ml.chain import events
from ml.chain.commitment import role_id
from ml.chain.models import NamedModel
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError


def check_holds(registry: ModelRegistry, model: NamedModel, role: Role, account: str) -> None:
    """Check, before any work is done, that an account holds a role on a model.

    Raises:
        ModelproofError: it does not.
    """
    if not registry.has_role(model.id, role, account):
        raise ModelproofError(
            f"{account} does not hold {role.name} on {model.name} (0x{model.id.hex()}): let an"
            " ADMIN grant it, act from an account that holds it, or choose another --model."
        )


def holders(registry: ModelRegistry, model: bytes) -> dict[Role, list[str]]:
    """The accounts that hold each role, in the order in which they were granted it.

    The grants name the candidates; that they still hold the role is asked of the contract.
    """
    granted = events.read(registry, name="RoleGranted")
    held: dict[Role, list[str]] = {}
    for role in Role:
        if role is Role.NONE:
            continue
        wanted = role_id(model, role)
        candidates = [
            str(event.arguments["account"])
            for event in granted
            if bytes(event.arguments["role"]) == wanted
        ]
        held[role] = [
            account
            for account in dict.fromkeys(candidates)
            if registry.has_role(model, role, account)
        ]
    return held
