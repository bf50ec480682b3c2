// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IModelRegistryErrors} from "../interfaces/IModelRegistryErrors.sol";
import {Evaluation, Signature, Update} from "../types/Records.sol";

/// @title What is signed off chain
/// @notice The struct hashes of EIP-712 typed data, and who signed. `ml/chain` computes the same.
/// @dev The structs' fields are static and in the order of the types, so that the ABI encodes them
/// as EIP-712 does.
library Signed {
    bytes32 internal constant EVALUATION_TYPE = keccak256(
        "Evaluation(bytes32 modelId,uint32 version,uint32 accuracy,uint32 trainingAccuracy,bool accepted,bytes32 testSet,bytes32 weights,bytes32 details,bytes32 metrics,uint64 deadline)"
    );

    bytes32 internal constant UPDATE_TYPE = keccak256(
        "Update(bytes32 modelId,uint32 epoch,uint32 iteration,uint32 base,bytes32 digest,uint64 samples)"
    );

    /// @notice What a validator signs about a version.
    /// @dev keccak256(abi.encode(EVALUATION_TYPE, modelId, stated, metrics, deadline)), with `stated`
    /// in one piece, which saves 500 gas. Its words are as they were sent; a field out of its type's
    /// range reverts where the field is used.
    /// @param metrics keccak256 of the text
    function evaluation(
        bytes32 modelId,
        Evaluation calldata stated,
        bytes32 metrics,
        uint64 deadline
    ) internal pure returns (bytes32 hash) {
        bytes32 typeHash = EVALUATION_TYPE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            mstore(add(free, 0x20), modelId)
            calldatacopy(add(free, 0x40), stated, 0xe0)
            mstore(add(free, 0x120), metrics)
            mstore(add(free, 0x140), deadline)
            hash := keccak256(free, 0x160)
        }
    }

    /// @notice What a client signs about an update.
    function update(bytes32 modelId, Update calldata stated) internal pure returns (bytes32) {
        return keccak256(abi.encode(UPDATE_TYPE, modelId, stated));
    }

    /// @notice A signed update's leaf, hashed twice as OpenZeppelin's StandardMerkleTree does.
    /// @param structHash what `update` gives
    function leaf(address client, bytes32 structHash, Signature calldata signature)
        internal
        pure
        returns (bytes32)
    {
        bytes32 inner = keccak256(abi.encode(client, structHash, signature));
        return keccak256(bytes.concat(inner));
    }

    /// @notice Who signed; never zero.
    /// @param hash of the typed data, its domain included
    /// @param index the signature's place among those given
    function signer(bytes32 hash, Signature calldata signature, uint256 index)
        internal
        pure
        returns (address by)
    {
        (by,,) = ECDSA.tryRecover(hash, signature.r, signature.vs);
        if (by == address(0)) revert IModelRegistryErrors.InvalidSignature(index);
    }
}
