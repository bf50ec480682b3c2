"""Look at a chain, move ether on it, mine blocks."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from scripts._cli import Ui, command, command_group

_WEI_PER_ETHER = 10**18


@command_group("ape run chain status --network sepolia")
def cli() -> None:
    """Look at a chain, move ether on it, and mine blocks of a development chain."""


@command("ape run chain status --network sepolia", name="status", group=cli)
def status(ui: Ui) -> None:
    """Client, chain id, block number and gas price."""
    from ml.chain.records import Role

    with ui.connect(lasting=False) as session:
        provider = session.provider
        account = ui.account(session, Role.ADMIN) if session.is_development else None
        values = {
            "client": provider.make_request("web3_clientVersion", []),
            "chain_id": session.chain_id,
            "block": provider.get_block("latest").number,
            "gas_price_gwei": provider.gas_price / 10**9,
            "genesis": ui.short(session.genesis),
        }
        if account is not None:
            values["balance_ether"] = f"{account.address} {account.balance / _WEI_PER_ETHER:.4f}"
        ui.fields(values)
        ui.result({**values, "genesis": session.genesis})


@command("ape run chain blocks --count 5", name="blocks", group=cli)
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
def blocks(ui: Ui, count: int) -> None:
    """The latest blocks, newest first."""
    with ui.connect(lasting=False) as session:
        newest = session.provider.get_block("latest").number or 0
        rows = []
        for number in range(newest, max(-1, newest - count), -1):
            block = session.provider.get_block(number)
            rows.append(
                {
                    "number": number,
                    "time": datetime.fromtimestamp(block.timestamp, UTC).isoformat(),
                    "transactions": block.num_transactions,
                    "gas_used": block.gas_used,
                    "hash": bytes(block.hash or b""),
                }
            )
        ui.table(
            ["block", "time", "transactions", "gas used", "hash"],
            [
                [r["number"], r["time"], r["transactions"], r["gas_used"], ui.short(r["hash"])]
                for r in rows
            ],
        )
        ui.result(rows)


@command("ape run chain transfer test:1 0.5 --account test:0", name="transfer", group=cli)
@click.argument("receiver")
@click.argument("ether", type=float)
def transfer(ui: Ui, receiver: str, ether: float) -> None:
    """Send ETHER to RECEIVER: an address, an alias, or test:N on a development chain."""
    from ml.chain import transfers
    from ml.chain.records import Role
    from ml.errors import ModelproofError

    if not 0 < ether < float("inf"):
        raise ModelproofError(f"{ether} ether cannot be sent: give an amount above 0.")
    with ui.connect(lasting=False) as session:
        sender = ui.account(session, Role.ADMIN)
        to = session.address(receiver)
        amount = round(ether * _WEI_PER_ETHER)
        mined = transfers.transfer(session.outbox, to, amount, sender=sender)
        values = {
            "from": sender.address,
            "to": to,
            "ether": ether,
            "transaction": mined.transaction,
            "block": mined.block,
            "gas": mined.gas_used,
        }
        ui.fields(values)
        ui.result(values)


@command("ape run chain mine --blocks 3", name="mine", group=cli)
@click.option("--blocks", "count", type=click.IntRange(1, 100_000), default=1, show_default=True)
def mine(ui: Ui, count: int) -> None:
    """Mine blocks on a development chain."""
    from ml.errors import ModelproofError

    with ui.connect(lasting=False) as session:
        if not session.is_development:
            raise ModelproofError(
                f"chain {session.chain_id} is no development chain: its blocks are mined by others."
            )
        session.provider.make_request("anvil_mine", [hex(count)])
        newest = session.provider.get_block("latest").number
        ui.say(f"Mined {count}: the latest block is {newest}.")
        ui.result({"mined": count, "block": newest})
