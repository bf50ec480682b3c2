// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PolicyConfig} from "./Records.sol";

/// @dev A policy in one word, from the least significant bit. Off limits are 0.
///
///   bits      field                unit
///     0 …  23 tolerance            ppm
///    24 …  47 maxDrop              ppm
///    48 …  71 minAccuracy          ppm
///    72 …  95 minImprovement       ppm
///    96 … 119 targetAccuracy       ppm
///   120 … 143 maxGap               ppm
///   144 … 159 patience             validations
///   160 … 175 convergencePatience  validations
///   176 … 191 maxRollbacks         automatic rollbacks
///   192 … 223 maxIterations        validations
///   224 … 231 quorum               validators
///   232 … 239 independent          1 if validators may not hold TRAINER
type Policy is uint256;

using PolicyLibrary for Policy global;

/// @title Checking, packing and reading a policy
library PolicyLibrary {
    /// @notice Accuracies are parts per million: this is 100 %.
    uint32 internal constant PPM = 1_000_000;

    /// @dev The fields that open models have: maxDrop, minAccuracy, quorum and independent.
    uint256 private constant OPEN = (0xffffffffffff << 24) | (0xffff << 224);

    /// @notice Thrown when a share is above 1,000,000 ppm or a count above 65,535.
    error PolicyValueTooLarge(uint256 value, uint256 max);
    /// @notice Thrown when a drop would be severe before it is a concern.
    error ToleranceAboveMaxDrop(uint32 tolerance, uint32 maxDrop);
    /// @notice Thrown when the target lies below the minimum.
    error MinAccuracyAboveTarget(uint32 minAccuracy, uint32 targetAccuracy);
    /// @notice Thrown when no validator would have to agree.
    error QuorumIsZero();
    /// @notice Thrown when an open model should have more than maxDrop, minAccuracy, quorum and
    /// independent; `excess` is the packed policy without these.
    error PolicyNotForOpenModels(uint256 excess);

    /// @notice Checks a policy and packs it.
    function pack(PolicyConfig calldata config, bool open) internal pure returns (Policy packed) {
        _check(config);
        packed = _pack(config);
        uint256 excess = Policy.unwrap(packed) & ~OPEN;
        if (open && excess != 0) revert PolicyNotForOpenModels(excess);
    }

    function unpack(Policy p) internal pure returns (PolicyConfig memory) {
        return PolicyConfig({
            tolerance: tolerance(p),
            maxDrop: maxDrop(p),
            patience: patience(p),
            minAccuracy: minAccuracy(p),
            minImprovement: minImprovement(p),
            targetAccuracy: targetAccuracy(p),
            convergencePatience: convergencePatience(p),
            maxIterations: maxIterations(p),
            maxRollbacks: maxRollbacks(p),
            maxGap: maxGap(p),
            quorum: quorum(p),
            independent: independent(p)
        });
    }

    // forgefmt: disable-start
    function tolerance(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p)); }
    function maxDrop(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p) >> 24); }
    function minAccuracy(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p) >> 48); }
    function minImprovement(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p) >> 72); }
    function targetAccuracy(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p) >> 96); }
    function maxGap(Policy p) internal pure returns (uint32) { return uint24(Policy.unwrap(p) >> 120); }
    function patience(Policy p) internal pure returns (uint32) { return uint16(Policy.unwrap(p) >> 144); }
    function convergencePatience(Policy p) internal pure returns (uint32) { return uint16(Policy.unwrap(p) >> 160); }
    function maxRollbacks(Policy p) internal pure returns (uint32) { return uint16(Policy.unwrap(p) >> 176); }
    function maxIterations(Policy p) internal pure returns (uint32) { return uint32(Policy.unwrap(p) >> 192); }
    function quorum(Policy p) internal pure returns (uint8) { return uint8(Policy.unwrap(p) >> 224); }
    function independent(Policy p) internal pure returns (bool) { return uint8(Policy.unwrap(p) >> 232) != 0; }
    // forgefmt: disable-end

    function _pack(PolicyConfig calldata config) private pure returns (Policy) {
        return Policy.wrap(
            uint256(config.tolerance) | (uint256(config.maxDrop) << 24)
                | (uint256(config.minAccuracy) << 48) | (uint256(config.minImprovement) << 72)
                | (uint256(config.targetAccuracy) << 96) | (uint256(config.maxGap) << 120)
                | (uint256(config.patience) << 144) | (uint256(config.convergencePatience) << 160)
                | (uint256(config.maxRollbacks) << 176) | (uint256(config.maxIterations) << 192)
                | (uint256(config.quorum) << 224) | (config.independent ? 1 << 232 : 0)
        );
    }

    function _check(PolicyConfig calldata config) private pure {
        _atMost(config.tolerance, PPM);
        _atMost(config.maxDrop, PPM);
        _atMost(config.minAccuracy, PPM);
        _atMost(config.minImprovement, PPM);
        _atMost(config.targetAccuracy, PPM);
        _atMost(config.maxGap, PPM);
        _atMost(config.patience, type(uint16).max);
        _atMost(config.convergencePatience, type(uint16).max);
        _atMost(config.maxRollbacks, type(uint16).max);
        if (config.maxDrop != 0 && config.tolerance > config.maxDrop) {
            revert ToleranceAboveMaxDrop(config.tolerance, config.maxDrop);
        }
        if (config.targetAccuracy != 0 && config.minAccuracy > config.targetAccuracy) {
            revert MinAccuracyAboveTarget(config.minAccuracy, config.targetAccuracy);
        }
        if (config.quorum == 0) revert QuorumIsZero();
    }

    function _atMost(uint256 value, uint256 max) private pure {
        if (value > max) revert PolicyValueTooLarge(value, max);
    }
}
