"""Pickles that want more than to be read: nothing of them is run, and none takes for ever."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from ml.artifact import MalformedFile, UnsafePickle, read_manifest, torch_pickle
from ml.artifact.torch_names import PickleError
from ml.artifact.torch_pickle import ForbiddenError, load

from .builders import write
from .checkpoints import called, checkpoint, dictionary, named, number, pickled, text

MIB = 1 << 20


class Reduced:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


def test_command_in_a_checkpoint_is_refused_by_its_name_and_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "it was run"
    bomb = Reduced(os.system, f"touch '{witness}'")
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(2), "x": bomb}, path)
    with pytest.raises(UnsafePickle, match=r"asks for 'posix\.system'.*nothing of it was run"):
        read_manifest(path)
    assert not witness.exists()
    pickle.loads(pickle.dumps(bomb))  # as Python's own unpickler would have
    assert witness.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("importlib", "import_module"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "os.system"),
        ("torch", "Tensor.__class__"),
        ("collections", "OrderedDict.__init__"),
        ("ml.artifact.torch_names", "NAMES"),
        ("argparse", "Namespace"),
        ("numpy.core.multiarray", "scalar"),
        ("", ""),
    ],
)
def test_name_that_state_dicts_do_not_need_is_refused(module: str, name: str) -> None:
    for asked in (named(module, name), text(module) + text(name) + b"\x93"):
        with pytest.raises(ForbiddenError):
            load(pickled(asked))


def test_names_are_found_in_a_table_and_nowhere_else() -> None:
    function = named("torch._utils", "_rebuild_tensor_v2")
    with pytest.raises(PickleError, match="rebuilds something from the wrong parts"):
        load(pickled(called(function)))


def test_instruction_that_state_dicts_do_not_need_is_refused() -> None:
    refused = set(range(256)) - set(torch_pickle._INSTRUCTIONS) - {ord(".")}
    for name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT4", "PERSID", "NEXT_BUFFER"):
        assert getattr(pickle, name)[0] in refused
    for instruction in refused:
        with pytest.raises(ForbiddenError, match=f"the instruction {instruction:#04x}"):
            load(b"\x80\x02" + bytes([instruction]) + b".")


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        (b"", "leaves something over"),
        (b"X\xff\xff\xff\xff", "damaged"),
        (b"\x8e" + b"\xff" * 8, "damaged"),
        (b"\x8d" + b"\xff" * 8, "damaged"),
        (b"X\1\0\0\0\xff", "damaged"),
        (b"cmodule without an end", "damaged"),
        (b"h\0", "damaged"),
        (b"j\xff\xff\xff\xff", "damaged"),
        (b"q\0", "damaged"),
        (b"\x85", "damaged"),
        (b"N(\x85", "damaged"),
        (b"t", "damaged"),
        (b"NR", "damaged"),
        (b"\x80\x09N", "of a protocol that is not known yet"),
        (b"NN", "leaves something over"),
        (b"(N", "leaves something over"),
        (b"N.N", "leaves something over"),
        (b"N)R", "calls something that is no function"),
        (b"]NR", "calls something that is no function"),
        (called(called(named("torch", "device"))), "calls something that is no function"),
        (b"NNa", "adds to a NoneType as to a list"),
        (b"}Na", "adds to a dict as to a list"),
        (b"]NNs", "adds to a list as to a dict"),
        (b"}(Nu", "a key without a value"),
        (b"}]Ns", "a list as a key"),
        (b"}(N]\x86Ns", "damaged"),
        (b"}N]\x86Ns", "a tuple as a key"),
        (b"}NNsNNs", "a key twice"),
        (b"NNb", "adds to a NoneType as to a dict"),
        (b"}Nb", "changes an object in a way"),
        (b"NQ", "no storage"),
        (b"(NNNNNtQ", "no storage"),
        (b"(" + text("storage") + b"NNNNtQ", "no storage"),
        (b"NN\x93", "without a name"),
        (called(named("torch", "Size"), number(3)), "not of up to 64 sizes"),
        (called(named("torch", "Size"), b"(" + number(-1) + b"t"), "a size that is none"),
        (called(named("torch._utils", "_rebuild_parameter"), b"N"), "no tensor"),
        (called(named("collections", "OrderedDict"), b"]", b"]"), "from the wrong parts"),
    ],
)
def test_damaged_pickle_is_refused(instructions: bytes, reason: str) -> None:
    with pytest.raises(PickleError, match=reason):
        load(pickled(instructions))


# Small pickles that would take all memory, or for ever.


def doubling(times: int) -> bytes:
    """Tuples of tuples of tuples: small in memory, without end to whoever goes through them."""
    return b"N" + b"".join(b"r%bj%b\x86" % (2 * (n.to_bytes(4, "little"),)) for n in range(times))


def repeated(value: bytes, used: bytes, times: int) -> bytes:
    """Use a value many times."""
    return value + b"q\0" + b"(" + (b"h\0" + used) * times + b"t\x86"


@pytest.mark.parametrize(
    "instructions",
    [
        doubling(10_000),
        b"(" * 10_000 + b"t" * 10_000,
        repeated(b"(" + b"N" * 10_000 + b"t", b"", 10_000),
        repeated(b"X" + MIB.to_bytes(4, "little") + b"a" * MIB, b"", 10_000),
        repeated(b"}(K\0NK\1Nu", b"", 10_000),
    ],
    ids=["doubled tuples", "nested tuples", "a long tuple", "a long text", "a dict"],
)
def test_repetition_takes_no_memory(instructions: bytes) -> None:
    tracemalloc.start()
    try:
        load(pickled(instructions))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MIB


@pytest.mark.parametrize(
    "key",
    [doubling(1000), b"(" + b"N" * 9 + b"t", b"N" + b"\x85" * 10_000],
    ids=["doubled tuples", "a long tuple", "nested tuples"],
)
def test_key_that_takes_long_to_hash_is_refused(key: bytes) -> None:
    with pytest.raises(PickleError, match="a tuple as a key"):
        load(pickled(b"}" + key + b"Ns"))


def test_long_shape_is_refused() -> None:
    shape = b"(" + b"K\1" * 100_000 + b"t"
    with pytest.raises(PickleError, match="not of up to 64 sizes"):
        load(pickled(called(named("torch", "Size"), shape)))


def test_longer_pickle_than_any_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_pickle, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(PickleError, match="more than 1000 instructions"):
        load(b"\x80\x02" + b"N" * 1000)


def test_values_are_read_as_python_reads_them() -> None:
    value = {
        "numbers": [0, 255, 256, 65_536, -1, 2**31, -(2**31), 2**63, 2**1000, 1.5, float("inf")],
        "texts": ["", "é層🙂", "x" * 300],
        "bytes": [b"", b"\x00\xff", bytes(300)],
        "others": (None, True, False, (), [], {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        3: {("a", 1): {"nested": [[[]]]}},
    }
    for protocol in (3, 4, 5):
        assert load(pickle.dumps(value, protocol)).root == value


def test_pickle_of_a_checkpoint_made_by_hand_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, checkpoint(pickled(dictionary({text("w"): b"N"}) + b"N")), "m.pt")
    with pytest.raises(MalformedFile, match="is not a valid torch checkpoint: its pickle leaves"):
        read_manifest(path)
