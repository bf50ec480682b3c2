// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {ModelState} from "../types/ModelState.sol";
import {Policy} from "../types/Policy.sol";
import {Operation, Origin, Role, Status} from "../types/Records.sol";
import {VersionRecord} from "../types/VersionRecord.sol";

/// @title What the registry stores, and who may write it
/// @dev Every operation on a model begins with `_actAs`, which names the role it takes, and ends
/// with `_advance`, which writes the model's state and its head once.
abstract contract ModelStore is IModelRegistry, AccessControl {
    /* STORAGE */

    struct Model {
        ModelState state;
        Policy policy;
        bytes32 testSet;
        bytes32 head;
        uint256 activeClients;
        mapping(uint256 version => VersionRecord record) versions;
        mapping(uint256 index => address client) clients;
        Origin origin; // written for forks alone
    }

    mapping(bytes32 modelId => Model model) internal _models;

    /// @dev In bytes.
    uint256 internal constant MAX_TEXT = 16_384;

    /* ROLES */

    /// @inheritdoc IModelRegistry
    function modelIdOf(address creator, string calldata name) public pure returns (bytes32) {
        return keccak256(abi.encode(creator, name)) & ~bytes32(uint256(0xff));
    }

    /// @inheritdoc IModelRegistry
    function roleId(bytes32 modelId, Role role) public pure returns (bytes32) {
        return modelId | bytes32(uint256(role));
    }

    /// @notice ADMIN of a model administers all of its roles, itself included; nobody else does.
    function getRoleAdmin(bytes32 role) public pure override returns (bytes32) {
        return roleId(role & ~bytes32(uint256(0xff)), Role.Admin);
    }

    /// @dev A typing mistake in a role id must not look like a grant.
    function _grantRole(bytes32 role, address account) internal override returns (bool) {
        uint256 kind = uint8(uint256(role));
        if (kind == 0 || kind > uint256(type(Role).max)) revert UnknownRole(role);
        return super._grantRole(role, account);
    }

    function _actAs(bytes32 modelId, Role role)
        internal
        view
        returns (Model storage model, ModelState state)
    {
        (model, state) = _existing(modelId);
        _checkRole(roleId(modelId, role));
    }

    /* WRITING AND READING */

    /// @dev Writes what an operation leaves behind. `subject` is the version, the target or the
    /// client index that it is about, `digest` commits to its arguments.
    function _advance(
        Model storage model,
        Operation operation,
        uint32 subject,
        bytes32 digest,
        ModelState next
    ) internal {
        model.state = next;
        model.head = keccak256(abi.encode(model.head, operation, msg.sender, subject, digest, next));
    }

    function _existing(bytes32 modelId)
        internal
        view
        returns (Model storage model, ModelState state)
    {
        model = _models[modelId];
        state = model.state;
        if (!state.exists()) revert UnknownModel(modelId);
    }

    function _record(bytes32 modelId, Model storage model, uint32 version)
        internal
        view
        returns (VersionRecord record)
    {
        record = model.versions[version];
        if (record.status() == Status.None) revert UnknownVersion(modelId, version);
    }

    function _checkExists(bytes32 modelId, uint32 version) internal view {
        (Model storage model,) = _existing(modelId);
        _record(modelId, model, version);
    }

    function _passed(bytes32 modelId, Model storage model, ModelState state, uint32 version)
        internal
        view
        returns (VersionRecord record)
    {
        record = model.versions[version];
        if (record.hasPassed()) return record;
        Status status = _statusOf(state, version, record);
        if (status == Status.None) revert UnknownVersion(modelId, version);
        revert VersionNotPassed(version, status);
    }

    /// @dev A version of a strict model that was never judged and waits no longer has been discarded.
    function _statusOf(ModelState state, uint32 version, VersionRecord record)
        internal
        pure
        returns (Status status)
    {
        status = record.status();
        if (status == Status.Pending && !state.isOpen() && version != state.pending()) {
            return Status.Discarded;
        }
    }

    function _checkOngoing(bytes32 modelId, ModelState state) internal pure {
        if (state.isCompleted()) revert ModelIsCompleted(modelId, state.completed());
    }

    /// @dev For strict models, whose state says which version waits.
    function _checkPending(bytes32 modelId, ModelState state, uint32 version) internal pure {
        if (version == 0 || version != state.pending()) {
            revert VersionIsNotPending(modelId, version, state.pending());
        }
    }

    /// @dev For open models, whose records say which versions wait.
    function _waiting(bytes32 modelId, Model storage model, uint32 version)
        internal
        view
        returns (VersionRecord record)
    {
        record = _record(modelId, model, version);
        if (record.status() != Status.Pending) revert VersionIsNotPending(modelId, version, 0);
    }

    /// @dev keccak256(bytes(text)), without the copy that stays in memory and costs 200 gas.
    function _hash(string calldata text) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, text.offset, text.length)
            digest := keccak256(free, text.length)
        }
    }

    function _checkText(string calldata text) internal pure {
        if (bytes(text).length > MAX_TEXT) revert TextTooLong(bytes(text).length, MAX_TEXT);
    }
}
