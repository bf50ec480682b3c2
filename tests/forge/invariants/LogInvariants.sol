// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {deployLog} from "../Deployed.sol";
import {LogHandler} from "../handlers/LogHandler.sol";

/// @title What holds after every call on the log, whatever was called before
/// @notice docs/properties.md says it in prose.
contract LogInvariants {
    LogHandler private handler;

    function setUp() external {
        handler = new LogHandler(deployLog());
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// forge-config: default.invariant.runs = 3
    /// forge-config: default.invariant.depth = 400
    function invariant_logIsSound() external view {
        handler.checkTree();
        handler.checkRecords();
        handler.checkOthers();
    }

    function afterInvariant() external view {
        handler.checkCoverage();
    }
}
