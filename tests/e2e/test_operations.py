"""What operators and administrators type: each command a process of its own, on one node."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import ape
import pytest
from click.testing import CliRunner

from ml.chain import publishing
from ml.chain.anvil import AnvilNode
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Model, Role
from ml.chain.registry import NO_ACCOUNT
from ml.chain.session import connect
from ml.chain.signed_files import dump_update
from ml.chain.types import CompletionReason, Status
from scripts import roles
from tests.chain.federation import Federation
from tests.chain.places import kept_apart, network_at

from .shell import APE, ROOT, TIMEOUT_S, ApeRun

pytestmark = pytest.mark.slow

GOLDEN = ROOT / "tests/golden/weights_v1/model.safetensors"
TEST_SET = b"test set".ljust(32, b"!")
WHY = ("--reason", "An operator's reason")

Run: TypeAlias = Callable[..., Any]


class Chain:
    """Makes models of its registry, and reads what became of them."""

    def __init__(self, home: Path, node: AnvilNode) -> None:
        self.home = home
        self.network = network_at(node)
        self.models: dict[str, NamedModel] = {}
        with kept_apart(home), connect(self.network) as session:
            self.address = session.deploy(self.account(0))[0].address

    @staticmethod
    def account(index: int) -> Any:
        return ape.accounts.test_accounts[index]

    def create(self, name: str, *, passed: int = 0, waiting: bool = False) -> None:
        """A model under the policy 'unlimited' with so many good versions, the last one best."""
        admin, trainer, validator, operator = map(self.account, range(4))
        with kept_apart(self.home), connect(self.network) as session:
            registry = session.registry()
            model, _ = registry.create_model(
                name,
                TEST_SET,
                PRESETS["unlimited"],
                sender=admin,
                trainer=trainer.address,
                validator=validator.address,
                operator=operator.address,
            )
            self.models[name] = NamedModel(model, name, admin.address)
            for version in range(1, passed + waiting + 1):
                weights = hashlib.sha256(f"{name} v{version}".encode()).digest()
                turn = publishing.next_turn(registry, self.models[name])
                publishing.register(
                    registry, self.models[name], turn, weights, "{}", sender=trainer
                )
                if version <= passed:
                    pending = publishing.pending(registry, self.models[name])
                    publishing.validate(
                        registry, pending, 900_000 + version, 0, "{}", sender=validator
                    )

    def model(self, name: str) -> Model:
        with kept_apart(self.home), connect(self.network) as session:
            return session.registry().model(self.models[name].id)

    def status(self, name: str, version: int) -> Status:
        with kept_apart(self.home), connect(self.network) as session:
            return session.registry().version(self.models[name].id, version).status

    def holds(self, name: str, role: Role, account: int) -> bool:
        with kept_apart(self.home), connect(self.network) as session:
            address = self.account(account).address
            return session.registry().has_role(self.models[name].id, role, address)


@pytest.fixture(scope="module")
def chain(home: Path, node: AnvilNode) -> Chain:
    return Chain(home, node)


@pytest.fixture(scope="module")
def run(ape_run: ApeRun) -> Run:
    """Run a command with --json; what it prints, which is one sentence where it is refused."""

    def run(*arguments: str | Path, exit_code: int = 0, **variables: str) -> Any:
        done = ape_run(*arguments, "--json", variables=variables)
        assert done.returncode == exit_code, done.stderr
        assert "Traceback" not in done.stderr
        printed = json.loads(done.stdout)
        return printed["error"] if exit_code else printed

    return run


# --- Roles ----------------------------------------------------------------------------------------


def test_roles_are_listed_by_their_holders(chain: Chain, run: Run) -> None:
    chain.create("listed")
    holders = [[chain.account(index).address] for index in range(4)]
    roles = ["ADMIN", "TRAINER", "VALIDATOR", "OPERATOR"]
    assert run("roles", "list", "listed") == dict(zip(roles, holders, strict=True))


def test_role_is_held_from_its_grant_to_its_revocation(chain: Chain, run: Run) -> None:
    chain.create("shared")
    run("roles", "grant", "shared", "validator", "test:5")
    assert chain.holds("shared", Role.VALIDATOR, 5)
    run("roles", "revoke", "shared", "validator", "test:5")
    assert not chain.holds("shared", Role.VALIDATOR, 5)


def test_last_admin_is_revoked_only_by_force(chain: Chain, run: Run) -> None:
    chain.create("ruled")
    last = ("roles", "revoke", "ruled", "admin", "test:0")
    assert "is the last ADMIN of ruled" in run(*last, exit_code=2)
    assert chain.holds("ruled", Role.ADMIN, 0)
    run(*last, "--force")
    assert not chain.holds("ruled", Role.ADMIN, 0)


def test_one_of_two_admins_is_revoked_without_force(chain: Chain, run: Run) -> None:
    chain.create("coruled")
    run("roles", "grant", "coruled", "admin", "test:4")
    run("roles", "revoke", "coruled", "admin", "test:0")
    assert chain.holds("coruled", Role.ADMIN, 4)
    assert not chain.holds("coruled", Role.ADMIN, 0)


def test_handover_makes_the_receiver_the_only_admin(chain: Chain, run: Run) -> None:
    chain.create("inherited")
    run("roles", "handover", "inherited", "test:6")
    assert chain.holds("inherited", Role.ADMIN, 6)
    assert not chain.holds("inherited", Role.ADMIN, 0)


def test_handover_to_nobody_is_refused(chain: Chain, run: Run) -> None:
    chain.create("kept")
    assert "is the last ADMIN" in run("roles", "handover", "kept", NO_ACCOUNT, exit_code=2)
    assert chain.holds("kept", Role.ADMIN, 0)


def test_help_of_the_roles_shows_an_example() -> None:
    shown = CliRunner().invoke(roles.cli, ["--help"]).output
    assert "Example:\n    ape run roles grant mnist validator test:5" in shown


# --- Versions and training ------------------------------------------------------------------------


def test_version_that_is_not_in_use_is_revoked(chain: Chain, run: Run) -> None:
    chain.create("revoked", passed=2)
    assert "is in use" in run("revoke", "revoked", "2", *WHY, exit_code=2)
    run("revoke", "revoked", "1", *WHY)
    assert chain.status("revoked", 1) is Status.REVOKED
    assert chain.status("revoked", 2) is Status.PASSED


def test_waiting_version_is_discarded(chain: Chain, run: Run) -> None:
    chain.create("discarded", passed=1, waiting=True)
    assert run("discard", "discarded", "2", *WHY)["version"] == 2
    assert chain.status("discarded", 2) is Status.DISCARDED
    nothing = run("discard", "discarded", "2", *WHY, exit_code=2)
    assert nothing == "version 2 does not wait for a validation."


def test_completed_model_takes_no_version_until_it_is_reopened(
    chain: Chain, run: Run, tmp_path: Path
) -> None:
    chain.create("finished", passed=1, waiting=True)
    done = run("complete", "finished", *WHY)
    assert (done["current"], done["discarded"]) == (1, 2)
    assert chain.model("finished").state.completed is CompletionReason.MANUAL
    register = ("register", GOLDEN, "--model", "finished", "--artifacts", tmp_path)
    assert "training of" in run(*register, exit_code=2)
    assert run("reopen", "finished", *WHY)["was"] == "MANUAL"
    assert run(*register)["version"] == 3


# --- Open models and forks ------------------------------------------------------------------------


def test_candidates_wait_together_and_are_named_by_their_numbers(
    chain: Chain, run: Run, tmp_path: Path
) -> None:
    files, root = ("--artifacts", tmp_path), "0x" + TEST_SET.hex()
    register = ("register", GOLDEN, "--model", "shop", *files)
    run(*register, "--test-set", root, "--open", "--limit", "min_accuracy=750000")
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.8}')
    metrics = ("--metrics", tmp_path / "metrics.json")
    assert run("validate", "shop", *metrics)["status"] == "PASSED"
    run(*register, "--parent", "1")
    run(*register)
    several = run("validate", "shop", *metrics, exit_code=2)
    assert "several versions of shop wait for their validation (2, 3): say which" in several
    assert run("discard", "shop", "2", *WHY)["version"] == 2
    status = run("status", "shop")
    assert (status["kind"], status["current"], status["waiting"]) == ("OPEN", 1, [3])


def test_fork_knows_where_it_comes_from(
    chain: Chain, run: Run, ape_run: ApeRun, tmp_path: Path
) -> None:
    chain.create("trunk", passed=2)
    files, root = ("--artifacts", tmp_path), "0x" + TEST_SET.hex()
    register = ("register", GOLDEN, "--model", "branch", *files)
    run(*register, "--test-set", root, "--fork-of", "trunk:2")
    line = run("lineage", "branch", "--version", "1")
    expected = [("branch", 1), ("trunk", 2), ("trunk", 1)]
    assert [(step["name"], step["version"]) for step in line] == expected
    shown = ape_run("lineage", "branch", "--version", "1").stdout
    assert shown.index("branch (0x") < shown.index("trunk (0x")
    verified = run("verify", GOLDEN, "--model", "branch", "--require", "any", *files)
    origin = verified["origin"]
    assert (origin["name"], origin["version"], origin["status"]) == ("trunk", 2, "PASSED")
    assert run("status", "branch")["origin"] == origin


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fork-of", "stem"), "stem names no version of a model: write MODEL:VERSION"),
        (("--fork-of", "stem:2"), "version 2 is PENDING: only one that PASSED will do"),
        (("--open", "--policy", "thesis"), "which no open model has"),
        (("--model", "stem", "--open"), "is there already, and not as --open or --fork-of"),
    ],
)
def test_model_that_cannot_be_created_so_is_refused(
    chain: Chain, run: Run, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    if "stem" not in chain.models:
        chain.create("stem", passed=1, waiting=True)
    register = ("register", GOLDEN, "--model", "sprout", "--test-set", "0x" + TEST_SET.hex())
    assert says in run(*register, *options, "--artifacts", tmp_path, exit_code=2)


def test_successor_is_announced_and_found(chain: Chain, run: Run) -> None:
    chain.create("outgrown")
    there, model = "0x" + "11" * 20, "0x" + "22" * 31 + "00"
    assert "is not a model's id" in run("successor", "outgrown", there, "new", exit_code=2)
    run("successor", "outgrown", there, model)
    assert run("status", "outgrown")["successor"] == {"registry": there, "model": model}


# --- Evidence -------------------------------------------------------------------------------------


def test_client_whom_a_trainer_hid_is_put_on_record(chain: Chain, run: Run, tmp_path: Path) -> None:
    with kept_apart(chain.home), connect(chain.network) as session:
        told = Federation.begin(session.registry())
    for index, hidden in ((0, False), (3, True)):
        file = tmp_path / f"update of client {index}.json"
        file.write_text(dump_update(told.files[index]))
        said = run("evidence", "update", told.story.name, "1", file)
        assert (said["index"], said["hidden"], "transaction" in said) == (index, hidden, hidden)
    (proved,) = run("status", told.story.name)["evidence"]["hidden_clients"]
    assert (proved["version"], proved["client"]) == (1, told.files[3].client)


# --- Policy ---------------------------------------------------------------------------------------


def test_policy_is_shown_with_its_units(chain: Chain, ape_run: ApeRun) -> None:
    chain.create("judged")
    shown = [line.split() for line in ape_run("policy", "judged").stdout.splitlines()]
    assert ["tolerance", "5,000", "ppm", "0.50", "%"] in shown
    assert ["patience", "0", "validations", "off"] in shown
    assert ["independent", "0", "no"] in shown


def test_limit_changes_the_policy_that_the_model_has(chain: Chain, run: Run) -> None:
    chain.create("changed")
    changed = run("policy", "changed", "--limit", "patience=7", "--limit", "max_drop=30000")
    assert (changed["before"]["patience"], changed["policy"]["patience"]) == (0, 7)
    policy = chain.model("changed").policy
    assert (policy.patience, policy.max_drop, policy.max_iterations) == (7, 30_000, 0)


def test_preset_replaces_the_policy_that_the_model_has(chain: Chain, run: Run) -> None:
    chain.create("replaced")
    run("policy", "replaced", "--policy", "thesis", "--limit", "patience=7")
    policy = chain.model("replaced").policy
    assert (policy.patience, policy.max_iterations) == (7, PRESETS["thesis"].max_iterations)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--limit", "patience=soon"), "patience=soon is not a limit of the policy"),
        (("--limit", "max_drop=1"), "tolerance, 5,000 ppm, is above its max_drop"),
        (("--policy", "unlimited"), "this is the policy of unchanged already"),
        (("--policy", "thesis", "--account", "test:1"), "does not hold ADMIN"),
    ],
)
def test_policy_that_cannot_be_is_refused(
    chain: Chain, run: Run, arguments: tuple[str, ...], reason: str
) -> None:
    if "unchanged" not in chain.models:
        chain.create("unchanged")
    assert reason in run("policy", "unchanged", *arguments, exit_code=2)
    assert chain.model("unchanged").policy == PRESETS["unlimited"]


# --- The contracts --------------------------------------------------------------------------------


def test_contracts_in_use_are_kept_unless_others_are_asked_for(run: Run, tmp_path: Path) -> None:
    elsewhere = {"MODELPROOF_DEPLOYMENTS": str(tmp_path)}
    first = run("deploy", **elsewhere)["contracts"]
    kept = run("deploy", **elsewhere)["contracts"]
    second = run("deploy", "--salt", "another", **elsewhere)["contracts"]
    record = json.loads((tmp_path / "31337.json").read_bytes())["contracts"]
    assert record.keys() == first.keys() == {"ModelRegistry", "ProvenanceLog"}
    for name in record:
        assert (kept[name]["how"], kept[name]["address"]) == ("kept", first[name]["address"])
        assert second[name]["how"] == "deployed"
        assert record[name]["address"] == second[name]["address"] != first[name]["address"]
        place = {key: first[name][key] for key in ("address", "block", "transaction")}
        assert record[name]["former"] == [place]


def test_contract_of_others_is_used_once_it_is_adopted(run: Run, tmp_path: Path) -> None:
    theirs = run("deploy", MODELPROOF_DEPLOYMENTS=str(tmp_path / "theirs"))["contracts"]
    ours = {"MODELPROOF_DEPLOYMENTS": str(tmp_path / "ours")}
    address = theirs["ModelRegistry"]["address"]
    adopted = run("deploy", "--adopt", address, **ours)["contracts"]
    assert adopted == {"ModelRegistry": {**theirs["ModelRegistry"], "how": "found", "gas_used": 0}}
    assert run("history", **ours) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--adopt", "0x" + "12" * 20), "there is no code at 0x1212"),
        (("--adopt", "test:0", "--again"), "leave --salt and --again out"),
        (("--block", "1"), "name one"),
    ],
)
def test_deployment_that_cannot_be_is_refused(
    run: Run, arguments: tuple[str, ...], reason: str
) -> None:
    assert reason in run("deploy", *arguments, exit_code=2)


def test_console_has_the_registry_at_hand(chain: Chain, environment: dict[str, str]) -> None:
    code = ("-c", "print(registry.address)", "--network", "ethereum:dev:node")
    done = subprocess.run(
        [APE, "console", *code],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert chain.address in done.stdout.split()


# --- Predictions ----------------------------------------------------------------------------------


def test_version_that_is_not_current_predicts_only_where_it_may(
    chain: Chain, run: Run, tmp_path: Path
) -> None:
    files = ("--artifacts", tmp_path)
    train = ("train", "iris", "--architecture", "sklearn", "--model", "iris")
    run(*train, "--policy", "unlimited", *files)
    run(*train, *files)
    predict = ("predict", "iris", "--sample", "0", *files)
    assert run(*predict)["version"] == 2
    refused = run(*predict, "--version", "1", "--require", "current", exit_code=1)
    assert "current is required" in refused
    assert run(*predict, "--version", "1")["version"] == 1
    assert run(*predict, "--version", "1", "--require", "passed")["version"] == 1
