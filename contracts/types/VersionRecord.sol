// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Status} from "./Records.sol";

/// @dev A version in one word, from the most significant bit:
///
///   bits       field        unit
///   255 … 56   commitment   the first 25 bytes of the full commitment
///    55 … 24   parent       version number, 0 if none
///    23 …  4   accuracy     ppm
///     3 …  0   status       Status
///
/// `Pending` in a strict model means registered and never judged; whether the version still waits is
/// in the model's state, which names the only one that does. In an open model it means that.
///
/// 200 bits of commitment: two contents for one record cost about 2^100 hashes to find, a content
/// for a given record about 2^200 (an Ethereum address stands on 160 bits). The whole commitment
/// is in the event and under the head.
type VersionRecord is uint256;

using VersionRecordLibrary for VersionRecord global;

/// @title Reading and rewriting a packed VersionRecord
library VersionRecordLibrary {
    uint256 private constant STATUS = 0xf;
    uint256 private constant JUDGEMENT = 0xffffff; // accuracy and status

    function pack(bytes32 fullCommitment, uint32 parentVersion)
        internal
        pure
        returns (VersionRecord)
    {
        return VersionRecord.wrap(
            uint256(bytes32(bytes25(fullCommitment))) | (uint256(parentVersion) << 24)
                | uint256(Status.Pending)
        );
    }

    function commitment(VersionRecord self) internal pure returns (bytes25) {
        return bytes25(bytes32(VersionRecord.unwrap(self)));
    }

    function parent(VersionRecord self) internal pure returns (uint32) {
        return uint32(VersionRecord.unwrap(self) >> 24);
    }

    function accuracy(VersionRecord self) internal pure returns (uint32) {
        return uint32((VersionRecord.unwrap(self) >> 4) & 0xfffff);
    }

    function status(VersionRecord self) internal pure returns (Status) {
        return Status(VersionRecord.unwrap(self) & STATUS);
    }

    function hasPassed(VersionRecord self) internal pure returns (bool) {
        return VersionRecord.unwrap(self) & STATUS == uint256(Status.Passed);
    }

    function matches(VersionRecord self, bytes32 fullCommitment) internal pure returns (bool) {
        return commitment(self) == bytes25(fullCommitment);
    }

    function withStatus(VersionRecord self, Status value) internal pure returns (VersionRecord) {
        return VersionRecord.wrap((VersionRecord.unwrap(self) & ~STATUS) | uint256(value));
    }

    /// @param accuracyPpm at most 1,000,000, which fits the 20 bits it gets
    function withJudgement(VersionRecord self, Status value, uint32 accuracyPpm)
        internal
        pure
        returns (VersionRecord)
    {
        return VersionRecord.wrap(
            (VersionRecord.unwrap(self) & ~JUDGEMENT) | (uint256(accuracyPpm) << 4) | uint256(value)
        );
    }
}
