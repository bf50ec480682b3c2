// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CompletionReason, Status} from "../types/Records.sol";

/// @title Why a model registry refuses a call
/// @notice Each error carries the values at fault. What an invalid policy reverts with stands in
/// types/Policy.sol, what a missing role does in OpenZeppelin's IAccessControl.
interface IModelRegistryErrors {
    /* MODELS AND TEXTS */

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
    /// @notice Thrown when a successor has no address.
    error SuccessorIsZero(bytes32 modelId);

    /* WHERE A MODEL STANDS */

    /// @notice Thrown when training is over.
    error ModelIsCompleted(bytes32 modelId, CompletionReason cause);
    /// @notice Thrown when training is not over.
    error ModelIsNotCompleted(bytes32 modelId);
    /// @notice Thrown when an open model should be completed: it has no training to end.
    error ModelIsOpen(bytes32 modelId);
    /// @notice Thrown when the next version of a strict model is registered too early.
    error VersionIsPending(bytes32 modelId, uint32 version);
    /// @notice Thrown when as many versions of an open model wait as may.
    error TooManyWaiting(bytes32 modelId, uint32 max);
    /// @notice Thrown when a policy should change while versions wait for being judged by it.
    error VersionsWait(bytes32 modelId, uint32 waiting);
    /// @notice Thrown when the version does not wait for its validation. `pending` is the one that
    /// does in a strict model; 0 if none does, and in an open model.
    error VersionIsNotPending(bytes32 modelId, uint32 version, uint32 pending);
    /// @notice Thrown when a version that has not passed, or is revoked, should be built on or gone
    /// back to.
    error VersionNotPassed(uint32 version, Status status);
    /// @notice Thrown when the target of a rollback is current and best already.
    error AlreadyCurrent(uint32 version);
    /// @notice Thrown when a version in use should be revoked: roll back first.
    error VersionInUse(uint32 version, uint32 current, uint32 best);
    /// @notice Thrown when a model has had all its iterations: raise the limit first.
    error IterationsExhausted(uint32 iteration, uint32 maxIterations);

    /* REGISTRATIONS */

    /// @notice Thrown when a registration does not carry the next version number.
    error UnexpectedVersion(uint32 version, uint32 expected);
    /// @notice Thrown when a registration does not build on the current version.
    error UnexpectedParent(uint32 parent, uint32 expected);
    /// @notice Thrown when a registration is not for the next iteration; an open model has none.
    error UnexpectedIteration(uint32 iteration, uint32 expected);
    /// @notice Thrown when a registration was built before a rollback, a discard or a reopening; an
    /// open model has no epochs.
    error UnexpectedEpoch(uint32 epoch, uint32 expected);
    /// @notice Thrown when a registration names clients that are not active, as a bitmap.
    error InactiveContributors(uint256 inactive);

    /* EVALUATIONS */

    /// @notice Thrown when what is said about a version is not of its test set, weights and details.
    error CommitmentMismatch(uint32 version, bytes25 recorded, bytes32 stated);
    /// @notice Thrown when an accuracy is above 1,000,000 ppm.
    error AccuracyOutOfRange(uint32 accuracy, uint32 max);
    /// @notice Thrown when the policy asks for several validators and one alone validates.
    error QuorumRequired(uint8 quorum);
    /// @notice Thrown when the policy asks for independence and a validator holds TRAINER.
    error ValidatorNotIndependent(address validator);
    /// @notice Thrown when not exactly as many validators sign as the policy asks for.
    error WrongSignatureCount(uint256 given, uint8 quorum);
    /// @notice Thrown when signed evaluations come after their deadline, in seconds since 1970.
    error EvaluationExpired(uint64 deadline, uint256 time);
    /// @notice Thrown when signatures are not in the order of their signers' addresses, each once.
    error SignersNotAscending(address previous, address signer);
    /// @notice Thrown when nobody can have made a signature, or its s is in the upper half; by its
    /// place among those given, from 0 on.
    error InvalidSignature(uint256 index);

    /* EVIDENCE */

    /// @notice Thrown when two evaluations are not of the same version with the same content.
    error NotTheSameContent(
        uint32 firstVersion, bytes32 firstCommitment, uint32 secondVersion, bytes32 secondCommitment
    );
    /// @notice Thrown when two evaluations say the same.
    error NotDifferent(uint32 version, uint32 accuracy, uint32 trainingAccuracy, bool accepted);
    /// @notice Thrown when two evaluations are not signed by the same validator.
    error SignersDiffer(address first, address second);
    /// @notice Thrown when a validator's contradiction is on record, about this version.
    error EquivocationAlreadyRecorded(address validator, uint32 version);
    /// @notice Thrown when an update is not signed by the client at the index.
    error ClientMismatch(uint8 index, address client, address signer);
    /// @notice Thrown when an update was made for another round than the version's.
    error UpdateNotOfThisVersion(uint32 version, uint32 epoch, uint32 iteration, uint32 base);
    /// @notice Thrown when an update's leaf is not under the version's root.
    error UpdateNotIncluded(bytes32 leaf, bytes32 root);
    /// @notice Thrown when it is on record that the client was hidden.
    error AlreadyProved(uint8 index);

    /* CLIENTS */

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
}
