// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

import {IProvenanceLog} from "./interfaces/IProvenanceLog.sol";
import {MerkleLog} from "./libraries/MerkleLog.sol";
import {
    LogRecord,
    LogRecordLibrary,
    LogRecordView,
    RecordKind,
    Statement
} from "./types/LogRecord.sol";

/// @title ProvenanceLog
/// @notice Says who knew which digest by when, for good. IProvenanceLog says what each function
/// does, docs/log.md what a record is worth.
/// @dev No owner, no role, no upgrade, no external call; the one loop in a function that writes ends
/// after 32 rounds at most.
contract ProvenanceLog is IProvenanceLog {
    using MerkleLog for MerkleLog.Tree;

    uint32 private constant MAX_COUNT = 1_000_000;
    /// @dev In bytes.
    uint256 private constant MAX_TEXT = 16_384;

    /* STORAGE */

    MerkleLog.Tree private _tree;
    mapping(address submitter => mapping(bytes32 digest => LogRecord record)) private _records;

    constructor() {
        _tree.open();
    }

    /* WRITING */

    /// @inheritdoc IProvenanceLog
    function append(RecordKind kind, bytes32 digest, uint32 count, string calldata metadata)
        external
        returns (uint32 index)
    {
        if (kind == RecordKind.None) revert KindIsNone(digest);
        if (digest == 0) revert DigestIsZero(kind);
        if (count == 0 || count > MAX_COUNT) revert CountOutOfRange(count, MAX_COUNT);
        if (bytes(metadata).length > MAX_TEXT) {
            revert TextTooLong(bytes(metadata).length, MAX_TEXT);
        }
        mapping(bytes32 digest => LogRecord record) storage own = _records[msg.sender];
        LogRecord record = own[digest];
        if (record.exists()) {
            revert AlreadyRecorded(msg.sender, digest, record.index(), record.time());
        }

        uint40 time = uint40(block.timestamp);
        bytes32 hashed = keccak256(bytes(metadata));
        index = _tree.append(_leaf(msg.sender, time, kind, digest, count, hashed));
        own[digest] = LogRecordLibrary.pack(index, time, count, kind, hashed);
        emit Recorded(index, msg.sender, digest, kind, count, time, metadata);
    }

    /// @inheritdoc IProvenanceLog
    function checkpoint() external returns (uint32 size_, bytes32 root_) {
        (size_, root_) = treeHead();
        emit Checkpointed(size_, root_);
    }

    /* RECORDS */

    /// @inheritdoc IProvenanceLog
    function isRecorded(address submitter, bytes32 digest) external view returns (bool) {
        return _records[submitter][digest].exists();
    }

    /// @inheritdoc IProvenanceLog
    function indexOf(address submitter, bytes32 digest) external view returns (uint32) {
        return _existing(submitter, digest).index();
    }

    /// @inheritdoc IProvenanceLog
    function getRecord(address submitter, bytes32 digest)
        external
        view
        returns (LogRecordView memory)
    {
        return _existing(submitter, digest).unpack();
    }

    /// @inheritdoc IProvenanceLog
    function verifyBatched(
        address submitter,
        bytes32 batch,
        Statement calldata statement,
        bytes32[] calldata proof
    ) external view returns (bool) {
        RecordKind kind = _existing(submitter, batch).kind();
        if (kind != RecordKind.Batch) revert RecordIsNotABatch(submitter, batch, kind);
        // hashed twice, so that no inner node of the batch can be passed off as a statement
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(statement))));
        return MerkleProof.verifyCalldata(proof, batch, leaf);
    }

    function _existing(address submitter, bytes32 digest) private view returns (LogRecord record) {
        record = _records[submitter][digest];
        if (!record.exists()) revert UnknownRecord(submitter, digest);
    }

    /* THE TREE */

    /// @inheritdoc IProvenanceLog
    function size() public view returns (uint32) {
        return _tree.size;
    }

    /// @inheritdoc IProvenanceLog
    function root() public view returns (bytes32) {
        return _tree.root();
    }

    /// @inheritdoc IProvenanceLog
    function treeHead() public view returns (uint32, bytes32) {
        return (size(), root());
    }

    /// @inheritdoc IProvenanceLog
    function leafOf(address submitter, uint40 time, Statement calldata statement)
        external
        pure
        returns (bytes32)
    {
        return _leaf(
            submitter, time, statement.kind, statement.digest, statement.count, statement.metadata
        );
    }

    /// @inheritdoc IProvenanceLog
    function verifyInclusion(
        bytes32 root_,
        uint256 size_,
        uint256 index,
        bytes32 leaf,
        bytes32[] calldata proof
    ) external pure returns (bool) {
        return MerkleLog.verifyInclusion(root_, size_, index, leaf, proof);
    }

    /// @inheritdoc IProvenanceLog
    function verifyConsistency(
        uint256 oldSize,
        bytes32 oldRoot,
        uint256 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) external pure returns (bool) {
        return MerkleLog.verifyConsistency(oldSize, oldRoot, newSize, newRoot, proof);
    }

    /// @dev The values one by one, as abi.encode has them: a struct in memory costs more.
    function _leaf(
        address submitter,
        uint40 time,
        RecordKind kind,
        bytes32 digest,
        uint32 count,
        bytes32 metadata
    ) private pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                MerkleLog.LEAF_PREFIX,
                uint256(uint160(submitter)),
                uint256(time),
                uint256(kind),
                digest,
                uint256(count),
                metadata
            )
        );
    }
}
