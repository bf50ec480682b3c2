"""Connecting: to which node, from which account, and one sentence where it cannot be."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import ape
import pytest
from eth_account import Account

from ml.chain.anvil import AnvilNode, free_port
from ml.chain.deployments import path_for
from ml.chain.records import Role
from ml.chain.session import (
    ConnectionFailed,
    NoAccount,
    Session,
    connect,
    dev_node_answers,
)
from ml.errors import ModelproofError
from tests.contracts.story import Cast

from .places import kept_apart, network_at

# Anvil's public test key 9
KEY = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
ADDRESS = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
PASSPHRASE = "correct horse"
SEPOLIA = 11155111


@pytest.fixture
def keystore(session: Session, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ape's keystore with one account, mine, whose passphrase the environment has."""
    folder = ape.config.DATA_FOLDER / "accounts"
    folder.mkdir(parents=True, exist_ok=True)
    key = Account.encrypt(KEY, PASSPHRASE, kdf="pbkdf2", iterations=2)
    (folder / "mine.json").write_text(json.dumps(key))
    monkeypatch.setenv("APE_ACCOUNTS_mine_PASSPHRASE", PASSPHRASE)
    return folder


@pytest.fixture
def sepolia(tmp_path: Path) -> Iterator[Session]:
    """A chain that is nobody's own."""
    with (
        kept_apart(tmp_path),
        AnvilNode("--chain-id", str(SEPOLIA)) as node,
        connect(f"ethereum:sepolia:{node.url}") as session,
    ):
        yield session


# --- Networks -------------------------------------------------------------------------------------


def test_session_tells_which_chain_it_is_on(session: Session, node: AnvilNode) -> None:
    genesis = node.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    assert (session.chain_id, session.genesis) == (31337, genesis)
    assert session.is_development
    assert session.is_lasting


def test_public_chain_is_no_development_chain(sepolia: Session) -> None:
    assert sepolia.chain_id == SEPOLIA
    assert not sepolia.is_development


@pytest.mark.parametrize("network", ["local", "ethereum:local"])
def test_chain_that_ends_with_the_command_has_contracts_and_no_record(
    tmp_path: Path, network: str
) -> None:
    with kept_apart(tmp_path), connect(network) as session:
        assert not session.is_lasting
        assert session.registry().address == session.registry().address
        assert session.provenance_log().address == session.provenance_log().address
        assert not path_for(session.chain_id).exists()


@pytest.mark.parametrize("network", ["local", "ethereum:local"])
def test_node_of_somebody_else_is_not_taken_for_the_commands_own(
    tmp_path: Path, node: AnvilNode, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    monkeypatch.setattr(random, "randint", lambda *_: node.port)  # where Ape would look
    with kept_apart(tmp_path), connect(network) as session:
        assert session.provider.process is not None
        assert session.provider.uri != node.url


@pytest.mark.parametrize("network", ["nonsense", "ethereum:nonsense", "a:b:c", "\x1b[31m"])
def test_unknown_network_is_refused_with_the_known_ones(network: str) -> None:
    with (
        pytest.raises(ConnectionFailed, match="is not a network: use one of local, dev, sepolia"),
        connect(network),
    ):
        pass


@pytest.mark.parametrize(
    ("network", "variable"),
    [("sepolia", "SEPOLIA_RPC_URL"), ("base-sepolia", "BASE_SEPOLIA_RPC_URL")],
)
def test_network_without_an_address_names_the_variable_to_set(
    network: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConnectionFailed, match=rf"set {variable} \(see"), connect(network):
        pass


def test_dead_node_is_said_to_be_dead() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionFailed, match=f"no connection to .*{url}") as caught:
        connect(f"ethereum:dev:{url}").__enter__()
    assert len(str(caught.value).splitlines()) == 1


def test_node_of_another_chain_than_was_named_is_refused(node: AnvilNode) -> None:
    with (
        pytest.raises(ConnectionFailed, match=r"'31337', which does not match.*'11155111'"),
        connect(f"ethereum:sepolia:{node.url}"),
    ):
        pass


def test_development_node_answers(node: AnvilNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_RPC_URL", node.url)
    assert dev_node_answers()


def test_node_of_another_chain_is_not_taken_for_the_development_node(
    sepolia: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEV_RPC_URL", sepolia.provider.uri)
    assert not dev_node_answers()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "", "nonsense", "file:///etc/hostname", "http://[::1"]
)
def test_what_is_no_node_does_not_answer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEV_RPC_URL", url)
    assert not dev_node_answers()


