"""Deploying: once, at addresses that everybody can compute, and nothing recorded unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.chain import builds, deployments, history
from ml.chain.anvil import AnvilNode
from ml.chain.builds import CONTRACTS, StaleBuild, build
from ml.chain.construction import runtime_code
from ml.chain.create2 import FACTORY, SALT, address_of, salt_of
from ml.chain.deploying import ForeignCode, How, OtherInterface, Outcome, adopt, deploy
from ml.chain.deployments import NoDeployment
from ml.chain.log_records import RecordKind
from ml.chain.session import Session, connect
from ml.errors import ModelproofError
from tests.contracts.story import Cast, Story

from .places import kept_apart, network_at

ROOT = Path(__file__).parents[2]
APE = Path(sys.executable).with_name("ape")
DEADLINE_S = 300
LOG = "ProvenanceLog"


@pytest.fixture(scope="module")
def node() -> Iterator[AnvilNode]:
    """This module's own, as it takes the factory away from it."""
    with AnvilNode() as anvil:
        yield anvil


@pytest.fixture(autouse=True)
def _untouched(node: AnvilNode) -> Iterator[None]:
    """Nothing is deployed yet."""
    snapshot = node.rpc("evm_snapshot")
    yield
    node.rpc("evm_revert", snapshot)


@pytest.fixture
def without_factory(node: AnvilNode) -> None:
    node.rpc("anvil_setCode", FACTORY, "0x")


def run(session: Session, cast: Cast, contract: str = LOG, *, again: bool = False) -> Outcome:
    """Deploy as the script does."""
    return deploy(session, contract, cast.deployer, salt_of(SALT), again=again)


def log_address() -> str:
    """Where the log belongs."""
    return address_of(salt_of(SALT), build(LOG).init_code_hash)


def forget(session: Session) -> None:
    """Lose the records."""
    deployments.path_for(session.chain_id).unlink()


def blocks(node: AnvilNode) -> int:
    return int(node.rpc("eth_blockNumber"), 16)


# --- With the factory -----------------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contract_stands_where_code_and_salt_say_and_is_on_record(
    session: Session, cast: Cast, contract: str
) -> None:
    outcome = run(session, cast, contract)
    record, made = outcome.deployment, build(contract)
    assert outcome.how is How.DEPLOYED
    assert record.address == address_of(salt_of(SALT), made.init_code_hash)
    assert session.code(record.address) == runtime_code(made.init_code, record.address, 31337)
    assert (record.factory, record.salt) == (FACTORY, "0x" + salt_of(SALT).hex())
    assert record.compiler_input_sha256 == made.compiler_input_sha256
    receipt = session.provider.make_request("eth_getTransactionReceipt", [record.transaction])
    assert (int(receipt["blockNumber"], 16), outcome.gas_used) == (
        record.block,
        int(receipt["gasUsed"], 16),
    )
    assert deployments.load(contract, session) == record


def test_address_is_the_same_on_every_chain_and_for_every_sender(
    session: Session, cast: Cast
) -> None:
    outcome = deploy(session, LOG, cast.stranger, salt_of(SALT))
    assert outcome.deployment.address == log_address()
    assert outcome.deployment.deployer == cast.stranger.address


def test_running_again_keeps_what_is_there(session: Session, cast: Cast, node: AnvilNode) -> None:
    first = run(session, cast)
    before = blocks(node)
    again = run(session, cast)
    assert (again.how, again.deployment) == (How.KEPT, first.deployment)
    assert run(session, cast, again=True).how is How.KEPT
    assert blocks(node) == before


def test_deployed_log_is_found_by_its_client(session: Session, cast: Cast) -> None:
    run(session, cast)
    log = session.provenance_log()
    log.append(RecordKind.DATA, b"\x01" * 32, sender=cast.client)
    assert (log.address, len(log.recorded())) == (log_address(), 1)


def test_log_that_is_not_deployed_asks_for_a_deployment(session: Session) -> None:
    with pytest.raises(NoDeployment, match="no ProvenanceLog is deployed on chain 31337"):
        session.provenance_log()


def test_other_salt_gives_another_contract_that_names_the_former_one(
    session: Session, cast: Cast
) -> None:
    first = run(session, cast).deployment
    second = deploy(session, LOG, cast.deployer, salt_of("another"), again=True)
    assert second.how is How.DEPLOYED
    assert second.deployment.address != first.address
    assert [former.address for former in second.deployment.former] == [first.address]


# --- What stands there already --------------------------------------------------------------------


