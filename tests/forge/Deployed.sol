// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

import {IModelRegistry} from "../../contracts/interfaces/IModelRegistry.sol";
import {IProvenanceLog} from "../../contracts/interfaces/IProvenanceLog.sol";
import {vm} from "./Cheats.sol";

// The contracts as they are deployed: in forge's build of contracts/, with its compiler settings.
// The handlers are compiled by others, which are quicker, and know the interfaces alone.

interface Registry is IModelRegistry, IAccessControl {}

function deployRegistry() returns (Registry) {
    return Registry(vm.deployCode("ModelRegistry.sol:ModelRegistry"));
}

function deployLog() returns (IProvenanceLog) {
    return IProvenanceLog(vm.deployCode("ProvenanceLog.sol:ProvenanceLog"));
}
