// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

/// @title The thesis's chaincode, carried over to Solidity
/// @notice `model_provenance.go` of "Federated provenance" keeps three kinds of records as Go structs
/// of strings and integers. Here each is a Solidity struct with the fields which the document lists
/// under "What to Store On-Chain", a string where they are strings, a word where they are numbers.
/// @dev As one would write it down from the document: no packing, no hashing of what is stored, and
/// nothing that the document does not ask for. Rights are Fabric's business there (its membership
/// service admits the callers), so that nothing here checks any, which is in its favour.
contract ModelProvenance {
    struct ModelVersion {
        string versionId;
        string parentVersionId;
        uint256 timestamp;
        uint256 iteration;
        uint256 numClients;
        string[] clientIds;
        string aggregatedHash; // SHA-256 of the aggregated weights, hex
        string diffHash; // SHA-256 of the encrypted difference, hex
        string offChainLocation; // IPFS CID
        string hyperparameters; // JSON
        string validationStatus; // pending, passed, failed
        string validationMetrics; // JSON
        uint256 blockNumber;
    }

    struct ValidationRecord {
        string versionId;
        string validatorId;
        bool passed;
        string metrics; // JSON
        string testDatasetHash; // SHA-256, hex
        uint256 timestamp;
    }

    struct RollbackEvent {
        string fromVersionId;
        string toVersionId;
        string reason;
        string triggeredBy;
        uint256 timestamp;
        string rollbackType; // automatic, manual
    }

    /// @dev What RegisterModelUpdate is called with: the rest of a ModelVersion, it adds itself.
    struct ModelUpdate {
        string versionId;
        string parentVersionId;
        uint256 iteration;
        string[] clientIds;
        string aggregatedHash;
        string diffHash;
        string offChainLocation;
        string hyperparameters;
    }

    mapping(string versionId => ModelVersion version) private _versions;
    mapping(string versionId => ValidationRecord[] records) private _validations;
    RollbackEvent[] private _rollbacks;
    string private _currentVersionId;
    uint256 private _currentIteration;

    event ModelUpdateRegistered(string versionId);
    event ValidationRecorded(string versionId, bool passed);
    event ModelRolledBack(string fromVersionId, string toVersionId);

    /// @notice RegisterModelUpdate: records a new version, which becomes the current one.
    function registerModelUpdate(ModelUpdate calldata update) external {
        require(bytes(_versions[update.versionId].versionId).length == 0, "version exists");
        require(update.iteration > _currentIteration, "late update");
        ModelVersion storage version = _versions[update.versionId];
        version.versionId = update.versionId;
        version.parentVersionId = update.parentVersionId;
        version.timestamp = block.timestamp;
        version.iteration = update.iteration;
        version.numClients = update.clientIds.length;
        version.clientIds = update.clientIds;
        version.aggregatedHash = update.aggregatedHash;
        version.diffHash = update.diffHash;
        version.offChainLocation = update.offChainLocation;
        version.hyperparameters = update.hyperparameters;
        version.validationStatus = "pending";
        version.blockNumber = block.number;
        _currentVersionId = update.versionId;
        _currentIteration = update.iteration;
        emit ModelUpdateRegistered(update.versionId);
    }

    /// @notice RecordValidation: notes how a version did, beside it and on it.
    function recordValidation(
        string calldata versionId,
        string calldata validatorId,
        bool passed,
        string calldata metrics,
        string calldata testDatasetHash
    ) external {
        ModelVersion storage version = _versions[versionId];
        require(bytes(version.versionId).length != 0, "unknown version");
        version.validationStatus = passed ? "passed" : "failed";
        version.validationMetrics = metrics;
        _validations[versionId].push(
            ValidationRecord(
                versionId, validatorId, passed, metrics, testDatasetHash, block.timestamp
            )
        );
        emit ValidationRecorded(versionId, passed);
    }

    /// @notice RollbackModel: goes from one version back to another.
    function rollbackModel(
        string calldata fromVersionId,
        string calldata toVersionId,
        string calldata reason,
        string calldata triggeredBy,
        string calldata rollbackType
    ) external {
        require(bytes(_versions[toVersionId].versionId).length != 0, "unknown version");
        _rollbacks.push(
            RollbackEvent(
                fromVersionId, toVersionId, reason, triggeredBy, block.timestamp, rollbackType
            )
        );
        _currentVersionId = toVersionId;
        emit ModelRolledBack(fromVersionId, toVersionId);
    }

    /// @notice GetModelProvenance, one step of it: a version and its validations.
    function getModelVersion(string calldata versionId)
        external
        view
        returns (ModelVersion memory, ValidationRecord[] memory)
    {
        return (_versions[versionId], _validations[versionId]);
    }

    /// @notice VerifyIntegrity: whether a version was registered with this hash.
    function verifyIntegrity(string calldata versionId, string calldata diffHash)
        external
        view
        returns (bool)
    {
        return keccak256(bytes(_versions[versionId].diffHash)) == keccak256(bytes(diffHash));
    }
}
