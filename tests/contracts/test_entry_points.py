"""Every entry point under extreme and malformed input: a named error or none, never a panic.

A call that an ABI decoder cannot read reverts with nothing; one that it can read either succeeds or
reverts with a custom error. Panic(uint256) and Error(string) would be bugs, and so would a call
that takes gas without end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_abi.abi import encode as encode_values

from ml.chain.commitment import details_fields, details_hash, model_id, role_id
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Role
from ml.chain.registry import ModelRegistry
from ml.chain.types import Policy

from .batch import Batch, Outcome, effort, encode, selectors
from .mirror import policy_values
from .signing import key
from .story import TEST_SET, Story, refused, weights_of

CALLS = 24_000
SHARDS = 4
CALLS_AT_ONCE = 60
MAX_GAS = 1_000_000
MAX_TEXT = 16_384
VALIDATOR = key("validator of texts")
NAMES = ("new", "waiting", "completed", "candidates", "fork")
POLICIES = [policy_values(policy) for policy in (Policy(), PRESETS["open"], Policy(quorum=2))]
TEXTS = ("", "x", "é" * 17, "x" * 128, "x" * 129, "x" * MAX_TEXT, "x" * (MAX_TEXT + 1))


@pytest.fixture(scope="module")
def models(batch: Batch) -> list[bytes]:
    """Calls that make a model in each condition, with every role the batch caller's."""
    contract = batch.registry.contract
    ids = {name: model_id(batch.address, name) for name in NAMES}

    def begin(name: str, open_: bool = False, origin: tuple[bytes, int] = (bytes(32), 0)) -> bytes:
        policy, roles = POLICIES[int(open_)], (batch.address,) * 3
        return encode(contract, "createModel", name, open_, TEST_SET, origin, policy, roles)

    def register(name: str, version: int, details: Details) -> bytes:
        said = (ids[name], version, weights_of(version), details_fields(details), "")
        return encode(contract, "register", *said)

    first, candidate = Details(0, 1, 0), Details(0, 0, 0)
    hashed = details_hash(ids["candidates"], 1, batch.address, candidate, "")
    evaluation = (1, 900_000, 0, True, TEST_SET, weights_of(1), hashed)
    return [
        begin("new"),
        begin("waiting"),
        register("waiting", 1, first),
        begin("completed"),
        register("completed", 1, first),
        encode(contract, "complete", ids["completed"], ""),
        begin("candidates", open_=True),
        *(register("candidates", version, candidate) for version in (1, 2, 3)),
        encode(contract, "validate", ids["candidates"], evaluation, ""),
        begin("fork", origin=(ids["candidates"], 1)),
    ]


class Extremes:
    """Values of ABI types, at and about their ends, and such as mean something to the registry."""

    def __init__(self, dice: random.Random, batch: Batch) -> None:
        self.dice = dice
        self.models = [model_id(batch.address, name) for name in NAMES]
        roles = [role_id(model, role) for model in self.models for role in Role]
        self.digests = [*roles, bytes(32), b"\xff" * 32, TEST_SET, weights_of(1)]
        self.addresses = (batch.address, "0x" + "00" * 20, "0x" + "ff" * 20)
        self.makers: dict[str, Callable[[], Any]] = {
            "bytes32": lambda: self.dice.choice((*self.digests, self.dice.randbytes(32))),
            "bytes4": lambda: self.dice.randbytes(4),
            "address": lambda: self.dice.choice(self.addresses),
            "bool": lambda: self.dice.random() < 0.8,
            "string": lambda: self.dice.choice(TEXTS),
            "uint256[]": lambda: [self.number(256) for _ in range(self.dice.randint(0, 5))],
            "bytes32[]": lambda: [self.dice.randbytes(32) for _ in range(self.dice.randint(0, 9))],
        }

    def value(self, kind: Any) -> Any:
        """A value for an ABI item, struct or not."""
        if kind.name == "modelId" and self.dice.random() < 0.9:
            return self.dice.choice(self.models)
        if kind.name == "policy" and self.dice.random() < 0.5:
            return self.dice.choice(POLICIES)
        if kind.name == "origin" and self.dice.random() < 0.5:
            return bytes(32), 0
        if kind.components and kind.type.endswith("[]"):
            return [self.struct(kind) for _ in range(self.dice.choice((0, 1, 1, 2, 5)))]
        if kind.components:
            return self.struct(kind)
        if kind.type.startswith("uint") and kind.type[4:].isdecimal():
            enumeration = (kind.internal_type or "").startswith("enum ")
            return self.dice.randrange(5) if enumeration else self.number(int(kind.type[4:]))
        return self.makers[kind.type]()

    def struct(self, kind: Any) -> tuple[Any, ...]:
        return tuple(self.value(part) for part in kind.components)

    def number(self, bits: int) -> int:
        highest = 2**bits - 1
        return self.dice.choice((0, 0, 0, 1, 1, 1, 2, 5, highest >> 1, highest - 1, highest))


