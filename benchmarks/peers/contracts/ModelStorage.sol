// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

/// @title The contract of "ML Model Integrity Verification with Blockchain"
/// @notice The document describes its two functions and its mapping, and prints no source: this is
/// the least that does what it says. Anybody may overwrite anything, as there.
contract ModelStorage {
    struct ModelData {
        string parametersHash;
        string metadataHash;
    }

    mapping(uint256 id => ModelData data) private _models;

    /// @notice Stores the hashes of a model's parameters and of its metadata.
    function storeModelHash(uint256 _id, string memory _parametersHash, string memory _metadataHash)
        public
    {
        _models[_id] = ModelData(_parametersHash, _metadataHash);
    }

    /// @notice The hashes stored for an id.
    function getModelData(uint256 _id) public view returns (string memory, string memory) {
        return (_models[_id].parametersHash, _models[_id].metadataHash);
    }
}
