// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelState} from "../types/ModelState.sol";
import {Policy} from "../types/Policy.sol";
import {CompletionReason, Evaluation, Verdict} from "../types/Records.sol";

/// @title The rollback and completion policy of strict models
/// @notice What one validation does to a model's state. Pure: the registry writes what this says,
/// and `ml/chain/policy.py` says the same in Python. The rules in prose: docs/policy.md.
/// @dev No arithmetic here can overflow: accuracies are at most 1,000,000, counters saturate.
library StrictPolicy {
    /// @notice Judges the validation of the pending version.
    /// @param state the state before, with the evaluated version pending
    /// @param evaluation its accuracies are in range
    /// @return next the state after
    /// @return verdict why; one that `fails` has rolled back
    function judge(ModelState state, Policy policy, Evaluation calldata evaluation)
        internal
        pure
        returns (ModelState next, Verdict verdict)
    {
        next = state.withNoneWaiting().withNextIteration();
        if (!evaluation.accepted) {
            (next, verdict) = (_rolledBack(next), Verdict.Rejected);
        } else {
            (next, verdict) = _decide(next, policy, evaluation.version, evaluation.accuracy);
        }
        CompletionReason reason = _completion(next, policy, evaluation, verdict.fails());
        if (reason != CompletionReason.None) next = next.withCompleted(reason);
    }

    /// @dev An accepted version: the first rule that matches is the verdict.
    function _decide(ModelState state, Policy policy, uint32 version, uint32 accuracy)
        private
        pure
        returns (ModelState, Verdict)
    {
        if (state.best() == 0) {
            state = state.withBest(version, accuracy).withBelowBest(0).withSinceProgress(0);
            return (state, Verdict.FirstBest);
        }
        uint32 bestAccuracy = state.bestAccuracy();
        if (accuracy > bestAccuracy) {
            bool progress = accuracy - bestAccuracy > policy.minImprovement();
            state = progress ? state.withSinceProgress(0) : state.withOneMoreSinceProgress();
            return (state.withBest(version, accuracy).withBelowBest(0), Verdict.NewBest);
        }
        state = state.withOneMoreSinceProgress();
        if (accuracy == bestAccuracy) {
            return (state.withCurrent(version).withBelowBest(0), Verdict.Plateau);
        }
        Verdict verdict = _belowBest(state, policy, accuracy, bestAccuracy);
        if (verdict.fails()) return (_rolledBack(state), verdict);
        return (state.withCurrent(version).withOneMoreBelowBest(), verdict);
    }

    function _belowBest(ModelState state, Policy policy, uint32 accuracy, uint32 bestAccuracy)
        private
        pure
        returns (Verdict)
    {
        uint32 minAccuracy = policy.minAccuracy();
        if (accuracy < minAccuracy && minAccuracy <= bestAccuracy) return Verdict.BelowMinimum;

        uint32 drop = bestAccuracy - accuracy;
        uint32 maxDrop = policy.maxDrop();
        if (maxDrop != 0 && drop > maxDrop) return Verdict.SevereDrop;
        if (_reached(state.belowBest() + 1, policy.patience())) return Verdict.PatienceExhausted;
        return drop > policy.tolerance() ? Verdict.Concern : Verdict.Dip;
    }

    function _rolledBack(ModelState state) private pure returns (ModelState) {
        return
            state.withCurrent(state.best()).withBelowBest(0).withOneMoreRollback().withNextEpoch();
    }

    /// @dev The first criterion that holds ends the training.
    function _completion(
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation,
        bool rolledBack
    ) private pure returns (CompletionReason) {
        if (rolledBack) {
            if (_reached(state.rollbacks(), policy.maxRollbacks())) {
                return CompletionReason.RollbackLimit;
            }
        } else if (_reached(evaluation.accuracy, policy.targetAccuracy())) {
            return CompletionReason.TargetReached;
        }
        if (_reached(state.sinceProgress(), policy.convergencePatience())) {
            return CompletionReason.Converged;
        }
        if (_reached(state.iteration(), policy.maxIterations())) {
            return CompletionReason.MaxIterations;
        }
        uint32 maxGap = policy.maxGap();
        if (
            !rolledBack && maxGap != 0 && evaluation.trainingAccuracy > evaluation.accuracy + maxGap
        ) return CompletionReason.Overtraining;
        return CompletionReason.None;
    }

    /// @dev A limit of zero is off.
    function _reached(uint32 value, uint32 limit) private pure returns (bool) {
        return limit != 0 && value >= limit;
    }
}
