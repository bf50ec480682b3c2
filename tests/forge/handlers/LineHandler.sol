// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    Details,
    FirstRoles,
    ModelView,
    Operation,
    Origin,
    PolicyConfig,
    Role,
    Status,
    Update,
    VersionContent,
    VersionView
} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {policyWord} from "../Layouts.sol";
import {Ledger} from "./Ledger.sol";

/// @title What is done to a line of versions, validations apart
abstract contract LineHandler is Ledger {
    uint256 internal constant MAX_LINES = 12;

    string internal constant REASON = "a reason";

    /* MODELS */

    function createNoRevert(uint256 seed) external {
        seed = _spread(seed);
        if (lines.length < MAX_LINES) _create(seed, seed % 4 == 0);
    }

    function _create(uint256 seed, bool open) internal {
        Origin memory origin = _origin(seed);
        PolicyConfig memory policy = _policy(seed, open);
        bytes32 testSet = keccak256(abi.encode("test set", seed));
        string memory name = string(abi.encodePacked("model ", bytes1(uint8(97 + lines.length))));
        vm.prank(CREATOR);
        bytes32 id = REGISTRY.createModel(
            name, open, testSet, origin, policy, FirstRoles(trainers[0], validators[0], OPERATOR)
        );

        Line storage line = lines.push();
        (line.id, line.open, line.testSet) = (id, open, testSet);
        origins[id] = origin;
        bytes32 digest = keccak256(abi.encode(id, testSet, policyWord(policy), origin));
        _link(line, Operation.Create, CREATOR, 0, digest);
        holds[_role(id, Role.Admin)][CREATOR] = true;
        holds[_role(id, Role.Trainer)][trainers[0]] = true;
        holds[_role(id, Role.Operator)][OPERATOR] = true;
        holds[_role(id, Role.Validator)][validators[0]] = true;
        for (uint256 i = 1; i < VALIDATORS; ++i) {
            vm.prank(CREATOR);
            REGISTRY.grantRole(_role(id, Role.Validator), validators[i]);
            holds[_role(id, Role.Validator)][validators[i]] = true;
        }
        _enrol(line, 0, testSet);
        _enrol(line, 1, testSet);
        ++times[origin.version == 0 ? "No fork" : "Fork"];
    }

    function _enrol(Line storage line, uint8 index, bytes32 dataset) internal {
        vm.prank(CREATOR);
        REGISTRY.enrolClient(line.id, index, clients[index], dataset);
        line.enrolled |= 1 << index;
        line.active |= 1 << index;
        bytes32 digest = keccak256(abi.encode(clients[index], dataset));
        _link(line, Operation.EnrolClient, CREATOR, index, digest);
    }

    /// @dev A passed version of some model, for every other one.
    function _origin(uint256 seed) private view returns (Origin memory origin) {
        if (lines.length == 0 || !_isRarer("Fork", "No fork")) return origin;
        (bool found, Line storage line) = _find(seed >> 16, _hasPassed);
        if (found) origin = Origin(line.id, _versionWith(line, Status.Passed, seed >> 24));
    }

    /// @dev Every limit is on for about half of the seeds, and low enough to be reached.
    function _policy(uint256 seed, bool open) internal pure returns (PolicyConfig memory policy) {
        seed = uint256(keccak256(abi.encode("policy", seed)));
        policy.quorum = uint8(1 + (seed % 3));
        policy.independent = (seed >> 8) % 2 == 1;
        policy.maxDrop = (seed >> 16) % 4 == 0 ? 0 : 20_000;
        policy.minAccuracy = (seed >> 24) % 2 == 0 ? 0 : 550_000;
        if (open) return policy;
        policy.tolerance = (seed >> 32) % 4 == 0 ? 0 : 5000;
        policy.patience = uint32((seed >> 40) % 5);
        policy.minImprovement = (seed >> 48) % 2 == 0 ? 0 : 1000;
        policy.targetAccuracy = (seed >> 56) % 2 == 0 ? 780_000 : 0;
        policy.convergencePatience = (seed >> 64) % 2 == 0 ? 0 : 5;
        policy.maxIterations = (seed >> 72) % 2 == 0 ? uint32(4 + (seed >> 80) % 32) : 0;
        policy.maxRollbacks = (seed >> 88) % 2 == 0 ? 0 : 3;
        policy.maxGap = (seed >> 96) % 3 == 0 ? 100_000 : 0;
    }

    function setPolicyNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _isIdle);
        if (found) _setPolicy(line, _policy(seed, line.open));
    }

    function _setPolicy(Line storage line, PolicyConfig memory policy) internal {
        vm.prank(CREATOR);
        REGISTRY.setPolicy(line.id, policy);
        _link(line, Operation.SetPolicy, CREATOR, 0, bytes32(policyWord(policy)));
        ++times["PolicySet"];
    }

    function announceSuccessorNoRevert(uint256 lineSeed, address registry, bytes32 successorId)
        external
    {
        Line storage line = lines[lineSeed % lines.length];
        if (registry == address(0)) registry = address(REGISTRY);
        vm.prank(CREATOR);
        REGISTRY.announceSuccessor(line.id, registry, successorId);
        bytes32 digest = keccak256(abi.encode(registry, successorId));
        _link(line, Operation.AnnounceSuccessor, CREATOR, 0, digest);
        ++times["SuccessorAnnounced"];
    }

    /* REGISTRATIONS */

    function registerNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, seed % 2 == 0 ? _isOpen : _isReady);
        if (found) _register(line, seed);
    }

    function _register(Line storage line, uint256 seed) internal returns (uint32 version) {
        ModelView memory model = REGISTRY.getModel(line.id);
        version = uint32(records[line.id].length) + 1;
        Details memory details;
        details.object = bytes32(seed);
        if (line.open) {
            if (seed % 3 != 0) details.parent = _versionWith(line, Status.Passed, seed);
        } else {
            details.parent = model.current;
            (details.iteration, details.epoch) = (line.iteration + 1, line.epoch);
        }
        _contribute(line, version, details, seed);
        address trainer = _holder(line, Role.Trainer);
        bytes32 weights = keccak256(abi.encode("weights", seed % 1000)); // the same ones come again
        vm.prank(trainer);
        REGISTRY.register(line.id, version, weights, details, REASON);

        VersionContent storage content = contents[line.id][version];
        (content.weights, content.registrar) = (weights, trainer);
        (content.details, content.metadata) = (details, keccak256(bytes(REASON)));
        bytes32 commitment =
            keccak256(abi.encode(line.testSet, weights, _detailsHash(line, version)));
        records[line.id].push(
            VersionView(version, details.parent, 0, Status.Pending, bytes25(commitment))
        );
        _link(line, Operation.Register, trainer, version, commitment);
        ++times["Registered"];
    }

    function _detailsHash(Line storage line, uint32 version) internal view returns (bytes32) {
        VersionContent memory content = contents[line.id][version];
        return keccak256(
            abi.encode(line.id, version, content.registrar, content.details, content.metadata)
        );
    }

    /// @dev Two active clients sign updates, whose tree the trainer commits to; mostly it
    /// names only one of them.
    function _contribute(Line storage line, uint32 version, Details memory details, uint256 seed)
        private
    {
        (uint8 first, uint8 second) = (uint8(seed % CLIENTS), uint8((seed + 1) % CLIENTS));
        uint256 both = (1 << first) | (1 << second);
        if (line.active & both != both) return;
        Contribution storage made = contributions[line.id][version];
        made.index = [first, second];
        for (uint256 i = 0; i < 2; ++i) {
            Update memory update = Update({
                epoch: details.epoch,
                iteration: details.iteration,
                base: details.parent,
                digest: keccak256(abi.encode("update", seed, i)),
                samples: uint64(seed)
            });
            made.update[i] = update;
            (made.signature[i], made.leaf[i]) = _signUpdate(clients[made.index[i]], line.id, update);
        }
        (bytes32 a, bytes32 b) = (made.leaf[0], made.leaf[1]);
        details.updates = a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
        details.contributors = (seed >> 8) % 4 == 0 ? both : 1 << first;
    }

    /* GOING BACK, ENDING, GOING ON */

    function rollbackNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        bool open = _isRarer("Rolled back by hand, open", "Discarded by a rollback");
        (bool found, Line storage line) = _find(lineSeed, open ? _isOpen : _isReady);
        if (!found || (seed >> 2) % 4 == 0) line = lines[lineSeed % lines.length];
        uint32 target = seed % 4 == 0 ? 0 : _versionWith(line, Status.Passed, seed >> 8);
        ModelView memory model = REGISTRY.getModel(line.id);
        if (target == model.current && target == model.best) return;
        if (seed % 3 != 0 && _isReady(line)) _register(line, seed);
        _rollback(line, target);
    }

    /// @dev To another version than the current one.
    function _rollback(Line storage line, uint32 target) internal {
        uint32 pending = REGISTRY.getModel(line.id).pending;
        vm.prank(OPERATOR);
        REGISTRY.rollback(line.id, target, REASON);

        line.ceiling = target == 0 ? 0 : records[line.id][target - 1].accuracy;
        if (!line.open) {
            ++line.epoch;
            if (pending != 0) {
                _discarded(line, pending);
                ++times["Discarded by a rollback"];
            }
        }
        _link(line, Operation.Rollback, OPERATOR, target, keccak256(bytes(REASON)));
        if (target == 0) ++times["Rolled back to nothing"];
        ++times[line.open ? "Rolled back by hand, open" : "Rolled back by hand"];
    }

    function discardNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        bool open = _isRarer("Discarded, open", "Discarded");
        (bool found, Line storage line) = _find(lineSeed, open ? _waitsOpen : _waits);
        if (!found) (found, line) = _find(lineSeed, _waits);
        if (found) _discard(line, _versionWith(line, Status.Pending, seed));
    }

    function _discard(Line storage line, uint32 version) internal {
        vm.prank(OPERATOR);
        REGISTRY.discard(line.id, version, REASON);

        if (!line.open) ++line.epoch;
        _discarded(line, version);
        _link(line, Operation.Discard, OPERATOR, version, keccak256(bytes(REASON)));
        ++times[line.open ? "Discarded, open" : "Discarded"];
    }

    function completeNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        (bool found, Line storage line) = _find(lineSeed, _isOngoing);
        if (!found || seed % 3 != 0) return; // most models should go on
        if (seed % 2 == 0 && _isReady(line)) _register(line, seed);
        _complete(line);
    }

    function _complete(Line storage line) internal {
        uint32 pending = REGISTRY.getModel(line.id).pending;
        vm.prank(OPERATOR);
        REGISTRY.complete(line.id, REASON);

        if (pending != 0) _discarded(line, pending);
        bytes32 digest = keccak256(bytes(REASON));
        uint32 best = REGISTRY.getModel(line.id).best;
        _link(line, Operation.Complete, OPERATOR, best, digest);
        ++times[reasonName(CompletionReason.Manual)];
        if (pending != 0) ++times["Discarded by a completion"];
    }

    function reopenNoRevert(uint256 lineSeed) external {
        _reopen(lineSeed);
    }

    function _reopen(uint256 lineSeed) internal {
        (bool found, Line storage line) = _find(lineSeed, _mayReopen);
        if (found) _goOn(line);
    }

    function _goOn(Line storage line) internal {
        uint32 current = REGISTRY.getModel(line.id).current;
        vm.prank(CREATOR);
        REGISTRY.reopen(line.id, REASON);

        ++line.epoch;
        _link(line, Operation.Reopen, CREATOR, current, keccak256(bytes(REASON)));
        ++times["Reopened"];
    }

    function revokeNoRevert(uint256 lineSeed, uint256 seed) external {
        seed = _spread(seed);
        Line storage line = lines[lineSeed % lines.length];
        ModelView memory model = REGISTRY.getModel(line.id);
        uint32 version = _versionWith(line, Status.Passed, seed);
        if (version == 0 || version == model.current || version == model.best) return;
        vm.prank(OPERATOR);
        REGISTRY.revoke(line.id, version, REASON);

        records[line.id][version - 1].status = Status.Revoked;
        _link(line, Operation.Revoke, OPERATOR, version, keccak256(bytes(REASON)));
        ++times["Revoked"];
    }

    /* WHICH MODELS */

    function _isOngoing(Line storage line) internal view returns (bool) {
        return !line.open && REGISTRY.getModel(line.id).completed == CompletionReason.None;
    }

    function _isIdle(Line storage line) internal view returns (bool) {
        return REGISTRY.getModel(line.id).waiting == 0;
    }

    function _waits(Line storage line) internal view returns (bool) {
        return REGISTRY.getModel(line.id).waiting != 0;
    }

    function _isOpen(Line storage line) internal view returns (bool) {
        return line.open;
    }

    function _waitsOpen(Line storage line) internal view returns (bool) {
        return line.open && _waits(line);
    }

    function _isStrict(Line storage line) internal view returns (bool) {
        return !line.open;
    }

    /// @dev A strict one, for the next version.
    function _isReady(Line storage line) internal view returns (bool) {
        return _isOngoing(line) && _isIdle(line);
    }

    function _hasPassed(Line storage line) internal view returns (bool) {
        return _versionWith(line, Status.Passed, 0) != 0;
    }

    function _mayReopen(Line storage line) internal view returns (bool) {
        ModelView memory model = REGISTRY.getModel(line.id);
        uint32 maxIterations = model.policy.maxIterations;
        return model.completed != CompletionReason.None
            && (maxIterations == 0 || model.iteration < maxIterations);
    }

    /// @dev One who holds TRAINER; there always is one.
    function _holder(Line storage line, Role role) internal view returns (address) {
        bool first = holds[_role(line.id, role)][trainers[0]];
        return first ? trainers[0] : trainers[1];
    }
}
