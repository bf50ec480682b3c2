// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    CompletionReason,
    Details,
    Evaluation,
    FirstRoles,
    ModelView,
    PolicyConfig,
    Role,
    Status,
    Tensor,
    Verdict,
    VersionView,
    WeightsIdentity
} from "../types/Records.sol";

/// @title Model versions, validations, rollbacks and the current pointer
/// @notice A model is a line of versions. A trainer registers a version, a validator states how it
/// did on the model's test set, and the model's policy decides in the same transaction whether the
/// current pointer moves on, goes back to the best version, or training is over.
/// @dev Free texts (names, metadata, metrics, reasons) go into events and, as their keccak256,
/// under the head; they are public for ever. Accuracies are parts per million (ppm).
interface IModelRegistry {
    /* EVENTS */

    /// @notice Emitted when a model is created.
    event ModelCreated(
        bytes32 indexed modelId,
        address indexed creator,
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

    /// @notice Emitted when a version is validated and the policy has decided.
    event VersionValidated(
        bytes32 indexed modelId,
        uint32 indexed version,
        address indexed validator,
        uint32 accuracy,
        uint32 trainingAccuracy,
        Verdict verdict,
        string metrics
    );

    /// @notice Emitted when the policy takes the current pointer back from a version that failed to
    /// the best one, 0 if there is none.
    event RolledBackAutomatically(bytes32 indexed modelId, uint32 from, uint32 to, Verdict cause);

    /// @notice Emitted when an operator takes the current pointer from one version to another, 0 if
    /// none is good.
    event RolledBackManually(
        bytes32 indexed modelId, uint32 from, uint32 to, address by, string reason
    );

    /// @notice Emitted when a pending version is withdrawn; where a rollback or a completion takes
    /// it along, after the event of that.
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

    /* ERRORS */

    /// @notice Thrown when there is no such model.
    error UnknownModel(bytes32 modelId);
    /// @notice Thrown when there is no such version.
    error UnknownVersion(bytes32 modelId, uint32 version);
    /// @notice Thrown when a role id does not end in one of the four roles.
    error UnknownRole(bytes32 role);
    /// @notice Thrown when the creator already has a model of this name.
    error ModelExists(bytes32 modelId);
    /// @notice Thrown when a name is empty or too long, in bytes.
    error InvalidName(uint256 length, uint256 max);
    /// @notice Thrown when a text is too long, in bytes.
    error TextTooLong(uint256 length, uint256 max);
    /// @notice Thrown when a digest that must be given is zero.
    error MissingDigest(bytes32 modelId);
    /// @notice Thrown when training is over.
    error ModelIsCompleted(bytes32 modelId, CompletionReason cause);
    /// @notice Thrown when training is not over.
    error ModelIsNotCompleted(bytes32 modelId);
    /// @notice Thrown when a version waits for its validation and nothing may wait.
    error VersionIsPending(bytes32 modelId, uint32 version);
    /// @notice Thrown when the version does not wait for its validation; 0 if none does.
    error VersionIsNotPending(bytes32 modelId, uint32 version, uint32 pending);
    /// @notice Thrown when a registration does not carry the next version number.
    error UnexpectedVersion(uint32 version, uint32 expected);
    /// @notice Thrown when a registration does not build on the current version.
    error UnexpectedParent(uint32 parent, uint32 expected);
    /// @notice Thrown when a registration is not for the next iteration.
    error UnexpectedIteration(uint32 iteration, uint32 expected);
    /// @notice Thrown when a registration was built before a rollback, a discard or a reopening.
    error UnexpectedEpoch(uint32 epoch, uint32 expected);
    /// @notice Thrown when a registration names clients that are not active, as a bitmap.
    error InactiveContributors(uint256 inactive);
    /// @notice Thrown when an evaluation is not of the version's test set, weights and details.
    error CommitmentMismatch(uint32 version, bytes25 recorded, bytes32 evaluated);
    /// @notice Thrown when an accuracy is above 1,000,000 ppm.
    error AccuracyOutOfRange(uint32 accuracy, uint32 max);
    /// @notice Thrown when the policy asks for several validators and one alone validates.
    error QuorumRequired(uint8 quorum);
    /// @notice Thrown when the policy asks for independence and a validator holds TRAINER.
    error ValidatorNotIndependent(address validator);
    /// @notice Thrown when a version that has not passed, or is revoked, should be a target.
    error VersionNotPassed(uint32 version, Status status);
    /// @notice Thrown when the target of a rollback is current and best already.
    error AlreadyCurrent(uint32 version);
    /// @notice Thrown when a version in use should be revoked: roll back first.
    error VersionInUse(uint32 version, uint32 current, uint32 best);
    /// @notice Thrown when a model has had all its iterations: raise the limit first.
    error IterationsExhausted(uint32 iteration, uint32 maxIterations);
    /// @notice Thrown when a client has no address.
    error ClientIsZero(uint8 index);
    /// @notice Thrown when a client index is taken.
    error ClientIndexTaken(uint8 index, address client);
    /// @notice Thrown when a client index has no client.
    error UnknownClient(uint8 index);
    /// @notice Thrown when the client is excluded already.
    error ClientNotActive(uint8 index);
    /// @notice Thrown when the client is active already.
    error ClientNotExcluded(uint8 index);

    /* THE LINE */

    /// @notice Creates a strict model; the caller becomes its ADMIN.
    /// @param name 1 … 128 bytes, unique among the caller's models
    /// @param testSet the root of the test set on which every version is validated; not zero, and
    /// never changed, since accuracies on two test sets cannot be compared
    /// @return modelId keccak256(abi.encode(caller, name)) with its last byte zero
    function createModel(
        string calldata name,
        bytes32 testSet,
        PolicyConfig calldata policy,
        FirstRoles calldata roles
    ) external returns (bytes32 modelId);

    /// @notice Registers the next version; TRAINER. It waits for its validation, no pointer moves.
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

    /// @notice Validates the pending version and applies the policy; VALIDATOR.
    /// @param metrics further metrics, at most 16 KiB; they decide nothing
    function validate(bytes32 modelId, Evaluation calldata evaluation, string calldata metrics)
        external
        returns (Verdict verdict);

    /// @notice Makes a passed version current and best; OPERATOR. A pending version is discarded.
    /// @param target 0 if no version is good
    function rollback(bytes32 modelId, uint32 target, string calldata reason) external;

    /// @notice Withdraws the pending version; OPERATOR. Its number is not used again.
    function discard(bytes32 modelId, string calldata reason) external;

    /// @notice Ends training with the best version; OPERATOR. A pending version is discarded.
    function complete(bytes32 modelId, string calldata reason) external;

    /// @notice Lets a completed model go on with fresh counters; ADMIN.
    function reopen(bytes32 modelId, string calldata reason) external;

    /// @notice Declares a passed version bad for good; OPERATOR.
    function revoke(bytes32 modelId, uint32 version, string calldata reason) external;

    /// @notice Changes the policy while nothing is pending; ADMIN. Counters keep their values.
    function setPolicy(bytes32 modelId, PolicyConfig calldata policy) external;

    /* CLIENTS */

    /// @notice Gives a client an index, for good; ADMIN. It is active from then on.
    /// @param dataset digest of its training data, salted where it could be guessed; 0 if unstated
    function enrolClient(bytes32 modelId, uint8 index, address client, bytes32 dataset) external;

    /// @notice Keeps a client out of later registrations; OPERATOR.
    function excludeClient(bytes32 modelId, uint8 index, string calldata reason) external;

    /// @notice Lets an excluded client contribute again; OPERATOR.
    function reinstateClient(bytes32 modelId, uint8 index, string calldata reason) external;

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

    /// @notice A version, its parent, the parent's parent and so on: at most `limit` of them. Go on
    /// from the last one's parent.
    function getLineage(bytes32 modelId, uint32 version, uint256 limit)
        external
        view
        returns (VersionView[] memory);

    /// @notice Whether a version is the current one or an ancestor of it.
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
