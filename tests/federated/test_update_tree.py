"""What a version commits to as its updates is what the contract checks a client's proof against."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ape
import pytest

from ml.chain import evidence, verification
from ml.chain.events import Registered
from ml.chain.records import NO_DIGEST
from ml.chain.refusals import ContractRefused
from ml.chain.session import Session
from ml.chain.signed_files import UpdateFile
from ml.errors import ModelproofError, NotVerified
from ml.federated import update_tree
from tests.contracts.story import Cast, Story

from .clients import KEYS, sent

FILES = [sent(index)[0] for index in KEYS]


# --- The tree -------------------------------------------------------------------------------------


def test_every_update_is_proved_under_a_root_that_no_order_changes() -> None:
    root, proved = update_tree.with_proofs(FILES)
    assert update_tree.with_proofs(FILES[::-1])[0] == root
    assert update_tree.root_of(FILES) == root
    assert [replace(file, proof=()) for file in proved] == FILES
    for file in proved:
        update_tree.check_included(file, root)


def test_single_update_is_the_root_itself() -> None:
    root, (proved,) = update_tree.with_proofs(FILES[:1])
    assert root == update_tree.leaf_of(FILES[0])
    assert proved.proof == ()


def test_no_updates_are_no_digest() -> None:
    assert update_tree.with_proofs([]) == (NO_DIGEST, ())
    assert update_tree.contributors([]) == 0


def test_contributors_are_the_bits_of_the_indices() -> None:
    assert update_tree.contributors(FILES) == 0b1000_0111


def test_second_update_of_a_client_is_refused() -> None:
    second = sent(1, samples=9)[0]
    with pytest.raises(ModelproofError, match="has two updates in one round"):
        update_tree.with_proofs([*FILES, second])
    with pytest.raises(ModelproofError, match=r"the index 1 of client .* is another's too"):
        update_tree.contributors([*FILES, second])


@pytest.mark.parametrize("index", [-1, 256])
def test_index_beyond_the_bitmap_is_refused(index: int) -> None:
    with pytest.raises(ModelproofError, match="or not 0 to 255"):
        update_tree.contributors([replace(FILES[0], index=index)])


def test_update_that_is_not_under_the_root_or_not_signed_is_found_out() -> None:
    root, proved = update_tree.with_proofs(FILES)
    for other in (replace(proved[0], proof=()), replace(proved[0], proof=proved[1].proof)):
        with pytest.raises(NotVerified, match="is not under the root"):
            update_tree.check_included(other, root)
    forged = replace(proved[0], client=proved[1].client)
    with pytest.raises(NotVerified, match="the signature is not"):
        update_tree.check_included(forged, root)


# --- As the contract checks it --------------------------------------------------------------------


@pytest.fixture(scope="module")
def story(chain: Session) -> Story:
    cast = Cast(*ape.accounts.test_accounts[: len(Cast._fields)])
    return Story.begin(chain.deploy(cast.deployer)[0], cast)


@pytest.fixture(scope="module")
def files(story: Story) -> tuple[UpdateFile, ...]:
    """The updates of clients 0, 1 and 2, of which v1 was made; its registrar hides client 2."""
    for index in (0, 1, 2):
        story.enrol(index, KEYS[index].address)
    first: dict[str, Any] = {"model": story.id, "epoch": 0, "iteration": 1, "base": 0}
    signed = [sent(index, domain=story.domain, **first)[0] for index in (0, 1, 2)]
    root, files = update_tree.with_proofs(signed)
    story.register(updates=root, contributors=update_tree.contributors(files[:2]))
    return files


@pytest.fixture
def record(story: Story, files: tuple[UpdateFile, ...]) -> Registered:
    return verification.by_number(story.registry, story.id, 1).registered


def test_contract_finds_every_update_under_the_root(
    story: Story, record: Registered, files: tuple[UpdateFile, ...]
) -> None:
    hidden = [evidence.is_hidden(story.registry, record, file) for file in files]
    assert hidden == [False, False, True]


def test_contract_refuses_the_proof_of_another_update(
    story: Story, record: Registered, files: tuple[UpdateFile, ...]
) -> None:
    with pytest.raises(ContractRefused, match="is not below the version's root"):
        evidence.is_hidden(story.registry, record, replace(files[0], proof=files[1].proof))
