// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelState} from "../types/ModelState.sol";
import {Policy, PolicyLibrary} from "../types/Policy.sol";
import {CompletionReason, ModelKind, ModelView, PolicyConfig, Status} from "../types/Records.sol";
import {VersionRecord, VersionRecordLibrary} from "../types/VersionRecord.sol";

/// @title The packed words, one reading or writing function at a time
contract WordHarness {
    enum StateChange {
        Current,
        Best,
        Registered,
        NoneWaiting,
        OneLessWaiting,
        NextIteration,
        NextEpoch,
        BelowBest,
        OneMoreBelowBest,
        SinceProgress,
        OneMoreSinceProgress,
        Rollbacks,
        OneMoreRollback,
        Completed,
        NotCompleted,
        Kind
    }

    /* MODEL STATE */

    /// @param value what to set, where the change takes a value
    /// @param accuracy the accuracy of a new best
    function changeState(ModelState s, StateChange change, uint32 value, uint32 accuracy)
        external
        pure
        returns (ModelState)
    {
        if (change == StateChange.Current) return s.withCurrent(value);
        if (change == StateChange.Best) return s.withBest(value, accuracy);
        if (change == StateChange.Registered) return s.withRegistered(value);
        if (change == StateChange.NoneWaiting) return s.withNoneWaiting();
        if (change == StateChange.OneLessWaiting) return s.withOneLessWaiting();
        if (change == StateChange.NextIteration) return s.withNextIteration();
        if (change == StateChange.NextEpoch) return s.withNextEpoch();
        if (change == StateChange.BelowBest) return s.withBelowBest(uint16(value));
        if (change == StateChange.OneMoreBelowBest) return s.withOneMoreBelowBest();
        if (change == StateChange.SinceProgress) return s.withSinceProgress(uint16(value));
        if (change == StateChange.OneMoreSinceProgress) return s.withOneMoreSinceProgress();
        if (change == StateChange.Rollbacks) return s.withRollbacks(uint16(value));
        if (change == StateChange.OneMoreRollback) return s.withOneMoreRollback();
        if (change == StateChange.Completed) return s.withCompleted(CompletionReason(value));
        if (change == StateChange.NotCompleted) return s.withoutCompleted();
        return s.withKind(ModelKind(value));
    }

    function readState(ModelState s) external pure returns (ModelView memory unpacked) {
        s.unpackInto(unpacked);
    }

    function flagsOfState(ModelState s) external pure returns (bool[3] memory) {
        return [s.exists(), s.isCompleted(), s.isOpen()];
    }

    /* POLICY */

    function packPolicy(PolicyConfig calldata config, bool open) external pure returns (Policy) {
        return PolicyLibrary.pack(config, open);
    }

    function readPolicy(Policy p) external pure returns (PolicyConfig memory) {
        return p.unpack();
    }

    /* VERSION RECORD */

    function packRecord(bytes32 commitment, uint32 parent) external pure returns (VersionRecord) {
        return VersionRecordLibrary.pack(commitment, parent);
    }

    function withStatus(VersionRecord r, Status status) external pure returns (VersionRecord) {
        return r.withStatus(status);
    }

    function withJudgement(VersionRecord r, Status status, uint32 accuracy)
        external
        pure
        returns (VersionRecord)
    {
        return r.withJudgement(status, accuracy);
    }

    function readRecord(VersionRecord r)
        external
        pure
        returns (bytes25 commitment, uint32 parent, uint32 accuracy, Status status)
    {
        return (r.commitment(), r.parent(), r.accuracy(), r.status());
    }

    function hasPassed(VersionRecord r) external pure returns (bool) {
        return r.hasPassed();
    }

    function matches(VersionRecord r, bytes32 commitment) external pure returns (bool) {
        return r.matches(commitment);
    }
}
