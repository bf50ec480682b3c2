"""proveUpdate: whose updates a version was made of, and whom its registrar kept quiet about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_account import Account

from ml.artifact.merkle import MerkleTree
from ml.chain.commitment import commitment, details_hash, update_leaf
from ml.chain.head import text_digest
from ml.chain.policy import PRESETS
from ml.chain.records import Details, Receipt, Signature, Update, VersionContent
from ml.chain.refusals import ContractRefused
from ml.chain.registry import ModelRegistry
from ml.chain.signing import sign, update_hash
from ml.chain.types import ModelKind, Status

from .signing import SPOILT, Key, key
from .story import TEST_SET, Cast, Story, flipped, refused, weights_of

Create = Callable[..., Story]
CLIENTS = {index: key(f"client {index}") for index in (0, 1, 7, 255)}
STRANGER = key("client of nobody")
METADATA = '{"round": 1}'


@dataclass(frozen=True)
class Claim:
    """What is proved about one client's update of a version."""

    story: Story
    version: int
    content: VersionContent
    index: int
    update: Update
    signature: Signature
    proof: list[bytes]

    def prove(self, **lies: Any) -> tuple[bool, Receipt]:
        """Let a stranger prove it, with some of it changed."""
        told = replace(self, **lies)
        arguments = (told.version, told.content, told.index, told.update, told.signature)
        registry, stranger = self.story.registry, self.story.cast.stranger
        return registry.prove_update(self.story.id, *arguments, told.proof, sender=stranger)

    @property
    def leaf(self) -> bytes:
        hashed = update_hash(self.story.id, self.update)
        return update_leaf(CLIENTS[self.index].address, hashed, self.signature)


def enrolled(story: Story) -> Story:
    for index, client in CLIENTS.items():
        story.enrol(index, client.address)
    return story


def sent(due: Details, index: int) -> Update:
    """What the client at an index trained for the version that is due."""
    return Update(due.epoch, due.iteration, due.parent, bytes([index]) * 32, 100 + index)


def leaf(story: Story, update: Update, by: Key) -> bytes:
    hashed = update_hash(story.id, update)
    return update_leaf(by.address, hashed, by.sign(story.domain, hashed))


def register(story: Story, named: int, root: bytes | None = None) -> dict[int, Claim]:
    """A version made of every client's update, of whom its registrar names some, as a bitmap.

    ``root`` is what the registrar commits to, if it is not the tree's.
    """
    due = story.due()
    updates = {index: sent(due, index) for index in CLIENTS}
    tree = MerkleTree([leaf(story, updates[i], client) for i, client in CLIENTS.items()])
    root = tree.root if root is None else root
    details = replace(due, updates=root, contributors=named)
    version, trainer = story.state.latest + 1, story.cast.trainer.address
    story.register(metadata=METADATA, updates=root, contributors=named)
    content = VersionContent(weights_of(version), trainer, details, text_digest(METADATA))
    claims = {}
    for index, client in CLIENTS.items():
        hashed = update_hash(story.id, updates[index])
        signature = client.sign(story.domain, hashed)
        proof = tree.proof(update_leaf(client.address, hashed, signature))
        claims[index] = Claim(story, version, content, index, updates[index], signature, proof)
    return claims


@pytest.fixture(scope="module")
def claims(registry: ModelRegistry, cast: Cast) -> dict[int, Claim]:
    """True claims about a version that names clients 0 and 1. No test changes anything."""
    story = enrolled(Story.begin(registry, cast))
    story.play(90)
    return register(story, 0b11)


# --- What a proof does ----------------------------------------------------------------------------


@pytest.mark.parametrize("index", CLIENTS)
def test_client_that_was_not_named_is_proved_hidden_once(story: Story, index: int) -> None:
    every = sum(1 << one for one in CLIENTS)
    claim = register(enrolled(story), every ^ 1 << index)[index]
    assert story.registry.hidden_clients(story.id, 1) == 0
    hidden, receipt = claim.prove()
    assert hidden
    assert story.log(receipt) == [
        (
            "HiddenClientProved",
            {
                "modelId": story.id,
                "version": 1,
                "index": index,
                "client": CLIENTS[index].address,
                "registrar": story.cast.trainer.address,
                "digest": claim.update.digest,
                "by": story.cast.stranger.address,
            },
        )
    ]
    assert story.registry.hidden_clients(story.id, 1) == 1 << index
    with refused("AlreadyProved", index=index):
        claim.prove()


@pytest.mark.parametrize("index", [0, 1])
def test_client_that_was_named_is_proved_included_and_nothing_is_written(
    claims: dict[int, Claim], index: int
) -> None:
    claim = claims[index]
    before = claim.story.model
    for _ in range(2):
        hidden, receipt = claim.prove()
        assert not hidden
        assert claim.story.log(receipt) == []
    assert claim.story.registry.hidden_clients(claim.story.id, 2) == 0
    assert claim.story.model == before


