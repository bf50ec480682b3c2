// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {ModelState} from "../types/ModelState.sol";
import {Operation, Role} from "../types/Records.sol";
import {ModelStore} from "./ModelStore.sol";

/// @title The clients of federated models
/// @dev Indices are given for good, so that a bitmap names the same clients for ever.
abstract contract ClientRoll is ModelStore {
    /// @inheritdoc IModelRegistry
    function enrolClient(bytes32 modelId, uint8 index, address client, bytes32 dataset) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Admin);
        if (client == address(0)) revert ClientIsZero(index);
        address holder = model.clients[index];
        if (holder != address(0)) revert ClientIndexTaken(index, holder);

        model.clients[index] = client;
        model.activeClients |= 1 << index;
        bytes32 digest = keccak256(abi.encode(client, dataset));
        _advance(model, Operation.EnrolClient, index, digest, state);
        emit ClientEnrolled(modelId, index, client, msg.sender, dataset);
    }

    /// @inheritdoc IModelRegistry
    function excludeClient(bytes32 modelId, uint8 index, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        if (!_isActive(model, index)) revert ClientNotActive(index);

        model.activeClients &= ~(1 << index);
        _advance(model, Operation.ExcludeClient, index, _hash(reason), state);
        emit ClientExcluded(modelId, index, msg.sender, reason);
    }

    /// @inheritdoc IModelRegistry
    function reinstateClient(bytes32 modelId, uint8 index, string calldata reason) external {
        (Model storage model, ModelState state) = _actAs(modelId, Role.Operator);
        _checkText(reason);
        if (_isActive(model, index)) revert ClientNotExcluded(index);

        model.activeClients |= 1 << index;
        _advance(model, Operation.ReinstateClient, index, _hash(reason), state);
        emit ClientReinstated(modelId, index, msg.sender, reason);
    }

    function _isActive(Model storage model, uint8 index) private view returns (bool) {
        if (model.clients[index] == address(0)) revert UnknownClient(index);
        return model.activeClients & (1 << index) != 0;
    }

    /// @dev One read, and none for models without clients.
    function _checkContributors(Model storage model, uint256 contributors) internal view {
        if (contributors == 0) return;
        uint256 inactive = contributors & ~model.activeClients;
        if (inactive != 0) revert InactiveContributors(inactive);
    }
}
