// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    Evaluation,
    ModelView,
    Operation,
    Origin,
    Status,
    Update,
    Signature,
    Verdict,
    VersionContent,
    VersionView
} from "../../../contracts/types/Records.sol";
import {stateWord} from "../Layouts.sol";
import {Cast} from "./Cast.sol";

/// @title What the handlers know happened, written down beside the registry
/// @dev The registry's views are compared with this after each call. It follows from the calls that
/// were made and what they returned, never from what a view said about a version or a head.
abstract contract Ledger is Cast {
    /// Of a model.
    struct Line {
        bytes32 id;
        bool open;
        bytes32 testSet;
        bytes32 head; // made link by link
        uint32 ceiling; // the highest accuracy since best was last set by hand, ppm
        uint32 iteration;
        uint32 epoch;
        uint256 enrolled; // bitmaps of client indices
        uint256 active;
    }

    /// Of a version that was made from two clients' updates.
    struct Contribution {
        uint8[2] index;
        Update[2] update;
        Signature[2] signature;
        bytes32[2] leaf;
    }

    Line[] internal lines;
    mapping(bytes32 modelId => Origin) internal origins;
    mapping(bytes32 modelId => VersionView[]) internal records;
    mapping(bytes32 modelId => mapping(uint32 version => VersionContent)) internal contents;
    mapping(bytes32 modelId => mapping(uint32 version => Contribution)) internal contributions;
    mapping(bytes32 modelId => mapping(address validator => uint32 version)) internal equivocations;
    mapping(bytes32 modelId => mapping(uint32 version => uint256)) internal hidden;

    /// @dev How often each outcome came about, by its name.
    mapping(string outcome => uint256) internal times;
    uint256 internal operations; // that succeeded and made a link

    /* WRITING */

    /// @dev Adds the link that one operation makes, from the arguments and the state after it.
    function _link(
        Line storage line,
        Operation operation,
        address sender,
        uint32 subject,
        bytes32 digest
    ) internal returns (ModelView memory model) {
        ++operations;
        model = REGISTRY.getModel(line.id);
        line.head =
            keccak256(abi.encode(line.head, operation, sender, subject, digest, stateWord(model)));
    }

    function _discarded(Line storage line, uint32 version) internal {
        records[line.id][version - 1].status = Status.Discarded;
    }

    /// @dev What a validation leaves behind, whoever vouched for it.
    function _judged(
        Line storage line,
        Evaluation memory evaluation,
        Verdict verdict,
        uint32 minAccuracy
    ) internal {
        bool failed = verdict >= Verdict.Rejected;
        VersionView storage record = records[line.id][evaluation.version - 1];
        record.status = failed ? Status.Failed : Status.Passed;
        record.accuracy = evaluation.accuracy;
        // a strict model's minimum is for versions after the best, which has more than they do
        bool counts = evaluation.accepted && (!line.open || evaluation.accuracy >= minAccuracy);
        if (counts && evaluation.accuracy > line.ceiling) line.ceiling = evaluation.accuracy;
        if (!line.open) ++line.iteration;
        if (!line.open && failed) ++line.epoch;

        ++times[verdictName(verdict)];
        CompletionReason reason = REGISTRY.getModel(line.id).completed;
        if (reason != CompletionReason.None) ++times[reasonName(reason)];
    }

    /* CHOOSING */

    /// @dev Where a choice is free, it leads to what this run has seen less of. Chance alone would
    /// leave something out of some runs.
    function _isRarer(string memory one, string memory other) internal view returns (bool) {
        return times[one] < times[other];
    }

    /// @dev The fuzzer is fond of small numbers, and of the largest; choices take all the bits.
    function _spread(uint256 seed) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed))) >> 8; // so that a little can be added
    }

    /// @dev From the seed's model on, the first that satisfies.
    function _find(uint256 seed, function(Line storage) view returns (bool) satisfies)
        internal
        view
        returns (bool found, Line storage line)
    {
        for (uint256 i = 0; i < lines.length; ++i) {
            line = lines[(seed % lines.length + i) % lines.length];
            if (satisfies(line)) return (true, line);
        }
        line = lines[0];
    }

    /// @dev A version with a status: the seed's one of those that have it; 0 if none has.
    function _versionWith(Line storage line, Status status, uint256 seed)
        internal
        view
        returns (uint32)
    {
        VersionView[] storage all = records[line.id];
        for (uint256 i = 0; i < all.length; ++i) {
            VersionView storage one = all[(seed % all.length + i) % all.length];
            if (one.status == status) return one.version;
        }
        return 0;
    }

    /* NAMES */

    function verdictName(Verdict verdict) internal pure returns (string memory) {
        return [
            "",
            "FirstBest",
            "NewBest",
            "Plateau",
            "Dip",
            "Concern",
            "Contender",
            "Rejected",
            "BelowMinimum",
            "SevereDrop",
            "PatienceExhausted"
        ][uint256(verdict)];
    }

    function reasonName(CompletionReason reason) internal pure returns (string memory) {
        return [
            "",
            "RollbackLimit",
            "TargetReached",
            "Converged",
            "MaxIterations",
            "Overtraining",
            "Manual completion"
        ][uint256(reason)];
    }
}
