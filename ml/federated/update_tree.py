"""The Merkle root over a round's signed updates, which a version commits to as ``updates``.

A leaf for each, of the client's address, what it signed and its signature
(`ml.chain.commitment.update_leaf`); the tree is OpenZeppelin's StandardMerkleTree, so that the
registry's ``proveUpdate`` checks a proof as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ml.artifact import merkle
from ml.artifact.merkle import MerkleTree
from ml.chain.commitment import update_leaf
from ml.chain.signed_files import UpdateFile
from ml.chain.signing import update_hash
from ml.errors import ModelproofError, NotVerified


def leaf_of(file: UpdateFile) -> bytes:
    """The leaf of a client's signed update, 32 bytes."""
    return update_leaf(file.client, update_hash(file.model, file.update), file.signature)


def root_of(files: Sequence[UpdateFile]) -> bytes:
    """The root over a round's updates, 32 bytes; arguments and errors as `with_proofs`."""
    return _tree(files).root


def with_proofs(files: Sequence[UpdateFile]) -> tuple[bytes, tuple[UpdateFile, ...]]:
    """Build the tree over a round's updates.

    Args:
        files: one of each client, in any order, which the root does not depend on.

    Returns:
        the root, 32 zero bytes if there is none, and the files in the order given, each with the
        proof that it is under the root.

    Raises:
        ModelproofError: a client has two.
    """
    tree = _tree(files)
    return tree.root, tuple(replace(one, proof=tuple(tree.proof(leaf_of(one)))) for one in files)


def _tree(files: Sequence[UpdateFile]) -> MerkleTree:
    seen: set[str] = set()
    for file in files:
        if file.client in seen:
            raise ModelproofError(f"client {file.client} has two updates in one round")
        seen.add(file.client)
    return MerkleTree([leaf_of(file) for file in files])


def contributors(files: Sequence[UpdateFile]) -> int:
    """The bitmap of the clients' indices, as a version's ``contributors`` has it.

    Raises:
        ModelproofError: an index is beyond what the bitmap holds, or two clients have one.
    """
    bitmap = 0
    for file in files:
        if not 0 <= file.index < 256 or bitmap >> file.index & 1:
            raise ModelproofError(
                f"the index {file.index} of client {file.client} is another's too, or not 0 to 255"
            )
        bitmap |= 1 << file.index
    return bitmap


def check_included(file: UpdateFile, root: bytes) -> None:
    """Check that a client signed an update, and that it is under a version's root.

    Raises:
        NotVerified: it did not, or it is not.
    """
    file.check_signature()
    if not merkle.verify(root, leaf_of(file), file.proof):
        raise NotVerified(
            f"the update of client {file.index} ({file.client}) is not under the root"
            f" 0x{root.hex()}"
        )
