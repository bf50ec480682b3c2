// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    Details,
    Evaluation,
    FirstRoles,
    LineageStep,
    ModelKind,
    ModelView,
    Origin,
    PolicyConfig,
    Role,
    Signature,
    SignedEvaluation,
    Tensor,
    Update,
    Verdict,
    VersionContent,
    VersionView,
    WeightsIdentity
} from "../types/Records.sol";
import {IModelRegistryErrors} from "./IModelRegistryErrors.sol";

/// @title Model versions, validations, rollbacks and the current pointer
/// @notice A strict model is a line of versions. A trainer registers a version, a validator (or as
/// many as the policy asks for) states how it did on the model's test set, and the model's policy
/// decides in the same transaction whether the current pointer moves on, goes back to the best
/// version, or training is over. An open model is a registry of candidates: several versions may
/// wait, and the pointer moves to one that is better than the best so far.
/// @dev Free texts (names, metadata, metrics, reasons) go into events and, as their keccak256,
/// under the head; they are public for ever. Accuracies are parts per million (ppm). What is signed
/// off chain is typed data of EIP-712; `eip712Domain` tells the domain.
interface IModelRegistry is IModelRegistryErrors {
    /* EVENTS */

    /// @notice Emitted when a model is created; with the version of another model from which it
    /// starts, if it is a fork, else with zeros.
    event ModelCreated(
        bytes32 indexed modelId,
        address indexed creator,
        bytes32 indexed originModel,
        uint32 originVersion,
        ModelKind kind,
        string name,
        bytes32 testSet,
        PolicyConfig policy
    );

    /// @notice Emitted when a trainer registers a version, which then waits for its validation.
    event VersionRegistered(
        bytes32 indexed modelId,
        uint32 indexed version,
        bytes32 indexed weights,
        bytes32 commitment,
        address registrar,
        Details details,
        string metadata
    );

    /// @notice Emitted when enough validators have signed one and the same evaluation, immediately
    /// before the event of the validation that follows from it; `deadline` is theirs, in seconds
    /// since 1970.
    event QuorumReached(
        bytes32 indexed modelId, uint32 indexed version, address[] signers, uint64 deadline
    );

    /// @notice Emitted when a version is validated and the policy has decided. `validator` sent the
    /// transaction; where a quorum signed, that is whoever carried the signatures.
    event VersionValidated(
        bytes32 indexed modelId,
        uint32 indexed version,
        address indexed validator,
        uint32 accuracy,
        uint32 trainingAccuracy,
        Verdict verdict,
        string metrics
    );

    /// @notice Emitted when the policy of a strict model takes the current pointer back from a
    /// version that failed to the best one, 0 if there is none.
    event RolledBackAutomatically(bytes32 indexed modelId, uint32 from, uint32 to, Verdict cause);

    /// @notice Emitted when an operator takes the current pointer from one version to another, 0 if
    /// none is good.
    event RolledBackManually(
        bytes32 indexed modelId, uint32 from, uint32 to, address by, string reason
    );

    /// @notice Emitted when a waiting version is withdrawn; where a rollback or a completion of a
    /// strict model takes it along, after the event of that.
    event VersionDiscarded(
        bytes32 indexed modelId, uint32 indexed version, address indexed by, string reason
    );

    /// @notice Emitted when training is over. `current` is the best version, 0 if there is none.
    event ModelCompleted(
        bytes32 indexed modelId,
        uint32 indexed current,
        address indexed by,
        CompletionReason cause,
        string reason
    );

    /// @notice Emitted when a completed model goes on.
    event ModelReopened(bytes32 indexed modelId, address indexed by, string reason);

    /// @notice Emitted when a version that passed is declared bad.
    event VersionRevoked(
        bytes32 indexed modelId, uint32 indexed version, address indexed by, string reason
    );

    /// @notice Emitted when a model's policy changes.
    event PolicySet(bytes32 indexed modelId, address indexed by, PolicyConfig policy);

    /// @notice Emitted when a client gets its index. `dataset` is the digest of its training data.
    event ClientEnrolled(
        bytes32 indexed modelId,
        uint8 indexed index,
        address indexed client,
        address by,
        bytes32 dataset
    );

    /// @notice Emitted when a client may no longer contribute.
    event ClientExcluded(
        bytes32 indexed modelId, uint8 indexed index, address indexed by, string reason
    );

    /// @notice Emitted when an excluded client may contribute again.
    event ClientReinstated(
        bytes32 indexed modelId, uint8 indexed index, address indexed by, string reason
    );

