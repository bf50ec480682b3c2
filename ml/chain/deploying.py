"""Putting the project's contracts on a chain, once: what stands there is kept or taken over.

Where the network has the usual CREATE2 factory, an address follows from the code and a salt, on
every such network the same; so a deployment that was interrupted is found again, and one that
somebody else made is as good as ours. On other networks an account creates the contracts.

Whatever is put on record was compared before, byte for byte, with what this project's constructor
makes at that address.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ape import project
from ape.exceptions import TransactionError

from ml.chain import create2, deployments, interface
from ml.chain.builds import CONTRACTS, Build, build
from ml.chain.construction import runtime_code
from ml.chain.contract import paying
from ml.chain.creation import Creation, find_creation
from ml.chain.deployments import Deployment, NoDeployment
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI

    from ml.chain.session import Session

_LOOKED_BACK: Final = 32
"""How many of an account's latest transactions may have created the contract that is looked for."""


class How(StrEnum):
    """How a contract came to be on record."""

    KEPT = "kept"
    """It was on record."""
    FOUND = "found"
    """It stood on the chain, and was put on record."""
    DEPLOYED = "deployed"
    """It was created, and put on record."""


class OtherInterface(NoDeployment):
    """What is deployed is of another version of the project."""


class ForeignCode(NoDeployment):
    """What stands at an address is not what this project would have put there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One contract that is on record now."""

    deployment: Deployment
    how: How
    gas_used: int = 0


def deploy(
    session: Session, contract: str, sender: AccountAPI, salt: bytes, *, again: bool = False
) -> Outcome:
    """Have a contract of the project on a chain and on record; nothing is sent if it is.

    Args:
        session: the chain
        contract: its name
        sender: who pays, and creates it where there is no factory
        salt: 32 bytes that, with the code, decide on the address
        again: also if another one is on record and in use; that one is then one of its former ones

    Raises:
        OtherInterface: the one on record is of another version of the project.
        ForeignCode: something else stands where it belongs.
        ModelproofError: there is no place for the record, or a transaction of the sender waits.
    """
    standing = deployments.standing(contract, session) if session.is_lasting else None
    made = build(contract)
    if standing is not None and not again:
        check_interface(standing)
        return Outcome(standing, How.KEPT)
    if session.code(create2.FACTORY) != create2.FACTORY_CODE:
        return _deploy_from_account(session, made, sender, again)
    address = create2.address_of(salt, made.init_code_hash)
    if standing is not None and standing.address == address:
        return Outcome(standing, How.KEPT)
    if session.code(address):
        return _take_over(session, made, address)
    return _deploy_from_factory(session, made, sender, salt, address)


def adopt(session: Session, address: str, block: int | None = None) -> Outcome:
    """Put a contract on record that somebody else deployed from this version of the project.

    Args:
        session: the chain
        address: where it stands
        block: where it was created, for nodes that do not keep the past

    Raises:
        NoDeployment: there is nothing.
        ForeignCode: it is none of the project's contracts.
    """
    code = session.code(address)
    if not code:
        raise NoDeployment(f"there is no code at {address} on chain {session.chain_id}.")
    for name in CONTRACTS:
        if runtime_code(build(name).init_code, address, session.chain_id) == code:
            return _take_over(session, build(name), address, block)
    raise ForeignCode(
        f"the code at {address} is none of {', '.join(CONTRACTS)} as compiled here: check the"
        " address, and check out the version of this project that it was deployed from."
    )


def check_interface(deployment: Deployment) -> None:
    """Refuse a contract that does not offer what this version of the project asks of it.

    Raises:
        OtherInterface: it is of another version.
    """
    lacking = interface.missing(deployment.abi, build(deployment.contract).abi)
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise OtherInterface(
            f"the {deployment.contract} at {deployment.address} is of another version of this"
            f" project, without {lacking[0]}{more}: check that version out, or deploy this one"
            " beside it with `ape run deploy --again`."
        )


def _deploy_from_factory(
    session: Session, made: Build, sender: AccountAPI, salt: bytes, address: str
) -> Outcome:
    _check_ready(session, made, sender)
    try:
        with paying(sender):
            receipt = sender.transfer(create2.FACTORY, 0, data=salt + made.init_code)
    except TransactionError:
        if not session.code(address):
            raise
        return _take_over(session, made, address)  # somebody else's came first
    creation = Creation(receipt.block_number, receipt.txn_hash, str(sender.address), salt)
    return Outcome(_record(session, made, address, creation), How.DEPLOYED, receipt.gas_used)


def _deploy_from_account(session: Session, made: Build, sender: AccountAPI, again: bool) -> Outcome:
    _check_ready(session, made, sender)
    unrecorded = None if again else _created_lately(session, made, sender)
    if unrecorded is not None:
        return _take_over(session, made, unrecorded)
    with paying(sender):
        contract = sender.deploy(getattr(project, made.contract))
    receipt = contract.creation_metadata.receipt
    creation = Creation(receipt.block_number, receipt.txn_hash, str(sender.address))
    record = _record(session, made, str(contract.address), creation)
    return Outcome(record, How.DEPLOYED, receipt.gas_used)


def _created_lately(session: Session, made: Build, sender: AccountAPI) -> str | None:
    """The latest address at which an account created this contract, if it did so lately."""
    ecosystem, nonce = session.provider.network.ecosystem, sender.nonce
    for earlier in range(nonce - 1, max(nonce - _LOOKED_BACK, 0) - 1, -1):
        address = str(ecosystem.get_deployment_address(sender.address, earlier))
        if session.code(address) == runtime_code(made.init_code, address, session.chain_id):
            return address
    return None


def _check_ready(session: Session, made: Build, sender: AccountAPI) -> None:
    """Before anything is spent: the code is the sources', and nothing of the sender's waits.

    What waits may be this very deployment, sent by a process that was killed.
    """
    made.check_sources()
    ask = session.provider.make_request
    mined, sent = (
        int(ask("eth_getTransactionCount", [str(sender.address), tag]), 16)
        for tag in ("latest", "pending")
    )
    if mined != sent:
        raise ModelproofError(
            f"{sender.address} has a transaction that waits to be mined: run this again when it is."
        )


def _take_over(session: Session, made: Build, address: str, block: int | None = None) -> Outcome:
    _checked_code(session, made, address)
    creation = find_creation(session, address, block)
    return Outcome(_record(session, made, address, creation), How.FOUND)


def _record(session: Session, made: Build, address: str, creation: Creation) -> Deployment:
    """Describe what was checked to stand at an address, and put it on record."""
    salt = creation.salt
    deployment = Deployment(
        contract=made.contract,
        address=address,
        code_hash=deployments.hash_code(_checked_code(session, made, address)),
        block=creation.block,
        transaction=creation.transaction,
        deployer=creation.sender,
        abi=made.abi,
        factory=create2.FACTORY if salt is not None else None,
        salt="0x" + salt.hex() if salt is not None else None,
        init_code_hash="0x" + made.init_code_hash.hex(),
        compiler=made.compiler,
        compiler_input_sha256=made.compiler_input_sha256,
    )
    return deployments.save(deployment, session) if session.is_lasting else deployment


def _checked_code(session: Session, made: Build, address: str) -> bytes:
    code = session.code(address)
    if code != runtime_code(made.init_code, address, session.chain_id):
        raise ForeignCode(
            f"what stands at {address} on chain {session.chain_id} is not the {made.contract} that"
            " belongs there: find out who put it there, and choose another address with --salt."
        )
    return code