def play(batch: Batch, prepared: list[bytes], calls: list[bytes]) -> list[Outcome]:
    """What comes of some calls, on models in every condition."""
    outcomes = batch.call_each(batch.registry.address, prepared + calls)
    assert all(outcome.succeeded for outcome in outcomes[: len(prepared)])
    return outcomes[len(prepared) :]


def encoded(dice: random.Random, batch: Batch, count: int) -> Iterator[bytes]:
    """Calls of every function with extreme arguments, all of the right types."""
    contract_type = batch.registry.contract.contract_type
    known = selectors(contract_type)
    extremes = Extremes(dice, batch)
    for _ in range(count):
        function = dice.choice(contract_type.methods)
        types = [item.canonical_type for item in function.inputs]
        values = [extremes.value(item) for item in function.inputs]
        yield known[function.name] + encode_values(types, values)


def malformed(dice: random.Random, data: bytes) -> bytes:
    """The same call cut short, made longer, or with some of its words replaced."""
    match dice.randrange(4):
        case 0:
            return data[: dice.randint(0, len(data))]
        case 1:
            return data + dice.randbytes(dice.choice((1, 31, 32, 100)))
        case 2:
            return data[: 4 + 32 * dice.randint(0, 3)]
    changed = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        place = 4 + 32 * dice.randrange(max(1, min(len(data) - 4, 640) // 32))
        word = dice.choice((b"\xff" * 32, bytes(31) + b"\x40", b"\x80" + bytes(31), bytes(32)))
        changed[place : place + 32] = word
    return bytes(changed)


def described(call: bytes, outcome: Outcome) -> str:
    return f"0x{call[:1_000].hex()} gave 0x{outcome.returned[:200].hex()}"


def errors_of(registry: ModelRegistry) -> set[bytes]:
    contract_type = registry.contract.contract_type
    names = {error.name for error in contract_type.errors}
    return {code for name, code in selectors(contract_type).items() if name in names}


@pytest.mark.parametrize("shard", range(SHARDS))
def test_readable_call_succeeds_or_is_refused_by_name(
    batch: Batch, models: list[bytes], shard: int
) -> None:
    dice, errors = random.Random(shard), errors_of(batch.registry)
    succeeded = 0
    for _ in range(effort(CALLS) // SHARDS // CALLS_AT_ONCE):
        calls = list(encoded(dice, batch, CALLS_AT_ONCE))
        for call, outcome in zip(calls, play(batch, models, calls), strict=True):
            named = outcome.returned[:4] in errors
            assert outcome.succeeded or named, described(call, outcome)
            assert outcome.gas_used < MAX_GAS, described(call, outcome)
            succeeded += outcome.succeeded
    assert succeeded > effort(CALLS) // SHARDS // 10  # more than nothing got through


@pytest.mark.parametrize("shard", range(SHARDS))
def test_unreadable_call_never_panics(batch: Batch, models: list[bytes], shard: int) -> None:
    dice, errors = random.Random(shard), errors_of(batch.registry)
    unreadable = 0
    for _ in range(effort(CALLS) // SHARDS // CALLS_AT_ONCE):
        calls = [malformed(dice, call) for call in encoded(dice, batch, CALLS_AT_ONCE)]
        for call, outcome in zip(calls, play(batch, models, calls), strict=True):
            code = outcome.returned[:4]
            assert outcome.succeeded or code == b"" or code in errors, described(call, outcome)
            assert outcome.gas_used < MAX_GAS, described(call, outcome)
            unreadable += not outcome.succeeded and code == b""
    assert unreadable > effort(CALLS) // SHARDS // 10


@pytest.mark.parametrize("data", [b"", b"\x12", b"\x12\x34\x56\x78", bytes(4)])
def test_call_of_no_function_is_refused(batch: Batch, data: bytes) -> None:
    (outcome,) = batch.call_each(batch.registry.address, [data])
    assert (outcome.succeeded, outcome.returned) == (False, b"")


def test_registry_takes_no_money(story: Story) -> None:
    call = {"to": story.registry.address, "from": story.cast.admin.address, "value": 1}
    selector = selectors(story.registry.contract.contract_type)["complete"]
    for data in (b"", selector + encode_values(["bytes32", "string"], [story.id, ""])):
        with pytest.raises(Exception, match="revert"):
            story.registry.contract.provider.web3.eth.call({**call, "data": data})


# --- Texts ----------------------------------------------------------------------------------------


def completed(story: Story) -> None:
    story.complete()


def waiting(story: Story) -> None:
    story.register()


def signing(story: Story) -> None:
    story.appoint(VALIDATOR)
    story.register()


def judged_by_signature(story: Story, text: str) -> Any:
    evaluation = story.evaluation()
    return story.validate_by_quorum(evaluation, story.signed(evaluation, [VALIDATOR], text), text)


def two_passed(story: Story) -> None:
    story.play(90, 91)


def enrolled(story: Story) -> None:
    story.enrol(0)


def excluded(story: Story) -> None:
    story.enrol(0)
    story.exclude(0)


TAKING_TEXT: dict[str, tuple[Callable[[Story], Any], Callable[[Story, str], Any]]] = {
    "metadata": (lambda _: None, lambda story, text: story.register(metadata=text)),
    "metrics": (waiting, lambda story, text: story.validate(metrics=text)),
    "signed metrics": (signing, judged_by_signature),
    "rollback": (two_passed, lambda story, text: story.rollback(1, text)),
    "discard": (waiting, lambda story, text: story.discard(text)),
    "complete": (waiting, lambda story, text: story.complete(text)),
    "reopen": (completed, lambda story, text: story.reopen(text)),
    "revoke": (two_passed, lambda story, text: story.revoke(1, text)),
    "exclude": (enrolled, lambda story, text: story.exclude(0, text)),
    "reinstate": (excluded, lambda story, text: story.reinstate(0, text)),
}


@pytest.mark.parametrize("where", TAKING_TEXT)
def test_text_of_16_kib_is_told_in_full_and_one_byte_more_is_refused(
    story: Story, where: str
) -> None:
    prepare, act = TAKING_TEXT[where]
    prepare(story)
    with refused("TextTooLong", length=MAX_TEXT + 1, max=MAX_TEXT):
        act(story, "x" * (MAX_TEXT + 1))
    with refused("TextTooLong", length=MAX_TEXT + 2, max=MAX_TEXT):
        act(story, "é" * (MAX_TEXT // 2 + 1))
    before = story.model.head
    done = act(story, "é" * (MAX_TEXT // 2))
    receipt = done[1] if isinstance(done, tuple) else done
    texts = [value for _, told in story.log(receipt) for value in told.values()]
    assert "é" * (MAX_TEXT // 2) in texts
    assert story.model.head != before
