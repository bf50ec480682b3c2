// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {StrictPolicy} from "../../../contracts/libraries/StrictPolicy.sol";
import {ModelState} from "../../../contracts/types/ModelState.sol";
import {Policy} from "../../../contracts/types/Policy.sol";
import {
    CompletionReason,
    Evaluation,
    ModelKind,
    Verdict
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {both, either, oneMore, select} from "./Relations.sol";

/// @title What one validation does to a strict model, for every state, policy and evaluation
/// @notice The policy of docs/policy.md said a second time, as relations between before and after
/// in place of steps: which verdict, what becomes of each field, which reason ends the training.
/// States and policies are any words at all (their enums apart), not only those that a registry can
/// reach; accuracies are those that it lets through. That nothing panics is proved along with it.
contract StrictPolicyProof {
    uint32 private constant PPM = 1_000_000;

    function check_validationDoesWhatThePolicySays(
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation
    ) external pure {
        vm.assume(uint8(ModelState.unwrap(state) >> 232) <= uint256(type(CompletionReason).max));
        vm.assume(uint8(ModelState.unwrap(state) >> 248) <= uint256(type(ModelKind).max));
        vm.assume(evaluation.accuracy <= PPM);
        vm.assume(evaluation.trainingAccuracy <= PPM);

        (ModelState next, Verdict verdict) = StrictPolicy.judge(state, policy, evaluation);

        assert(uint256(verdict) == _verdict(state, policy, evaluation));
        assert(_pointersMove(state, next, policy, evaluation, verdict));
        assert(_countersCount(state, next, policy, evaluation.accuracy, verdict));
        assert(_nothingElseChanges(state, next));
    }

    /// @dev The first rule that matches.
    function _verdict(ModelState s, Policy p, Evaluation calldata e)
        private
        pure
        returns (uint256 v)
    {
        unchecked {
            (uint256 best, uint256 accuracy) = (s.bestAccuracy(), e.accuracy);
            v = select(
                best > accuracy + p.tolerance(), uint256(Verdict.Concern), uint256(Verdict.Dip)
            );
            bool impatient = both(p.patience() > 0, uint256(s.belowBest()) + 1 >= p.patience());
            v = select(impatient, uint256(Verdict.PatienceExhausted), v);
            bool severe = both(p.maxDrop() > 0, best > accuracy + p.maxDrop());
            v = select(severe, uint256(Verdict.SevereDrop), v);
            bool below = both(best >= p.minAccuracy(), p.minAccuracy() > accuracy);
            v = select(below, uint256(Verdict.BelowMinimum), v);
            v = select(accuracy == best, uint256(Verdict.Plateau), v);
            v = select(accuracy > best, uint256(Verdict.NewBest), v);
            v = select(s.best() == 0, uint256(Verdict.FirstBest), v);
            v = select(!e.accepted, uint256(Verdict.Rejected), v);
        }
    }

    /// @dev The first that holds, of the state after.
    function _reason(ModelState next, Policy p, Evaluation calldata e, bool failed)
        private
        pure
        returns (uint256 r)
    {
        unchecked {
            uint256 gapped = uint256(e.accuracy) + p.maxGap();
            bool over = both(p.maxGap() > 0, e.trainingAccuracy > gapped);
            r = select(both(!failed, over), uint256(CompletionReason.Overtraining), 0);
            bool last = both(p.maxIterations() > 0, next.iteration() >= p.maxIterations());
            r = select(last, uint256(CompletionReason.MaxIterations), r);
            bool flat =
                both(p.convergencePatience() > 0, next.sinceProgress() >= p.convergencePatience());
            r = select(flat, uint256(CompletionReason.Converged), r);
            bool there = both(p.targetAccuracy() > 0, e.accuracy >= p.targetAccuracy());
            r = select(both(!failed, there), uint256(CompletionReason.TargetReached), r);
            bool often = both(p.maxRollbacks() > 0, next.rollbacks() >= p.maxRollbacks());
            r = select(both(failed, often), uint256(CompletionReason.RollbackLimit), r);
        }
    }

    function _pointersMove(
        ModelState state,
        ModelState next,
        Policy policy,
        Evaluation calldata evaluation,
        Verdict verdict
    ) private pure returns (bool holds) {
        bool isBest = either(verdict == Verdict.FirstBest, verdict == Verdict.NewBest);
        bool failed = verdict >= Verdict.Rejected;
        uint256 reason = _reason(next, policy, evaluation, failed);

        holds = next.best() == select(isBest, evaluation.version, state.best());
        uint256 accuracy = select(isBest, evaluation.accuracy, state.bestAccuracy());
        holds = both(holds, next.bestAccuracy() == accuracy);
        uint256 current = select(either(failed, reason != 0), next.best(), evaluation.version);
        holds = both(holds, next.current() == current);
        uint256 completed = select(reason != 0, reason, uint256(state.completed()));
        holds = both(holds, uint256(next.completed()) == completed);
    }

    function _countersCount(
        ModelState state,
        ModelState next,
        Policy policy,
        uint256 accuracy,
        Verdict verdict
    ) private pure returns (bool holds) {
        holds = next.iteration() == oneMore(state.iteration(), type(uint32).max);
        bool failed = verdict >= Verdict.Rejected;
        uint256 more = oneMore(state.epoch(), type(uint32).max);
        holds = both(holds, next.epoch() == select(failed, more, state.epoch()));
        more = oneMore(state.rollbacks(), type(uint16).max);
        holds = both(holds, next.rollbacks() == select(failed, more, state.rollbacks()));

        bool dips = either(verdict == Verdict.Dip, verdict == Verdict.Concern);
        more = oneMore(state.belowBest(), type(uint16).max);
        holds = both(holds, next.belowBest() == select(dips, more, 0));

        uint256 needed = uint256(state.bestAccuracy()) + policy.minImprovement();
        bool progressed = both(verdict == Verdict.NewBest, accuracy > needed);
        more = oneMore(state.sinceProgress(), type(uint16).max);
        more = select(either(verdict == Verdict.FirstBest, progressed), 0, more);
        more = select(verdict == Verdict.Rejected, state.sinceProgress(), more);
        holds = both(holds, next.sinceProgress() == more);
    }

    function _nothingElseChanges(ModelState state, ModelState next) private pure returns (bool) {
        return both(
            both(next.kind() == state.kind(), next.latest() == state.latest()), next.waiting() == 0
        );
    }
}
