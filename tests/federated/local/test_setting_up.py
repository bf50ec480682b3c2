"""Setting a training up: each thing once, however often it is begun, and only what fits."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ape
import pytest
from eth_account import Account

from ml.chain import events
from ml.chain.log_records import RecordKind
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.provenance_log import ProvenanceLog
from ml.chain.records import Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.errors import ModelproofError, NotVerified
from ml.federated import committing, enrolments, prepared
from ml.federated.aggregation import FedAvg
from ml.federated.configuration import SERVICE_PATH, Preparation
from ml.federated.local import setting_up
from ml.federated.local.setting_up import Plan, clients_from_cards, clients_here, write_card
from ml.federated.preparation import divide, files_of
from ml.federated.run_configuration import (
    DiagnosisSettings,
    LocalTraining,
    RunClient,
    RunConfiguration,
    RunValidator,
)
from ml.federated.run_folder import RunFolder
from ml.federated.splits import Iid
from ml.storage.key_files import read_recipient
from ml.storage.keys import PrivateKey, PublicKey
from ml.training.datasets import Dataset
from tests.chain.outbox.killing import Fuse, fork
from tests.contracts.logs import deploy
from tests.federated.coordinator.world import Killed
from tests.federated.runs import IRIS

_NUMBERS = itertools.count()
PLAN = Plan(
    architecture=IRIS,
    local=LocalTraining(epochs=1, batch_size=10, learning_rate=0.1),
    rule=FedAvg(),
    seed=1,
    fraction=1.0,
    min_updates=2,
    deadline_s=None,
    diagnosis=DiagnosisSettings(),
)


@pytest.fixture(scope="module")
def registry(chain: Session) -> ModelRegistry:
    return chain.deploy(ape.accounts.test_accounts[0])[0]


@dataclass
class Beginning:
    """A prepared data set, a model for it, and what an operator would type."""

    registry: ModelRegistry
    log: ProvenanceLog
    model: NamedModel
    data: Path
    folder: RunFolder

    def clients(self) -> tuple[RunClient, ...]:
        return clients_here(self.folder, self.data)

    def set_up(
        self, plan: Plan = PLAN, clients: tuple[RunClient, ...] | None = None
    ) -> RunConfiguration:
        admin, trainer, judge, _, second = ape.accounts.test_accounts[:5]
        validators = [
            RunValidator(str(one.address), self.folder.validator_key(number).raw)
            for number, one in enumerate((judge, second))
        ]
        given = self.clients() if clients is None else clients
        return setting_up.set_up(
            *(self.folder, self.registry, self.log, self.model, plan, self.data),
            *(given, validators),
            admin=admin,
            trainer=trainer,
        )

    def sent(self) -> list[str]:
        """What is on record of it, but for the model's creation."""
        told = [event.name for event in events.read(self.registry, model=self.model.id)]
        return [*told[1:], *("recorded" for _ in self.log.read()[0])]

    def is_validator(self, index: int) -> bool:
        account = str(ape.accounts.test_accounts[index].address)
        return self.registry.has_role(self.model.id, Role.VALIDATOR, account)


@pytest.fixture
def make(registry: ModelRegistry, iris: Dataset, tmp_path: Path) -> Callable[[], Beginning]:
    def make() -> Beginning:
        number = next(_NUMBERS)
        data = tmp_path / f"data-{number}"
        divided = divide(iris, Preparation(3, Iid(), seed=number))
        prepared.write(data, files_of(divided, "2026-01-31T12:00:00Z"))
        admin, trainer, judge, operator = ape.accounts.test_accounts[:4]
        name = f"iris-{number}"
        model, _ = registry.create_model(
            name,
            prepared.read_service(data / SERVICE_PATH).test_dataset_root,
            PRESETS["unlimited"],
            sender=admin,
            trainer=str(trainer.address),
            validator=str(judge.address),
            operator=str(operator.address),
        )
        named = NamedModel(model, name, str(admin.address))
        folder = RunFolder(tmp_path / f"run-{number}")
        return Beginning(registry, deploy(ape.project, admin), named, data, folder)

    return make


def test_set_up_puts_clients_parts_and_validators_on_record_and_writes_the_run(
    make: Callable[[], Beginning],
) -> None:
    beginning = make()
    run = beginning.set_up()
    assert beginning.folder.read() == run
    assert beginning.sent() == [*["ClientEnrolled"] * 3, *["recorded"] * 2]
    standing = enrolments.standings(beginning.registry, beginning.model.id)
    assert [(one.address, one.dataset) for one in standing] == [
        (client.address, client.dataset_root) for client in run.clients
    ]
    assert beginning.is_validator(2)
    assert beginning.is_validator(4)
    trainer = str(ape.accounts.test_accounts[1].address)
    for root in (run.test_set, run.holdout):
        assert beginning.log.record(trainer, root).kind is RecordKind.DATA