    /// @notice Emitted when a model is said to go on in another registry. The latest such event
    /// counts; nothing stops by it.
    event SuccessorAnnounced(
        bytes32 indexed modelId, address indexed registry, bytes32 indexed successorId, address by
    );

    /// @notice Emitted when it is proved that a validator signed two contradicting evaluations of
    /// one version. It decides nothing: an ADMIN may revoke the role.
    event EquivocationRecorded(
        bytes32 indexed modelId,
        address indexed validator,
        uint32 indexed version,
        Evaluation first,
        Evaluation second,
        address by
    );

    /// @notice Emitted when it is proved that a client's update, of this digest, went into a version
    /// which its registrar did not name the client for.
    event HiddenClientProved(
        bytes32 indexed modelId,
        uint32 indexed version,
        uint8 indexed index,
        address client,
        address registrar,
        bytes32 digest,
        address by
    );

    /* THE LINE */

    /// @notice Creates a model; the caller becomes its ADMIN.
    /// @param name 1 … 128 bytes, unique among the caller's models
    /// @param open whether it is a registry of candidates, whose policy has only maxDrop,
    /// minAccuracy, quorum and independent, instead of a strict line
    /// @param testSet the root of the test set on which every version is validated; not zero, and
    /// never changed, since accuracies on two test sets cannot be compared
    /// @param origin the passed version of another model that this one starts from, or zeros
    /// @return modelId keccak256(abi.encode(caller, name)) with its last byte zero
    function createModel(
        string calldata name,
        bool open,
        bytes32 testSet,
        Origin calldata origin,
        PolicyConfig calldata policy,
        FirstRoles calldata roles
    ) external returns (bytes32 modelId);

    /// @notice Registers the next version; TRAINER. It waits for its validation, no pointer moves.
    /// In a strict model one version may wait, in an open one 255.
    /// @param version latest + 1
    /// @param weights the artifact's identity; an identity may be registered again on purpose
    /// @param metadata at most 16 KiB
    function register(
        bytes32 modelId,
        uint32 version,
        bytes32 weights,
        Details calldata details,
        string calldata metadata
    ) external;

    /// @notice Validates a waiting version and applies the policy; VALIDATOR, if its quorum is 1.
    /// @param metrics further metrics, at most 16 KiB; they decide nothing
    function validate(bytes32 modelId, Evaluation calldata evaluation, string calldata metrics)
        external
        returns (Verdict verdict);

    /// @notice Validates a waiting version and applies the policy, by the signatures of exactly as
    /// many VALIDATORs as its quorum; anyone may send them.
    /// @param metrics as for `validate`; its keccak256 is signed too
    /// @param signatures of `Evaluation(bytes32 modelId,uint32 version,uint32 accuracy,uint32
    /// trainingAccuracy,bool accepted,bytes32 testSet,bytes32 weights,bytes32 details,bytes32
    /// metrics,uint64 deadline)`, in the order of their signers' addresses
    /// @param deadline the last second, since 1970, in which the evaluation may be recorded
    function validateByQuorum(
        bytes32 modelId,
        Evaluation calldata evaluation,
        string calldata metrics,
        Signature[] calldata signatures,
        uint64 deadline
    ) external returns (Verdict verdict);

    /// @notice Makes a passed version current and best; OPERATOR. What waits in a strict model is
    /// discarded, and goes on waiting in an open one.
    /// @param target 0 if no version is good
    function rollback(bytes32 modelId, uint32 target, string calldata reason) external;

    /// @notice Withdraws a waiting version; OPERATOR. Its number is not used again.
    function discard(bytes32 modelId, uint32 version, string calldata reason) external;

    /// @notice Ends the training of a strict model with the best version; OPERATOR. A pending
    /// version is discarded.
    function complete(bytes32 modelId, string calldata reason) external;

    /// @notice Lets a completed model go on with fresh counters; ADMIN.
    function reopen(bytes32 modelId, string calldata reason) external;

    /// @notice Declares a passed version bad for good; OPERATOR.
    function revoke(bytes32 modelId, uint32 version, string calldata reason) external;

    /// @notice Changes the policy while nothing waits; ADMIN. Counters keep their values.
    function setPolicy(bytes32 modelId, PolicyConfig calldata policy) external;

    /// @notice Says that the model goes on in another registry, as another model; ADMIN.
    function announceSuccessor(bytes32 modelId, address registry, bytes32 successorId) external;

    /* CLIENTS */

