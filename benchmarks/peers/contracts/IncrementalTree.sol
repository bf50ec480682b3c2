// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MerkleTree} from "@openzeppelin/contracts/utils/structs/MerkleTree.sol";

/// @title OpenZeppelin's MerkleTree with as little around it as can be
/// @notice A tree of depth 20 (a million leaves) that keeps its root, as its NatSpec tells users to,
/// and says in an event what was pushed.
contract IncrementalTree {
    using MerkleTree for MerkleTree.Bytes32PushTree;

    uint8 private constant DEPTH = 20;

    MerkleTree.Bytes32PushTree private _tree;
    bytes32 public root;

    event Pushed(uint256 indexed index, bytes32 leaf);

    constructor() {
        root = _tree.setup(DEPTH, keccak256("empty"));
    }

    /// @notice Adds a leaf at the end.
    function push(bytes32 leaf) external {
        uint256 index;
        (index, root) = _tree.push(leaf);
        emit Pushed(index, leaf);
    }

    /// @notice Whether a leaf is in a tree, by OpenZeppelin's MerkleProof: no storage is read.
    function verify(bytes32[] calldata proof, bytes32 treeRoot, bytes32 leaf)
        external
        pure
        returns (bool)
    {
        return MerkleProof.verifyCalldata(proof, treeRoot, leaf);
    }
}