def test_lost_record_is_written_again_without_a_transaction(
    session: Session, cast: Cast, node: AnvilNode
) -> None:
    first = run(session, cast).deployment
    node.rpc("anvil_mine", "0x20")
    forget(session)
    before = blocks(node)
    found = run(session, cast)
    assert (found.how, found.deployment) == (How.FOUND, first)
    assert blocks(node) == before


def test_contract_that_another_contract_created_is_found_without_its_transaction(
    session: Session, cast: Cast, node: AnvilNode
) -> None:
    run(session, cast)
    code = node.rpc("eth_getCode", log_address(), "latest")
    elsewhere = "0x" + "77" * 20
    node.rpc("anvil_mine", "0x3")
    node.rpc("anvil_setCode", elsewhere, code)  # as if by some factory, in the block to come
    node.rpc("anvil_mine", "0x1")
    found = adopt(session, elsewhere).deployment
    assert (found.transaction, found.deployer, found.factory, found.salt) == (None,) * 4
    assert deployments.load(LOG, session) == found


@pytest.mark.parametrize("contract", CONTRACTS)
def test_foreign_code_at_the_address_is_refused(
    session: Session, cast: Cast, node: AnvilNode, contract: str
) -> None:
    made = build(contract)
    address = address_of(salt_of(SALT), made.init_code_hash)
    code = bytearray(runtime_code(made.init_code, address, session.chain_id))
    code[-1] ^= 1
    node.rpc("anvil_setCode", address, "0x" + code.hex())
    before = blocks(node)
    with pytest.raises(ForeignCode, match=f"at {address} on chain 31337 is not the {contract}"):
        run(session, cast, contract)
    assert blocks(node) == before
    assert deployments.recorded(session) == {}


def test_registry_that_signs_for_another_chain_is_refused(
    session: Session, cast: Cast, node: AnvilNode
) -> None:
    made = build("ModelRegistry")
    address = address_of(salt_of(SALT), made.init_code_hash)
    code = runtime_code(made.init_code, address, 1)  # its immutables say chain 1
    node.rpc("anvil_setCode", address, "0x" + code.hex())
    with pytest.raises(ForeignCode):
        run(session, cast, "ModelRegistry")


# --- Without the factory --------------------------------------------------------------------------


@pytest.mark.usefixtures("without_factory")
@pytest.mark.parametrize("contract", CONTRACTS)
def test_account_creates_the_contract_where_there_is_no_factory(
    session: Session, cast: Cast, contract: str
) -> None:
    outcome = run(session, cast, contract)
    record = outcome.deployment
    assert outcome.how is How.DEPLOYED
    assert (record.factory, record.salt) == (None, None)
    assert session.code(record.address) == runtime_code(
        build(contract).init_code, record.address, session.chain_id
    )
    assert run(session, cast, contract).how is How.KEPT


@pytest.mark.usefixtures("without_factory")
def test_accounts_own_contract_is_found_again(session: Session, cast: Cast) -> None:
    first = run(session, cast).deployment
    cast.deployer.transfer(cast.stranger, 1)
    forget(session)
    found = run(session, cast)
    assert (found.how, found.deployment) == (How.FOUND, first)
    forget(session)
    assert deploy(session, LOG, cast.stranger, salt_of(SALT)).how is How.DEPLOYED


@pytest.mark.usefixtures("without_factory")
def test_another_one_is_created_on_purpose(session: Session, cast: Cast) -> None:
    first = run(session, cast).deployment
    second = run(session, cast, again=True)
    assert second.how is How.DEPLOYED
    assert [former.address for former in second.deployment.former] == [first.address]


def test_other_code_than_the_usual_factorys_is_not_used(
    session: Session, cast: Cast, node: AnvilNode
) -> None:
    node.rpc("anvil_setCode", FACTORY, "0x00")
    assert run(session, cast).deployment.factory is None


# --- Interrupted ----------------------------------------------------------------------------------


def test_deployment_that_was_killed_before_its_record_is_finished_by_the_next(
    session: Session, cast: Cast, node: AnvilNode, tmp_path: Path
) -> None:
    node.rpc("evm_setAutomine", False)
    try:
        kill_once_it_has_sent(node)
        with pytest.raises(ModelproofError, match="has a transaction that waits to be mined"):
            run(session, cast, "ModelRegistry")
        node.rpc("evm_mine")
    finally:
        node.rpc("evm_setAutomine", True)
    assert deployments.recorded(session) == {}
    before = blocks(node)
    assert run(session, cast, "ModelRegistry").how is How.FOUND
    assert blocks(node) == before
    assert session.registry().address == deployments.load("ModelRegistry", session).address


