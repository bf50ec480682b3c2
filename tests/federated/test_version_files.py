"""A version's file holds what was aggregated, is identified before use, and is read by all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from ml.artifact import load_verified, read_manifest
from ml.artifact.folder_archive import BLOCK, pack_bytes
from ml.errors import ModelproofError, NotVerified
from ml.federated import server_state
from ml.federated.aggregation import NO_STATE, Aggregate, ClientUpdate, FedAvg, aggregate
from ml.federated.robust import AnyRule, NormClipped, TrimmedMean
from ml.federated.server_optimizers import FedAdam, FedAvgM
from ml.federated.version_files import (
    MODEL_PATH,
    STATE_PATH,
    VersionFile,
    dump,
    first_weights,
    load,
    remembers,
    size_limit,
    weights_of,
)
from ml.storage.file_formats import suffix_of
from ml.training import checkpoint
from ml.training.architectures import Architecture, ArchitectureName
from ml.training.loop import derive_seed
from ml.training.networks import build_network
from ml.training.torch_model import TorchClassifier

from .rounds import bits
from .rounds import weights_of as bytes_of
from .runs import IRIS, RUN, run_of

CNN = Architecture(ArchitectureName.CNN, (1, 8, 8), 10, hidden=(16,), channels=(4, 8))
FORGETFUL: tuple[AnyRule, ...] = (FedAvg(), TrimmedMean(0), NormClipped(9.0, FedAvg()))
REMEMBERING: tuple[AnyRule, ...] = (FedAvgM(), FedAdam(0.1), NormClipped(9.0, FedAdam(0.1)))
NAMES = [f"{rule.name}-{index}" for index, rule in enumerate((*FORGETFUL, *REMEMBERING))]
EVERY_RULE = pytest.mark.parametrize("rule", [*FORGETFUL, *REMEMBERING], ids=NAMES)
EVERY_MEMORY = pytest.mark.parametrize("rule", REMEMBERING, ids=NAMES[len(FORGETFUL) :])


def made(rule: AnyRule, architecture: Architecture = IRIS) -> Aggregate:
    """What a rule makes of a round of one client, which added a bit to each element."""
    base = first_weights(
        run_of(architecture=architecture, class_names=("c",) * architecture.classes)
    )
    moved = {name: tensor + np.float32(0.25) for name, tensor in base.items()}
    return aggregate(rule, base, [ClientUpdate(0, 7, moved)])


def file_of(rule: AnyRule, architecture: Architecture = IRIS) -> VersionFile:
    found = made(rule, architecture)
    return dump(found.weights, found.state, rule)


@EVERY_RULE
@pytest.mark.parametrize("architecture", [IRIS, CNN], ids=["logistic", "cnn"])
def test_what_is_written_is_read_again_bit_for_bit(
    rule: AnyRule, architecture: Architecture
) -> None:
    before = made(rule, architecture)
    file = dump(before.weights, before.state, rule)
    after = load(file.data, file.weights, rule, architecture)
    assert bits(Aggregate(after.tensors, before.used, after.state)) == bits(before)
    assert dump(after.tensors, after.state, rule) == file


@EVERY_RULE
def test_other_commands_read_the_file_with_the_same_identity(rule: AnyRule, tmp_path: Path) -> None:
    file = file_of(rule, CNN)
    path = tmp_path / f"v1{file.suffix}"
    path.write_bytes(file.data)
    assert suffix_of(file.format) == file.suffix
    assert read_manifest(path) == file.manifest
    assert load_verified(path, file.weights).keys() == made(rule, CNN).weights.keys()
    assert checkpoint.load(path, file.weights, CNN).architecture == CNN


def test_plain_file_is_what_a_classifier_writes() -> None:
    weights = made(FedAvg(), CNN).weights
    network = build_network(CNN, seed=3)
    network.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
    classifier = TorchClassifier(network, CNN)
    file = dump(weights, NO_STATE, FedAvg())
    assert file.data == classifier.serialize()
    assert file.manifest == classifier.manifest()


def test_first_weights_are_those_of_a_seeded_network() -> None:
    network = build_network(IRIS, derive_seed(RUN.seed, "initial weights"))
    first = first_weights(RUN)
    assert weights_of(first) == TorchClassifier(network, IRIS).manifest().weights
    assert bytes_of(first) == bytes_of(first_weights(RUN))
    assert weights_of(first_weights(run_of(seed=2))) != weights_of(first)


def test_identity_of_tensors_does_not_depend_on_their_strides() -> None:
    tensors = made(FedAvg(), CNN).weights
    turned = {name: np.asfortranarray(tensor) for name, tensor in tensors.items()}
    assert weights_of(turned) == weights_of(tensors)
    assert dump(turned, NO_STATE, FedAvg()) == dump(tensors, NO_STATE, FedAvg())


@EVERY_MEMORY
def test_memory_is_part_of_the_identity(rule: AnyRule) -> None:
    found = made(rule)
    other = aggregate(rule, found.weights, [ClientUpdate(0, 7, found.weights)], found.state)
    file = dump(found.weights, found.state, rule)
    assert dump(found.weights, other.state, rule).weights != file.weights
    assert weights_of(found.weights) != file.weights


@EVERY_RULE
def test_every_altered_byte_of_a_file_is_noticed(rule: AnyRule) -> None:
    file = file_of(rule)
    for place in range(0, len(file.data), 1 if len(file.data) < 1000 else 7):
        data = bytearray(file.data)
        data[place] ^= 1
        try:
            found = load(bytes(data), file.weights, rule, IRIS)
        except NotVerified:
            continue
        # a header that says the same in other words
        assert dump(found.tensors, found.state, rule) == file


def archived(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """A version's archive whose files were changed."""
    found = made(FedAvgM())
    inner = {
        MODEL_PATH: bytes(safetensors.numpy.save(dict(found.weights))),
        STATE_PATH: server_state.dump(found.state, FedAvgM()),
    }
    assert pack_bytes(inner) == file_of(FedAvgM()).data
    change(inner)
    return pack_bytes(inner)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no file",
        file_of(FedAvgM()).data[:-1],
        file_of(FedAvgM()).data + bytes(BLOCK),
        archived(lambda files: files.pop(STATE_PATH)),
        archived(lambda files: files.update(more=b"")),
        file_of(FedAvg()).data,
        file_of(FedAdam(0.1)).data,
    ],
    ids=["nothing", "text", "cut off", "longer", "memory gone", "one more", "plain", "other rule"],
)
def test_anything_else_is_refused_before_it_is_used(data: bytes) -> None:
    with pytest.raises(NotVerified):
        load(data, file_of(FedAvgM()).weights, FedAvgM(), IRIS)


