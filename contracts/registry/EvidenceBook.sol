// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Commitment} from "../libraries/Commitment.sol";
import {Signed} from "../libraries/Signed.sol";
import {
    Details,
    Evaluation,
    Role,
    Signature,
    SignedEvaluation,
    Update,
    VersionContent
} from "../types/Records.sol";
import {VersionRecord} from "../types/VersionRecord.sol";
import {ModelStore} from "./ModelStore.sol";

/// @title Facts that anyone may prove, by what others signed
/// @dev Each is stored once, so that a view can tell. None touches a model's state or its head, or
/// strangers could move those; and none takes a right away, which is for an ADMIN to decide.
abstract contract EvidenceBook is ModelStore, EIP712 {
    mapping(bytes32 modelId => mapping(address validator => uint32 version)) private _equivocations;
    mapping(bytes32 modelId => mapping(uint256 version => uint256 clients)) private _hidden;

    /// @inheritdoc IModelRegistry
    function reportEquivocation(
        bytes32 modelId,
        SignedEvaluation calldata first,
        SignedEvaluation calldata second
    ) external {
        uint32 version = _checkContradiction(modelId, first.evaluation, second.evaluation);
        address validator = _evaluator(modelId, first, 0);
        address other = _evaluator(modelId, second, 1);
        if (validator != other) revert SignersDiffer(validator, other);
        _checkRole(roleId(modelId, Role.Validator), validator);
        uint32 recorded = _equivocations[modelId][validator];
        if (recorded != 0) revert EquivocationAlreadyRecorded(validator, recorded);

        _equivocations[modelId][validator] = version;
        emit EquivocationRecorded(
            modelId, validator, version, first.evaluation, second.evaluation, msg.sender
        );
    }

    /// @inheritdoc IModelRegistry
    function proveUpdate(
        bytes32 modelId,
        uint32 version,
        VersionContent calldata content,
        uint8 index,
        Update calldata update,
        Signature calldata signature,
        bytes32[] calldata proof
    ) external returns (bool hidden) {
        _checkContent(modelId, version, content);
        _checkRound(version, content.details, update);
        address client =
            _checkIncluded(modelId, index, update, signature, content.details.updates, proof);
        hidden = content.details.contributors & (1 << index) == 0;
        if (!hidden) return false;

        if (_hidden[modelId][version] & (1 << index) != 0) revert AlreadyProved(index);
        _hidden[modelId][version] |= 1 << index;
        emit HiddenClientProved(
            modelId, version, index, client, content.registrar, update.digest, msg.sender
        );
    }

    /// @inheritdoc IModelRegistry
    function equivocationOf(bytes32 modelId, address validator) external view returns (uint32) {
        _existing(modelId);
        return _equivocations[modelId][validator];
    }

    /// @inheritdoc IModelRegistry
    function hiddenClients(bytes32 modelId, uint32 version) external view returns (uint256) {
        _checkExists(modelId, version);
        return _hidden[modelId][version];
    }

    /* CHECKS */

    /// @dev Both are about the same content of one version, and cannot both be true.
    function _checkContradiction(
        bytes32 modelId,
        Evaluation calldata first,
        Evaluation calldata second
    ) private view returns (uint32 version) {
        (Model storage model,) = _existing(modelId);
        version = first.version;
        bytes32 commitment = Commitment.version(first.testSet, first.weights, first.details);
        bytes32 other = Commitment.version(second.testSet, second.weights, second.details);
        if (version != second.version || commitment != other) {
            revert NotTheSameContent(version, commitment, second.version, other);
        }
        _checkCommitment(modelId, model, version, commitment);
        if (
            first.accuracy == second.accuracy && first.trainingAccuracy == second.trainingAccuracy
                && first.accepted == second.accepted
        ) revert NotDifferent(version, first.accuracy, first.trainingAccuracy, first.accepted);
    }

    function _evaluator(bytes32 modelId, SignedEvaluation calldata signed, uint256 index)
        private
        view
        returns (address)
    {
        bytes32 structHash =
            Signed.evaluation(modelId, signed.evaluation, signed.metrics, signed.deadline);
        return Signed.signer(_hashTypedDataV4(structHash), signed.signature, index);
    }

    function _checkContent(bytes32 modelId, uint32 version, VersionContent calldata content)
        private
        view
    {
        (Model storage model,) = _existing(modelId);
        bytes32 details = Commitment.details(
            modelId, version, content.registrar, content.details, content.metadata
        );
        bytes32 commitment = Commitment.version(model.testSet, content.weights, details);
        _checkCommitment(modelId, model, version, commitment);
    }

    function _checkCommitment(
        bytes32 modelId,
        Model storage model,
        uint32 version,
        bytes32 commitment
    ) private view {
        VersionRecord record = _record(modelId, model, version);
        if (!record.matches(commitment)) {
            revert CommitmentMismatch(version, record.commitment(), commitment);
        }
    }

    function _checkRound(uint32 version, Details calldata details, Update calldata update)
        private
        pure
    {
        if (
            update.epoch != details.epoch || update.iteration != details.iteration
                || update.base != details.parent
        ) {
            revert UpdateNotOfThisVersion(version, update.epoch, update.iteration, update.base);
        }
    }

    /// @dev The client at the index signed the update, and the registrar committed to that.
    function _checkIncluded(
        bytes32 modelId,
        uint8 index,
        Update calldata update,
        Signature calldata signature,
        bytes32 root,
        bytes32[] calldata proof
    ) private view returns (address client) {
        client = _models[modelId].clients[index];
        if (client == address(0)) revert UnknownClient(index);
        bytes32 structHash = Signed.update(modelId, update);
        address signer = Signed.signer(_hashTypedDataV4(structHash), signature, 0);
        if (signer != client) revert ClientMismatch(index, client, signer);
        bytes32 leaf = Signed.leaf(client, structHash, signature);
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert UpdateNotIncluded(leaf, root);
    }
}