def kill_once_it_has_sent(node: AnvilNode) -> None:
    """Start the script and kill it between its first transaction and the record."""
    script = subprocess.Popen(
        [APE, "run", "deploy"],
        cwd=ROOT,
        env={**os.environ, "DEV_RPC_URL": node.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + DEADLINE_S
    try:
        while int(node.rpc("txpool_status")["pending"], 16) == 0:
            assert script.poll() is None, "it ended before it sent anything"
            assert time.monotonic() < deadline, "it sent nothing"
    finally:
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()


def test_deployment_that_somebody_else_makes_first_is_taken_over(
    session: Session, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer = type(cast.deployer).transfer

    def too_late(sender: Any, *arguments: Any, **options: Any) -> Any:
        if sender == cast.deployer:
            transfer(cast.stranger, *arguments, **options)
        return transfer(sender, *arguments, **options)

    monkeypatch.setattr(type(cast.deployer), "transfer", too_late)
    outcome = run(session, cast)
    assert outcome.how is How.FOUND
    assert outcome.deployment.deployer == cast.stranger.address


# --- Adopting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contract_that_others_deployed_is_adopted_by_its_address(
    session: Session, cast: Cast, node: AnvilNode, contract: str
) -> None:
    theirs = run(session, cast, contract).deployment
    node.rpc("anvil_mine", "0x20")
    forget(session)
    outcome = adopt(session, theirs.address)
    assert (outcome.how, outcome.deployment) == (How.FOUND, theirs)
    forget(session)
    assert adopt(session, theirs.address, block=theirs.block).deployment == theirs


def test_address_without_code_is_not_adopted(session: Session, cast: Cast) -> None:
    with pytest.raises(NoDeployment, match=f"there is no code at {cast.client.address}"):
        adopt(session, cast.client.address)


def test_other_contracts_are_not_adopted(session: Session) -> None:
    with pytest.raises(ForeignCode, match=f"the code at {FACTORY} is none of ModelRegistry, Prov"):
        adopt(session, FACTORY)


def test_block_that_there_is_not_is_refused(session: Session, cast: Cast) -> None:
    run(session, cast)
    with pytest.raises(ModelproofError, match="chain 31337 has no block 1000000"):
        adopt(session, log_address(), block=1_000_000)


def test_node_that_forgets_the_past_asks_for_the_block(tmp_path: Path, cast: Cast) -> None:
    with (
        kept_apart(tmp_path),
        AnvilNode("--prune-history") as forgetful,
        connect(network_at(forgetful)) as session,
    ):
        made = run(session, cast).deployment
        forgetful.rpc("anvil_mine", "0x20")
        forget(session)
        with pytest.raises(ModelproofError, match=r"name the block .* with --block"):
            adopt(session, made.address)
        assert adopt(session, made.address, block=made.block).deployment == made


def test_registry_that_a_model_went_on_in_is_found_from_the_earlier_one(
    session: Session, cast: Cast
) -> None:
    later = run(session, cast, "ModelRegistry").deployment
    earlier, _ = session.deploy(cast.deployer)
    story = Story.begin(earlier, cast)
    earlier.announce_successor(story.id, later.address, story.id, sender=cast.admin)

    forget(session)
    adopt(session, earlier.address)
    announced = history.read(session.registry(), story.id).successor
    assert announced is not None
    adopt(session, announced.registry)
    assert session.registry().address == later.address
    record = deployments.load("ModelRegistry", session)
    assert [former.address for former in record.former] == [earlier.address]


# --- Another version of the project ---------------------------------------------------------------


def test_contract_of_another_version_is_not_used(session: Session, cast: Cast) -> None:
    made = run(session, cast).deployment
    older = [entry for entry in made.abi if entry.get("name") not in ("append", "checkpoint")]
    deployments.save(replace(made, abi=older), session)
    lacking = "of another version of this project, without function append and 1 more: check"
    with pytest.raises(OtherInterface, match=lacking):
        session.provenance_log()
    with pytest.raises(OtherInterface, match="`ape run deploy --again`"):
        run(session, cast)


def test_code_of_other_sources_is_not_deployed(
    session: Session, cast: Cast, node: AnvilNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = builds._all_metadata()[LOG].replace("keccak256", "keccak-256", 1)
    monkeypatch.setattr(builds, "_all_metadata", lambda: {LOG: other})
    stale = replace(build(LOG))  # nothing of it is cached
    monkeypatch.setattr("ml.chain.deploying.build", lambda _: stale)
    before = blocks(node)
    with pytest.raises(StaleBuild, match="run `ape compile --force`"):
        run(session, cast)
    assert blocks(node) == before
