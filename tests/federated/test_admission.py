"""An update goes into the round that it was signed for, once, or is refused by a name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ml.chain import signing
from ml.chain.records import Signature
from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain
from ml.federated import tensor_file, updates
from ml.federated.admission import Participant, Refusal, Round, UpdateRefused, admit
from ml.federated.aggregation import ClientUpdate, FedAvg, Weights, aggregate

from .clients import DOMAIN, KEYS, NOON, ROUND, STRANGER, metadata_of, sent
from .rounds import BASE, bits, model, update, weights_of

Sent = tuple[UpdateFile, bytes]


def admitted(
    what: Sent,
    ongoing: Round = ROUND,
    at: int = NOON,
    taken: Collection[int] = (),
    earlier: Collection[bytes] = (),
) -> ClientUpdate:
    return admit(ongoing, *what, at=at, taken=taken, earlier=earlier)


def refusal(*arguments: Any, **named: Any) -> Refusal:
    """The name by which an update is refused; the sentence has it, and the client's index."""
    with pytest.raises(UpdateRefused) as refused:
        admitted(*arguments, **named)
    start = f"the update of client {refused.value.client} is refused ({refused.value.refusal}): "
    assert str(refused.value).startswith(start)
    return refused.value.refusal


def changed(name: str, tensor: Any) -> Weights:
    return {**model(0), name: tensor}


def resigned(file: UpdateFile, key: Any = KEYS[0], domain: Domain = DOMAIN, **update: Any) -> Any:
    """The same with another statement, signed anew."""
    stated = replace(file.update, **update)
    signature = signing.sign(key, domain, signing.update_hash(file.model, stated))
    return replace(file, update=stated, signature=signature, domain=domain)


FILE, DATA = sent(0)


# --- Taken ----------------------------------------------------------------------------------------


def test_update_of_the_round_is_taken_as_it_was_sent() -> None:
    taken = admitted((FILE, DATA))
    assert (taken.client, taken.samples) == (0, 500)
    assert weights_of(taken.weights) == weights_of(dict(sorted(model(0).items())))


def test_what_is_taken_can_be_aggregated() -> None:
    taken = [admitted(sent(index)) for index in (7, 0, 2)]
    made = aggregate(FedAvg(), BASE, taken)
    plain = [update(index, model(index), 500 + index) for index in (0, 2, 7)]
    assert bits(made) == bits(aggregate(FedAvg(), BASE, plain))


def test_update_may_come_at_the_deadline_and_any_time_without_one() -> None:
    admitted((FILE, DATA), at=NOON)
    admitted((FILE, DATA), replace(ROUND, deadline=None), at=NOON + 10**9)


def test_client_may_state_fewer_samples_than_it_has() -> None:
    assert admitted(sent(0, samples=1)).samples == 1


def test_other_clients_updates_do_not_make_one_a_duplicate() -> None:
    admitted((FILE, DATA), taken={1, 2}, earlier={bytes(32)})


# --- Refused --------------------------------------------------------------------------------------

UNKNOWN: list[Callable[[], Sent]] = [
    lambda: (replace(FILE, index=3), DATA),
    lambda: (replace(FILE, index=1), DATA),
    lambda: (replace(FILE, client=STRANGER.address), DATA),
    lambda: (resigned(replace(FILE, client=STRANGER.address), STRANGER), DATA),
]


@pytest.mark.parametrize("what", UNKNOWN)
def test_client_that_does_not_take_part_is_unknown(what: Callable[[], Sent]) -> None:
    assert refusal(what()) is Refusal.UNKNOWN_CLIENT


@pytest.mark.parametrize(
    "what",
    [
        lambda: sent(0, domain=replace(DOMAIN, chain_id=1)),
        lambda: sent(0, domain=replace(DOMAIN, registry=KEYS[1].address)),
        lambda: sent(0, model=bytes(32)),
    ],
)
def test_update_for_another_model_registry_or_chain_is_foreign(what: Callable[[], Sent]) -> None:
    assert refusal(what()) is Refusal.FOREIGN


@pytest.mark.parametrize(
    "file",
    [
        resigned(FILE, STRANGER),
        replace(FILE, signature=sent(1)[0].signature),
        replace(FILE, signature=Signature(bytes(32), bytes(32))),
        replace(FILE, signature=Signature(b"", b"")),
        replace(FILE, update=replace(FILE.update, samples=501)),
        replace(FILE, update=replace(FILE.update, digest=bytes(32))),
        replace(FILE, update=replace(FILE.update, iteration=6)),
    ],
    ids=["by another", "of another", "zeros", "empty", "samples", "digest", "iteration"],
)
def test_update_that_the_client_did_not_sign_so_is_unsigned(file: UpdateFile) -> None:
    assert refusal((file, DATA)) is Refusal.UNSIGNED


def test_update_that_an_earlier_round_took_is_replayed() -> None:
    digest = FILE.update.digest
    assert refusal((FILE, DATA), earlier={digest}) is Refusal.REPLAYED
    again = resigned(FILE, iteration=6)
    assert refusal((again, DATA), replace(ROUND, iteration=6), earlier={digest}) is Refusal.REPLAYED


@pytest.mark.parametrize("what", [(FILE, DATA), sent(0, samples=9)], ids=["the same", "another"])
def test_second_update_of_a_client_is_a_duplicate(what: Sent) -> None:
    assert refusal(what, taken={0}) is Refusal.DUPLICATE


