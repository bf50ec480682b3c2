// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenPolicy} from "../../../contracts/libraries/OpenPolicy.sol";
import {ModelState} from "../../../contracts/types/ModelState.sol";
import {Policy} from "../../../contracts/types/Policy.sol";
import {
    CompletionReason,
    Evaluation,
    ModelKind,
    Verdict
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {both, either, select} from "./Relations.sol";

/// @title What one validation does to an open model, for every state, policy and evaluation
/// @notice Said a second time, as relations between before and after; see StrictPolicyProof.
contract OpenPolicyProof {
    uint32 private constant PPM = 1_000_000;

    function check_validationDoesWhatThePolicySays(
        ModelState state,
        Policy policy,
        Evaluation calldata evaluation
    ) external pure {
        vm.assume(uint8(ModelState.unwrap(state) >> 232) <= uint256(type(CompletionReason).max));
        vm.assume(uint8(ModelState.unwrap(state) >> 248) <= uint256(type(ModelKind).max));
        vm.assume(state.waiting() != 0);
        vm.assume(evaluation.accuracy <= PPM);
        vm.assume(evaluation.trainingAccuracy <= PPM);

        (ModelState next, Verdict verdict) = OpenPolicy.judge(state, policy, evaluation);

        assert(uint256(verdict) == _verdict(state, policy, evaluation));
        bool isBest = either(verdict == Verdict.FirstBest, verdict == Verdict.NewBest);
        assert(next.current() == select(isBest, evaluation.version, state.current()));
        assert(next.best() == select(isBest, evaluation.version, state.best()));
        assert(next.bestAccuracy() == select(isBest, evaluation.accuracy, state.bestAccuracy()));
        assert(next.waiting() == state.waiting() - 1);
        assert(_rest(next) == _rest(state));
    }

    /// @dev The first rule that matches.
    function _verdict(ModelState s, Policy p, Evaluation calldata e)
        private
        pure
        returns (uint256 v)
    {
        (uint256 best, uint256 accuracy) = (s.bestAccuracy(), e.accuracy);
        bool severe = both(p.maxDrop() > 0, best > accuracy + p.maxDrop());
        v = select(severe, uint256(Verdict.SevereDrop), uint256(Verdict.Contender));
        v = select(accuracy > best, uint256(Verdict.NewBest), v);
        v = select(s.best() == 0, uint256(Verdict.FirstBest), v);
        v = select(accuracy < p.minAccuracy(), uint256(Verdict.BelowMinimum), v);
        v = select(!e.accepted, uint256(Verdict.Rejected), v);
    }

    /// @dev All but current, best, bestAccuracy and what waits: latest, the counters, the reason
    /// and the kind.
    function _rest(ModelState s) private pure returns (uint256) {
        uint256 changing = type(uint64).max | (uint256(type(uint24).max) << 96)
            | (uint256(type(uint8).max) << 240);
        return ModelState.unwrap(s) & ~changing;
    }
}
