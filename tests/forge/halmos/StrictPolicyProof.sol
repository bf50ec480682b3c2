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
/// @dev Two lemmas, since the cases of a verdict times those of an end would be many. The first is
/// about policies that never end the training; the second shows that the limits which do end it
/// change the reason and the current version alone. Together they speak of every policy.
contract StrictPolicyProof {
    uint32 private constant PPM = 1_000_000;

    /// @dev tolerance, maxDrop, minAccuracy, minImprovement and patience: see Policy's layout.
    uint256 private constant LIMITS_OF_VERDICTS =
        uint256(type(uint96).max) | (uint256(type(uint16).max) << 144);

    /* THE VERDICT, AND WHAT FOLLOWS FROM IT */

    function check_verdictAndStateAreWhatThePolicySays(
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation
    ) external pure {
        _assumeRange(state, evaluation);
        policy = _thatNeverEnds(policy);
        (ModelState next, Verdict verdict) = StrictPolicy.judge(state, policy, evaluation);

        assert(uint256(verdict) == _verdict(state, policy, evaluation));
        assert(_pointersMove(state, next, evaluation, verdict));
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

    function _pointersMove(
        ModelState state,
        ModelState next,
        Evaluation calldata evaluation,
        Verdict verdict
    ) private pure returns (bool holds) {
        bool isBest = either(verdict == Verdict.FirstBest, verdict == Verdict.NewBest);
        holds = next.best() == select(isBest, evaluation.version, state.best());
        uint256 accuracy = select(isBest, evaluation.accuracy, state.bestAccuracy());
        holds = both(holds, next.bestAccuracy() == accuracy);
        bool failed = verdict >= Verdict.Rejected;
        holds = both(holds, next.current() == select(failed, next.best(), evaluation.version));
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
        bool sameKind = both(next.kind() == state.kind(), next.completed() == state.completed());
        return both(both(sameKind, next.latest() == state.latest()), next.waiting() == 0);
    }

    /* THE END OF THE TRAINING */

    function check_limitsEndTheTrainingAndDoNothingElse(
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation
    ) external pure {
        _assumeRange(state, evaluation);
        (ModelState next, Verdict verdict) = StrictPolicy.judge(state, policy, evaluation);
        (ModelState going, Verdict same) =
            StrictPolicy.judge(state, _thatNeverEnds(policy), evaluation);

        assert(verdict == same);
        CompletionReason reason = _reason(going, policy, evaluation, verdict >= Verdict.Rejected);
        if (reason == CompletionReason.None) {
            assert(ModelState.unwrap(next) == ModelState.unwrap(going));
        } else {
            assert(next.completed() == reason);
            assert(next.current() == going.best());
            assert(_withoutReasonAndCurrent(next) == _withoutReasonAndCurrent(going));
        }
    }

    /// @dev The first that holds.
    function _reason(ModelState next, Policy p, Evaluation calldata e, bool failed)
        private
        pure
        returns (CompletionReason)
    {
        if (failed && p.maxRollbacks() != 0 && next.rollbacks() >= p.maxRollbacks()) {
            return CompletionReason.RollbackLimit;
        }
        if (!failed && p.targetAccuracy() != 0 && e.accuracy >= p.targetAccuracy()) {
            return CompletionReason.TargetReached;
        }
        if (p.convergencePatience() != 0 && next.sinceProgress() >= p.convergencePatience()) {
            return CompletionReason.Converged;
        }
        if (p.maxIterations() != 0 && next.iteration() >= p.maxIterations()) {
            return CompletionReason.MaxIterations;
        }
        if (!failed && p.maxGap() != 0 && e.trainingAccuracy > e.accuracy + p.maxGap()) {
            return CompletionReason.Overtraining;
        }
        return CompletionReason.None;
    }

    /* WORDS */

    function _assumeRange(ModelState state, Evaluation calldata evaluation) private pure {
        vm.assume(uint8(ModelState.unwrap(state) >> 232) <= uint256(type(CompletionReason).max));
        vm.assume(uint8(ModelState.unwrap(state) >> 248) <= uint256(type(ModelKind).max));
        vm.assume(evaluation.accuracy <= PPM);
        vm.assume(evaluation.trainingAccuracy <= PPM);
    }

    function _thatNeverEnds(Policy policy) private pure returns (Policy) {
        return Policy.wrap(Policy.unwrap(policy) & LIMITS_OF_VERDICTS);
    }

    function _withoutReasonAndCurrent(ModelState state) private pure returns (uint256) {
        return ModelState.unwrap(state) & ~(uint256(0xff) << 232 | type(uint32).max);
    }
}
