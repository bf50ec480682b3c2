// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// What a recorded digest stands for.
enum RecordKind {
    None,
    Data, // training or test data
    PreTraining, // data, code, configuration and first weights, before a training
    Epoch, // a state of a training
    PostTraining, // weights and results, after it
    ClientUpdate, // what a client of a federated training sent
    Batch // many statements, by the root of a StandardMerkleTree over them
}

/// What a submitter says about one digest.
struct Statement {
    RecordKind kind;
    bytes32 digest; // mostly a Merkle root
    uint32 count; // how many things the digest stands for, 1 … 1,000,000
    bytes32 metadata; // keccak256 of the text that came with it
}

/// A record, unpacked.
struct LogRecordView {
    uint32 index; // its place in the log, from 0 on
    uint40 time; // of its block, in seconds since 1970
    uint32 count;
    RecordKind kind;
    bytes20 metadata; // the first 160 bits of the metadata's keccak256
}

/// @dev A record in one word, from the most significant bit:
///
///   bits       field        unit
///   255 … 96   metadata     the first 20 bytes of its keccak256
///    95 … 92   kind         RecordKind
///    91 … 72   count        1 … 1,000,000; so that no record's word is zero
///    71 … 32   time         seconds since 1970
///    31 …  0   index        place in the log, from 0 on
///
/// 160 bits of the metadata's digest: two texts for one record cost about 2^80 hashes to find, a
/// text for a given record about 2^160, as with an Ethereum address. The log's root commits to the
/// whole digest, and the text itself is in the event.
type LogRecord is uint256;

using LogRecordLibrary for LogRecord global;

/// @title Packing and reading a LogRecord
library LogRecordLibrary {
    /// @param countInRange at most 1,000,000, which fits the 20 bits it gets
    function pack(
        uint32 place,
        uint40 seconds_,
        uint32 countInRange,
        RecordKind recordKind,
        bytes32 metadataDigest
    ) internal pure returns (LogRecord) {
        return LogRecord.wrap(
            uint256(bytes32(bytes20(metadataDigest))) | (uint256(recordKind) << 92)
                | (uint256(countInRange) << 72) | (uint256(seconds_) << 32) | place
        );
    }

    function exists(LogRecord self) internal pure returns (bool) {
        return LogRecord.unwrap(self) != 0;
    }

    function index(LogRecord self) internal pure returns (uint32) {
        return uint32(LogRecord.unwrap(self));
    }

    function time(LogRecord self) internal pure returns (uint40) {
        return uint40(LogRecord.unwrap(self) >> 32);
    }

    function count(LogRecord self) internal pure returns (uint32) {
        return uint32((LogRecord.unwrap(self) >> 72) & 0xfffff);
    }

    function kind(LogRecord self) internal pure returns (RecordKind) {
        return RecordKind((LogRecord.unwrap(self) >> 92) & 0xf);
    }

    function metadata(LogRecord self) internal pure returns (bytes20) {
        return bytes20(bytes32(LogRecord.unwrap(self)));
    }

    function unpack(LogRecord self) internal pure returns (LogRecordView memory) {
        return LogRecordView({
            index: index(self),
            time: time(self),
            count: count(self),
            kind: kind(self),
            metadata: metadata(self)
        });
    }
}
