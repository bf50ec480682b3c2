"""The model that a command is about: found, or created where there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml.errors import ModelproofError
from scripts._cli import Ui

if TYPE_CHECKING:
    from ml.chain.models import NamedModel
    from ml.chain.records import Origin
    from ml.chain.registry import ModelRegistry
    from ml.chain.session import Session
    from ml.chain.types import ModelKind, Policy


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say a policy."""
    for option in (
        click.option(
            "--policy",
            "preset",
            type=click.Choice(["thesis", "unlimited", "open"]),
            help="A preset (docs/policy.md).  [default of a new model: thesis, or open]",
        ),
        click.option(
            "--limit",
            "limits",
            multiple=True,
            metavar="NAME=VALUE",
            help="A limit instead of the preset's, as max_drop=30000 (ppm).",
        ),
    ):
        command = option(command)
    return command


def validator_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that says who validates."""
    return click.option(
        "--validator",
        metavar="ACCOUNT",
        help="Who validates; of a new model, gets the role.  [default on a dev chain: test:2]",
    )(command)


def kind_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what kind of model to create."""
    for option in (
        click.option(
            "--open",
            "is_open",
            is_flag=True,
            help="Create a registry of candidates, not one line of versions (docs/forks.md).",
        ),
        click.option(
            "--fork-of",
            metavar="MODEL:VERSION",
            help="Create a model that starts from a passed version of another one.",
        ),
    ):
        command = option(command)
    return command


def default_preset(kind: ModelKind) -> str:
    """The policy of a new model for which none is named."""
    from ml.chain.types import ModelKind

    return "open" if kind is ModelKind.OPEN else "thesis"


def policy_of(
    preset: str | None,
    limits: tuple[str, ...],
    kind: ModelKind,
    base: Policy | None = None,
) -> Policy:
    """A preset, or ``base`` if none is named, with some limits changed.

    Raises:
        ModelproofError: a limit is not of the form, not known, or does not fit the others or the
            model's kind.
    """
    from dataclasses import fields, replace

    from ml.chain.policy import PRESETS, check

    start = PRESETS[preset or default_preset(kind)]
    if preset is None and base is not None:
        start = base
    known = [field.name for field in fields(start)]
    changes: dict[str, Any] = {}
    for limit in limits:
        name, _, value = limit.partition("=")
        if name not in known or not value.isdecimal():
            raise ModelproofError(
                f"{limit} is not a limit of the policy: write NAME=VALUE with one of"
                f" {', '.join(known)}."
            )
        changes[name] = bool(int(value)) if name == "independent" else int(value)
    policy = replace(start, **changes)
    check(policy, kind)
    return policy


@dataclass(frozen=True)
class NewModel:
    """What a model would be created with, if there is none of the name."""

    test_set: bytes
    preset: str | None
    limits: tuple[str, ...]
    validator: str | None
    is_open: bool = False
    fork_of: str | None = None

    @property
    def kind(self) -> ModelKind:
        """Strict unless it is to be open."""
        from ml.chain.types import ModelKind

        return ModelKind.OPEN if self.is_open else ModelKind.STRICT


def open_or_create(
    ui: Ui, session: Session, registry: ModelRegistry, text: str, new: NewModel
) -> NamedModel:
    """The model that ``text`` means, on which the sender may register; created if there is none.

    Raises:
        ModelproofError: it was created for another test set, or is of another kind or another
            origin, the sender may not register on it, or another policy is given than it has.
    """
    from ml.chain import models
    from ml.chain.records import Role
    from ml.chain.roles import check_holds

    policy = policy_of(new.preset, new.limits, new.kind)
    origin = _origin(registry, new.fork_of) if new.fork_of else None
    found = _find(ui, session, registry, text)
    if found is None:
        return _create(ui, session, registry, text, policy, new, origin)
    known = registry.model(found.id)
    other_kind = new.is_open and known.kind is not new.kind
    if other_kind or origin not in (None, known.origin):
        raise ModelproofError(
            f"{found.name} is there already, and not as --open or --fork-of would create it: leave"
            " them out, or choose another --model."
        )
    committed = known.test_set
    if committed != new.test_set:
        raise ModelproofError(
            f"{found.name} was created for the test set 0x{committed.hex()}, not"
            f" 0x{new.test_set.hex()}: accuracies on two test sets cannot be compared, so choose"
            " another --model."
        )
    if (new.preset or new.limits) and policy != known.policy:
        raise ModelproofError(
            f"{found.name} has another policy already: leave --policy and --limit out, or change it"
            f" with `ape run policy {found.name}`."
        )
    check_holds(registry, found, Role.TRAINER, ui.account(session, Role.TRAINER).address)
    return models.NamedModel(found.id, found.name, found.creator)