@pytest.mark.parametrize("past", [{"epoch": 0}, {"iteration": 4}, {"epoch": 2, "iteration": 4}])
def test_update_for_a_past_round_is_late(past: dict[str, Any]) -> None:
    assert refusal(sent(0, **past)) is Refusal.LATE


def test_update_after_the_deadline_is_late() -> None:
    assert refusal((FILE, DATA), at=NOON + 1) is Refusal.LATE


@pytest.mark.parametrize("future", [{"epoch": 2}, {"iteration": 6}])
def test_update_for_a_round_to_come_is_early(future: dict[str, Any]) -> None:
    assert refusal(sent(0, **future)) is Refusal.EARLY


@pytest.mark.parametrize("base", [{"base": 3}, {"base": 0}, {"base_weights": bytes(32)}])
def test_update_from_another_version_has_the_wrong_base(base: dict[str, Any]) -> None:
    assert refusal(sent(0, **base)) is Refusal.WRONG_BASE


@pytest.mark.parametrize("samples", [0, 601, 2**63])
def test_no_samples_or_more_than_the_client_has_are_refused(samples: int) -> None:
    assert refusal(sent(0, samples=samples)) is Refusal.SAMPLES


def test_samples_are_bounded_where_nobody_knows_how_many_there_are() -> None:
    unknown = replace(ROUND, clients={0: Participant(KEYS[0].address)})
    assert admitted(sent(0, samples=2**53), unknown).samples == 2**53
    assert refusal(sent(0, samples=2**53 + 1), unknown) is Refusal.SAMPLES


@pytest.mark.parametrize("place", [0, 100, len(DATA) - 1])
def test_file_with_a_flipped_bit_is_altered(place: int) -> None:
    other = bytearray(DATA)
    other[place] ^= 1
    assert refusal((FILE, bytes(other))) is Refusal.ALTERED


def signed_bytes(data: bytes) -> Sent:
    """Any bytes, as a client would sign them."""
    return resigned(FILE, digest=updates.digest_of(data)), data


def text_of(**changes: Any) -> str:
    return tensor_file.load(updates.dump(metadata_of(0, **changes), {}), "it").text


@pytest.mark.parametrize(
    "what",
    [
        signed_bytes(b""),
        signed_bytes(DATA[:-1]),
        signed_bytes(DATA + b"\0"),
        signed_bytes(tensor_file.dump(model(0), "{}")),
        signed_bytes(tensor_file.dump(changed("a", np.zeros(3, np.int64)), text_of())),
        signed_bytes(updates.dump(metadata_of(0, samples=9), model(0))),
        signed_bytes(updates.dump(metadata_of(0, client=KEYS[1].address), model(0))),
        signed_bytes(updates.dump(metadata_of(0, correct=501), model(0))),
        signed_bytes(updates.dump(metadata_of(0, correct=-1), model(0))),
        sent(0, changed("a", np.zeros(4, np.float32))),
        sent(0, changed("a", np.zeros((1, 3), np.float32))),
        sent(0, changed("z", np.zeros(3, np.float32))),
        sent(0, {name: tensor for name, tensor in model(0).items() if name != "a"}),
        sent(0, {}),
    ],
    ids=[
        "empty file",
        "cut short",
        "longer",
        "no metadata",
        "int64",
        "other samples than signed",
        "another client's",
        "more correct than samples",
        "fewer than none correct",
        "longer tensor",
        "another shape",
        "a tensor too many",
        "a tensor too few",
        "no tensor",
    ],
)
def test_file_that_is_no_update_of_this_model_is_ill_shaped(what: Sent) -> None:
    assert refusal(what) is Refusal.ILL_SHAPED


def test_file_that_is_far_too_large_is_not_even_hashed() -> None:
    file, _ = signed_bytes(b"something else")
    with pytest.raises(UpdateRefused, match="1000000 bytes, and an update of this model at most"):
        admitted((file, bytes(10**6)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_update_with_nan_or_infinity_is_non_finite(value: float) -> None:
    weights = changed("scalar", np.array(value, np.float32))
    assert refusal(sent(0, weights)) is Refusal.NON_FINITE


# --- Order ----------------------------------------------------------------------------------------


def test_earlier_check_decides_where_several_fail() -> None:
    """Each step mends the first fault, and the next is named: the order of the names."""
    broken = changed("scalar", np.array(np.nan, np.float32))
    short = {name: tensor for name, tensor in broken.items() if name != "a"}
    all_wrong: dict[str, Any] = {"samples": 601, "base": 3, "iteration": 6, "weights": short}
    file, data = sent(0, **all_wrong)
    late = {"at": NOON + 1, "taken": {0}, "earlier": {file.update.digest}}
    foreign = replace(file, domain=replace(DOMAIN, chain_id=1))
    named = [
        refusal((replace(foreign, index=9), data), **late),
        refusal((foreign, data), **late),
        refusal((replace(file, signature=FILE.signature), data), **late),
        refusal((file, data), **late),
        refusal(sent(0, **{**all_wrong, "iteration": 5}), taken={0}, at=NOON + 1),
        refusal(sent(0, **{**all_wrong, "iteration": 5}), at=NOON + 1),
        refusal((file, data)),
        refusal(sent(0, **{**all_wrong, "iteration": 5})),
        refusal((sent(0, weights=short, samples=601)[0], b"another file")),
        refusal((sent(0, weights=short)[0], b"another file")),
        refusal(sent(0, weights=short)),
        refusal(sent(0, weights=broken)),
    ]
    # what is unavailable never comes this far
    assert named == [each for each in Refusal if each is not Refusal.UNAVAILABLE]