def test_version_of_another_architecture_or_rule_is_refused() -> None:
    plain, remembered = file_of(FedAvg()), file_of(FedAvgM())
    with pytest.raises(ModelproofError, match="not those of a cnn network"):
        load(plain.data, plain.weights, FedAvg(), CNN)
    with pytest.raises(ModelproofError, match="has no server state"):
        load(plain.data, plain.weights, FedAvgM(), IRIS)
    with pytest.raises(ModelproofError, match="has a server state"):
        load(remembered.data, remembered.weights, FedAvg(), IRIS)
    with pytest.raises(ModelproofError, match="go on with the"):
        load(remembered.data, remembered.weights, FedAvgM(0.5), IRIS)


def test_tensors_that_are_no_float32_are_refused() -> None:
    doubled = {name: t.astype(np.float64) for name, t in made(FedAvg()).weights.items()}
    data = bytes(safetensors.numpy.save(doubled))
    with pytest.raises(NotVerified) as refused:
        load(data, bytes(32), FedAvg(), IRIS)
    weights = bytes.fromhex(str(refused.value).split("0x")[1][:64])
    with pytest.raises(ModelproofError, match="is of F64, not float32"):
        load(data, weights, FedAvg(), IRIS)


def test_state_that_is_not_the_rules_is_not_written() -> None:
    remembered = made(FedAvgM())
    with pytest.raises(ModelproofError, match="is not one that the rule fedavg leaves"):
        dump(remembered.weights, remembered.state, FedAvg())
    with pytest.raises(ModelproofError, match="is not one that the rule fedavgm leaves"):
        dump(remembered.weights, NO_STATE, FedAvgM())


@EVERY_RULE
def test_file_is_within_the_limit_that_is_known_before_it_is_read(rule: AnyRule) -> None:
    for architecture in (IRIS, CNN):
        size, limit = len(file_of(rule, architecture).data), size_limit(architecture, rule)
        tensors = sum(each.nbytes for each in made(rule, architecture).weights.values())
        assert size <= limit < 4 * tensors + (1 << 20)
    assert remembers(rule) is (rule in REMEMBERING)