def _find(ui: Ui, session: Session, registry: ModelRegistry, text: str) -> NamedModel | None:
    """The model of this name or id: of several of one name, the sender's own."""
    from ml.chain import models
    from ml.chain.records import Role

    named = [model for model in models.all_models(registry) if model.name == text]
    if not named and not models.is_id(text):
        return None
    owner = ui.account(session, Role.ADMIN).address
    own = [model for model in named if model.creator == owner]
    return own[0] if own and not models.is_id(text) else models.resolve(registry, text)


def _create(
    ui: Ui,
    session: Session,
    registry: ModelRegistry,
    name: str,
    policy: Policy,
    new: NewModel,
    origin: Origin | None,
) -> NamedModel:
    from ml.chain import models
    from ml.chain.records import Role

    owner = ui.account(session, Role.ADMIN)
    model, receipt = registry.create_model(
        name,
        new.test_set,
        policy,
        sender=owner,
        kind=new.kind,
        origin=origin,
        trainer=ui.account(session, Role.TRAINER).address,
        validator=_first_validator(session, new.validator),
        operator=ui.account(session, Role.OPERATOR).address,
    )
    preset = new.preset or default_preset(new.kind)
    what = f"open model {name}" if new.is_open else name
    forked = f" as a fork of {new.fork_of}" if new.fork_of else ""
    ui.say(
        f"Created {what} ({ui.short(model)}){forked} with the policy '{preset}', block"
        f" {receipt.block}."
    )
    return models.NamedModel(model, name, owner.address)


def _origin(registry: ModelRegistry, text: str) -> Origin:
    """The version that ``MODEL:VERSION`` means; whether it has passed is the contract's to say."""
    from ml.chain import models
    from ml.chain.records import Origin

    name, _, version = text.rpartition(":")
    if not name or not version.isdecimal():
        raise ModelproofError(f"{text} names no version of a model: write MODEL:VERSION.")
    return Origin(models.resolve(registry, name).id, int(version))


def _first_validator(session: Session, name: str | None) -> str:
    """Who validates a new model: on a public chain nobody, unless somebody is named."""
    from ml.chain.records import Role
    from ml.chain.registry import NO_ACCOUNT

    if name is None and not session.is_development:
        return NO_ACCOUNT
    return session.address(name) if name else str(session.account(None, Role.VALIDATOR).address)


def test_set_root(text: str) -> bytes:
    """The test set that a user means: a data set by its name, a root, or a file.

    A file's root is its identity as an opaque artifact.

    Raises:
        ModelproofError: it is none of these.
    """
    from ml.artifact import opaque
    from ml.training.datasets import DATASET_NAMES, load_dataset

    if text in DATASET_NAMES:
        return load_dataset(text).test_digest
    if text.startswith("0x"):
        try:
            root = bytes.fromhex(text[2:])
        except ValueError:
            root = b""
        if len(root) != 32 or not any(root):
            raise ModelproofError(
                f"{text} is not a test set's root: 0x and 64 hex digits, not zero."
            )
        return root
    if not Path(text).is_file():
        raise ModelproofError(
            f"{text} is no test set: give {', '.join(DATASET_NAMES)}, a root (0x…), or a file."
        )
    return opaque.read_manifest(Path(text)).weights
