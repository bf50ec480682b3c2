// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelState} from "../types/ModelState.sol";
import {Policy} from "../types/Policy.sol";
import {Evaluation, Verdict} from "../types/Records.sol";

/// @title The policy of open models
/// @notice What one validation does to a registry of candidates: what is better than the best so
/// far becomes current, what is good enough stays a contender. No counters, no rollback, no end.
/// Pure, as StrictPolicy is. The rules in prose: docs/policy.md.
library OpenPolicy {
    /// @notice Judges the validation of one of the versions that wait.
    /// @param state the state before, with the evaluated version among those that wait
    /// @param evaluation its accuracies are in range
    /// @return next the state after
    /// @return verdict why
    function judge(ModelState state, Policy policy, Evaluation calldata evaluation)
        internal
        pure
        returns (ModelState next, Verdict verdict)
    {
        next = state.withOneLessWaiting();
        verdict = _decide(state, policy, evaluation);
        if (verdict == Verdict.FirstBest || verdict == Verdict.NewBest) {
            next = next.withBest(evaluation.version, evaluation.accuracy);
        }
    }

    /// @dev The first rule that matches is the verdict.
    function _decide(ModelState state, Policy policy, Evaluation calldata evaluation)
        private
        pure
        returns (Verdict)
    {
        if (!evaluation.accepted) return Verdict.Rejected;
        uint32 accuracy = evaluation.accuracy;
        if (accuracy < policy.minAccuracy()) return Verdict.BelowMinimum;
        if (state.best() == 0) return Verdict.FirstBest;

        uint32 bestAccuracy = state.bestAccuracy();
        if (accuracy > bestAccuracy) return Verdict.NewBest;
        uint32 maxDrop = policy.maxDrop();
        if (maxDrop != 0 && bestAccuracy - accuracy > maxDrop) return Verdict.SevereDrop;
        return Verdict.Contender;
    }
}
