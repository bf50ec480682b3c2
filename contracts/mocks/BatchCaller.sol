// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IModelRegistry} from "../interfaces/IModelRegistry.sol";

/// @title Many calls in one
/// @dev Asked by a free call, it leaves no trace, so that thousands of histories can be played on
/// one registry. It may hold every role of a model.
contract BatchCaller {
    /// @dev A call that takes more fails, with nothing returned.
    uint256 private constant GAS_PER_CALL = 2_000_000;

    struct Outcome {
        bool succeeded;
        uint256 gasUsed;
        bytes returned; // the reason, if the call did not succeed
    }

    /// @notice Calls a contract several times, whatever comes of each.
    function callEach(address target, bytes[] calldata calls)
        external
        returns (Outcome[] memory outcomes)
    {
        outcomes = new Outcome[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            outcomes[i] = _call(target, calls[i]);
        }
    }

    /// @notice Plays a history on a model, and says after each call how the model stands.
    /// @return refusals the reason of each call that was refused, empty for those that were not
    /// @return digests keccak256 of all that the views tell after each call
    /// @return last what they tell after the last one
    function play(address registry, bytes32 modelId, bytes[] calldata calls)
        external
        returns (bytes[] memory refusals, bytes32[] memory digests, bytes memory last)
    {
        refusals = new bytes[](calls.length);
        digests = new bytes32[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            Outcome memory outcome = _call(registry, calls[i]);
            if (!outcome.succeeded) refusals[i] = outcome.returned;
            last = _tell(registry, modelId);
            digests[i] = keccak256(last);
        }
    }

    function _call(address target, bytes calldata data) private returns (Outcome memory outcome) {
        uint256 before = gasleft();
        (outcome.succeeded, outcome.returned) = target.call{gas: GAS_PER_CALL}(data);
        outcome.gasUsed = before - gasleft();
    }

    /// @dev The model and all its versions, as the views encode them.
    function _tell(address registry, bytes32 modelId) private view returns (bytes memory) {
        (, bytes memory model) =
            registry.staticcall(abi.encodeCall(IModelRegistry.getModel, (modelId)));
        (, bytes memory versions) = registry.staticcall(
            abi.encodeCall(IModelRegistry.getVersions, (modelId, 1, type(uint256).max))
        );
        return bytes.concat(model, versions);
    }
}
