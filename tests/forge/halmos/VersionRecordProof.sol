// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Status} from "../../../contracts/types/Records.sol";
import {VersionRecord, VersionRecordLibrary} from "../../../contracts/types/VersionRecord.sol";
import {vm} from "../Cheats.sol";

/// @title A version's record holds what was put into it, and nothing spills
/// @notice For all words and all values. The layout is said a second time, by `abi.encodePacked`,
/// which puts fields side by side from the most significant bit on.
contract VersionRecordProof {
    uint32 private constant PPM = 1_000_000;

    function check_fieldsMakeUpTheWholeWord(VersionRecord record) external pure {
        vm.assume(_hasStatus(record));
        assert(
            VersionRecord.unwrap(record)
                == _laidOut(
                    record.commitment(), record.parent(), record.accuracy(), record.status()
                )
        );
    }

    function check_hasPassedExactlyWithThatStatus(VersionRecord record) external pure {
        vm.assume(_hasStatus(record));
        assert(record.hasPassed() == (record.status() == Status.Passed));
    }

    function check_packedRecordHasTheFirst25BytesItsParentAndWaits(
        bytes32 commitment,
        uint32 parent
    ) external pure {
        VersionRecord record = VersionRecordLibrary.pack(commitment, parent);
        assert(
            VersionRecord.unwrap(record) == _laidOut(bytes25(commitment), parent, 0, Status.Pending)
        );
    }

    function check_statusChangesNothingElse(VersionRecord record, Status status) external pure {
        vm.assume(_hasStatus(record));
        assert(
            VersionRecord.unwrap(record.withStatus(status))
                == _laidOut(record.commitment(), record.parent(), record.accuracy(), status)
        );
    }

    function check_judgementChangesNeitherCommitmentNorParent(
        VersionRecord record,
        Status status,
        uint32 accuracy
    ) external pure {
        vm.assume(accuracy <= PPM);
        assert(
            VersionRecord.unwrap(record.withJudgement(status, accuracy))
                == _laidOut(record.commitment(), record.parent(), accuracy, status)
        );
    }

    function check_recordMatchesExactlyTheFirst25Bytes(
        bytes32 commitment,
        uint32 parent,
        bytes32 other
    ) external pure {
        VersionRecord record = VersionRecordLibrary.pack(commitment, parent);
        assert(record.matches(commitment));
        assert(record.matches(other) == (uint256(commitment ^ other) >> 56 == 0));
    }

    /// @dev A record that the registry wrote has one of the six; reading another one reverts.
    function _hasStatus(VersionRecord record) private pure returns (bool) {
        return VersionRecord.unwrap(record) & 0xf <= uint256(type(Status).max);
    }

    /// @dev accuracy has 20 bits and status 4: together three bytes.
    function _laidOut(bytes25 commitment, uint32 parent, uint32 accuracy, Status status)
        private
        pure
        returns (uint256)
    {
        uint24 judgement = uint24(accuracy * 16 + uint32(status));
        return uint256(bytes32(abi.encodePacked(commitment, parent, judgement)));
    }
}