    /// @notice Gives a client an index, for good; ADMIN. It is active from then on.
    /// @param dataset digest of its training data, salted where it could be guessed; 0 if unstated
    function enrolClient(bytes32 modelId, uint8 index, address client, bytes32 dataset) external;

    /// @notice Keeps a client out of later registrations; OPERATOR.
    function excludeClient(bytes32 modelId, uint8 index, string calldata reason) external;

    /// @notice Lets an excluded client contribute again; OPERATOR.
    function reinstateClient(bytes32 modelId, uint8 index, string calldata reason) external;

    /* EVIDENCE: what anyone may prove. It is not under the head, which no stranger can move. */

    /// @notice Records that a holder of VALIDATOR signed two evaluations of one version, with the
    /// same content, that differ in accuracy, trainingAccuracy or accepted. The first report for a
    /// validator and a model stays.
    function reportEquivocation(
        bytes32 modelId,
        SignedEvaluation calldata first,
        SignedEvaluation calldata second
    ) external;

    /// @notice Proves that a client's signed update is one of those that a version was made of, by
    /// what its registrar committed to; and records it if the registrar's list of contributors
    /// lacks the client. The first proof for a client and a version stays.
    /// @param signature of `Update(bytes32 modelId,uint32 epoch,uint32 iteration,uint32 base,bytes32
    /// digest,uint64 samples)`
    /// @param proof siblings up to `content.details.updates` from a StandardMerkleTree's leaf of
    /// (address client, bytes32 update's EIP-712 struct hash, bytes32 r, bytes32 vs)
    /// @return hidden whether the list lacks the client; if not, nothing is written
    function proveUpdate(
        bytes32 modelId,
        uint32 version,
        VersionContent calldata content,
        uint8 index,
        Update calldata update,
        Signature calldata signature,
        bytes32[] calldata proof
    ) external returns (bool hidden);

    /// @notice The version about which a validator contradicted itself on record, 0 if none.
    function equivocationOf(bytes32 modelId, address validator) external view returns (uint32);

    /// @notice The clients that were proved to be hidden in a version, as a bitmap.
    function hiddenClients(bytes32 modelId, uint32 version) external view returns (uint256);

    /* VIEWS */

    /// @notice The id that a creator's model of this name has or would have.
    function modelIdOf(address creator, string calldata name) external pure returns (bytes32);

    /// @notice The id of a role on a model, for AccessControl's functions.
    function roleId(bytes32 modelId, Role role) external pure returns (bytes32);

    /// @notice All about a model but its versions. Its head commits to its whole history: each
    /// operation makes head = keccak256(abi.encode(head, operation, sender, subject, digest, state
    /// after)), beginning with 0.
    function getModel(bytes32 modelId) external view returns (ModelView memory);

    /// @notice The client at an index, active or not; 0 if none.
    function getClient(bytes32 modelId, uint8 index) external view returns (address);

    /// @notice One version.
    function getVersion(bytes32 modelId, uint32 version) external view returns (VersionView memory);

    /// @notice At most `limit` versions in order of their numbers, the first being `from`.
    function getVersions(bytes32 modelId, uint32 from, uint256 limit)
        external
        view
        returns (VersionView[] memory);

    /// @notice A version, its parent, the parent's parent and so on: at most `limit` of them. Where
    /// a fork's line begins, the line of its origin goes on.
    /// @return page those versions
    /// @return nextModel where to go on if the limit came first, else 0
    /// @return nextVersion the version there, else 0
    function getLineage(bytes32 modelId, uint32 version, uint256 limit)
        external
        view
        returns (LineageStep[] memory page, bytes32 nextModel, uint32 nextVersion);

    /// @notice Whether a version is the current one or an ancestor of it, within its model.
    /// @param from where to start, 0 for the current version
    /// @param limit the most parent links to follow
    /// @return onLine whether it was found
    /// @return next where to go on if the limit came first, else 0
    function onActiveLine(bytes32 modelId, uint32 version, uint32 from, uint256 limit)
        external
        view
        returns (bool onLine, uint32 next);

    /// @notice Whether a version has these weights and details, on the model's test set.
    /// @param details hash of the version's details
    function verifyWeights(bytes32 modelId, uint32 version, bytes32 weights, bytes32 details)
        external
        view
        returns (bool);

    /// @notice Whether a version's weights hold this tensor.
    /// @param proof siblings from the tensor's leaf to the tree's root
    function verifyTensor(
        bytes32 modelId,
        uint32 version,
        bytes32 details,
        WeightsIdentity calldata identity,
        Tensor calldata tensor,
        bytes32[] calldata proof
    ) external view returns (bool);
}
