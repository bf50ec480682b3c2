// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Operation, Role} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {EvidenceHandler} from "./EvidenceHandler.sol";

/// @title Who may act, and which clients may contribute
abstract contract AccessHandler is EvidenceHandler {
    /* ROLES */

    function grantNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        Line storage line = lines[lineSeed % lines.length];
        (bytes32 role, address account) = _membership(line, seed);
        _grant(role, account);
    }

    function _grant(bytes32 role, address account) internal {
        vm.prank(CREATOR);
        REGISTRY.grantRole(role, account);
        holds[role][account] = true;
        ++times["Granted"];
    }

    function revokeRoleNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        Line storage line = lines[lineSeed % lines.length];
        (bytes32 role, address account) = _membership(line, seed);
        if (_isNeeded(line, role, account)) return;
        vm.prank(CREATOR);
        REGISTRY.revokeRole(role, account);
        holds[role][account] = false;
        ++times["Role revoked"];
    }

    function renounceNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        Line storage line = lines[lineSeed % lines.length];
        (bytes32 role, address account) = _membership(line, seed);
        if (_isNeeded(line, role, account)) return;
        vm.prank(account);
        REGISTRY.renounceRole(role, account);
        holds[role][account] = false;
        ++times["Renounced"];
    }

    /// @dev Of anybody but the stranger.
    function _membership(Line storage line, uint256 seed)
        private
        view
        returns (bytes32 role, address account)
    {
        address[] memory all = _everybody();
        role = _role(line.id, Role(1 + seed % uint256(type(Role).max)));
        account = all[(seed >> 8) % all.length];
        if (account == STRANGER) account = CREATOR;
    }

    /// @dev Without these nothing would ever happen to the model again.
    function _isNeeded(Line storage line, bytes32 role, address account)
        private
        view
        returns (bool)
    {
        bytes32 trainer = _role(line.id, Role.Trainer);
        bool isLast =
            account == trainers[0] ? !holds[trainer][trainers[1]] : !holds[trainer][trainers[0]];
        return (role == _role(line.id, Role.Admin) && account == CREATOR)
            || (role == _role(line.id, Role.Operator) && account == OPERATOR)
            || (role == trainer && isLast);
    }

    /* CLIENTS */

    function changeClientsNoRevert(uint256 lineSeed, uint8 seed, bytes32 dataset) external {
        Line storage line = lines[lineSeed % lines.length];
        uint8 index = uint8(seed % CLIENTS);
        if (line.enrolled & (1 << index) == 0) return _enrol(line, index, dataset);

        bool excludes = line.active & (1 << index) != 0;
        vm.prank(OPERATOR);
        if (excludes) REGISTRY.excludeClient(line.id, index, REASON);
        else REGISTRY.reinstateClient(line.id, index, REASON);
        line.active ^= 1 << index;
        Operation operation = excludes ? Operation.ExcludeClient : Operation.ReinstateClient;
        _link(line, operation, OPERATOR, index, keccak256(bytes(REASON)));
        ++times[excludes ? "Client excluded" : "Client reinstated"];
    }
}
