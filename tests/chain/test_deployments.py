"""The record of a deployment: used only where its very code stands on its very chain."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ape
import pytest
from ethpm_types import ContractType

from ml.artifact.keccak import keccak256
from ml.chain import deployments
from ml.chain.anvil import AnvilNode
from ml.chain.deployments import Former, NoDeployment
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session, connect
from ml.errors import ModelproofError
from tests.contracts.story import Cast

from .places import kept_apart, network_at

OTHER_CODE = "0x6000"
SINCE_FORMAT_2 = ("factory", "salt", "init_code_hash", "compiler", "compiler_input_sha256")


@pytest.fixture
def file(session: Session) -> Path:
    """Where the records of the chain belong."""
    return deployments.path_for(session.chain_id)


@pytest.fixture
def recorded(registry: ModelRegistry, file: Path) -> dict[str, Any]:
    """The file after one deployment."""
    return json.loads(file.read_bytes())


@pytest.fixture(scope="module")
def once(node: AnvilNode, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file after a deployment that many tests share: what is wrong with it is seen unused."""
    with kept_apart(tmp_path_factory.mktemp("once")), connect(network_at(node)) as session:
        session.deploy(ape.accounts.test_accounts[0])
        return json.loads(deployments.path_for(session.chain_id).read_bytes())


@pytest.fixture
def malformed(once: dict[str, Any], file: Path) -> dict[str, Any]:
    """A copy of it for this test to change, and a folder for the result."""
    file.parent.mkdir()
    return copy.deepcopy(once)


@pytest.fixture
def started_over(registry: ModelRegistry) -> Iterator[Session]:
    """A chain of the same id that began later, with nothing on it."""
    with AnvilNode("--timestamp", "4000000000") as later, connect(network_at(later)) as session:
        yield session


# --- Finding --------------------------------------------------------------------------------------


def test_deployed_registry_is_found_again(session: Session, registry: ModelRegistry) -> None:
    found = session.registry()
    assert (found.address, found.deployed_at) == (registry.address, registry.deployed_at)


def test_record_holds_what_it_takes_to_check_it(
    session: Session, registry: ModelRegistry, recorded: dict[str, Any]
) -> None:
    code = session.code(registry.address)
    assert (recorded["chainId"], recorded["genesis"]) == (session.chain_id, session.genesis)
    record = recorded["contracts"]["ModelRegistry"]
    assert record["address"] == registry.address
    assert record["code_hash"] == "0x" + keccak256(code).hex()
    assert record["block"] == registry.deployed_at


