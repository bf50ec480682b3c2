// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelView, PolicyConfig} from "../../contracts/types/Records.sol";

// The layouts of the packed words, said a second time by `abi.encodePacked`, which puts fields side
// by side from the most significant bit on.

function stateWord(ModelView memory fields) pure returns (uint256) {
    bytes memory high = abi.encodePacked(
        fields.kind,
        uint8(fields.waiting),
        fields.completed,
        uint16(fields.rollbacks),
        uint16(fields.sinceProgress),
        uint16(fields.belowBest),
        fields.epoch
    );
    bytes memory low = abi.encodePacked(
        fields.iteration, uint24(fields.bestAccuracy), fields.latest, fields.best, fields.current
    );
    return uint256(bytes32(bytes.concat(high, low)));
}

function policyWord(PolicyConfig memory fields) pure returns (uint256) {
    bytes memory high = abi.encodePacked(
        uint16(0),
        fields.independent,
        fields.quorum,
        fields.maxIterations,
        uint16(fields.maxRollbacks),
        uint16(fields.convergencePatience),
        uint16(fields.patience)
    );
    bytes memory low = abi.encodePacked(
        uint24(fields.maxGap),
        uint24(fields.targetAccuracy),
        uint24(fields.minImprovement),
        uint24(fields.minAccuracy),
        uint24(fields.maxDrop),
        uint24(fields.tolerance)
    );
    return uint256(bytes32(bytes.concat(high, low)));
}
