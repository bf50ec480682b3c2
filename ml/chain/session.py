"""A connection to a chain: which node, which accounts, which registry.

The default network, ``auto``, is the development node of ``make node`` if one answers, else an
Anvil of Ape's own that lives as long as the command.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ape import accounts, networks, project
from ape.contracts import ContractInstance
from ape.exceptions import AccountsError, ApeException, NetworkError, ProviderError
from ape.logging import logger
from eth_utils.address import (
    is_address,
    is_checksum_address,
    is_checksum_formatted_address,
    to_checksum_address,
)

from ml.chain import deploying, deployments
from ml.chain.anvil import HOST, free_port
from ml.chain.deployments import Deployment
from ml.chain.outbox.opening import Outbox, close_outbox_of, journal_path, outbox_of
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.errors import ModelproofError

if TYPE_CHECKING:
    from ape.api import AccountAPI, ProviderAPI

AUTO: Final = "auto"
OWN_ANVIL: Final = "ethereum:local:foundry"
PASSING: Final = (OWN_ANVIL, "ethereum:local:test")
"""Chains that end with the process."""
DEV_NODE: Final = "ethereum:dev:node"
DEV_CHAIN_ID: Final = 31337
DEV_NODE_URL: Final = "http://127.0.0.1:8545"
SHORT_NAMES: Final = {
    "local": OWN_ANVIL,
    "dev": DEV_NODE,
    "sepolia": "ethereum:sepolia:node",
    "base-sepolia": "base:sepolia:node",
}
URL_VARIABLES: Final = {
    "ethereum:sepolia:node": "SEPOLIA_RPC_URL",
    "base:sepolia:node": "BASE_SEPOLIA_RPC_URL",
}
DEV_ACCOUNTS: Final = {Role.ADMIN: 0, Role.TRAINER: 1, Role.VALIDATOR: 2, Role.OPERATOR: 3}
"""On development chains each role has a test account of its own, so that nobody judges himself."""


class ConnectionFailed(ModelproofError):
    """No node, or not the one that was asked for."""


class NoAccount(ModelproofError):
    """An account was not named, or is not known, or cannot be unlocked."""


@dataclass
class Session:
    """A connected chain."""

    provider: ProviderAPI
    network: str
    _unlocked: dict[str, AccountAPI] = field(default_factory=dict, repr=False)
    _own_contracts: dict[str, tuple[ContractInstance, int]] = field(
        default_factory=dict, repr=False
    )

    @property
    def chain_id(self) -> int:
        """The chain's id (EIP-155)."""
        return int(self.provider.chain_id)

    @property
    def is_development(self) -> bool:
        """Whether the chain is a developer's own, with funded test accounts."""
        return self.chain_id == DEV_CHAIN_ID

    @property
    def is_lasting(self) -> bool:
        """Whether the chain outlives this process."""
        return self.network not in PASSING

    @property
    def network_for_others(self) -> str:
        """The network by which another process connects to the very same node."""
        return f"ethereum:dev:{self.provider.uri}" if self.is_development else self.network

    @cached_property
    def genesis(self) -> str:
        """The hash of block 0, as 0x and hex."""
        return "0x" + bytes(self.provider.get_block(0).hash or b"").hex()

    def code(self, address: str) -> bytes:
        """The code at an address, empty if there is none."""
        return bytes(self.provider.get_code(address))

    def registry(self) -> ModelRegistry:
        """The deployed registry, its code checked; on an Anvil of Ape's own, a new one.

        Raises:
            NoDeployment: there is none on this chain.
        """
        return ModelRegistry(*self._deployed("ModelRegistry"))

    def registry_at(self, address: str, block: int) -> ModelRegistry:
        """The registry at an address, which whoever started this process has checked.

        Args:
            address: the registry's
            block: that its events begin at

        Raises:
            NoDeployment: there is no code.
        """
        if not self.code(address):
            raise deployments.NoDeployment(f"there is no contract at {address} on this chain.")
        kind = project.ModelRegistry.contract_type
        return ModelRegistry(ContractInstance(address, kind), block)

    def provenance_log(self) -> ProvenanceLog:
        """The deployed log, as `registry`.

        Raises:
            NoDeployment: there is none on this chain.
        """
        return ProvenanceLog(*self._deployed("ProvenanceLog"))

    @property
    def outbox(self) -> Outbox:
        """What is sent to this chain, and has been."""
        return outbox_of(self.provider)

    def restore(self) -> None:
        """Send again what was sent from here and what a reorganisation of the chain removed.

        Raises:
            JournalError: the journal of what was sent cannot be used.
        """
        if self.is_lasting and journal_path(self.chain_id, self.genesis).exists():
            self.outbox.keeper.restore()

    def deploy(self, sender: AccountAPI) -> tuple[ModelRegistry, Deployment]:
        """Deploy a registry beside those that are there, under a salt of its own, and describe it.

        A lasting chain's record is written.

        Raises:
            NoDeployment: the code is not on the chain afterwards.
            ModelproofError: there is no place for the record.
        """
        salt = secrets.token_bytes(32)
        done = deploying.deploy(self, "ModelRegistry", sender, salt, again=True)
        return ModelRegistry(*_instance(done.deployment)), done.deployment

    def _deployed(self, contract: str) -> tuple[ContractInstance, int]:
        if not self.is_lasting:
            return self._own(contract)
        found = deployments.load(contract, self)
        deploying.check_interface(found)
        return _instance(found)

    def _own(self, contract: str) -> tuple[ContractInstance, int]:
        """On a chain that ends with the process, a contract that is deployed once it is needed."""
        if contract not in self._own_contracts:
            made = self.account(None, Role.ADMIN).deploy(getattr(project, contract))
            block = made.creation_metadata.receipt.block_number
            self._own_contracts[contract] = made, block
        return self._own_contracts[contract]

    def account(self, name: str | None, role: Role) -> AccountAPI:
        """The account to act from, by its alias in Ape's keystore.

        On a development chain ``test:N`` names a test account, and no name means the test account
        that stands for the role.

        Raises:
            NoAccount: none was named where one must be, or there is none of that name.
        """
        if name is None:
            if not self.is_development:
                raise NoAccount(
                    f"chain {self.chain_id} has no test accounts: name one of yours with"
                    " --account ALIAS (`ape accounts list` shows them)."
                )
            return accounts.test_accounts[DEV_ACCOUNTS[role]]
        if name.startswith("test:"):
            return self._test_account(name)
        if name not in self._unlocked:  # its passphrase is asked for once
            self._unlocked[name] = _keystore_account(name)
        return self._unlocked[name]

    def account_at(self, address: str, name: str | None = None) -> AccountAPI | None:
        """The account of an address, if it is the one named or a development chain's; else None.

        Raises:
            NoAccount: there is none of that name, or it cannot be unlocked.
        """
        named = [self.account(name, Role.NONE)] if name is not None else []
        at_hand = [*named, *(accounts.test_accounts if self.is_development else ())]
        return next((one for one in at_hand if str(one.address) == address), None)

    def address(self, name: str) -> str:
        """The address that a user means: an address itself, an alias, or ``test:N``.

        Raises:
            NoAccount: it is none of these.
        """
        if name.startswith("0x"):
            mistyped = is_checksum_formatted_address(name) and not is_checksum_address(name)
            if mistyped or not is_address(name):
                raise NoAccount(f"{name} is not an address: check its digits and their case.")
            return to_checksum_address(name)
        if name.startswith("test:"):
            return str(self._test_account(name).address)
        return str(_load(name).address)

    def _test_account(self, name: str) -> AccountAPI:
        if not self.is_development:
            raise NoAccount(
                f"{name} is a public test key, not to be used on chain {self.chain_id}:"
                " name an account of your own with --account ALIAS."
            )
        index = name.removeprefix("test:")
        if not index.isdecimal() or int(index) >= len(accounts.test_accounts):
            raise NoAccount(f"{name} is no test account: use test:0 to test:9.")
        return accounts.test_accounts[int(index)]