def test_folder_of_the_records_is_the_environments(
    session: Session, cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPROOF_DEPLOYMENTS", str(tmp_path / "mine"))
    session.deploy(cast.deployer)
    assert (tmp_path / "mine" / f"{session.chain_id}.json").is_file()


def test_later_deployment_takes_the_records_place_beside_other_contracts(
    session: Session, cast: Cast, file: Path, recorded: dict[str, Any]
) -> None:
    other = {**recorded["contracts"]["ModelRegistry"], "contract": "Other"}
    recorded["contracts"]["Other"] = other
    file.write_text(json.dumps(recorded))
    later, _ = session.deploy(cast.deployer)
    assert session.registry().address == later.address
    assert deployments.load("Other", session).address == other["address"]


def test_registry_that_is_replaced_stays_on_record(
    session: Session, cast: Cast, registry: ModelRegistry, recorded: dict[str, Any]
) -> None:
    first = recorded["contracts"]["ModelRegistry"]
    _, second = session.deploy(cast.deployer)
    session.deploy(cast.deployer)
    assert deployments.load("ModelRegistry", session).former == (
        Former(first["address"], first["block"], first["transaction"]),
        Former(second.address, second.block, second.transaction),
    )


def test_registry_whose_code_is_gone_is_not_kept_on_record(
    session: Session, cast: Cast, node: AnvilNode, registry: ModelRegistry
) -> None:
    node.rpc("anvil_setCode", registry.address, "0x")
    assert deployments.standing("ModelRegistry", session) is None
    session.deploy(cast.deployer)
    assert deployments.load("ModelRegistry", session).former == ()


def test_record_saved_twice_does_not_replace_itself(
    session: Session, cast: Cast, registry: ModelRegistry
) -> None:
    saved = deployments.load("ModelRegistry", session)
    deployments.save(saved, session)
    assert deployments.load("ModelRegistry", session) == saved


def test_former_ones_stay_where_the_same_contract_is_recorded_anew(
    session: Session, cast: Cast, registry: ModelRegistry
) -> None:
    session.deploy(cast.deployer)
    saved = deployments.load("ModelRegistry", session)
    deployments.save(replace(saved, former=()), session)
    assert deployments.load("ModelRegistry", session) == saved
    assert saved.former[0].address == registry.address


def test_record_of_the_first_format_is_read(
    session: Session, registry: ModelRegistry, recorded: dict[str, Any], file: Path
) -> None:
    record = recorded["contracts"]["ModelRegistry"]
    for field in ("former", *SINCE_FORMAT_2):
        del record[field]
    file.write_text(json.dumps({**recorded, "format": 1}))
    assert session.registry().address == registry.address
    found = deployments.load("ModelRegistry", session)
    assert [getattr(found, field) for field in SINCE_FORMAT_2] == [None] * len(SINCE_FORMAT_2)


def test_what_ape_remembers_of_an_address_is_not_taken_for_the_registry(
    session: Session, registry: ModelRegistry
) -> None:
    """On a chain that has started over, another version of the contract stood at the address."""
    stale = ape.project.ModelRegistry.contract_type.model_dump()
    for item in stale["abi"]:
        if item.get("name") == "getModel":
            item["outputs"] = [{"name": "", "type": "uint256"}]
    ape.chain.contracts.contract_types[registry.address] = ContractType.model_validate(stale)
    with pytest.raises(ModelproofError, match="there is no model"):
        session.registry().model(bytes(32))
    abi = session.registry().contract.contract_type.abi
    assert abi == ape.project.ModelRegistry.contract_type.abi


# --- Dead records ---------------------------------------------------------------------------------


def test_no_record_asks_for_a_deployment(session: Session) -> None:
    with pytest.raises(NoDeployment, match=r"on chain 31337: run `ape run deploy` first"):
        session.registry()


def test_address_on_a_chain_that_started_over_is_dead(started_over: Session) -> None:
    with pytest.raises(NoDeployment, match="is of another chain with the id 31337"):
        started_over.registry()


def test_address_is_dead_even_where_the_very_code_stands_on_the_new_chain(
    started_over: Session, node: AnvilNode, registry: ModelRegistry
) -> None:
    code = node.rpc("eth_getCode", registry.address, "latest")
    started_over.provider.make_request("anvil_setCode", [registry.address, code])
    with pytest.raises(NoDeployment, match="is of another chain"):
        started_over.registry()


def test_deploying_on_a_chain_that_started_over_drops_the_dead_records(
    started_over: Session, cast: Cast, file: Path
) -> None:
    registry, _ = started_over.deploy(cast.deployer)
    assert started_over.registry().address == registry.address
    assert deployments.load("ModelRegistry", started_over).former == ()
    assert json.loads(file.read_bytes())["genesis"] == started_over.genesis


def test_record_of_another_chain_under_this_chains_id_is_refused(
    session: Session, registry: ModelRegistry, file: Path
) -> None:
    file.rename(deployments.path_for(11155111))
    with (
        AnvilNode("--chain-id", "11155111") as other,
        connect(f"ethereum:sepolia:{other.url}") as sepolia,
        pytest.raises(NoDeployment, match="is of another chain with the id 11155111"),
    ):
        sepolia.registry()


def test_address_without_code_is_dead(
    session: Session, node: AnvilNode, registry: ModelRegistry
) -> None:
    node.rpc("anvil_setCode", registry.address, "0x")
    with pytest.raises(
        NoDeployment, match=f"there is no code of ModelRegistry at {registry.address}"
    ):
        session.registry()


def test_address_with_other_code_is_refused(
    session: Session, node: AnvilNode, registry: ModelRegistry
) -> None:
    node.rpc("anvil_setCode", registry.address, OTHER_CODE)
    with pytest.raises(NoDeployment, match="is not the recorded one"):
        session.registry()


def test_record_is_not_written_where_the_code_is_not(
    session: Session, node: AnvilNode, cast: Cast, file: Path
) -> None:
    _, deployment = session.deploy(cast.deployer)
    file.unlink()
    node.rpc("anvil_setCode", deployment.address, OTHER_CODE)
    with pytest.raises(NoDeployment):
        deployments.save(deployment, session)
    assert not file.exists()


# --- Malformed records ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "genesis": "0x", "contracts": []}'],
)
def test_file_that_holds_no_records_is_refused(session: Session, file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ModelproofError) as caught:
        session.registry()
    assert str(file) in str(caught.value)


