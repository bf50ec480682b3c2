// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    Evaluation,
    Role,
    Signature,
    SignedEvaluation,
    VersionContent
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {ValidationHandler} from "./ValidationHandler.sol";

/// @title What strangers prove about validators and trainers
/// @dev None of it makes a link, so that a head which it moved would be found out.
abstract contract EvidenceHandler is ValidationHandler {
    function reportEquivocationNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _hasVersions);
        address validator = validators[(seed >> 8) % VALIDATORS];
        if (!found || !holds[_role(line.id, Role.Validator)][validator]) return;
        if (equivocations[line.id][validator] != 0) return;

        uint32 version = uint32(1 + seed % records[line.id].length);
        Evaluation memory one = _evaluation(line, version, seed);
        Evaluation memory other = _evaluation(line, version, seed);
        if (seed % 3 == 0) other.accuracy = 1;
        else if (seed % 3 == 1) ++other.trainingAccuracy;
        else other.accepted = false;
        SignedEvaluation memory first = _signed(line, validator, one, 1);
        SignedEvaluation memory second = _signed(line, validator, other, 2);
        vm.prank(STRANGER);
        REGISTRY.reportEquivocation(line.id, first, second);

        equivocations[line.id][validator] = version;
        ++times["Equivocation"];
    }

    function proveUpdateNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _hasContributions);
        if (!found) return;
        uint32 version = _contributed(line, seed);
        Contribution memory made = contributions[line.id][version];
        uint256 i = _isRarer("Hidden client", "Update proved") ? 1 : 0; // the trainer names 0
        uint256 bit = 1 << made.index[i];
        if (hidden[line.id][version] & bit != 0) return;

        VersionContent memory content = contents[line.id][version];
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = made.leaf[1 - i];
        vm.prank(STRANGER);
        bool isHidden = REGISTRY.proveUpdate(
            line.id, version, content, made.index[i], made.update[i], made.signature[i], proof
        );

        require(isHidden == (content.details.contributors & bit == 0), "hidden was misjudged");
        if (isHidden) hidden[line.id][version] |= bit;
        ++times[isHidden ? "Hidden client" : "Update proved"];
    }

    function _signed(
        Line storage line,
        address validator,
        Evaluation memory evaluation,
        uint64 deadline
    ) private view returns (SignedEvaluation memory) {
        Signature memory signature =
            _signEvaluation(validator, line.id, evaluation, METRICS, deadline);
        return SignedEvaluation(evaluation, keccak256(bytes(METRICS)), deadline, signature);
    }

    function _hasVersions(Line storage line) internal view returns (bool) {
        return records[line.id].length != 0;
    }

    function _hasContributions(Line storage line) internal view returns (bool) {
        return _contributed(line, 0) != 0;
    }

    function _contributed(Line storage line, uint256 seed) private view returns (uint32) {
        uint256 count = records[line.id].length;
        for (uint256 i = 0; i < count; ++i) {
            uint32 version = uint32(1 + (seed % count + i) % count);
            if (contents[line.id][version].details.updates != 0) return version;
        }
        return 0;
    }
}
