// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {deployRegistry} from "../Deployed.sol";
import {RegistryHandler} from "../handlers/RegistryHandler.sol";

/// @title What holds after every call on the registry, whatever was called before
/// @notice docs/properties.md says it in prose. The handler makes calls that have to succeed, and
/// some that have to be refused; what it knows happened is compared with what the views say.
contract RegistryInvariants {
    RegistryHandler private handler;

    function setUp() external {
        handler = new RegistryHandler(deployRegistry());
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev What forge calls there, each as often as it is listed.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[33] memory actions = [
            handler.roundNoRevert.selector,
            handler.roundNoRevert.selector,
            handler.roundNoRevert.selector,
            handler.roundNoRevert.selector,
            handler.slumpNoRevert.selector,
            handler.slumpNoRevert.selector,
            handler.seekNoRevert.selector,
            handler.seekNoRevert.selector,
            handler.registerNoRevert.selector,
            handler.registerNoRevert.selector,
            handler.validateNoRevert.selector,
            handler.validateNoRevert.selector,
            handler.rollbackNoRevert.selector,
            handler.rollbackNoRevert.selector,
            handler.discardNoRevert.selector,
            handler.discardNoRevert.selector,
            handler.completeNoRevert.selector,
            handler.reopenNoRevert.selector,
            handler.reopenNoRevert.selector,
            handler.revokeNoRevert.selector,
            handler.setPolicyNoRevert.selector,
            handler.announceSuccessorNoRevert.selector,
            handler.createNoRevert.selector,
            handler.reportEquivocationNoRevert.selector,
            handler.proveUpdateNoRevert.selector,
            handler.proveUpdateNoRevert.selector,
            handler.grantNoRevert.selector,
            handler.revokeRoleNoRevert.selector,
            handler.renounceNoRevert.selector,
            handler.changeClientsNoRevert.selector,
            handler.changeClientsNoRevert.selector,
            handler.actWithoutTheRoleReverts.selector,
            handler.forgeQuorumReverts.selector
        ];
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), new bytes4[](actions.length));
        for (uint256 i = 0; i < actions.length; ++i) {
            targets[0].selectors[i] = actions[i];
        }
    }

    /// forge-config: default.invariant.runs = 4
    /// forge-config: default.invariant.depth = 700
    /// @dev One function, since forge would play every history again for each further one.
    function invariant_historyIsSound() external view {
        handler.checkRecords();
        handler.checkCurrent();
        handler.checkBest();
        handler.checkWaiting();
        handler.checkWhatStaysAndWhatCounts();
        handler.checkLineage();
        handler.checkHeads();
        // the costly ones, for one model in turn
        handler.checkRoles(handler.modelInTurn());
        handler.checkEvidence(handler.modelInTurn());
    }

    /// @dev At the end of a run: it has seen everything that it should have.
    function afterInvariant() external view {
        for (uint256 i = 0; i < handler.modelCount(); ++i) {
            handler.checkRoles(i);
            handler.checkEvidence(i);
        }
        handler.checkCoverage();
    }
}
