// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Policy, PolicyLibrary} from "../../../contracts/types/Policy.sol";
import {PolicyConfig} from "../../../contracts/types/Records.sol";
import {policyWord} from "../Layouts.sol";

/// @title A packed policy is the policy that was given, and only a sound one is taken
contract PolicyProof {
    uint256 private constant PPM = 1_000_000;

    function check_policyIsPackedExactlyIfItIsSound(PolicyConfig calldata config, bool open)
        external
        view
    {
        bool isTaken = _isSound(config) && (!open || _isForOpenModels(config));
        try this.pack(config, open) returns (Policy policy) {
            assert(isTaken);
            assert(Policy.unwrap(policy) == policyWord(config));
        } catch {
            assert(!isTaken);
        }
    }

    function check_fieldsMakeUpTheWholeWord(Policy policy) external pure {
        uint256 word = Policy.unwrap(policy);
        PolicyConfig memory config = policy.unpack();
        // the two highest bytes are unused, and `independent` is any byte but zero
        assert(config.independent == ((word >> 232) & 0xff != 0));
        uint256 independent = config.independent ? 1 << 232 : 0;
        assert(policyWord(config) == ((word & ((1 << 232) - 1)) | independent));
    }

    function pack(PolicyConfig calldata config, bool open) external pure returns (Policy) {
        return PolicyLibrary.pack(config, open);
    }

    /// @dev docs/policy.md, "Refused unless".
    function _isSound(PolicyConfig calldata c) private pure returns (bool) {
        bool shares = c.tolerance <= PPM && c.maxDrop <= PPM && c.minAccuracy <= PPM
            && c.minImprovement <= PPM && c.targetAccuracy <= PPM && c.maxGap <= PPM;
        bool counts = c.patience <= type(uint16).max && c.convergencePatience <= type(uint16).max
            && c.maxRollbacks <= type(uint16).max;
        bool order = (c.maxDrop == 0 || c.tolerance <= c.maxDrop)
            && (c.targetAccuracy == 0 || c.minAccuracy <= c.targetAccuracy);
        return shares && counts && order && c.quorum != 0;
    }

    /// @dev They have maxDrop, minAccuracy, quorum and independent alone.
    function _isForOpenModels(PolicyConfig calldata c) private pure returns (bool) {
        return c.tolerance == 0 && c.patience == 0 && c.minImprovement == 0 && c.targetAccuracy == 0
            && c.convergencePatience == 0 && c.maxIterations == 0 && c.maxRollbacks == 0
            && c.maxGap == 0;
    }
}
