// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IProvenanceLog} from "../../../contracts/interfaces/IProvenanceLog.sol";
import {LogRecordView, RecordKind} from "../../../contracts/types/LogRecord.sol";
import {vm} from "../Cheats.sol";
import {Rfc6962} from "../reference/Rfc6962.sol";

/// @title All actions on the log, and what must hold after each
contract LogHandler {
    IProvenanceLog private immutable LOG;

    /// @dev So few that submitters come upon the same ones, and upon their own again.
    uint256 private constant DIGESTS = 64;

    address[3] private submitters = [address(0xA1), address(0xA2), address(0xA3)];
    bytes32[] private leaves;
    mapping(address submitter => mapping(bytes32 digest => LogRecordView)) private records;
    mapping(address submitter => bytes32[]) private digests;

    mapping(string outcome => uint256) private times;

    constructor(IProvenanceLog log) {
        LOG = log;
    }

    /* ACTIONS */

    function appendNoRevert(uint256 who, uint256 what, uint32 count, uint256 kindSeed) external {
        address submitter = submitters[who % 3];
        address other = submitters[(who % 3 + 1) % 3];
        bytes32 digest = _newDigest(submitter, other, what);
        if (digest == 0) return; // has them all
        count = 1 + count % 1_000_000;
        RecordKind kind = RecordKind(1 + kindSeed % uint256(type(RecordKind).max));
        string memory metadata = what % 2 == 0 ? "" : "{\"epoch\": 1}";
        vm.prank(submitter);
        uint32 index = LOG.append(kind, digest, count, metadata);

        require(index == leaves.length, "an index is not its place");
        _record(submitter, digest, kind, count, keccak256(bytes(metadata)));
        ++times[records[other][digest].count != 0 ? "Appended by another" : "Appended"];
    }

    /// @dev One that the submitter has no record of; for every second one, another has.
    function _newDigest(address submitter, address other, uint256 seed)
        private
        view
        returns (bytes32)
    {
        bool again = times["Appended by another"] < times["Appended"];
        for (uint256 i = 0; again && i < digests[other].length; ++i) {
            bytes32 one = digests[other][i];
            if (records[submitter][one].count == 0) return one;
        }
        for (uint256 i = 0; i < DIGESTS; ++i) {
            bytes32 one = keccak256(abi.encode((seed % DIGESTS + i) % DIGESTS));
            if (records[submitter][one].count == 0) return one;
        }
        return 0;
    }

    function _record(
        address submitter,
        bytes32 digest,
        RecordKind kind,
        uint32 count,
        bytes32 metadata
    ) private {
        uint40 time = uint40(block.timestamp);
        records[submitter][digest] =
            LogRecordView(uint32(leaves.length), time, count, kind, bytes20(metadata));
        digests[submitter].push(digest);
        bytes memory fields = abi.encode(submitter, time, kind, digest, count, metadata);
        leaves.push(keccak256(bytes.concat(hex"00", fields)));
    }

    /// @dev The first time stays.
    function appendAgainReverts(uint256 who, uint256 which, uint32 count) external {
        address submitter = submitters[who % 3];
        uint256 number = digests[submitter].length;
        if (number == 0) return;
        bytes32 digest = digests[submitter][which % number];
        LogRecordView storage record = records[submitter][digest];
        bytes memory reason = abi.encodeWithSelector(
            IProvenanceLog.AlreadyRecorded.selector, submitter, digest, record.index, record.time
        );
        count = 1 + count % 1_000_000;
        vm.prank(submitter);
        try LOG.append(RecordKind.Batch, digest, count, "") {
            revert("a digest was recorded again");
        } catch (bytes memory returned) {
            require(keccak256(returned) == keccak256(reason), "refused for another reason");
        }
        ++times["Recorded before"];
    }

    function waitNoRevert(uint256 delay) external {
        vm.warp(block.timestamp + delay % 1 days);
    }

    function checkpointNoRevert() external {
        (uint32 size, bytes32 root) = LOG.checkpoint();
        require(size == leaves.length && root == _root(size), "a checkpoint is of another tree");
        ++times["Checkpointed"];
    }

    /// @dev In the tree as it was at any time since.
    function proveInclusionNoRevert(uint256 which, uint256 when, uint256 bit) external {
        if (leaves.length == 0) return;
        uint256 size = 1 + when % leaves.length;
        uint256 index = which % size;
        bytes32[] memory all = leaves;
        bytes32[] memory proof = Rfc6962.path(index, all, 0, size);
        bytes32 root = Rfc6962.root(all, 0, size);
        require(LOG.verifyInclusion(root, size, index, all[index], proof), "not included");

        bytes32 other = all[index] ^ bytes32(1 << (bit % 256));
        require(!LOG.verifyInclusion(root, size, index, other, proof), "included, but is not");
        ++times["Inclusion"];
    }

    function proveConsistencyNoRevert(uint256 first, uint256 second, uint256 bit) external {
        if (leaves.length < 2) return;
        uint256 newSize = 2 + second % (leaves.length - 1);
        uint256 oldSize = 1 + first % (newSize - 1);
        bytes32[] memory all = leaves;
        bytes32[] memory proof = Rfc6962.consistency(oldSize, all, newSize);
        (bytes32 oldRoot, bytes32 root) = (_root(oldSize), _root(newSize));
        require(
            LOG.verifyConsistency(oldSize, oldRoot, newSize, root, proof), "does not go on from it"
        );

        bytes32 other = oldRoot ^ bytes32(1 << (bit % 256));
        require(
            !LOG.verifyConsistency(oldSize, other, newSize, root, proof), "goes on from another"
        );
        ++times["Consistency"];
    }

    /* WHAT HOLDS */

    function checkTree() external view {
        (uint32 size, bytes32 root) = LOG.treeHead();
        require(size == leaves.length, "size is not the number of records");
        require(root == _root(size), "the root is not that of RFC 6962 over all records");
    }

    function checkRecords() external view {
        for (uint256 i = 0; i < 3; ++i) {
            address submitter = submitters[i];
            for (uint256 j = 0; j < digests[submitter].length; ++j) {
                bytes32 digest = digests[submitter][j];
                LogRecordView memory expected = records[submitter][digest];
                LogRecordView memory found = LOG.getRecord(submitter, digest);
                require(
                    keccak256(abi.encode(found)) == keccak256(abi.encode(expected)),
                    "a record is not as it was written"
                );
            }
        }
    }

    /// @dev Nobody has a record of another's digest.
    function checkOthers() external view {
        for (uint256 i = 0; i < 3; ++i) {
            for (uint256 j = 0; j < DIGESTS; j += 5) {
                bytes32 digest = keccak256(abi.encode(j));
                bool expected = records[submitters[i]][digest].count != 0;
                require(LOG.isRecorded(submitters[i], digest) == expected, "recorded by nobody");
            }
        }
    }

    /// @dev Everything came about in this run.
    function checkCoverage() external view {
        string[6] memory outcomes = [
            "Appended",
            "Appended by another",
            "Recorded before",
            "Checkpointed",
            "Inclusion",
            "Consistency"
        ];
        for (uint256 i = 0; i < outcomes.length; ++i) {
            require(times[outcomes[i]] != 0, string.concat("this run never saw ", outcomes[i]));
        }
    }

    function _root(uint256 size) private view returns (bytes32) {
        return Rfc6962.root(leaves, 0, size);
    }
}