# --- Accounts on a development chain --------------------------------------------------------------


def test_each_role_has_an_account_of_its_own_on_a_development_chain(session: Session) -> None:
    roles = [role for role in Role if role is not Role.NONE]
    assert len({session.account(None, role).address for role in roles}) == len(roles)


def test_test_account_is_named_by_its_number(session: Session, cast: Cast) -> None:
    assert session.account("test:1", Role.ADMIN) == cast[1]
    assert session.address("test:1") == cast[1].address


@pytest.mark.parametrize("name", ["test:10", "test:-1", "test:x", "test:", "test:1.0"])
def test_test_account_that_there_is_not_is_refused(session: Session, name: str) -> None:
    with pytest.raises(NoAccount, match=f"{name} is no test account: use test:0 to test:9"):
        session.account(name, Role.ADMIN)


def test_address_is_given_its_checksum(session: Session) -> None:
    assert session.address(ADDRESS.lower()) == ADDRESS


@pytest.mark.parametrize("address", ["0x", ADDRESS[:-1], ADDRESS + "0", ADDRESS.replace("E", "e")])
def test_address_with_a_mistake_is_refused(session: Session, address: str) -> None:
    with pytest.raises(NoAccount, match="is not an address: check its digits and their case"):
        session.address(address)


# --- Accounts on a public chain -------------------------------------------------------------------


def test_public_test_keys_are_refused_on_a_public_chain(sepolia: Session) -> None:
    with pytest.raises(NoAccount, match="test:0 is a public test key, not to be used on chain"):
        sepolia.account("test:0", Role.ADMIN)
    with pytest.raises(NoAccount, match="public test key"):
        sepolia.address("test:0")


def test_account_has_to_be_named_on_a_public_chain(sepolia: Session) -> None:
    with pytest.raises(NoAccount, match="name one of yours with --account ALIAS"):
        sepolia.account(None, Role.TRAINER)


# --- The keystore ---------------------------------------------------------------------------------


def test_keystores_account_signs_with_the_passphrase_of_the_environment(
    session: Session, keystore: Path
) -> None:
    account = session.account("mine", Role.ADMIN)
    assert account.address == session.address("mine") == ADDRESS
    account.transfer(account, 1)
    assert account.nonce > 0


def test_wrong_passphrase_is_said_to_be_wrong(
    session: Session, keystore: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APE_ACCOUNTS_mine_PASSPHRASE", "wrong")
    with pytest.raises(NoAccount, match="account mine was not unlocked: the passphrase is wrong"):
        session.account("mine", Role.ADMIN)


def test_address_of_an_account_takes_no_passphrase(
    session: Session, keystore: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APE_ACCOUNTS_mine_PASSPHRASE", "wrong")
    assert session.address("mine") == ADDRESS


@pytest.mark.parametrize("alias", ["main", "", "../mine", "vitalik.eth"])
def test_unknown_alias_is_refused_with_the_known_ones(
    session: Session, keystore: Path, alias: str
) -> None:
    with pytest.raises(NoAccount, match=r"there is no account .*adds one \(known: mine\)"):
        session.account(alias, Role.ADMIN)


def test_empty_keystore_says_that_it_has_none(session: Session) -> None:
    with pytest.raises(NoAccount, match=r"\(known: none yet\)"):
        session.address("mine")


def test_account_with_nothing_to_pay_with_cannot_deploy(
    session: Session, keystore: Path, node: AnvilNode
) -> None:
    account = session.account("mine", Role.ADMIN)
    before = node.rpc("eth_getBalance", ADDRESS, "latest")
    node.rpc("anvil_setBalance", ADDRESS, "0x0")
    try:
        with pytest.raises(ModelproofError, match=f"{ADDRESS} has no ether on this chain"):
            session.deploy(account)
    finally:
        node.rpc("anvil_setBalance", ADDRESS, before)
    assert not path_for(session.chain_id).exists()


def test_another_registry_is_found_after_connecting_again(
    session: Session, node: AnvilNode, cast: Cast
) -> None:
    registry, _ = session.deploy(cast.deployer)
    with connect(network_at(node)) as again:
        assert again.registry().address == registry.address
