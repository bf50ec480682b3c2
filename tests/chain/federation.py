"""A federated model whose clients sign their updates, and a trainer who hides one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth_account import Account

from ml.artifact.merkle import MerkleTree
from ml.chain import verification
from ml.chain.commitment import update_leaf
from ml.chain.events import Registered
from ml.chain.records import Update
from ml.chain.registry import ModelRegistry
from ml.chain.signed_files import UpdateFile
from ml.chain.signing import Domain, sign, update_hash
from tests.contracts.story import Cast, Story

from .panel import account

CLIENTS = {index: Account.from_key(bytes([index + 1]) * 32) for index in (0, 3)}
NAMED = 1 << 0
"""The contributors whom the trainer admits: client 0, and not client 3."""


@dataclass
class Federation:
    """A federated model, v1 of which was made of the updates of clients 0 and 3."""

    story: Story
    files: dict[int, UpdateFile]

    @classmethod
    def begin(cls, registry: ModelRegistry) -> Federation:
        story = Story.begin(registry, Cast(*map(account, range(len(Cast._fields)))))
        domain = Domain(registry.chain_id, registry.address)
        files = {}
        for index, client in CLIENTS.items():
            story.enrol(index, client.address)
            update = Update(0, 1, 0, bytes([index]) * 32, 600)
            signature = sign(client, domain, update_hash(story.id, update))
            files[index] = UpdateFile(
                domain, story.id, update, index, client.address, signature, ()
            )
        leaves = {index: leaf_of(file) for index, file in files.items()}
        tree = MerkleTree(list(leaves.values()))
        proved = {
            index: replace(file, proof=tuple(tree.proof(leaves[index])))
            for index, file in files.items()
        }
        story.register(updates=tree.root, contributors=NAMED)
        return cls(story, proved)

    @property
    def record(self) -> Registered:
        return verification.by_number(self.story.registry, self.story.id, 1).registered


def leaf_of(file: UpdateFile) -> bytes:
    return update_leaf(file.client, update_hash(file.model, file.update), file.signature)
