"""What a federated training is, as one canonical JSON text that all who take part have.

Coordinator, clients and validators read the same text; its SHA-256 is in the metadata of every
version that the training makes, so that nobody can say later that it was another one. Clients are
known by their addresses and by the keys that objects are encrypted for; nothing in it is secret.
The policy is not in it, since it is on chain.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from eth_utils.address import is_checksum_address
from pydantic import Field

from ml.chain.signing import Domain
from ml.errors import ModelproofError, NotVerified
from ml.training import canonical
from ml.training.architectures import Architecture
from ml.training.canonical import Digest

from .robust import AnyRule

MAX_ON_CHAIN: Final = 256
"""Clients that a model can enrol; where there are more, a version names them by the root alone."""
_MAX_CLIENTS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Privacy:
    """Differential privacy on the client: DP-SGD (Abadi et al. 2016, arXiv 1607.00133).

    Raises:
        ModelproofError: on construction, if a value is out of its range.
    """

    noise_multiplier: float
    """Deviation of the noise, in clipping norms."""
    max_grad_norm: float
    """To which each sample's gradient is clipped."""
    delta: float
    """The ε that is spent is stated for this δ."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("noise_multiplier", "max_grad_norm"):
            _check_positive(name, getattr(self, name))
        if not 0 < self.delta < 1:
            raise ModelproofError(f"delta is above 0 and below 1, not {self.delta}")


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """What a client does with the weights that it is sent.

    Raises:
        ModelproofError: on construction, if a value is out of its range.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    decay: float = 1.0
    """The learning rate of round i is multiplied by this i - 1 times."""
    momentum: float = 0.0
    weight_decay: float = 0.0
    mu: float = 0.0
    """FedProx: see `proximal`; 0 is plain local training."""
    validation_share: float = 0.0
    """Of its samples that a client keeps to watch its own training, and does not train on."""
    count_correct: bool = True
    """Whether a client counts how many of the samples that it trained on its model then tells apart
    rightly, with one more pass over them; no client does with privacy, since that would tell."""
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ModelproofError(f"{name} is at least 1, not {getattr(self, name)}")
        for name in ("learning_rate", "decay"):
            _check_positive(name, getattr(self, name))
        for name in ("momentum", "weight_decay", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ModelproofError(
                    f"{name} is at least 0 and below 1, not {getattr(self, name)}"
                )
        if not (math.isfinite(self.mu) and self.mu >= 0):
            raise ModelproofError(f"mu is 0 or above, not {self.mu}")

    def learning_rate_of(self, iteration: int) -> float:
        """The learning rate of a round, counted from 1."""
        return self.learning_rate * self.decay ** (iteration - 1)


@dataclass(frozen=True, slots=True)
class DiagnosisSettings:
    """What is done about a round that was rolled back.

    Raises:
        ModelproofError: on construction, if a value is out of its range.
    """

    threshold_ppm: int = 5_000
    """A client is a culprit if leaving it out gains more than this."""
    exclude: bool = False
    """Whether culprits are excluded on chain, or named only."""
    min_clients: int = 2
    """So many stay active, whoever is a culprit."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.threshold_ppm < 0 or self.min_clients < 1:
            raise ModelproofError(
                f"a threshold is 0 ppm or more, and at least 1 client stays active, not"
                f" {self.threshold_ppm} and {self.min_clients}"
            )


@dataclass(frozen=True, slots=True)
class RunClient:
    """A client, as all who take part know it."""

    index: int
    """From 0; under which it is enrolled on chain, up to 255."""
    address: str
    """Of the account that signs its updates."""
    recipient: Digest
    """Its X25519 public key, 32 bytes: what it is sent is encrypted for this."""
    samples: int | None
    """How many it has, if that is known; it may state fewer, not more."""
    dataset_root: Digest
    """Of its samples: what its enrolment names."""


@dataclass(frozen=True, slots=True)
class RunValidator:
    """Who measures versions."""

    address: str
    recipient: Digest
    """Its X25519 public key."""


@dataclass(frozen=True)
class RunConfiguration:
    """A federated training.

    Raises:
        ModelproofError: on construction, if the parts do not fit together.
    """

    model: Digest
    """Its id."""
    name: str
    """Of the model."""
    chain_id: int
    registry: str
    """Its address."""
    dataset_name: str
    dataset_version: str
    class_names: tuple[str, ...]
    test_set: Digest
    """The root of the validation part, which the model was created for."""
    holdout: Digest
    """The root of the holdout."""
    architecture: Architecture
    local: LocalTraining
    rule: Annotated[AnyRule, Field(discriminator="name")]
    seed: int
    """Of the first weights, of who takes part in a round, and of the order of samples."""
    fraction: float
    """Of the active clients that take part in a round: McMahan's C."""
    min_updates: int
    """A round is aggregated with so many updates at least."""
    deadline_s: int | None
    """How long a round waits for updates; None: until all have come."""
    diagnosis: DiagnosisSettings
    coordinator: Digest
    """The X25519 public key that updates are encrypted for."""
    clients: tuple[RunClient, ...]
    """In the order of their indices."""
    validators: tuple[RunValidator, ...]
    format: Literal["modelproof.federated-run.v1"] = "modelproof.federated-run.v1"

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if not 0 < self.fraction <= 1:
            raise ModelproofError(f"a fraction is above 0 and at most 1, not {self.fraction}")
        if not 1 <= self.min_updates <= len(self.clients) <= _MAX_CLIENTS:
            raise ModelproofError(
                f"at least {self.min_updates} updates a round of {len(self.clients)} clients cannot"
                " be: 1 or more, and no more than there are clients"
            )
        if self.deadline_s is not None and self.deadline_s < 1:
            raise ModelproofError(f"a deadline is 1 second or more away, not {self.deadline_s}")
        if not 0 <= self.seed < 1 << 63:
            raise ModelproofError(f"a seed is from 0 to 2**63 - 1, not {self.seed}")
        if len(self.class_names) != self.architecture.classes:
            raise ModelproofError(
                f"{self.dataset_name} has {len(self.class_names)} classes, and the network tells"
                f" {self.architecture.classes} apart"
            )
        _check_people(self.clients, self.validators)

    @property
    def domain(self) -> Domain:
        """Where signatures count."""
        return Domain(self.chain_id, self.registry)

    @property
    def is_enrolled(self) -> bool:
        """Whether clients are enrolled on chain, and versions name them by a bitmap."""
        return len(self.clients) <= MAX_ON_CHAIN

    @cached_property
    def by_index(self) -> dict[int, RunClient]:
        """The clients by their indices."""
        return {client.index: client for client in self.clients}

    def to_json(self) -> str:
        """Write canonical JSON."""
        return canonical.dump(self)

    @staticmethod
    def from_json(data: bytes, what: str) -> RunConfiguration:
        """Read what `to_json` wrote; ``what`` names the text in errors.

        Raises:
            MalformedJson: it is anything else.
            ModelproofError: the parts do not fit together.
        """
        return canonical.load(RunConfiguration, data, what)

    @cached_property
    def digest(self) -> bytes:
        """The SHA-256 of the text, 32 bytes."""
        return hashlib.sha256(self.to_json().encode()).digest()


def read(path: Path, digest: bytes | None = None) -> RunConfiguration:
    """Read a run's file.

    Args:
        path: the file
        digest: the SHA-256 that it must have; anything is taken if None

    Raises:
        NotVerified: its SHA-256 is another.
        ModelproofError: it cannot be read, or is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelproofError(
            f"{path} cannot be read ({error.strerror}); `ape run federate` writes it"
        ) from None
    found = hashlib.sha256(data).digest()
    if digest is not None and found != digest:
        raise NotVerified(
            f"{path} is another training than the one that was agreed: its SHA-256 is"
            f" {found.hex()}, not {digest.hex()}"
        )
    return RunConfiguration.from_json(data, str(path))


def _check_people(clients: tuple[RunClient, ...], validators: tuple[RunValidator, ...]) -> None:
    for first, second in pairwise(clients):
        if first.index >= second.index:
            raise ModelproofError(f"client {second.index} comes after client {first.index}")
    if clients and clients[0].index < 0:
        raise ModelproofError(f"a client has an index of 0 or more, not {clients[0].index}")
    addresses = [one.address for one in clients]
    if len(set(addresses)) != len(addresses):
        raise ModelproofError("two clients have one address")
    if not validators or len({one.address for one in validators}) != len(validators):
        raise ModelproofError("a training has at least one validator, and each of them once")
    for address in (*addresses, *(one.address for one in validators)):
        if not is_checksum_address(address):
            raise ModelproofError(f"{address!r} is not an address with its checksum")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ModelproofError(f"{name} is above 0, not {value}")
