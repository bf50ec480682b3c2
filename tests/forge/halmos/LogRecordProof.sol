// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {LogRecord, LogRecordLibrary, RecordKind} from "../../../contracts/types/LogRecord.sol";
import {vm} from "../Cheats.sol";

/// @title A log record's word holds what was put into it, and nothing spills
contract LogRecordProof {
    uint32 private constant MAX_COUNT = 1_000_000;

    function check_recordHoldsWhatWasPackedAndExists(
        uint32 index,
        uint40 time,
        uint32 count,
        RecordKind kind,
        bytes32 metadata
    ) external pure {
        vm.assume(count != 0 && count <= MAX_COUNT);
        LogRecord record = LogRecordLibrary.pack(index, time, count, kind, metadata);
        assert(record.exists());
        assert(record.index() == index);
        assert(record.time() == time);
        assert(record.count() == count);
        assert(record.kind() == kind);
        assert(record.metadata() == bytes20(metadata));
    }

    function check_fieldsMakeUpTheWholeWord(LogRecord record) external pure {
        vm.assume((LogRecord.unwrap(record) >> 92) & 0xf <= uint256(type(RecordKind).max));
        uint24 kindAndCount = uint24(uint256(record.kind()) << 20) | uint24(record.count());
        assert(
            bytes32(LogRecord.unwrap(record))
                == bytes32(
                    abi.encodePacked(record.metadata(), kindAndCount, record.time(), record.index())
                )
        );
    }
}