def test_each_hidden_client_of_each_version_is_proved_for_itself(story: Story) -> None:
    enrolled(story)
    first = register(story, 0)
    story.validate()
    second = register(story, 1)
    for claim in (first[0], first[255], second[7]):
        assert claim.prove()[0]
    hidden = [story.registry.hidden_clients(story.id, version) for version in (1, 2)]
    assert hidden == [1 << 255 | 1, 1 << 7]


def test_proof_decides_nothing_and_leaves_the_head_alone(story: Story) -> None:
    claim = register(enrolled(story), 0)[0]
    before = story.model
    claim.prove()
    assert story.model == before
    assert story.statuses == [Status.PENDING]


@pytest.mark.parametrize("status", [Status.PASSED, Status.FAILED, Status.DISCARDED])
def test_version_that_no_longer_waits_is_open_to_proof(story: Story, status: Status) -> None:
    claim = register(enrolled(story), 0)[0]
    match status:
        case Status.PASSED:
            story.validate()
        case Status.FAILED:
            story.validate(story.evaluation(accepted=False))
        case _:
            story.discard()
    assert story.statuses == [status]
    assert claim.prove()[0]


def test_client_that_was_excluded_can_have_been_hidden(story: Story) -> None:
    enrolled(story)
    story.exclude(7)
    assert register(story, 0b11)[7].prove()[0]


def test_candidate_of_an_open_model_is_open_to_proof(create: Create) -> None:
    story = enrolled(create(PRESETS["open"], kind=ModelKind.OPEN))
    register(story, 0)
    claim = register(story, 0)[1]
    assert (claim.version, claim.update.epoch, claim.update.iteration) == (2, 0, 0)
    assert claim.prove()[0]


def test_single_update_is_proved_by_its_leaf_alone(story: Story) -> None:
    """With the signature of an ordinary account, hashed as the standard Merkle tree does."""
    client = Account.from_key(b"client".ljust(32, b"!"))
    story.enrol(3, client.address)
    update = sent(story.due(), 3)
    hashed = update_hash(story.id, update)
    signature = sign(client, story.domain, hashed)
    root = update_leaf(client.address, hashed, signature)
    story.register(updates=root)
    details = replace(Details(0, 1, 0), updates=root)
    content = VersionContent(weights_of(1), story.cast.trainer.address, details, text_digest(""))
    assert Claim(story, 1, content, 3, update, signature, []).prove()[0]


# --- Whose update it is ---------------------------------------------------------------------------


def test_index_that_nobody_has_proves_nothing(claims: dict[int, Claim]) -> None:
    with refused("UnknownClient", index=2):
        claims[7].prove(index=2)


def test_update_of_another_client_proves_nothing(claims: dict[int, Claim]) -> None:
    zero, seven = CLIENTS[0].address, CLIENTS[7].address
    with refused("ClientMismatch", index=0, client=zero, signer=seven):
        claims[7].prove(index=0)


def test_update_of_somebody_who_was_never_enrolled_proves_nothing(
    claims: dict[int, Claim],
) -> None:
    claim = claims[7]
    hashed = update_hash(claim.story.id, claim.update)
    signature = STRANGER.sign(claim.story.domain, hashed)
    seven = CLIENTS[7].address
    with refused("ClientMismatch", index=7, client=seven, signer=STRANGER.address):
        claim.prove(signature=signature)


@pytest.mark.parametrize("how", SPOILT)
def test_signature_that_nobody_can_have_made_proves_nothing(
    claims: dict[int, Claim], how: str
) -> None:
    with refused("InvalidSignature", index=0):
        claims[7].prove(signature=SPOILT[how](claims[7].signature))


def test_update_signed_for_elsewhere_proves_nothing(claims: dict[int, Claim]) -> None:
    claim = claims[7]
    here = claim.story.domain
    hashed = update_hash(claim.story.id, claim.update)
    elsewhere = [
        (replace(here, chain_id=here.chain_id + 1), hashed),
        (replace(here, registry=claim.story.cast.stranger.address), hashed),
        (here, update_hash(b"another model".ljust(31, b"!") + b"\0", claim.update)),
    ]
    for domain, signed in elsewhere:
        with pytest.raises(ContractRefused) as caught:
            claim.prove(signature=CLIENTS[7].sign(domain, signed))
        assert caught.value.name in ("ClientMismatch", "InvalidSignature")


# --- What it is an update of ----------------------------------------------------------------------


