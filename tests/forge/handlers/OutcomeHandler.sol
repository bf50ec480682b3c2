// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    ModelView,
    PolicyConfig,
    Role,
    Verdict
} from "../../../contracts/types/Records.sol";
import {AccessHandler} from "./AccessHandler.sol";

/// @title The verdicts and the ends of a training, on purpose
/// @dev Each takes a certain policy and a certain history, so that a run of chance alone would miss
/// one now and then. The fuzzer says when, on which model and with which figures.
abstract contract OutcomeHandler is AccessHandler {
    /// @dev Brings about what this run has seen least of.
    function seekNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (, Line storage line) = _find(lineSeed, _isStrict);
        (Verdict verdict, CompletionReason reason) = _rarest();
        PolicyConfig memory policy = _policyFor(verdict, reason, line);
        policy.quorum = uint8(1 + seed % 2);
        _startOver(line, policy);

        if (reason == CompletionReason.Overtraining) seed -= seed % 6; // a gap: see `_validate`
        _play(line, seed, Mood.Better);
        if (reason == CompletionReason.Manual) {
            _register(line, seed);
            return _complete(line);
        }
        Mood mood = _moodFor(verdict, reason);
        for (uint256 i = 0; i < policy.patience + policy.convergencePatience + 1; ++i) {
            if (_isReady(line)) _play(line, seed + 6 * i, mood);
        }
    }

    function _play(Line storage line, uint256 seed, Mood mood) private {
        _register(line, seed);
        _validate(line, seed, mood);
    }

    /// @dev Of all verdicts of strict models and all reasons; the other one of the two is None.
    function _rarest() private view returns (Verdict verdict, CompletionReason reason) {
        uint256 least = type(uint256).max;
        for (uint256 i = 1; i <= uint256(type(Verdict).max); ++i) {
            if (Verdict(i) == Verdict.Contender) continue;
            uint256 seen = times[verdictName(Verdict(i))];
            if (seen < least) (least, verdict) = (seen, Verdict(i));
        }
        for (uint256 i = 1; i <= uint256(type(CompletionReason).max); ++i) {
            uint256 seen = times[reasonName(CompletionReason(i))];
            if (seen < least) (least, reason) = (seen, CompletionReason(i));
        }
        if (reason != CompletionReason.None) verdict = Verdict.None;
    }

    /// @dev Under which it comes about, and no other reason ends the training before.
    function _policyFor(Verdict verdict, CompletionReason reason, Line storage line)
        internal
        view
        returns (PolicyConfig memory policy)
    {
        (policy.tolerance, policy.maxDrop) = (5000, 20_000);
        if (verdict == Verdict.BelowMinimum) policy.minAccuracy = 500_000;
        if (verdict == Verdict.PatienceExhausted) policy.patience = 2;
        if (reason == CompletionReason.RollbackLimit) policy.maxRollbacks = 1;
        if (reason == CompletionReason.TargetReached) policy.targetAccuracy = 780_000;
        if (reason == CompletionReason.Converged) policy.convergencePatience = 2;
        if (reason == CompletionReason.MaxIterations) policy.maxIterations = line.iteration + 2;
        if (reason == CompletionReason.Overtraining) policy.maxGap = 100_000;
    }

    function _moodFor(Verdict verdict, CompletionReason reason) private pure returns (Mood) {
        if (reason == CompletionReason.RollbackLimit) return Mood.Refused;
        if (reason == CompletionReason.TargetReached) return Mood.Target;
        if (reason == CompletionReason.Overtraining) return Mood.Better;
        if (reason != CompletionReason.None) return Mood.Equal;
        if (verdict == Verdict.NewBest) return Mood.Better;
        if (verdict == Verdict.Concern) return Mood.Concern;
        if (verdict == Verdict.Rejected) return Mood.Refused;
        if (verdict == Verdict.BelowMinimum) return Mood.BelowMinimum;
        if (verdict == Verdict.SevereDrop) return Mood.Severe;
        return verdict == Verdict.Plateau ? Mood.Equal : Mood.Dip;
    }

    /// @dev A strict model without a best version, ready for one, with the validators that the
    /// policy asks for.
    function _startOver(Line storage line, PolicyConfig memory policy) internal {
        ModelView memory model = REGISTRY.getModel(line.id);
        if (model.pending != 0) _discard(line, model.pending);
        _setPolicy(line, policy);
        if (model.completed != CompletionReason.None) _goOn(line);
        if (model.best != 0 || model.current != 0) _rollback(line, 0);
        bytes32 role = _role(line.id, Role.Validator);
        for (uint256 i = 0; i < policy.quorum; ++i) {
            if (!holds[role][validators[i]]) _grant(role, validators[i]);
        }
    }
}
