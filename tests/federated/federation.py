"""A federated training without processes: real pieces one after the other, on a real chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from eth_account import Account

from ml.chain import publishing
from ml.chain.models import NamedModel
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Receipt, Role
from ml.chain.registry import ModelRegistry
from ml.chain.session import Session
from ml.chain.signed_files import UpdateFile
from ml.chain.types import Policy, Verdict
from ml.federated import update_tree, updates, version_files
from ml.federated.aggregation import NO_STATE, Aggregate, ClientUpdate, Weights, aggregate
from ml.federated.chain_view import ChainView
from ml.federated.configuration import Preparation
from ml.federated.objects import Objects
from ml.federated.preparation import Divided, divide
from ml.federated.run_configuration import RunClient, RunConfiguration, RunValidator
from ml.federated.splits import Iid
from ml.federated.tasks import TaskMetadata, ValidatePayload, ValidateTask, task_id
from ml.federated.updates import UpdateMetadata
from ml.federated.version_files import Loaded
from ml.storage.cid import Cid
from ml.storage.keys import PrivateKey, PublicKey
from ml.storage.places import Places
from ml.storage.retention import RUN_FORMAT, UPDATE_FORMAT
from ml.training.archive import METADATA_FORMAT
from ml.training.datasets import load_dataset
from ml.training.environment import Environment
from ml.training.round_metadata import RecordedUpdate, RoundMetadata

from .runs import run_of

ENVIRONMENT = Environment("3.11", {}, "x86_64", "AVX2", 1, None, None)
VALIDATORS = (2, 7, 8)
"""Of the test accounts, those that validate."""
_NAMES = (f"federation {number}" for number in itertools.count())


@dataclass(frozen=True)
class Sent:
    """A client's update as the coordinator has it."""

    file: UpdateFile
    data: bytes
    update: ClientUpdate
    cid: str


Meddle: TypeAlias = Callable[[list[Sent]], list[Sent]]


