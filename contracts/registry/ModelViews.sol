// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";
import {Commitment} from "../libraries/Commitment.sol";
import {ModelState} from "../types/ModelState.sol";
import {
    LineageStep,
    ModelView,
    Origin,
    Tensor,
    VersionView,
    WeightsIdentity
} from "../types/Records.sol";
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
        Origin memory origin = model.origin;
        unpacked.origin = origin;
        unpacked.originStatus = _viewOf(origin.modelId, origin.version).status; // zeros have none
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
        _checkExists(modelId, version);
        return _viewOf(modelId, version);
    }

    /// @inheritdoc IModelRegistry
    function getVersions(bytes32 modelId, uint32 from, uint256 limit)
        external
        view
        returns (VersionView[] memory page)
    {
        (, ModelState state) = _existing(modelId);
        uint256 latest = state.latest();
        if (from == 0 || from > latest) return page;
        uint256 left = latest - from + 1;
        page = new VersionView[](limit < left ? limit : left);
        for (uint256 i = 0; i < page.length; ++i) {
            page[i] = _viewOf(modelId, uint32(from + i)); // at most latest, a uint32
        }
    }

    /// @inheritdoc IModelRegistry
    function getLineage(bytes32 modelId, uint32 version, uint256 limit)
        external
        view
        returns (LineageStep[] memory page, bytes32 nextModel, uint32 nextVersion)
    {
        _checkExists(modelId, version);
        uint256 length = 0;
        (nextModel, nextVersion) = (modelId, version);
        for (; nextVersion != 0 && length < limit; ++length) {
            (nextModel, nextVersion) = _before(nextModel, nextVersion);
        }
        page = new LineageStep[](length);
        for (uint256 i = 0; i < length; ++i) {
            page[i] = LineageStep(modelId, _viewOf(modelId, version));
            (modelId, version) = _before(modelId, version);
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

    /// @dev What a version was made from, in its model or where that was forked from; zeros if it
    /// was made from nothing.
    function _before(bytes32 modelId, uint32 version) private view returns (bytes32, uint32) {
        Model storage model = _models[modelId];
        uint32 parent = model.versions[version].parent();
        return parent != 0 ? (modelId, parent) : (model.origin.modelId, model.origin.version);
    }

    /// @dev Of no version, all is zero.
    function _viewOf(bytes32 modelId, uint32 version) private view returns (VersionView memory) {
        Model storage model = _models[modelId];
        VersionRecord record = model.versions[version];
        return VersionView({
            version: version,
            parent: record.parent(),
            accuracy: record.accuracy(),
            status: _statusOf(model.state, version, record),
            commitment: record.commitment()
        });
    }
}
