// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Commitment} from "../libraries/Commitment.sol";
import {OpenPolicy} from "../libraries/OpenPolicy.sol";
import {Signed} from "../libraries/Signed.sol";
import {StrictPolicy} from "../libraries/StrictPolicy.sol";
import {ModelState} from "../types/ModelState.sol";
import {Policy, PolicyLibrary} from "../types/Policy.sol";
import {Evaluation, Operation, Role, Signature, Status, Verdict} from "../types/Records.sol";
import {VersionRecord} from "../types/VersionRecord.sol";
import {ModelStore} from "./ModelStore.sol";

/// @title How versions are validated
/// @dev Who may say so is checked first, then what is said, then the policy decides.
abstract contract Judging is ModelStore, EIP712 {
    /// @inheritdoc IModelRegistry
    function validate(bytes32 modelId, Evaluation calldata evaluation, string calldata metrics)
        external
        returns (Verdict verdict)
    {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Validator);
        Policy policy = model.policy;
        if (policy.quorum() > 1) revert QuorumRequired(policy.quorum());
        if (policy.independent()) _checkIndependent(modelId, msg.sender);
        _checkText(metrics);

        (state, verdict) = _judge(modelId, model, state, policy, evaluation);
        bytes32 digest = keccak256(
            abi.encode(evaluation.accuracy, evaluation.trainingAccuracy, verdict, _hash(metrics))
        );
        _advance(model, Operation.Validate, evaluation.version, digest, state);
        _announce(modelId, state, evaluation, verdict, metrics);
    }

    /// @inheritdoc IModelRegistry
    function validateByQuorum(
        bytes32 modelId,
        Evaluation calldata evaluation,
        string calldata metrics,
        Signature[] calldata signatures,
        uint64 deadline
    ) external returns (Verdict verdict) {
        (Model storage model,) = _existing(modelId);
        _checkText(metrics);
        if (block.timestamp > deadline) revert EvaluationExpired(deadline, block.timestamp);
        bytes32 signed =
            _hashTypedDataV4(Signed.evaluation(modelId, evaluation, _hash(metrics), deadline));
        address[] memory signers = _signers(modelId, model.policy, signed, signatures);
        return _validateBy(signers, modelId, model, evaluation, metrics, deadline);
    }

    /// @dev That the signers may state the evaluation, and did, has been checked.
    function _validateBy(
        address[] memory signers,
        bytes32 modelId,
        Model storage model,
        Evaluation calldata evaluation,
        string calldata metrics,
        uint64 deadline
    ) private returns (Verdict verdict) {
        ModelState state;
        (state, verdict) = _judge(modelId, model, model.state, model.policy, evaluation);
        bytes32 digest = keccak256(
            abi.encode(
                evaluation.accuracy,
                evaluation.trainingAccuracy,
                verdict,
                _hash(metrics),
                _hash(signers),
                deadline
            )
        );
        _advance(model, Operation.ValidateByQuorum, evaluation.version, digest, state);
        emit QuorumReached(modelId, evaluation.version, signers, deadline);
        _announce(modelId, state, evaluation, verdict, metrics);
    }

    /// @dev Writes the version's record and says what becomes of the state. That the evaluation's
    /// author may state it has been checked.
    function _judge(
        bytes32 modelId,
        Model storage model,
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation
    ) private returns (ModelState next, Verdict verdict) {
        VersionRecord record = _checkEvaluation(modelId, model, state, evaluation);
        (next, verdict) = state.isOpen()
            ? OpenPolicy.judge(state, policy, evaluation)
            : StrictPolicy.judge(state, policy, evaluation);
        Status status = verdict.fails() ? Status.Failed : Status.Passed;
        model.versions[evaluation.version] = record.withJudgement(status, evaluation.accuracy);
    }

    function _announce(
        bytes32 modelId,
        ModelState state,
        Evaluation calldata evaluation,
        Verdict verdict,
        string calldata metrics
    ) private {
        emit VersionValidated(
            modelId,
            evaluation.version,
            msg.sender,
            evaluation.accuracy,
            evaluation.trainingAccuracy,
            verdict,
            metrics
        );
        if (state.isOpen()) return;
        if (verdict.fails()) {
            emit RolledBackAutomatically(modelId, evaluation.version, state.best(), verdict);
        }
        if (state.isCompleted()) {
            emit ModelCompleted(modelId, state.current(), msg.sender, state.completed(), "");
        }
    }

    /// @dev keccak256(abi.encodePacked(signers)), which gives each 32 bytes, without their copy.
    function _hash(address[] memory signers) private pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            digest := keccak256(add(signers, 0x20), shl(5, mload(signers)))
        }
    }

    /* CHECKS */

    /// @dev Ascending, so that nobody counts twice; exactly the quorum, so that the loop is bounded.
    function _signers(
        bytes32 modelId,
        Policy policy,
        bytes32 signed,
        Signature[] calldata signatures
    ) private view returns (address[] memory signers) {
        if (signatures.length != policy.quorum()) {
            revert WrongSignatureCount(signatures.length, policy.quorum());
        }
        signers = new address[](signatures.length);
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = Signed.signer(signed, signatures[i], i);
            if (signer <= previous) revert SignersNotAscending(previous, signer);
            _checkRole(roleId(modelId, Role.Validator), signer);
            if (policy.independent()) _checkIndependent(modelId, signer);
            signers[i] = signer;
            previous = signer;
        }
    }

    function _checkIndependent(bytes32 modelId, address validator) private view {
        if (hasRole(roleId(modelId, Role.Trainer), validator)) {
            revert ValidatorNotIndependent(validator);
        }
    }

    function _checkEvaluation(
        bytes32 modelId,
        Model storage model,
        ModelState state,
        Evaluation calldata evaluation
    ) private view returns (VersionRecord record) {
        uint32 version = evaluation.version;
        if (state.isOpen()) {
            record = _waiting(modelId, model, version);
        } else {
            _checkOngoing(modelId, state);
            _checkPending(modelId, state, version);
            record = model.versions[version];
        }
        _checkAccuracy(evaluation.accuracy);
        _checkAccuracy(evaluation.trainingAccuracy);
        bytes32 commitment =
            Commitment.version(evaluation.testSet, evaluation.weights, evaluation.details);
        if (!record.matches(commitment)) {
            revert CommitmentMismatch(version, record.commitment(), commitment);
        }
    }

    function _checkAccuracy(uint32 accuracy) private pure {
        if (accuracy > PolicyLibrary.PPM) revert AccuracyOutOfRange(accuracy, PolicyLibrary.PPM);
    }
}
