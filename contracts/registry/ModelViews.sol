// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Commitment} from "../libraries/Commitment.sol";
import {ModelState} from "../types/ModelState.sol";
import {ModelView, Tensor, VersionView, WeightsIdentity} from "../types/Records.sol";
import {VersionRecord} from "../types/VersionRecord.sol";
import {ModelStore} from "./ModelStore.sol";

/// @title What anyone may ask the registry
/// @dev Constant in the length of the history, or paged.
abstract contract ModelViews is ModelStore {
    /// @inheritdoc IModelRegistry
    function getModel(bytes32 modelId) external view returns (ModelView memory unpacked) {
        (Model storage model, ModelState state) = _existing(modelId);
        state.unpackInto(unpacked);
        unpacked.testSet = model.testSet;
        unpacked.head = model.head;
        unpacked.activeClients = model.activeClients;
        unpacked.policy = model.policy.unpack();
    }

    /// @inheritdoc IModelRegistry
    function getClient(bytes32 modelId, uint8 index) external view returns (address) {
        (Model storage model,) = _existing(modelId);
        return model.clients[index];
    }

    /// @inheritdoc IModelRegistry
    function getVersion(bytes32 modelId, uint32 version)
        external
        view
        returns (VersionView memory)
    {
        (Model storage model, ModelState state) = _existing(modelId);
        return _view(state, version, _record(modelId, model, version));
    }

    /// @inheritdoc IModelRegistry
    function getVersions(bytes32 modelId, uint32 from, uint256 limit)
        external
        view
        returns (VersionView[] memory page)
    {
        (Model storage model, ModelState state) = _existing(modelId);
        uint256 latest = state.latest();
        if (from == 0 || from > latest) return page;
        uint256 left = latest - from + 1;
        page = new VersionView[](limit < left ? limit : left);
        for (uint256 i = 0; i < page.length; ++i) {
            uint32 version = uint32(from + i); // at most latest, a uint32
            page[i] = _view(state, version, model.versions[version]);
        }
    }

    /// @inheritdoc IModelRegistry
    function getLineage(bytes32 modelId, uint32 version, uint256 limit)
        external
        view
        returns (VersionView[] memory page)
    {
        (Model storage model, ModelState state) = _existing(modelId);
        _record(modelId, model, version);
        uint256 length = 0;
        for (uint32 v = version; v != 0 && length < limit; v = model.versions[v].parent()) {
            ++length;
        }
        page = new VersionView[](length);
        for (uint256 i = 0; i < length; ++i) {
            page[i] = _view(state, version, model.versions[version]);
            version = page[i].parent;
        }
    }

    /// @inheritdoc IModelRegistry
    function onActiveLine(bytes32 modelId, uint32 version, uint32 from, uint256 limit)
        external
        view
        returns (bool onLine, uint32 next)
    {
        (Model storage model, ModelState state) = _existing(modelId);
        _record(modelId, model, version);
        next = from == 0 ? state.current() : from;
        // a parent precedes its version, so a number below the one sought ends the search
        for (; next > version; --limit) {
            if (limit == 0) return (false, next);
            next = model.versions[next].parent();
        }
        return (next == version, 0);
    }

    /// @inheritdoc IModelRegistry
    function verifyWeights(bytes32 modelId, uint32 version, bytes32 weights, bytes32 details)
        public
        view
        returns (bool)
    {
        (Model storage model,) = _existing(modelId);
        bytes32 commitment = Commitment.version(model.testSet, weights, details);
        return _record(modelId, model, version).matches(commitment);
    }

    /// @inheritdoc IModelRegistry
    function verifyTensor(
        bytes32 modelId,
        uint32 version,
        bytes32 details,
        WeightsIdentity calldata identity,
        Tensor calldata tensor,
        bytes32[] calldata proof
    ) external view returns (bool) {
        return verifyWeights(modelId, version, Commitment.identity(identity), details)
            && MerkleProof.verifyCalldata(proof, identity.treeRoot, Commitment.leaf(tensor));
    }

    function _view(ModelState state, uint32 version, VersionRecord record)
        private
        pure
        returns (VersionView memory)
    {
        return VersionView({
            version: version,
            parent: record.parent(),
            accuracy: record.accuracy(),
            status: _statusOf(state, version, record),
            commitment: record.commitment()
        });
    }
}