@dataclass
class Federation:
    """A training, and all that its parts hold."""

    session: Session
    registry: ModelRegistry
    run: RunConfiguration
    run_cid: str
    folder: Path
    objects: Objects
    """The coordinator's."""
    divided: Divided
    keys: dict[str, PrivateKey]
    """The validators' X25519 keys, by address."""
    made: dict[int, Loaded] = field(default_factory=dict)
    cids: dict[int, str] = field(default_factory=dict)
    metadata: dict[int, RoundMetadata] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        session: Session,
        registry: ModelRegistry,
        folder: Path,
        policy: Policy = PRESETS["thesis"],
        clients: int = 3,
        **changes: Any,
    ) -> Federation:
        """A model whose clients are enrolled; ``changes`` are of the run."""
        divided = divide(
            load_dataset("iris"), Preparation(clients, Iid(), seed=1, holdout_from="train")
        )
        admin = session.account(None, Role.ADMIN)
        name = next(_NAMES)
        model, _ = registry.create_model(
            name,
            divided.validation.root,
            policy,
            sender=admin,
            trainer=session.account(None, Role.TRAINER).address,
            validator=session.account(None, Role.VALIDATOR).address,
            operator=session.account(None, Role.OPERATOR).address,
        )
        coordinator = PrivateKey.generate()
        addresses = [session.account(f"test:{index}", Role.NONE).address for index in VALIDATORS]
        keys = {str(address): PrivateKey.generate() for address in addresses}
        people = tuple(
            RunClient(index, signer_of(index).address, bytes([index]) * 32, len(part), part.root)
            for index, part in enumerate(divided.clients)
        )
        run = run_of(
            model=model,
            name=name,
            chain_id=registry.chain_id,
            registry=registry.address,
            test_set=divided.validation.root,
            holdout=divided.holdout.root,
            coordinator=coordinator.raw,
            clients=people,
            validators=tuple(RunValidator(address, key.raw) for address, key in keys.items()),
            **changes,
        )
        for client in people:
            registry.enrol_client(
                model, client.index, client.address, client.dataset_root, sender=admin
            )
        objects = Objects(Places([str(folder)]), [coordinator])
        kept = objects.put(run.to_json().encode(), RUN_FORMAT, [coordinator])
        return cls(session, registry, run, str(kept.stored.cid), folder, objects, divided, keys)

    @property
    def named(self) -> NamedModel:
        admin = self.session.account(None, Role.ADMIN)
        return NamedModel(self.run.model, self.run.name, str(admin.address))

    @property
    def chain(self) -> ChainView:
        return ChainView(self.registry, self.run.model)

    def base(self, version: int) -> tuple[Loaded, bytes]:
        """A version that rounds start from, with its identity."""
        if version:
            file = self.file_of(self.made[version])
            return self.made[version], file.weights
        first = version_files.first_weights(self.run)
        return Loaded(first, NO_STATE), version_files.weights_of(first)

    def file_of(self, made: Loaded) -> version_files.VersionFile:
        return version_files.dump(made.tensors, made.state, self.run.rule)

    # A round

    def sent(self, weights: Mapping[int, Weights]) -> list[Sent]:
        """What clients send in the round that is due: these weights, signed and stored."""
        state = self.registry.model(self.run.model).state
        _, base_weights = self.base(state.current)
        return [
            self._sent(
                index,
                tensors,
                UpdateMetadata(
                    model=self.run.model,
                    client=signer_of(index).address,
                    epoch=state.epoch,
                    iteration=state.iteration + 1,
                    base=state.current,
                    base_weights=base_weights,
                    samples=34 - index,
                    correct=30,
                ),
            )
            for index, tensors in weights.items()
        ]

    def _sent(self, index: int, tensors: Weights, metadata: UpdateMetadata) -> Sent:
        data = updates.dump(metadata, tensors)
        file = updates.sign(signer_of(index), self.run.domain, index, metadata, data)
        kept = self.objects.put(data, UPDATE_FORMAT, self.objects.keys)
        update = ClientUpdate(index, metadata.samples, tensors)
        return Sent(file, data, update, str(kept.stored.cid))

    def round(
        self,
        weights: Mapping[int, Weights] | None = None,
        *,
        meddle: Meddle = list,
        alter: Callable[[Aggregate], Aggregate] = lambda made: made,
        contributors: int | None = None,
        stated: Callable[[RoundMetadata], RoundMetadata] = lambda metadata: metadata,
        stored: Callable[[bytes], bytes] = lambda data: data,
    ) -> int:
        """Aggregate, store and register a round; returns the version, which waits.

        Args:
            weights: what each client's training ended with; drawn if not given
            meddle: changes what the coordinator aggregates and records
            alter: changes what came of it
            contributors: that are named, if not those whose updates are recorded
            stated: changes the metadata
            stored: changes the file that is stored
        """
        state = self.registry.model(self.run.model).state
        base, base_weights = self.base(state.current)
        number = state.latest + 1
        given = self.drawn(base.tensors, number) if weights is None else weights
        sent = meddle(self.sent(given))
        made = alter(
            aggregate(self.run.rule, base.tensors, [one.update for one in sent], base.state)
        )
        self.made[number] = Loaded(made.weights, made.state)
        file = self.file_of(self.made[number])
        root, _ = update_tree.with_proofs([one.file for one in sent])
        kept = self.objects.put(stored(file.data), file.format, self.objects.keys).stored
        self.cids[number] = str(kept.cid)
        metadata = stated(
            RoundMetadata(
                weights=file.weights,
                model=self.run.model,
                version=number,
                parent=state.current,
                parent_weights=base_weights,
                epoch=state.epoch,
                iteration=state.iteration + 1,
                run=self.run.digest,
                run_cid=self.run_cid,
                dataset=self.run.dataset_name,
                class_names=self.run.class_names,
                architecture=self.run.architecture,
                rule=self.run.rule.name,
                updates_root=root,
                updates=tuple(map(recorded, sent)),
                environment=ENVIRONMENT,
            )
        )
        self.metadata[number] = metadata
        described = self.objects.put(
            metadata.to_json().encode(), METADATA_FORMAT, self.objects.keys
        )
        named = update_tree.contributors([one.file for one in sent])
        details = Details(
            parent=state.current,
            iteration=state.iteration + 1,
            epoch=state.epoch,
            object=kept.sha256,
            content=kept.cid.digest,
            updates=root,
            contributors=named if contributors is None else contributors,
        )
        self.registry.register(
            self.run.model,
            number,
            file.weights,
            details,
            metadata.summary(str(described.stored.cid)),
            sender=self.session.account(None, Role.TRAINER),
        )
        return number

    def drawn(self, base: Weights, seed: int) -> dict[int, dict[str, Any]]:
        """Weights near a model's, for each client."""
        rng = np.random.default_rng(seed)
        return {
            client.index: {
                name: tensor + rng.normal(scale=0.1, size=tensor.shape).astype(np.float32)
                for name, tensor in base.items()
            }
            for client in self.run.clients
        }

    # Judging

    def task(self, version: int, validator: str, **changes: Any) -> ValidateTask:
        """What the coordinator asks a validator."""
        record = self.registry.version(self.run.model, version)
        cid = Cid.parse(self.cids[version])
        sidecar = self.objects.sidecar_for(cid, PublicKey.from_raw(self.keys[validator].raw))
        payload = ValidatePayload(
            ipfs_cid=str(cid),
            weights_sidecar=sidecar.to_json().decode(),
            blockchain_hash=self.metadata[version].weights,
            training_accuracy_ppm=self.metadata[version].training_accuracy_ppm,
        )
        return ValidateTask(
            task_id=f"{task_id('VALIDATE', self.run.model, 0, 0, version)}-{validator.lower()}",
            model=self.run.model,
            epoch=self.metadata[version].epoch,
            iteration=self.metadata[version].iteration,
            model_version_id=version,
            parent_version_id=record.parent,
            metadata=TaskMetadata(1_769_860_800),
            payload=replace(payload, **changes),
        )

    def judge(self, percent: float) -> Verdict:
        """Say on chain how accurate the version is that waits."""
        waiting = publishing.pending(self.registry, self.named)
        found = publishing.validate(
            self.registry,
            waiting,
            int(percent * 10_000),
            self.metadata[waiting.registered.version].training_accuracy_ppm,
            "{}",
            sender=self.session.account(None, Role.VALIDATOR),
        )
        return found.judgement.verdict

    def exclude(self, client: int) -> Receipt:
        operator = self.session.account(None, Role.OPERATOR)
        return self.registry.exclude_client(self.run.model, client, "poison", sender=operator)

    def object_files(self, cids: Iterable[str]) -> list[Path]:
        """The files of objects and of their sidecars."""
        return [path for cid in cids for path in sorted(self.folder.glob(f"{cid}*"))]


