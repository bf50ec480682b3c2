"""Put on record what validators and clients signed against a validator or a trainer."""

from __future__ import annotations

from pathlib import Path

import click

from scripts._cli import Ui, command, command_group


@command_group("ape run evidence equivocation mnist first.json second.json")
def cli() -> None:
    """Prove that a validator signed a contradiction, or that a trainer hid a client. Anyone may."""


@command(
    "ape run evidence equivocation mnist first.json second.json", name="equivocation", group=cli
)
@click.argument("model")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def equivocation(ui: Ui, model: str, first: Path, second: Path) -> None:
    """Record that one validator signed the files FIRST and SECOND, which contradict each other.

    Both are of the same content of one version of MODEL, as `ape run validate --sign` writes them.
    It decides nothing: an ADMIN may take the role away with `ape run roles revoke`.
    """
    from ml.chain import evidence, models
    from ml.chain.records import Role
    from ml.chain.signed_files import read_evaluation
    from ml.errors import ModelproofError

    one, other = read_evaluation(first), read_evaluation(second)
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        if named.id not in (one.model, other.model):
            raise ModelproofError(f"these evaluations are not of versions of {named.name}.")
        sender = ui.account(session, Role.OPERATOR)
        receipt = evidence.report_equivocation(registry, one, other, sender=sender)
        ui.say(
            f"It is on record that {one.signer} signed two evaluations of"
            f" v{one.evaluation.version} of {named.name} that contradict each other"
            f" (block {receipt.block})."
        )
        ui.result(
            {
                "model": named.id,
                "version": one.evaluation.version,
                "validator": one.signer,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        )


@command("ape run evidence update federated 7 update.json", name="update", group=cli)
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@click.argument("file", type=click.Path(path_type=Path))
def update(ui: Ui, model: str, version: int, file: Path) -> None:
    """Prove that VERSION of MODEL was made of the client's update in FILE.

    Where its registrar did not name the client as a contributor, that is put on record; else
    nothing is sent.
    """
    from ml.chain import evidence, models, verification
    from ml.chain.records import Role
    from ml.chain.signed_files import read_update

    signed = read_update(file)
    with ui.connect() as session:
        registry = session.registry()
        named = models.resolve(registry, model)
        record = verification.by_number(registry, named.id, version).registered
        hidden = evidence.is_hidden(registry, record, signed)
        data = {
            "model": named.id,
            "version": version,
            "client": signed.client,
            "index": signed.index,
            "hidden": hidden,
        }
        ui.say(
            f"v{version} of {named.name} was made of the update of client {signed.index}"
            f" ({signed.client}),"
            f" and its registrar {'did not say so' if hidden else 'says so'}."
        )
        if hidden:
            sender = ui.account(session, Role.OPERATOR)
            receipt = evidence.prove_update(registry, record, signed, sender=sender)
            ui.say(f"That is on record (block {receipt.block}).")
            data |= {
                "registrar": record.registrar,
                "by": sender.address,
                "transaction": receipt.transaction,
                "block": receipt.block,
                "gas": receipt.gas_used,
            }
        ui.result(data)