@pytest.mark.parametrize("last", range(1, 6))
def test_set_up_that_is_killed_is_finished_by_the_next_and_nothing_is_done_twice(
    make: Callable[[], Beginning], last: int
) -> None:
    beginning = make()
    left = last

    def then_killed(function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            done = function(*arguments, **named)
            left -= 1
            if left == 0:
                raise Killed
            return done

        return stepping

    def one_by_one(model: bytes, clients: dict[int, Any], *, sender: Any) -> None:
        for index, client in clients.items():
            enrol(model, {index: client}, sender=sender)

    with pytest.MonkeyPatch.context() as patch:
        enrol = then_killed(beginning.registry.enrol_clients)
        patch.setattr(beginning.registry, "enrol_clients", one_by_one)
        patch.setattr(beginning.registry, "grant_role", then_killed(beginning.registry.grant_role))
        patch.setattr(committing, "commit", then_killed(committing.commit))
        with pytest.raises(Killed):
            beginning.set_up()
    assert not beginning.folder.exists()
    clients = beginning.clients()
    run = beginning.set_up()
    assert run.clients == clients
    assert beginning.sent() == [*["ClientEnrolled"] * 3, *["recorded"] * 2]
    assert beginning.is_validator(4)
    assert beginning.set_up() == run


def test_keys_that_were_half_made_when_it_was_killed_are_made_by_the_next(
    make: Callable[[], Beginning],
) -> None:
    """By ``kill -9`` before each time that something is put on the disk."""
    beginning = make()
    keys = (beginning.clients, beginning.folder.coordinator_key)

    def killed_at(step: int) -> int:
        def work() -> None:
            os.fsync = Fuse(step).before(os.fsync)
            for get in keys:
                get()

        return fork(work)

    kills = 0
    while (code := killed_at(1 + kills)) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    assert kills > 6
    before = beginning.clients()
    assert [client.index for client in before] == [0, 1, 2]
    assert beginning.clients() == before
    public = read_recipient(beginning.folder.root / "coordinator.key.pub")
    assert isinstance(public, PublicKey)
    assert public.raw == beginning.folder.coordinator_key().raw
    assert not (beginning.folder.root / ".making").exists()


def test_index_of_another_client_is_refused(make: Callable[[], Beginning]) -> None:
    beginning = make()
    beginning.set_up()
    first, second, third = beginning.clients()
    other = replace(second, address=Account.from_key(b"\x09" * 32).address)
    said = rf"has {second.address} as its client 1, for good: train another --model"
    with pytest.raises(ModelproofError, match=said):
        beginning.set_up(clients=(first, other, third))
    assert beginning.folder.read().clients[1] == second


def test_network_for_other_samples_is_refused_before_anything_is_on_record(
    make: Callable[[], Beginning],
) -> None:
    beginning = make()
    other = replace(IRIS, input_shape=(8, 8), mean=(0.0,))
    with pytest.raises(
        ModelproofError, match=r"takes samples of shape \(8, 8\), and those of iris"
    ):
        beginning.set_up(replace(PLAN, architecture=other))
    assert beginning.sent() == []
    assert not beginning.folder.exists()


def test_validation_part_that_was_changed_is_refused_before_anything_is_on_record(
    make: Callable[[], Beginning],
) -> None:
    beginning = make()
    clients = beginning.clients()
    path = beginning.data / "test/validation.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(NotVerified, match="is not the file that was prepared"):
        beginning.set_up(clients=clients)
    assert beginning.sent() == []


def test_client_that_cannot_be_enrolled_is_refused(make: Callable[[], Beginning]) -> None:
    beginning = make()
    first, second, third = beginning.clients()
    with pytest.raises(ModelproofError, match="client 256 cannot be enrolled: 0 to 255 can"):
        beginning.set_up(clients=(first, second, replace(third, index=256)))
    assert "ClientEnrolled" not in beginning.sent()


def client(index: int) -> RunClient:
    address = Account.from_key(bytes([index + 1]) * 32).address
    return RunClient(index, address, PrivateKey.generate().raw, 7, b"d" * 32)


def test_cards_give_the_clients_in_the_order_of_their_indices(tmp_path: Path) -> None:
    clients = tuple(client(index) for index in (0, 2, 10))
    for one in reversed(clients):
        write_card(one, tmp_path / f"client_{one.index}.json")
    assert clients_from_cards(tmp_path) == clients


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "has no card of a client: `ape run worker card` makes one"),
        ("{}", "client_0.json"),
        ('{"address":', "client_0.json"),
    ],
)
def test_what_is_no_card_is_told_in_a_sentence(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "client_0.json").write_text(text)
    with pytest.raises(ModelproofError, match=says):
        clients_from_cards(tmp_path)


def test_card_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelproofError, match=r"card cannot be written: No such file"):
        write_card(client(0), tmp_path / "none" / "card")