def test_file_of_a_later_format_is_refused(
    session: Session, malformed: dict[str, Any], file: Path
) -> None:
    file.write_text(json.dumps({**malformed, "format": 3}))
    with pytest.raises(ModelproofError, match="not a deployments file of format 2"):
        session.registry()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("address", 5),
        ("address", "0x12"),
        ("address", "../../31337"),
        ("block", "1"),
        ("block", -1),
        ("block", True),
        ("code_hash", None),
        ("contract", None),
        ("transaction", 5),
        *((field, 5) for field in ("deployer", *SINCE_FORMAT_2)),
        ("abi", {}),
        ("unheard", "of"),
        ("former", None),
        ("former", "0x12"),
        ("former", ["0x12"]),
        ("former", [{"address": "0x12", "block": 1, "transaction": "0x"}]),
        ("former", [{"address": "0x" + "12" * 20, "block": "1", "transaction": "0x"}]),
        ("former", [{"address": "0x" + "12" * 20, "block": 1}]),
    ],
)
def test_record_with_a_wrong_field_is_refused(
    session: Session, malformed: dict[str, Any], file: Path, field: str, value: object
) -> None:
    malformed["contracts"]["ModelRegistry"][field] = value
    file.write_text(json.dumps(malformed))
    with pytest.raises(ModelproofError, match="not a deployments file of format 2: restore it"):
        session.registry()


def test_record_without_a_field_is_refused(
    session: Session, malformed: dict[str, Any], file: Path
) -> None:
    del malformed["contracts"]["ModelRegistry"]["block"]
    file.write_text(json.dumps(malformed))
    with pytest.raises(ModelproofError, match="not a deployments file"):
        session.registry()


def test_record_of_other_contracts_only_asks_for_a_deployment(
    session: Session, malformed: dict[str, Any], file: Path
) -> None:
    malformed["contracts"]["Other"] = malformed["contracts"].pop("ModelRegistry")
    file.write_text(json.dumps(malformed))
    with pytest.raises(NoDeployment, match="has no record of ModelRegistry"):
        session.registry()


def test_nothing_is_spent_where_there_is_no_place_for_the_record(
    session: Session, cast: Cast, node: AnvilNode, file: Path
) -> None:
    file.parent.mkdir()
    file.write_text("somebody's notes")
    before = node.rpc("eth_blockNumber")
    with pytest.raises(ModelproofError):
        session.deploy(cast.deployer)
    assert node.rpc("eth_blockNumber") == before
    assert file.read_text() == "somebody's notes"


def test_nothing_is_spent_where_the_record_to_replace_is_malformed(
    session: Session, cast: Cast, node: AnvilNode, recorded: dict[str, Any], file: Path
) -> None:
    recorded["contracts"]["ModelRegistry"]["block"] = "1"
    file.write_text(json.dumps(recorded))
    before = node.rpc("eth_blockNumber")
    with pytest.raises(ModelproofError, match="not a deployments file"):
        session.deploy(cast.deployer)
    assert node.rpc("eth_blockNumber") == before
