// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Signed} from "../../../contracts/libraries/Signed.sol";
import {Evaluation, Signature, Update} from "../../../contracts/types/Records.sol";

/// @title What is hashed for a signature is what EIP-712 prescribes
/// @notice `hashStruct(s) = keccak256(typeHash ‖ encodeData(s))`, a word for each field in the order
/// of the type, for all values. keccak256 itself is taken as a function without collisions.
contract SignedProof {
    function check_evaluationIsHashedFieldByField(
        bytes32 modelId,
        Evaluation calldata e,
        bytes32 metrics,
        uint64 deadline
    ) external pure {
        bytes memory first = abi.encode(
            keccak256(
                "Evaluation(bytes32 modelId,uint32 version,uint32 accuracy,uint32 trainingAccuracy,bool accepted,bytes32 testSet,bytes32 weights,bytes32 details,bytes32 metrics,uint64 deadline)"
            ),
            modelId,
            e.version,
            e.accuracy,
            e.trainingAccuracy,
            e.accepted
        );
        bytes memory second = abi.encode(e.testSet, e.weights, e.details, metrics, deadline);
        assert(
            Signed.evaluation(modelId, e, metrics, deadline)
                == keccak256(bytes.concat(first, second))
        );
    }

    function check_updateIsHashedFieldByField(bytes32 modelId, Update calldata u) external pure {
        bytes32 hash = keccak256(
            abi.encode(
                keccak256(
                    "Update(bytes32 modelId,uint32 epoch,uint32 iteration,uint32 base,bytes32 digest,uint64 samples)"
                ),
                modelId,
                u.epoch,
                u.iteration,
                u.base,
                u.digest,
                u.samples
            )
        );
        assert(Signed.update(modelId, u) == hash);
    }

    function check_updateLeafIsThatOfAStandardMerkleTree(
        address client,
        bytes32 structHash,
        Signature calldata signature
    ) external pure {
        bytes memory values = abi.encode(client, structHash, signature.r, signature.vs);
        bytes32 leaf = keccak256(bytes.concat(keccak256(values)));
        assert(Signed.leaf(client, structHash, signature) == leaf);
    }
}
