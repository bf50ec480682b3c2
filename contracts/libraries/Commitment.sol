// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Details, Tensor, WeightsIdentity} from "../types/Records.sol";

/// @title What a version commits to
/// @notice The hashes that tie a version's record to its weights, its test set and its history.
/// `ml/chain/commitment.py` and `ml/artifact` compute the same off chain.
library Commitment {
    /// @dev Tags the identity of weights and its format version, so that no other structure that
    /// is hashed anywhere can be passed off as one.
    bytes32 internal constant WEIGHTS_DOMAIN = keccak256("modelproof.weights.v1");

    /// @notice The commitment of a version.
    function version(bytes32 testSet, bytes32 weights, bytes32 detailsHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(testSet, weights, detailsHash));
    }

    /// @notice Everything about a version but its weights and its test set.
    /// @param metadata keccak256 of the text
    function details(
        bytes32 modelId,
        uint32 number,
        address registrar,
        Details calldata stated,
        bytes32 metadata
    ) internal pure returns (bytes32) {
        return keccak256(abi.encode(modelId, number, registrar, stated, metadata));
    }

    /// @notice The identity of weights, whatever file format or shards they came in.
    function identity(WeightsIdentity calldata parts) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                WEIGHTS_DOMAIN,
                parts.treeRoot,
                parts.tensorCount,
                parts.totalBytes,
                parts.digestAlgorithm,
                parts.filesRoot
            )
        );
    }

    /// @notice A tensor's leaf, hashed twice as OpenZeppelin's StandardMerkleTree does, so that no
    /// inner node can be passed off as a leaf.
    function leaf(Tensor calldata tensor) internal pure returns (bytes32) {
        bytes32 inner =
            keccak256(abi.encode(tensor.name, tensor.dtype, tensor.shape, tensor.digest));
        return keccak256(bytes.concat(inner));
    }
}
