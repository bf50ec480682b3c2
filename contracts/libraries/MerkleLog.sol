// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title The Merkle tree of an append-only log
/// @notice The tree of RFC 6962, section 2.1 (RFC 9162, section 2.1.1), with keccak256: leaves are
/// hashed with 0x00 before them and inner nodes with 0x01, so that neither can be passed off as the
/// other, and the tree over the first n leaves is part of every later one. `ml/artifact/log.py`
/// computes the same off chain.
/// @dev A tree over n leaves is a row of complete subtrees, one for each bit that is set in n. Their
/// roots, the frontier, are all that later leaves need.
library MerkleLog {
    struct Tree {
        uint32 size;
        uint32 capacity; // one leaf more would take one level more
        bytes32[32] frontier; // at k: the complete subtree over 2^k leaves, if size has bit k
    }

    bytes1 internal constant LEAF_PREFIX = 0x00;
    /// @dev The root of the tree without leaves.
    bytes32 internal constant EMPTY_ROOT = keccak256("");

    /// @notice Thrown when no leaf fits any more.
    error LogIsFull(uint32 size);

    /* THE STORED TREE */

    /// @notice Prepares an empty tree, once and before anything else.
    /// @dev No word is zero afterwards, so that no append pays for a fresh one: what an append costs
    /// depends on how many subtrees it closes, not on whether it is the first to do so.
    function open(Tree storage self) internal {
        self.capacity = type(uint32).max;
        for (uint256 level = 0; level < self.frontier.length; ++level) {
            self.frontier[level] = EMPTY_ROOT;
        }
    }

    /// @notice Adds a leaf at the end and returns its index.
    /// @dev Closes every complete subtree that ends with the leaf: one on average, 31 at most.
    function append(Tree storage self, bytes32 leaf) internal returns (uint32 index) {
        index = self.size;
        if (index == self.capacity) revert LogIsFull(index);

        uint256 level = 0;
        unchecked {
            // an index below the capacity is not the last uint32, and not all of its bits are set
            self.size = index + 1;
            for (uint256 rest = index; rest & 1 == 1; rest >>= 1) {
                leaf = hashNode(self.frontier[level++], leaf);
            }
        }
        self.frontier[level] = leaf;
    }

    /// @notice The root over all leaves.
    function root(Tree storage self) internal view returns (bytes32 node) {
        uint256 rest = self.size;
        if (rest == 0) return EMPTY_ROOT;
        uint256 level = 0;
        for (; rest & 1 == 0; rest >>= 1) {
            ++level;
        }
        node = self.frontier[level];
        for (rest >>= 1; rest != 0; rest >>= 1) {
            ++level;
            if (rest & 1 == 1) node = hashNode(self.frontier[level], node);
        }
    }

    /* PROOFS */

    /// @notice Whether a leaf stands at an index of the tree over `size` leaves that has this root.
    /// @dev RFC 9162, section 2.1.3.2; its names are `fn` for `node`, `sn` for `last`.
    /// @param proof siblings from the leaf up
    function verifyInclusion(
        bytes32 treeRoot,
        uint256 size,
        uint256 index,
        bytes32 leaf,
        bytes32[] calldata proof
    ) internal pure returns (bool) {
        if (index >= size) return false;
        uint256 node = index;
        uint256 last = size - 1;
        bytes32 hash = leaf;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                hash = hashNode(proof[i], hash);
                (node, last) = _skipRight(node, last);
            } else {
                hash = hashNode(hash, proof[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == treeRoot;
    }

    /// @notice Whether the tree of `oldSize` leaves and `oldRoot` is the beginning of the tree of
    /// `newSize` leaves and `newRoot`: nothing was changed, taken out or put in between.
    /// @dev RFC 9162, section 2.1.4.2, and the two cases that it leaves out: a tree is the beginning
    /// of itself, and the empty tree is that of every tree, both with an empty proof.
    function verifyConsistency(
        uint256 oldSize,
        bytes32 oldRoot,
        uint256 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) internal pure returns (bool) {
        if (oldSize > newSize) return false;
        if (oldSize == newSize) return proof.length == 0 && oldRoot == newRoot;
        if (oldSize == 0) return proof.length == 0 && oldRoot == EMPTY_ROOT;

        // a complete old tree is a node of the new one, and is left out of the proof
        bool isComplete = oldSize & (oldSize - 1) == 0;
        if (!isComplete && proof.length == 0) return false;
        bytes32 first = isComplete ? oldRoot : proof[0];
        return _verifyGrowth(oldSize, oldRoot, newSize, newRoot, first, proof[isComplete ? 0 : 1:]);
    }

    /// @notice An inner node.
    function hashNode(bytes32 left, bytes32 right) internal pure returns (bytes32 hash) {
        // in the free memory, which stays free: a loop of these does not grow it
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 0x01)
            mstore(add(free, 1), left)
            mstore(add(free, 33), right)
            hash := keccak256(free, 65)
        }
    }

    /// @dev Climbs from the root of the old tree's last complete subtree, `first`, to both roots.
    function _verifyGrowth(
        uint256 oldSize,
        bytes32 oldRoot,
        uint256 newSize,
        bytes32 newRoot,
        bytes32 first,
        bytes32[] calldata rest
    ) private pure returns (bool) {
        uint256 node = oldSize - 1;
        uint256 last = newSize - 1;
        for (; node & 1 == 1; node >>= 1) {
            last >>= 1;
        }
        bytes32 oldHash = first;
        bytes32 newHash = first;
        for (uint256 i = 0; i < rest.length; ++i) {
            if (last == 0) return false;
            if (node & 1 == 1 || node == last) {
                oldHash = hashNode(rest[i], oldHash);
                newHash = hashNode(rest[i], newHash);
                (node, last) = _skipRight(node, last);
            } else {
                newHash = hashNode(newHash, rest[i]);
            }
            node >>= 1;
            last >>= 1;
        }
        return last == 0 && oldHash == oldRoot && newHash == newRoot;
    }

    /// @dev Goes up past the levels where the last node of an incomplete tree has no sibling.
    function _skipRight(uint256 node, uint256 last) private pure returns (uint256, uint256) {
        for (; node & 1 == 0 && node != 0; node >>= 1) {
            last >>= 1;
        }
        return (node, last);
    }
}
