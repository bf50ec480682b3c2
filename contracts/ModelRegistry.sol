// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {StrictPolicy} from "./libraries/StrictPolicy.sol";
import {ClientRoll} from "./registry/ClientRoll.sol";
import {ModelViews} from "./registry/ModelViews.sol";
import {ModelState} from "./types/ModelState.sol";
import {Policy, PolicyLibrary} from "./types/Policy.sol";
import {
    CompletionReason,
    Details,
    Evaluation,
    FirstRoles,
    ModelKind,
    Operation,
    PolicyConfig,
    Role,
    Status,
    Verdict
} from "./types/Records.sol";
import {VersionRecord, VersionRecordLibrary} from "./types/VersionRecord.sol";

/// @title ModelRegistry
/// @notice Gives models a history that nobody can rewrite. IModelRegistry says what each function
/// does, docs/policy.md what the policy decides.
/// @dev No owner, no upgrade, no external call, no loop in a function that writes. What is stored
/// and who may write it: ModelStore. Not promised: accuracy is stated by validators, not proved,
/// and roles are trusted for liveness.
contract ModelRegistry is ClientRoll, ModelViews {
    /// @dev In bytes.
    uint256 private constant MAX_NAME = 128;

    /* THE LINE */

    /// @inheritdoc IModelRegistry
    function createModel(
        string calldata name,
        bytes32 testSet,
        PolicyConfig calldata policy,
        FirstRoles calldata roles
    ) external returns (bytes32 modelId) {
        uint256 length = bytes(name).length;
        if (length == 0 || length > MAX_NAME) revert InvalidName(length, MAX_NAME);
        modelId = modelIdOf(msg.sender, name);
        Model storage model = _models[modelId];
        if (model.state.exists()) revert ModelExists(modelId);
        if (testSet == 0) revert MissingDigest(modelId);

        Policy packed = PolicyLibrary.pack(policy);
        model.policy = packed;
        model.testSet = testSet;
        bytes32 digest = keccak256(abi.encode(modelId, testSet, packed));
        _advance(model, Operation.Create, 0, digest, model.state.withKind(ModelKind.Strict));
        emit ModelCreated(modelId, msg.sender, name, testSet, policy);

        _grantRole(roleId(modelId, Role.Admin), msg.sender);
        if (roles.trainer != address(0)) _grantRole(roleId(modelId, Role.Trainer), roles.trainer);
        if (roles.validator != address(0)) {
            _grantRole(roleId(modelId, Role.Validator), roles.validator);
        }
        if (roles.operator != address(0)) {
            _grantRole(roleId(modelId, Role.Operator), roles.operator);
        }
    }

    /// @inheritdoc IModelRegistry
    function register(
        bytes32 modelId,
        uint32 version,
        bytes32 weights,
        Details calldata details,
        string calldata metadata
    ) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Trainer);
        _checkOngoing(modelId, state);
        _checkNext(modelId, state, version, details);
        _checkContributors(model, details.contributors);
        _checkText(metadata);
        if (weights == 0) revert MissingDigest(modelId);

        bytes32 hashed = Commitment.details(modelId, version, msg.sender, details, metadata);
        bytes32 commitment = Commitment.version(model.testSet, weights, hashed);
        model.versions[version] = VersionRecordLibrary.pack(commitment, details.parent);
        _advance(model, Operation.Register, version, commitment, state.withPending(version));
        emit VersionRegistered(modelId, version, weights, commitment, msg.sender, details, metadata);
    }

    /// @inheritdoc IModelRegistry
    function validate(bytes32 modelId, Evaluation calldata evaluation, string calldata metrics)
        external
        returns (Verdict verdict)
    {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Validator);
        Policy policy = model.policy;
        if (policy.quorum() > 1) revert QuorumRequired(policy.quorum());
        if (policy.independent() && hasRole(roleId(modelId, Role.Trainer), msg.sender)) {
            revert ValidatorNotIndependent(msg.sender);
        }
        _checkText(metrics);
        verdict = _judge(modelId, model, state, policy, evaluation, metrics);
    }

    /// @inheritdoc IModelRegistry
    function rollback(bytes32 modelId, uint32 target, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        uint32 from = state.current();
        if (target == from && target == state.best()) revert AlreadyCurrent(target);

        uint32 accuracy = target == 0 ? 0 : _passed(modelId, model, state, target).accuracy();
        ModelState next = state.withoutPending().withBest(target, accuracy).withBelowBest(0)
            .withSinceProgress(0).withNextEpoch();
        _advance(model, Operation.Rollback, target, keccak256(bytes(reason)), next);
        emit RolledBackManually(modelId, from, target, msg.sender, reason);
        _announceDiscarded(modelId, state.pending(), reason);
    }

    /// @inheritdoc IModelRegistry
    function discard(bytes32 modelId, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        uint32 version = state.pending();
        if (version == 0) revert VersionIsNotPending(modelId, 0, 0);

        ModelState next = state.withoutPending().withNextEpoch();
        _advance(model, Operation.Discard, version, keccak256(bytes(reason)), next);
        _announceDiscarded(modelId, version, reason);
    }

    /// @inheritdoc IModelRegistry
    function complete(bytes32 modelId, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        _checkOngoing(modelId, state);

        ModelState next = state.withoutPending().withCompleted(CompletionReason.Manual);
        _advance(model, Operation.Complete, next.current(), keccak256(bytes(reason)), next);
        emit ModelCompleted(modelId, next.current(), msg.sender, CompletionReason.Manual, reason);
        _announceDiscarded(modelId, state.pending(), reason);
    }

    /// @inheritdoc IModelRegistry
    function reopen(bytes32 modelId, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Admin);
        _checkText(reason);
        if (!state.isCompleted()) revert ModelIsNotCompleted(modelId);
        uint32 maxIterations = model.policy.maxIterations();
        if (maxIterations != 0 && state.iteration() >= maxIterations) {
            revert IterationsExhausted(state.iteration(), maxIterations);
        }

        ModelState next = state.withoutCompleted().withSinceProgress(0).withBelowBest(0)
            .withRollbacks(0).withNextEpoch();
        _advance(model, Operation.Reopen, state.current(), keccak256(bytes(reason)), next);
        emit ModelReopened(modelId, msg.sender, reason);
    }

    /// @inheritdoc IModelRegistry
    function revoke(bytes32 modelId, uint32 version, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        VersionRecord record = _passed(modelId, model, state, version);
        if (version == state.current() || version == state.best()) {
            revert VersionInUse(version, state.current(), state.best());
        }

        model.versions[version] = record.withStatus(Status.Revoked);
        _advance(model, Operation.Revoke, version, keccak256(bytes(reason)), state);
        emit VersionRevoked(modelId, version, msg.sender, reason);
    }

    /// @inheritdoc IModelRegistry
    function setPolicy(bytes32 modelId, PolicyConfig calldata policy) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Admin);
        if (state.isPending()) revert VersionIsPending(modelId, state.pending());

        Policy packed = PolicyLibrary.pack(policy);
        model.policy = packed;
        _advance(model, Operation.SetPolicy, 0, bytes32(Policy.unwrap(packed)), state);
        emit PolicySet(modelId, msg.sender, policy);
    }

    /* JUDGING */

    /// @dev Judges the pending version. That the evaluation's author may state it has been checked.
    function _judge(
        bytes32 modelId,
        Model storage model,
        ModelState state,
        Policy policy,
        Evaluation memory evaluation,
        string calldata metrics
    ) private returns (Verdict verdict) {
        VersionRecord record = _checkEvaluation(modelId, model, state, evaluation);
        (state, verdict) = StrictPolicy.judge(state, policy, evaluation);

        Status status = StrictPolicy.rollsBack(verdict) ? Status.Failed : Status.Passed;
        uint32 version = evaluation.version;
        model.versions[version] = record.withJudgement(status, evaluation.accuracy);
        bytes32 digest = keccak256(
            abi.encode(
                evaluation.accuracy, evaluation.trainingAccuracy, verdict, keccak256(bytes(metrics))
            )
        );
        _advance(model, Operation.Validate, version, digest, state);
        _announce(modelId, state, evaluation, verdict, metrics);
    }

    function _announce(
        bytes32 modelId,
        ModelState state,
        Evaluation memory evaluation,
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
        if (StrictPolicy.rollsBack(verdict)) {
            emit RolledBackAutomatically(modelId, evaluation.version, state.best(), verdict);
        }
        if (state.isCompleted()) {
            emit ModelCompleted(modelId, state.current(), msg.sender, state.completed(), "");
        }
    }

    /// @dev The record is left alone: that its version no longer waits is in the state, and a
    /// second copy of a fact can only cost and disagree. See `_statusOf`. The event comes after that
    /// of the operation which took the version along, so that the log can be replayed: a discard
    /// where nothing waits any more is part of the operation before it.
    function _announceDiscarded(bytes32 modelId, uint32 version, string calldata reason) private {
        if (version != 0) emit VersionDiscarded(modelId, version, msg.sender, reason);
    }

    function _passed(bytes32 modelId, Model storage model, ModelState state, uint32 version)
        private
        view
        returns (VersionRecord record)
    {
        record = model.versions[version];
        Status status = record.status();
        if (status == Status.Passed) return record;
        if (status == Status.None) revert UnknownVersion(modelId, version);
        revert VersionNotPassed(version, _statusOf(state, version, record));
    }

    /* CHECKS */

    function _checkNext(bytes32 modelId, ModelState state, uint32 version, Details calldata details)
        private
        pure
    {
        if (state.isPending()) revert VersionIsPending(modelId, state.pending());
        uint32 next = state.latest() + 1;
        if (version != next) revert UnexpectedVersion(version, next);
        if (details.parent != state.current()) {
            revert UnexpectedParent(details.parent, state.current());
        }
        next = state.iteration() + 1;
        if (details.iteration != next) revert UnexpectedIteration(details.iteration, next);
        if (details.epoch != state.epoch()) revert UnexpectedEpoch(details.epoch, state.epoch());
    }

    function _checkEvaluation(
        bytes32 modelId,
        Model storage model,
        ModelState state,
        Evaluation memory evaluation
    ) private view returns (VersionRecord record) {
        _checkOngoing(modelId, state);
        uint32 version = evaluation.version;
        if (version == 0 || version != state.pending()) {
            revert VersionIsNotPending(modelId, version, state.pending());
        }
        _checkAccuracy(evaluation.accuracy);
        _checkAccuracy(evaluation.trainingAccuracy);
        bytes32 commitment =
            Commitment.version(evaluation.testSet, evaluation.weights, evaluation.details);
        record = model.versions[version];
        if (!record.matches(commitment)) {
            revert CommitmentMismatch(version, record.commitment(), commitment);
        }
    }

    function _checkOngoing(bytes32 modelId, ModelState state) private pure {
        if (state.isCompleted()) revert ModelIsCompleted(modelId, state.completed());
    }

    function _checkAccuracy(uint32 accuracy) private pure {
        if (accuracy > PolicyLibrary.PPM) revert AccuracyOutOfRange(accuracy, PolicyLibrary.PPM);
    }
}
