// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    LineageStep,
    ModelKind,
    ModelView,
    Origin,
    Role,
    Status,
    VersionView
} from "../../../contracts/types/Records.sol";
import {Registry} from "../Deployed.sol";
import {Cast} from "./Cast.sol";
import {RefusalHandler} from "./RefusalHandler.sol";

/// @title All actions on the registry, and what must hold after each
contract RegistryHandler is RefusalHandler {
    constructor(Registry registry) Cast(registry) {
        _create(0, false);
        _create(1, true);
    }

    /// @dev Commitment, parent, accuracy and status of each version are those that were written, and
    /// a parent precedes its version.
    function checkRecords() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            VersionView[] memory expected = records[lines[i].id];
            VersionView[] memory found = REGISTRY.getVersions(lines[i].id, 1, type(uint256).max);
            require(
                keccak256(abi.encode(found)) == keccak256(abi.encode(expected)),
                "a record is not as it was written"
            );
            for (uint256 j = 0; j < found.length; ++j) {
                require(found[j].parent < found[j].version, "a parent does not precede its version");
            }
        }
    }

    function checkCurrent() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            ModelView memory model = REGISTRY.getModel(lines[i].id);
            if (model.current == 0) continue;
            Status status = REGISTRY.getVersion(lines[i].id, model.current).status;
            require(status == Status.Passed, "the current version has not passed, or is revoked");
        }
    }

    function checkBest() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            Line storage line = lines[i];
            ModelView memory model = REGISTRY.getModel(line.id);
            VersionView[] storage all = records[line.id];
            uint32 version = model.current;
            while (version > model.best) version = all[version - 1].parent;
            require(version == model.best, "best is neither current nor an ancestor of it");
            require(!line.open || model.current == model.best, "open: current is not best");
            uint32 accuracy = model.best == 0 ? 0 : all[model.best - 1].accuracy;
            require(model.bestAccuracy == accuracy, "bestAccuracy is not best's accuracy");
            require(model.bestAccuracy == line.ceiling, "bestAccuracy is not the highest accepted");
        }
    }

    function checkWaiting() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            ModelView memory model = REGISTRY.getModel(lines[i].id);
            VersionView[] storage all = records[lines[i].id];
            uint256 waiting = 0;
            for (uint256 j = 0; j < all.length; ++j) {
                if (all[j].status == Status.Pending) ++waiting;
            }
            require(model.waiting == waiting, "waiting is not the number of waiting versions");
            bool isStrict = model.kind == ModelKind.Strict;
            uint32 pending = isStrict && waiting != 0 ? model.latest : 0;
            require(model.pending == pending, "pending is not the version that waits");
            require(!isStrict || waiting <= 1, "several versions of a strict model wait");
            if (model.completed == CompletionReason.None) continue;
            require(isStrict && waiting == 0, "a version of a completed model waits");
            require(model.current == model.best, "a completed model's current is not its best");
        }
    }

    /// @dev And what was fixed at creation stays.
    function checkWhatStaysAndWhatCounts() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            Line storage line = lines[i];
            ModelView memory model = REGISTRY.getModel(line.id);
            require(model.latest == records[line.id].length, "latest counts no registrations");
            require(model.iteration == line.iteration, "iteration counts no validations");
            require(model.epoch == line.epoch, "epoch counts no rollbacks");
            require((model.kind == ModelKind.Open) == line.open, "the kind has changed");
            require(model.testSet == line.testSet, "the test set has changed");
            _checkOrigin(line.id, model);
            require(model.activeClients == line.active, "the active clients have changed");
        }
    }

    function _checkOrigin(bytes32 id, ModelView memory model) private view {
        Origin storage origin = origins[id];
        require(model.origin.modelId == origin.modelId, "the origin has changed");
        require(model.origin.version == origin.version, "the origin has changed");
        Status status = Status.None;
        if (origin.version != 0) status = records[origin.modelId][origin.version - 1].status;
        require(model.originStatus == status, "the origin's status is another");
    }

    /// @dev Back from the latest version to where the model, and what it was forked from, began.
    function checkLineage() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            (bytes32 id, uint32 version) = (lines[i].id, uint32(records[lines[i].id].length));
            if (version == 0) continue;
            (LineageStep[] memory page, bytes32 nextModel,) =
                REGISTRY.getLineage(id, version, type(uint256).max);
            for (uint256 j = 0; j < page.length; ++j) {
                require(page[j].modelId == id, "a lineage goes astray");
                require(page[j].version.version == version, "a lineage leaves a version out");
                version = records[id][version - 1].parent;
                if (version != 0) continue;
                Origin storage origin = origins[id];
                (id, version) = (origin.modelId, origin.version);
            }
            require(version == 0 && nextModel == 0, "a lineage ends too early");
        }
    }

    function checkRoles(uint256 i) external view {
        bytes32 id = lines[i].id;
        address[] memory all = _everybody();
        for (uint8 r = 1; r <= uint8(type(Role).max); ++r) {
            bytes32 role = _role(id, Role(r));
            for (uint256 j = 0; j < all.length; ++j) {
                bool has = REGISTRY.hasRole(role, all[j]);
                require(has == holds[role][all[j]], "somebody has a role that nobody granted");
            }
        }
    }

    function checkHeads() external view {
        for (uint256 i = 0; i < lines.length; ++i) {
            bytes32 head = REGISTRY.getModel(lines[i].id).head;
            require(head == lines[i].head, "the head is not one link for each operation");
        }
    }

    function checkEvidence(uint256 i) external view {
        bytes32 id = lines[i].id;
        for (uint256 j = 0; j < VALIDATORS; ++j) {
            uint32 version = REGISTRY.equivocationOf(id, validators[j]);
            require(version == equivocations[id][validators[j]], "an equivocation has changed");
        }
        uint32 latest = uint32(records[id].length);
        for (uint32 v = 1; v <= latest; ++v) {
            uint256 clients_ = REGISTRY.hiddenClients(id, v);
            require(clients_ == hidden[id][v], "who was hidden has changed");
        }
    }

    function modelCount() external view returns (uint256) {
        return lines.length;
    }

    /// @dev Another model after each operation.
    function modelInTurn() external view returns (uint256) {
        return operations % lines.length;
    }

    /// @dev Every verdict, every reason and every operation came about in this run.
    function checkCoverage() external view {
        string memory missing = "";
        string[42] memory outcomes = _outcomes();
        for (uint256 i = 0; i < outcomes.length; ++i) {
            if (times[outcomes[i]] == 0) missing = string.concat(missing, outcomes[i], "; ");
        }
        require(bytes(missing).length == 0, string.concat("this run never saw ", missing));
    }

    function _outcomes() private pure returns (string[42] memory) {
        return [
            "FirstBest",
            "NewBest",
            "Plateau",
            "Dip",
            "Concern",
            "Contender",
            "Rejected",
            "BelowMinimum",
            "SevereDrop",
            "PatienceExhausted",
            "RollbackLimit",
            "TargetReached",
            "Converged",
            "MaxIterations",
            "Overtraining",
            "Manual completion",
            "Fork",
            "PolicySet",
            "SuccessorAnnounced",
            "Registered",
            "Validated alone",
            "Validated by a quorum",
            "Validated by a quorum of one",
            "Rolled back by hand",
            "Rolled back by hand, open",
            "Rolled back to nothing",
            "Discarded",
            "Discarded, open",
            "Discarded by a rollback",
            "Discarded by a completion",
            "Reopened",
            "Revoked",
            "Equivocation",
            "Hidden client",
            "Update proved",
            "Client excluded",
            "Client reinstated",
            "Granted",
            "Role revoked",
            "Renounced",
            "Refused for lack of a role",
            "Forged quorum refused"
        ];
    }
}
