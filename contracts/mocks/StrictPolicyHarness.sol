// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {StrictPolicy} from "../libraries/StrictPolicy.sol";
import {ModelState} from "../types/ModelState.sol";
import {Policy} from "../types/Policy.sol";
import {Evaluation, Verdict} from "../types/Records.sol";

/// @title Many judgements in one call, for comparing the policy with its Python twin
contract StrictPolicyHarness {
    struct Case {
        ModelState state;
        Policy policy;
        uint32 version;
        uint32 accuracy;
        uint32 trainingAccuracy;
        bool accepted;
    }

    function judge(Case[] calldata cases)
        external
        pure
        returns (ModelState[] memory states, Verdict[] memory verdicts)
    {
        states = new ModelState[](cases.length);
        verdicts = new Verdict[](cases.length);
        Evaluation memory evaluation;
        for (uint256 i = 0; i < cases.length; ++i) {
            Case calldata one = cases[i];
            evaluation.version = one.version;
            evaluation.accuracy = one.accuracy;
            evaluation.trainingAccuracy = one.trainingAccuracy;
            evaluation.accepted = one.accepted;
            (states[i], verdicts[i]) = StrictPolicy.judge(one.state, one.policy, evaluation);
        }
    }
}
