// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MerkleLog} from "../libraries/MerkleLog.sol";
import {LogRecord, LogRecordLibrary, LogRecordView} from "../types/LogRecord.sol";

/// @title The log's tree, its proofs and its packed word, many cases a call
contract LogHarness {
    using MerkleLog for MerkleLog.Tree;

    struct Inclusion {
        bytes32 root;
        uint256 size;
        uint256 index;
        bytes32 leaf;
        bytes32[] proof;
    }

    struct Consistency {
        uint256 oldSize;
        bytes32 oldRoot;
        uint256 newSize;
        bytes32 newRoot;
        bytes32[] proof;
    }

    MerkleLog.Tree private _tree;

    constructor() {
        _tree.open();
    }

    /// @notice Appends leaves and gives the root after each. Asked by a free call, it leaves no
    /// trace.
    function append(bytes32[] calldata leaves) external returns (bytes32[] memory roots) {
        roots = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            _tree.append(leaves[i]);
            roots[i] = _tree.root();
        }
    }

    function verifyInclusions(Inclusion[] calldata cases)
        external
        pure
        returns (bool[] memory verified)
    {
        verified = new bool[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            Inclusion calldata one = cases[i];
            verified[i] =
                MerkleLog.verifyInclusion(one.root, one.size, one.index, one.leaf, one.proof);
        }
    }

    function verifyConsistencies(Consistency[] calldata cases)
        external
        pure
        returns (bool[] memory verified)
    {
        verified = new bool[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            Consistency calldata one = cases[i];
            verified[i] = MerkleLog.verifyConsistency(
                one.oldSize, one.oldRoot, one.newSize, one.newRoot, one.proof
            );
        }
    }

    function pack(LogRecordView calldata fields) external pure returns (LogRecord) {
        return LogRecordLibrary.pack(
            fields.index, fields.time, fields.count, fields.kind, bytes32(fields.metadata)
        );
    }

    function unpack(LogRecord record) external pure returns (LogRecordView memory) {
        return record.unpack();
    }
}
