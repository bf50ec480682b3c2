// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";

import {IModelRegistryErrors} from "../../../contracts/interfaces/IModelRegistryErrors.sol";
import {
    CompletionReason,
    Details,
    Evaluation,
    ModelView,
    PolicyConfig,
    Role,
    Signature,
    Status,
    Verdict
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {OutcomeHandler} from "./OutcomeHandler.sol";

/// @title What must be refused, and leave no trace
/// @dev The invariants after each call see to the latter.
abstract contract RefusalHandler is OutcomeHandler {
    /// @dev Whoever lacks the role for an operation is refused for that, whatever else is wrong.
    function actWithoutTheRoleReverts(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        Line storage line = lines[lineSeed % lines.length];
        (Role needed, bytes memory data) = _operation(line.id, seed);
        address[] memory all = _everybody();
        address caller = all[(seed >> 8) % all.length];
        bytes32 role = _role(line.id, needed);
        if (holds[role][caller]) caller = STRANGER;
        bytes memory reason = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role
        );
        _mustRevert(caller, data, reason);
        ++times["Refused for lack of a role"];
    }

    /// @dev Signatures of a quorum serve for what was signed, once, in order and in time.
    function forgeQuorumReverts(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _waitsForQuorum);
        if (!found) {
            (, line) = _find(lineSeed, _isStrict);
            PolicyConfig memory policy = _policyFor(Verdict.None, CompletionReason.None, line);
            policy.quorum = 2;
            _startOver(line, policy);
            _register(line, seed);
        }
        ModelView memory model = REGISTRY.getModel(line.id);
        address[] memory able = _validatorsOf(line, model.policy);
        uint256 quorum = model.policy.quorum;

        uint32 version = _versionWith(line, Status.Pending, seed);
        Evaluation memory evaluation = _evaluation(line, version, seed);
        bytes32 signedModel = line.id;
        uint64 deadline = uint64(block.timestamp);
        Signature[] memory signatures = new Signature[](quorum);
        uint256 fault = (seed >> 8) % 6;
        if (fault == 0) signedModel = lines[(lineSeed % lines.length + 1) % lines.length].id; // another model's
        if (fault == 1) ++evaluation.version; // another version's
        if (fault == 5) _replaceOne(able, quorum, clients[0]); // no validator
        for (uint256 i = 0; i < quorum; ++i) {
            signatures[i] = _signEvaluation(able[i], signedModel, evaluation, METRICS, deadline);
        }
        evaluation.version = version;
        if (fault == 2) signatures[1] = signatures[0]; // one counts twice
        if (fault == 3) deadline = uint64(block.timestamp - 1);
        if (fault == 4) evaluation.accuracy = 1_000_000; // not what was signed
        if (fault == 0 && signedModel == line.id) return;

        bytes memory data = abi.encodeCall(
            REGISTRY.validateByQuorum, (line.id, evaluation, METRICS, signatures, deadline)
        );
        bytes4 selector = _mustRevert(STRANGER, data, "");
        require(
            selector == IAccessControl.AccessControlUnauthorizedAccount.selector
                || selector == IModelRegistryErrors.SignersNotAscending.selector
                || selector == IModelRegistryErrors.EvaluationExpired.selector
                || selector == IModelRegistryErrors.InvalidSignature.selector,
            "a forged quorum was refused for another reason"
        );
        ++times["Forged quorum refused"];
    }

    /// @dev One of the first `count`, so that these stay in ascending order.
    function _replaceOne(address[] memory accounts, uint256 count, address by) private pure {
        uint256 i = 0;
        while (i < count - 1 && accounts[i] < by) ++i;
        accounts[i] = by;
    }

    /// @dev And has the validators that it takes.
    function _waitsForQuorum(Line storage line) internal view returns (bool) {
        PolicyConfig memory policy = REGISTRY.getModel(line.id).policy;
        return
            _waits(line) && policy.quorum > 1 && _validatorsOf(line, policy).length >= policy.quorum;
    }

    /// @param reason what it has to revert with, if that is known
    function _mustRevert(address caller, bytes memory data, bytes memory reason)
        private
        returns (bytes4)
    {
        vm.prank(caller);
        (bool succeeded, bytes memory returned) = address(REGISTRY).call(data);
        require(!succeeded, "what must be refused was done");
        require(
            reason.length == 0 || keccak256(returned) == keccak256(reason),
            "it was refused for another reason"
        );
        return bytes4(returned);
    }

    /// @dev One of the operations on a model, with arguments of no sense, and the role that it needs.
    function _operation(bytes32 id, uint256 seed)
        private
        view
        returns (Role needed, bytes memory data)
    {
        Details memory details;
        Evaluation memory evaluation;
        PolicyConfig memory policy;
        address who = address(uint160(seed));
        uint8 index = uint8(seed >> 16);
        uint32 version = uint32(seed >> 24);
        uint256 which = seed % 14;
        if (which < 7) needed = Role.Operator;
        else if (which < 12) needed = Role.Admin;
        else needed = which == 12 ? Role.Trainer : Role.Validator;

        if (which == 0) data = abi.encodeCall(REGISTRY.rollback, (id, version, REASON));
        if (which == 1) data = abi.encodeCall(REGISTRY.discard, (id, version, REASON));
        if (which == 2) data = abi.encodeCall(REGISTRY.complete, (id, REASON));
        if (which == 3) data = abi.encodeCall(REGISTRY.revoke, (id, version, REASON));
        if (which == 4) data = abi.encodeCall(REGISTRY.excludeClient, (id, index, REASON));
        if (which == 5) data = abi.encodeCall(REGISTRY.reinstateClient, (id, index, REASON));
        if (which == 6) data = abi.encodeCall(REGISTRY.rollback, (id, 0, REASON));
        if (which == 7) data = abi.encodeCall(REGISTRY.reopen, (id, REASON));
        if (which == 8) data = abi.encodeCall(REGISTRY.setPolicy, (id, policy));
        if (which == 9) data = abi.encodeCall(REGISTRY.announceSuccessor, (id, who, id));
        if (which == 10) data = abi.encodeCall(REGISTRY.enrolClient, (id, index, who, id));
        if (which == 11) data = abi.encodeCall(REGISTRY.grantRole, (_role(id, Role.Admin), who));
        if (which == 12) {
            data = abi.encodeCall(REGISTRY.register, (id, version, id, details, REASON));
        }
        if (which == 13) data = abi.encodeCall(REGISTRY.validate, (id, evaluation, METRICS));
    }
}
