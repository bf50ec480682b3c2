// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {Commitment} from "./libraries/Commitment.sol";
import {ClientRoll} from "./registry/ClientRoll.sol";
import {EvidenceBook} from "./registry/EvidenceBook.sol";
import {Judging} from "./registry/Judging.sol";
import {ModelViews} from "./registry/ModelViews.sol";
import {ModelState} from "./types/ModelState.sol";
import {Policy, PolicyLibrary} from "./types/Policy.sol";
import {
    CompletionReason,
    Details,
    FirstRoles,
    ModelKind,
    Operation,
    Origin,
    PolicyConfig,
    Role,
    Status
} from "./types/Records.sol";
import {VersionRecord, VersionRecordLibrary} from "./types/VersionRecord.sol";

/// @title ModelRegistry
/// @notice Gives models a history that nobody can rewrite. IModelRegistry says what each function
/// does, docs/policy.md what the policy decides.
/// @dev No owner, no upgrade, no external call; the one loop in a function that writes is over a
/// quorum's signatures, 255 at most. What is stored and who may write it: ModelStore. Not promised:
/// accuracy is stated by validators, not proved, and roles are trusted for liveness.
contract ModelRegistry is Judging, ClientRoll, EvidenceBook, ModelViews {
    /// @dev In bytes.
    uint256 private constant MAX_NAME = 128;

    /// @dev Versions of an open model.
    uint32 private constant MAX_WAITING = type(uint8).max;

    constructor() EIP712("Modelproof", "1") {}

    /* THE LINE */

    /// @inheritdoc IModelRegistry
    function createModel(
        string calldata name,
        bool open,
        bytes32 testSet,
        Origin calldata origin,
        PolicyConfig calldata policy,
        FirstRoles calldata roles
    ) external returns (bytes32 modelId) {
        _checkName(name);
        modelId = modelIdOf(msg.sender, name);
        if (_models[modelId].state.exists()) revert ModelExists(modelId);
        if (testSet == 0) revert MissingDigest(modelId);

        ModelKind kind = open ? ModelKind.Open : ModelKind.Strict;
        _begin(modelId, kind, testSet, origin, PolicyLibrary.pack(policy, open));
        emit ModelCreated(
            modelId, msg.sender, origin.modelId, origin.version, kind, name, testSet, policy
        );
        _grantFirst(modelId, Role.Admin, msg.sender);
        _grantFirst(modelId, Role.Trainer, roles.trainer);
        _grantFirst(modelId, Role.Validator, roles.validator);
        _grantFirst(modelId, Role.Operator, roles.operator);
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
        if (state.isOpen()) _checkNextOpen(modelId, model, state, version, details);
        else _checkNext(modelId, state, version, details);
        _checkContributors(model, details.contributors);
        _checkText(metadata);
        if (weights == 0) revert MissingDigest(modelId);

        bytes32 hashed = Commitment.details(modelId, version, msg.sender, details, _hash(metadata));
        bytes32 commitment = Commitment.version(model.testSet, weights, hashed);
        model.versions[version] = VersionRecordLibrary.pack(commitment, details.parent);
        _advance(model, Operation.Register, version, commitment, state.withRegistered(version));
        emit VersionRegistered(modelId, version, weights, commitment, msg.sender, details, metadata);
    }

    /// @inheritdoc IModelRegistry
    function rollback(bytes32 modelId, uint32 target, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        uint32 from = state.current();
        if (target == from && target == state.best()) revert AlreadyCurrent(target);

        uint32 accuracy = target == 0 ? 0 : _passed(modelId, model, state, target).accuracy();
        ModelState next = state.withBest(target, accuracy);
        if (!state.isOpen()) {
            next = next.withNoneWaiting().withBelowBest(0).withSinceProgress(0).withNextEpoch();
        }
        _advance(model, Operation.Rollback, target, _hash(reason), next);
        emit RolledBackManually(modelId, from, target, msg.sender, reason);
        _announceDiscarded(modelId, state.pending(), reason);
    }

    /// @inheritdoc IModelRegistry
    function discard(bytes32 modelId, uint32 version, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        ModelState next;
        if (state.isOpen()) {
            VersionRecord record = _waiting(modelId, model, version);
            model.versions[version] = record.withStatus(Status.Discarded);
            next = state.withOneLessWaiting();
        } else {
            _checkPending(modelId, state, version);
            next = state.withNoneWaiting().withNextEpoch();
        }
        _advance(model, Operation.Discard, version, _hash(reason), next);
        _announceDiscarded(modelId, version, reason);
    }

    /// @inheritdoc IModelRegistry
    function complete(bytes32 modelId, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        if (state.isOpen()) revert ModelIsOpen(modelId);
        _checkOngoing(modelId, state);

        ModelState next = state.withNoneWaiting().withCompleted(CompletionReason.Manual);
        _advance(model, Operation.Complete, next.current(), _hash(reason), next);
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
        _advance(model, Operation.Reopen, state.current(), _hash(reason), next);
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
        _advance(model, Operation.Revoke, version, _hash(reason), state);
        emit VersionRevoked(modelId, version, msg.sender, reason);
    }

    /// @inheritdoc IModelRegistry
    function setPolicy(bytes32 modelId, PolicyConfig calldata policy) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Admin);
        if (state.waiting() != 0) revert VersionsWait(modelId, state.waiting());

        Policy packed = PolicyLibrary.pack(policy, state.isOpen());
        model.policy = packed;
        _advance(model, Operation.SetPolicy, 0, bytes32(Policy.unwrap(packed)), state);
        emit PolicySet(modelId, msg.sender, policy);
    }

    /// @inheritdoc IModelRegistry
    function announceSuccessor(bytes32 modelId, address registry, bytes32 successorId) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Admin);
        if (registry == address(0)) revert SuccessorIsZero(modelId);

        bytes32 digest = keccak256(abi.encode(registry, successorId));
        _advance(model, Operation.AnnounceSuccessor, 0, digest, state);
        emit SuccessorAnnounced(modelId, registry, successorId, msg.sender);
    }

    /* WRITING */

    function _begin(
        bytes32 modelId,
        ModelKind kind,
        bytes32 testSet,
        Origin calldata origin,
        Policy policy
    ) private {
        Model storage model = _models[modelId];
        model.policy = policy;
        model.testSet = testSet;
        if (origin.modelId != 0 || origin.version != 0) {
            (Model storage source, ModelState state) = _existing(origin.modelId);
            _passed(origin.modelId, source, state, origin.version);
            model.origin = origin;
        }
        bytes32 digest = keccak256(abi.encode(modelId, testSet, policy, origin));
        _advance(model, Operation.Create, 0, digest, model.state.withKind(kind));
    }

    function _grantFirst(bytes32 modelId, Role role, address account) private {
        if (account != address(0)) _grantRole(roleId(modelId, role), account);
    }

    /// @dev The record of a strict model's version is left alone: that it no longer waits is in the
    /// state, and a second copy of a fact can only cost and disagree. See `_statusOf`. The event
    /// comes after that of the operation which took the version along, so that the log can be
    /// replayed: a discard where nothing waits any more is part of the operation before it.
    function _announceDiscarded(bytes32 modelId, uint32 version, string calldata reason) private {
        if (version != 0) emit VersionDiscarded(modelId, version, msg.sender, reason);
    }

    /* CHECKS */

    function _checkName(string calldata name) private pure {
        uint256 length = bytes(name).length;
        if (length == 0 || length > MAX_NAME) revert InvalidName(length, MAX_NAME);
    }

    function _checkNext(bytes32 modelId, ModelState state, uint32 version, Details calldata details)
        private
        pure
    {
        if (state.waiting() != 0) revert VersionIsPending(modelId, state.pending());
        _expectVersion(state, version);
        if (details.parent != state.current()) {
            revert UnexpectedParent(details.parent, state.current());
        }
        _expectRound(details, state.iteration() + 1, state.epoch());
    }

    function _checkNextOpen(
        bytes32 modelId,
        Model storage model,
        ModelState state,
        uint32 version,
        Details calldata details
    ) private view {
        if (state.waiting() == MAX_WAITING) {
            revert TooManyWaiting(modelId, MAX_WAITING);
        }
        _expectVersion(state, version);
        if (details.parent != 0) _passed(modelId, model, state, details.parent);
        _expectRound(details, 0, 0);
    }

    function _expectVersion(ModelState state, uint32 version) private pure {
        uint32 next = state.latest() + 1;
        if (version != next) revert UnexpectedVersion(version, next);
    }

    function _expectRound(Details calldata details, uint32 iteration, uint32 epoch) private pure {
        if (details.iteration != iteration) {
            revert UnexpectedIteration(details.iteration, iteration);
        }
        if (details.epoch != epoch) revert UnexpectedEpoch(details.epoch, epoch);
    }
}