def signer_of(index: int) -> Any:
    """A client's account."""
    return Account.from_key((0xC11E17 + index).to_bytes(32, "big"))


def recorded(sent: Sent) -> RecordedUpdate:
    """What the metadata of a version says of an update."""
    return RecordedUpdate(
        client_id=sent.update.client,
        address=sent.file.client,
        cid=sent.cid,
        digest=sent.file.update.digest,
        samples=sent.update.samples,
        correct=30,
        signature_r=sent.file.signature.r,
        signature_vs=sent.file.signature.vs,
    )


def trained(divided: Divided, run: RunConfiguration) -> dict[str, Any]:
    """Weights that tell flowers apart: logistic regression on all clients' samples."""
    inputs = np.concatenate([part.inputs for part in divided.clients])
    labels = np.concatenate([part.labels for part in divided.clients])
    scaled: Any = inputs - np.array(run.architecture.mean, np.float32)
    truth, weight, bias = np.eye(3)[labels], np.zeros((3, 4)), np.zeros(3)
    for _ in range(300):
        scores = np.exp(scaled @ weight.T + bias)
        error = scores / scores.sum(axis=1, keepdims=True) - truth
        weight -= 0.1 * error.T @ scaled / len(labels)
        bias -= 0.1 * error.mean(axis=0)
    return {"output.bias": bias.astype(np.float32), "output.weight": weight.astype(np.float32)}


def all_alike(tensors: Weights, clients: Sequence[int]) -> dict[int, Weights]:
    """The same weights from each client."""
    return dict.fromkeys(clients, tensors)
