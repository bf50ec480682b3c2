// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ModelRegistry} from "../../../contracts/ModelRegistry.sol";
import {Role} from "../../../contracts/types/Records.sol";
import {svm, vm} from "../Cheats.sol";

/// @title Only an ADMIN of a model grants and revokes its roles
/// @notice For every caller, role and account, in every state that the registry's storage can have
/// and in all that it cannot.
contract RoleProof {
    ModelRegistry private immutable REGISTRY = new ModelRegistry();

    function setUp() external {
        svm.enableSymbolicStorage(address(REGISTRY));
    }

    function check_roleIsAdministeredByTheAdminsOfItsModel(bytes32 role) external view {
        bytes32 admin = REGISTRY.getRoleAdmin(role);
        assert(uint256(admin ^ role) >> 8 == 0); // the same model
        assert(uint8(uint256(admin)) == uint8(Role.Admin));
        assert(REGISTRY.getRoleAdmin(admin) == admin);
    }

    function check_roleIdNamesItsModelAndItsRole(bytes32 modelId, Role role) external view {
        vm.assume(uint8(uint256(modelId)) == 0);
        bytes32 id = REGISTRY.roleId(modelId, role);
        assert(uint256(id) == uint256(modelId) + uint256(role));
    }

    function check_nobodyElseGrants(address caller, bytes32 role, address account) external {
        vm.assume(!REGISTRY.hasRole(REGISTRY.getRoleAdmin(role), caller));
        vm.prank(caller);
        try REGISTRY.grantRole(role, account) {
            assert(false);
        } catch {}
    }

    function check_nobodyElseRevokes(address caller, bytes32 role, address account) external {
        vm.assume(!REGISTRY.hasRole(REGISTRY.getRoleAdmin(role), caller));
        vm.prank(caller);
        try REGISTRY.revokeRole(role, account) {
            assert(false);
        } catch {}
    }

    function check_nobodyRenouncesForOthers(address caller, bytes32 role, address account)
        external
    {
        vm.assume(caller != account);
        vm.prank(caller);
        try REGISTRY.renounceRole(role, account) {
            assert(false);
        } catch {}
    }

    function check_grantChangesOneMembership(
        address caller,
        bytes32 role,
        address account,
        bytes32 otherRole,
        address other
    ) external {
        vm.assume(otherRole != role || other != account);
        bool before = REGISTRY.hasRole(otherRole, other);
        vm.prank(caller);
        REGISTRY.grantRole(role, account);
        assert(REGISTRY.hasRole(role, account));
        assert(REGISTRY.hasRole(otherRole, other) == before);
        assert(uint8(uint256(role)) >= 1 && uint8(uint256(role)) <= uint8(type(Role).max));
    }

    function check_revocationChangesOneMembership(
        address caller,
        bytes32 role,
        address account,
        bytes32 otherRole,
        address other
    ) external {
        vm.assume(otherRole != role || other != account);
        bool before = REGISTRY.hasRole(otherRole, other);
        vm.prank(caller);
        REGISTRY.revokeRole(role, account);
        assert(!REGISTRY.hasRole(role, account));
        assert(REGISTRY.hasRole(otherRole, other) == before);
    }
}