def _instance(deployment: Deployment) -> tuple[ContractInstance, int]:
    """A contract that is on record, and the block that its events begin at."""
    # not by Ape's own way, which would mix in what it remembers of this address: the contract of a
    # chain that has started over
    kind = getattr(project, deployment.contract).contract_type
    return ContractInstance(deployment.address, kind), deployment.block


@contextmanager
def connect(network: str = AUTO) -> Iterator[Session]:
    """Connect to a network by its short name or as Ape writes it.

    Raises:
        ConnectionFailed: the network is not known, its address not set, or no node answers.
    """
    choice = SHORT_NAMES.get(network, network)
    if choice == AUTO:
        choice = DEV_NODE if dev_node_answers() else OWN_ANVIL
    variable = URL_VARIABLES.get(choice)
    if variable and not os.environ.get(variable):
        raise ConnectionFailed(
            f"the network {network} needs the address of a node: set {variable} (see .env.example)."
        )
    os.environ.setdefault("DEV_RPC_URL", DEV_NODE_URL)  # ape-config.yaml names it
    # left to itself, Ape tries any port, and takes an Anvil that listens there for its own
    is_own = choice in (OWN_ANVIL, "ethereum:local")
    settings = {"host": f"http://{HOST}:{free_port()}"} if is_own else {}
    try:
        context = networks.parse_network_choice(choice, provider_settings=settings)
        provider = context.__enter__()
    except (NetworkError, ProviderError, ApeException) as error:
        raise ConnectionFailed(_why_not_connected(network, choice, error)) from error
    reported = False
    try:
        yield Session(provider, provider.network_choice)
        reported = True
    finally:
        close_outbox_of(provider, reported=reported)
        context.__exit__(None, None, None)


