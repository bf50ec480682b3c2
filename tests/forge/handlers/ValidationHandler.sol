// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    Evaluation,
    ModelView,
    Operation,
    PolicyConfig,
    Role,
    Signature,
    Status,
    Verdict
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {LineHandler} from "./LineHandler.sol";

/// @title How versions are validated, by one validator or by a quorum
abstract contract ValidationHandler is LineHandler {
    string internal constant METRICS = "{\"f1\": 1}";

    /// How a version does, compared with the best.
    enum Mood {
        Refused,
        Better,
        MuchBetter,
        Target,
        Equal,
        Dip,
        Concern,
        Severe,
        BelowMinimum,
        Anything
    }

    function validateNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _waits);
        if (found) _validate(line, seed, Mood((seed >> 8) % (uint256(type(Mood).max) + 1)));
    }

    /// @dev A registration and its validation: what happens most.
    function roundNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, seed % 4 == 0 ? _isOpen : _isReady);
        if (!found) return _reopen(lineSeed);
        Mood mood = Mood((seed >> 8) % (uint256(type(Mood).max) + 1));
        if (line.open && _isRarer("Contender", "NewBest")) mood = Mood.Equal;
        _register(line, seed);
        _validate(line, seed, mood);
    }

    /// @dev Dip after dip, until one rolls back or completes, or the policy turns out to be patient.
    function slumpNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _isReady);
        if (!found) return _reopen(lineSeed);
        for (uint256 i = 0; found && i < 4 && _isReady(line); ++i) {
            _register(line, seed + i);
            Verdict verdict = _validate(line, seed + i, Mood.Dip);
            if (verdict >= Verdict.Rejected) break;
        }
    }

    function _validate(Line storage line, uint256 seed, Mood mood) internal returns (Verdict v) {
        ModelView memory model = REGISTRY.getModel(line.id);
        uint32 version = _versionWith(line, Status.Pending, seed >> 16);
        Evaluation memory evaluation = _evaluation(line, version, seed);
        (evaluation.accuracy, evaluation.accepted) = _accuracy(model, mood, seed >> 24);
        if (seed % 6 == 0) evaluation.trainingAccuracy = 1_000_000;

        address[] memory able = _validatorsOf(line, model.policy);
        if (able.length < model.policy.quorum) return Verdict.None;
        bool alone = model.policy.quorum == 1 && (seed >> 32) % 4 != 0;
        v = alone
            ? _validateAlone(line, able[seed % able.length], evaluation)
            : _validateTogether(line, able, model.policy.quorum, evaluation);
        _judged(line, evaluation, v, model.policy.minAccuracy);
    }

    /// @dev Of this version's content; its accuracy is 0 and it is accepted.
    function _evaluation(Line storage line, uint32 version, uint256 seed)
        internal
        view
        returns (Evaluation memory evaluation)
    {
        evaluation.version = version;
        evaluation.trainingAccuracy = uint32(seed % 600_000);
        evaluation.accepted = true;
        evaluation.testSet = line.testSet;
        evaluation.weights = contents[line.id][version].weights;
        evaluation.details = _detailsHash(line, version);
    }

    function _validateAlone(Line storage line, address validator, Evaluation memory evaluation)
        private
        returns (Verdict verdict)
    {
        vm.prank(validator);
        verdict = REGISTRY.validate(line.id, evaluation, METRICS);
        bytes32 digest = keccak256(
            abi.encode(
                evaluation.accuracy, evaluation.trainingAccuracy, verdict, keccak256(bytes(METRICS))
            )
        );
        _link(line, Operation.Validate, validator, evaluation.version, digest);
        ++times["Validated alone"];
    }

    function _validateTogether(
        Line storage line,
        address[] memory able,
        uint256 quorum,
        Evaluation memory evaluation
    ) private returns (Verdict verdict) {
        uint64 deadline = uint64(block.timestamp);
        address[] memory signers = new address[](quorum);
        Signature[] memory signatures = new Signature[](quorum);
        for (uint256 i = 0; i < quorum; ++i) {
            signers[i] = able[able.length - quorum + i];
            signatures[i] = _signEvaluation(signers[i], line.id, evaluation, METRICS, deadline);
        }
        vm.prank(STRANGER);
        verdict = REGISTRY.validateByQuorum(line.id, evaluation, METRICS, signatures, deadline);
        bytes32 digest = keccak256(
            abi.encode(
                evaluation.accuracy,
                evaluation.trainingAccuracy,
                verdict,
                keccak256(bytes(METRICS)),
                keccak256(abi.encodePacked(signers)),
                deadline
            )
        );
        _link(line, Operation.ValidateByQuorum, STRANGER, evaluation.version, digest);
        ++times[quorum == 1 ? "Validated by a quorum of one" : "Validated by a quorum"];
    }

    /// @dev Ascending. Those that the policy lets vote now.
    function _validatorsOf(Line storage line, PolicyConfig memory policy)
        internal
        view
        returns (address[] memory able)
    {
        able = new address[](VALIDATORS);
        uint256 count = 0;
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            address one = validators[i];
            bool trains = holds[_role(line.id, Role.Trainer)][one];
            if (holds[_role(line.id, Role.Validator)][one] && !(policy.independent && trains)) {
                able[count++] = one;
            }
        }
        assembly ("memory-safe") {
            mstore(able, count)
        }
    }

    function _accuracy(ModelView memory model, Mood mood, uint256 seed)
        private
        pure
        returns (uint32 accuracy, bool accepted)
    {
        if (mood == Mood.Refused) return (uint32(seed % 1_000_001), false);
        (uint256 best, uint256 target) = (model.bestAccuracy, model.policy.targetAccuracy);
        uint256 min = model.policy.minAccuracy;
        uint256 a = best;
        if (best == 0) a = 520_000 + seed % 200_000;
        else if (mood == Mood.Better) a += 1 + seed % 1000;
        else if (mood == Mood.MuchBetter) a += 1000 + seed % 20_000;
        else if (mood == Mood.Target) a = target > best ? target : best;
        else if (mood == Mood.Dip) a -= _atMost(best, 1 + seed % 4000);
        else if (mood == Mood.Concern) a -= _atMost(best, 5001 + seed % 15_000);
        else if (mood == Mood.Severe) a -= _atMost(best, 20_001 + seed % 100_000);
        else if (mood == Mood.BelowMinimum) a = min > 0 ? seed % min : best;
        else if (mood == Mood.Anything) a = seed % 600_000;
        return (uint32(_atMost(a, 1_000_000)), true);
    }

    function _atMost(uint256 value, uint256 max) private pure returns (uint256) {
        return value < max ? value : max;
    }
}
