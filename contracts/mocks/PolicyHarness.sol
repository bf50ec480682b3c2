// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {OpenPolicy} from "../libraries/OpenPolicy.sol";
import {StrictPolicy} from "../libraries/StrictPolicy.sol";
import {ModelState} from "../types/ModelState.sol";
import {Policy} from "../types/Policy.sol";
import {Evaluation, Verdict} from "../types/Records.sol";

/// @title Many judgements in one call, for comparing the policies with their Python twins
contract PolicyHarness {
    struct Case {
        ModelState state; // of a strict or an open model
        Policy policy;
        Evaluation evaluation;
    }

    function judge(Case[] calldata cases)
        external
        pure
        returns (ModelState[] memory states, Verdict[] memory verdicts)
    {
        states = new ModelState[](cases.length);
        verdicts = new Verdict[](cases.length);
        for (uint256 i = 0; i < cases.length; ++i) {
            Case calldata one = cases[i];
            (states[i], verdicts[i]) = one.state.isOpen()
                ? OpenPolicy.judge(one.state, one.policy, one.evaluation)
                : StrictPolicy.judge(one.state, one.policy, one.evaluation);
        }
    }
}