def dev_node_url() -> str:
    """Where the development node of ``make node`` is looked for."""
    return os.environ.get("DEV_RPC_URL", DEV_NODE_URL)


def dev_node_answers() -> bool:
    """Whether a development chain answers at `dev_node_url`."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
    try:
        request = urllib.request.Request(  # noqa: S310 (the user names the address)
            dev_node_url(), body.encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
            return int(json.load(answer)["result"], 16) == DEV_CHAIN_ID
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _why_not_connected(network: str, choice: str, error: Exception) -> str:
    if isinstance(error, NetworkError):
        known = ", ".join(SHORT_NAMES)
        return f"{network} is not a network: use one of {known}, or a name of `ape networks list`."
    if choice == DEV_NODE:
        return f"no node answers at {dev_node_url()}: start one with `make node`."
    return f"no connection to {network}: {str(error).splitlines()[0]}"


def _load(alias: str) -> AccountAPI:
    try:
        return accounts.load(alias)
    except (AccountsError, KeyError, ValueError) as error:
        known = ", ".join(a.alias for a in accounts if a.alias) or "none yet"
        raise NoAccount(
            f"there is no account {alias or 'without a name'}: `ape accounts import ALIAS` adds"
            f" one (known: {known})."
        ) from error


def _keystore_account(alias: str) -> AccountAPI:
    account = _load(alias)
    logger.set_level("ERROR")  # Ape warns that an account signs by itself: here it is asked to
    try:
        account.set_autosign(True, passphrase=_passphrase(alias))  # unlocks it
    except ApeException as error:
        raise NoAccount(f"account {alias} was not unlocked: the passphrase is wrong.") from error
    return account


def _passphrase(alias: str) -> str:
    """From the variable where Ape looks for it, or asked for at the terminal.

    Not asked for by Ape, which writes its question to stdout, where results belong.
    """
    variable = f"APE_ACCOUNTS_{alias}_PASSPHRASE"
    answer = os.environ.get(variable, "")
    if not answer:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # it could be seen
            with suppress(EOFError, getpass.GetPassWarning):
                answer = getpass.getpass(f"Passphrase of account {alias}: ")
    if not answer:
        raise NoAccount(
            f"account {alias} was not unlocked: give its passphrase when asked, or in {variable}."
        )
    return answer