@pytest.mark.parametrize("field", ["epoch", "iteration", "base"])
@pytest.mark.parametrize("by", [1, -1])
def test_update_of_another_round_proves_nothing(
    claims: dict[int, Claim], field: str, by: int
) -> None:
    claim = claims[7]
    value = (getattr(claim.update, field) + by) % 2**32
    update = replace(claim.update, **{field: value})
    values = {"epoch": update.epoch, "iteration": update.iteration, "base": update.base}
    with refused("UpdateNotOfThisVersion", version=2, **values):
        claim.prove(update=update, signature=signed_by_seven(claim, update))


@pytest.mark.parametrize("field", ["digest", "samples"])
def test_update_that_the_registrar_did_not_commit_to_proves_nothing(
    claims: dict[int, Claim], field: str
) -> None:
    claim = claims[7]
    other = flipped(claim.update.digest) if field == "digest" else claim.update.samples + 1
    update = replace(claim.update, **{field: other})
    signature = signed_by_seven(claim, update)
    made_up = replace(claim, update=update, signature=signature)
    root = claim.content.details.updates
    with refused("UpdateNotIncluded", leaf=made_up.leaf, root=root):
        made_up.prove()


def signed_by_seven(claim: Claim, update: Update) -> Signature:
    return CLIENTS[7].sign(claim.story.domain, update_hash(claim.story.id, update))


PROOFS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "none": lambda _: [],
    "cut short": lambda proof: proof[:-1],
    "longer": lambda proof: [*proof, bytes(32)],
    "flipped": lambda proof: [flipped(proof[0]), *proof[1:]],
    "in reverse": lambda proof: proof[::-1],
}


@pytest.mark.parametrize("how", PROOFS)
def test_wrong_proof_proves_nothing(claims: dict[int, Claim], how: str) -> None:
    claim = claims[7]
    root = claim.content.details.updates
    with refused("UpdateNotIncluded", leaf=claim.leaf, root=root):
        claim.prove(proof=PROOFS[how](claim.proof))


def test_version_without_updates_proves_nothing(story: Story) -> None:
    claim = register(enrolled(story), 0, root=bytes(32))[7]
    with refused("UpdateNotIncluded", leaf=claim.leaf, root=bytes(32)):
        claim.prove()


# --- What was registered --------------------------------------------------------------------------


def recommitted(
    claim: Claim, content: VersionContent, version: int, metadata: str = METADATA
) -> bytes:
    """The commitment of a version with this content."""
    stated = (content.registrar, content.details, metadata)
    details = details_hash(claim.story.id, version, *stated)
    return commitment(TEST_SET, content.weights, details)


CONTENTS: dict[str, Callable[[VersionContent], VersionContent]] = {
    "weights": lambda true: replace(true, weights=flipped(true.weights)),
    "registrar": lambda true: replace(true, registrar=STRANGER.address),
    **{
        field: lambda true, field=field, other=other: replace(
            true, details=replace(true.details, **{field: other(getattr(true.details, field))})
        )
        for field, other in {
            "parent": lambda value: value + 1,
            "iteration": lambda value: value + 1,
            "epoch": lambda value: value + 1,
            "object": flipped,
            "content": flipped,
            "updates": flipped,
            "contributors": lambda value: value ^ 1 << 7,
        }.items()
    },
}


@pytest.mark.parametrize("what", CONTENTS)
def test_content_that_was_not_registered_proves_nothing(
    claims: dict[int, Claim], what: str
) -> None:
    claim = claims[7]
    false = CONTENTS[what](claim.content)
    recorded = recommitted(claim, claim.content, 2)[:25]
    with refused(
        "CommitmentMismatch", version=2, recorded=recorded, stated=recommitted(claim, false, 2)
    ):
        claim.prove(content=false)


def test_other_metadata_than_was_registered_proves_nothing(claims: dict[int, Claim]) -> None:
    claim = claims[7]
    false = replace(claim.content, metadata=text_digest("{}"))
    recorded = recommitted(claim, claim.content, 2)[:25]
    stated = recommitted(claim, false, 2, "{}")
    with refused("CommitmentMismatch", version=2, recorded=recorded, stated=stated):
        claim.prove(content=false)


def test_content_of_one_version_proves_nothing_about_another(claims: dict[int, Claim]) -> None:
    claim = claims[7]
    recorded = commitment(TEST_SET, *claim.story.said[1])[:25]
    stated = recommitted(claim, claim.content, 1)
    with refused("CommitmentMismatch", version=1, recorded=recorded, stated=stated):
        claim.prove(version=1)


@pytest.mark.parametrize("version", [0, 3, 2**32 - 1])
def test_no_version_is_open_to_no_proof(claims: dict[int, Claim], version: int) -> None:
    story = claims[7].story
    with refused("UnknownVersion", modelId=story.id, version=version):
        claims[7].prove(version=version)
    with refused("UnknownVersion", modelId=story.id, version=version):
        story.registry.hidden_clients(story.id, version)
