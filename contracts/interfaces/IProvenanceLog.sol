// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {LogRecordView, RecordKind, Statement} from "../types/LogRecord.sol";

/// @title An append-only log of digests
/// @notice Anyone records, under their own address, that they knew a digest at a time: the root of
/// a data set, of a model before or after its training, of a client's update, or of a batch of up
/// to a million such statements. Nobody can change, remove or re-date a record.
/// @dev A record does not say that what the digest stands for is true, good or the submitter's own:
/// only that its submitter knew it by then. One root commits to the whole log, in order. After
/// 2^32 - 1 records `append` reverts with `LogIsFull`.
interface IProvenanceLog {
    /* EVENTS */

    /// @notice Emitted when a digest is recorded. `metadata` is public for ever.
    event Recorded(
        uint32 indexed index,
        address indexed submitter,
        bytes32 indexed digest,
        RecordKind kind,
        uint32 count,
        uint40 time,
        string metadata
    );

    /// @notice Emitted when somebody has the tree's head written down: the first `size` records
    /// are those that `root` commits to.
    event Checkpointed(uint32 indexed size, bytes32 indexed root);

    /* ERRORS */

    /// @notice Thrown when the submitter recorded this digest before: the first time stays.
    error AlreadyRecorded(address submitter, bytes32 digest, uint32 index, uint40 time);
    /// @notice Thrown when the submitter never recorded this digest.
    error UnknownRecord(address submitter, bytes32 digest);
    /// @notice Thrown when a record is not a batch, and should be.
    error RecordIsNotABatch(address submitter, bytes32 digest, RecordKind kind);
    /// @notice Thrown when a record is of no kind.
    error KindIsNone(bytes32 digest);
    /// @notice Thrown when a digest is zero, as one that was never computed is.
    error DigestIsZero(RecordKind kind);
    /// @notice Thrown when a digest stands for nothing or for too much.
    error CountOutOfRange(uint32 count, uint32 max);
    /// @notice Thrown when a text is too long, in bytes.
    error TextTooLong(uint256 length, uint256 max);

    /* WRITING */

    /// @notice Records a digest at the end of the log, for good and as the caller's. Others may
    /// record the same digest as theirs.
    /// @param digest not zero; what is secret and could be guessed must be salted
    /// @param count how many things the digest stands for, 1 … 1,000,000, as the caller states it
    /// @param metadata at most 16 KiB
    /// @return index the record's place in the log, from 0 on
    function append(RecordKind kind, bytes32 digest, uint32 count, string calldata metadata)
        external
        returns (uint32 index);

    /// @notice Has the tree's head written into an event, for proofs from a receipt.
    function checkpoint() external returns (uint32 size, bytes32 root);

    /* RECORDS */

    /// @notice Whether a submitter has recorded a digest.
    function isRecorded(address submitter, bytes32 digest) external view returns (bool);

    /// @notice The place of a submitter's record in the log.
    function indexOf(address submitter, bytes32 digest) external view returns (uint32);

    /// @notice What is on record about a submitter's digest.
    function getRecord(address submitter, bytes32 digest)
        external
        view
        returns (LogRecordView memory);

    /// @notice Whether a recorded batch holds a statement.
    /// @param batch the batch's digest: the root of a StandardMerkleTree over (uint8 kind, bytes32
    /// digest, uint32 count, bytes32 metadata)
    /// @param proof siblings from the statement's leaf to the root
    function verifyBatched(
        address submitter,
        bytes32 batch,
        Statement calldata statement,
        bytes32[] calldata proof
    ) external view returns (bool);

    /* THE TREE */

    /// @notice How many records there are.
    function size() external view returns (uint32);

    /// @notice The root over all records: RFC 6962's tree with keccak256.
    function root() external view returns (bytes32);

    /// @notice Both of one moment.
    function treeHead() external view returns (uint32 size, bytes32 root);

    /// @notice The leaf of a record: keccak256 of 0x00 and abi.encode(submitter, time, statement).
    function leafOf(address submitter, uint40 time, Statement calldata statement)
        external
        pure
        returns (bytes32);

    /// @notice Whether a leaf stands at `index` of the tree over `size` leaves with this root.
    /// @param proof siblings from the leaf up, as RFC 9162, section 2.1.3.1 has them
    function verifyInclusion(
        bytes32 root,
        uint256 size,
        uint256 index,
        bytes32 leaf,
        bytes32[] calldata proof
    ) external pure returns (bool);

    /// @notice Whether the tree with the old root is the beginning of the tree with the new one.
    /// @param proof nodes as RFC 9162, section 2.1.4.1 has them; none if a size is 0 or both are
    /// equal
    function verifyConsistency(
        uint256 oldSize,
        bytes32 oldRoot,
        uint256 newSize,
        bytes32 newRoot,
        bytes32[] calldata proof
    ) external pure returns (bool);
}
