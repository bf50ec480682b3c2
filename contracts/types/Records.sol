// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// The vocabulary of the registry: what callers pass in and what views give back.
// Accuracies are parts per million (ppm) of one, 0 … 1,000,000, higher is better.

/// What a model may be used for; fixed at creation. `None` means that the model does not exist.
enum ModelKind {
    None,
    Strict, // one line of versions, each made from the one before and judged by the whole policy
    Open // a registry of candidates: several may wait, and only the best is pointed at
}

/// Who may do what on one model. A role id is the model id with this number as its last byte.
enum Role {
    None,
    Admin, // grants and revokes roles, sets the policy, enrols clients, reopens
    Trainer, // registers versions
    Validator, // validates them
    Operator // rolls back, discards, completes, revokes, excludes and reinstates clients
}

/// Where a version stands.
enum Status {
    None,
    Pending, // registered, not yet validated
    Passed,
    Failed, // by the policy
    Discarded, // withdrawn before its validation
    Revoked // passed once, no longer good
}

/// How the policy labelled a validation. After `Rejected` and all that follow it the version has
/// failed: see `fails`.
enum Verdict {
    None,
    FirstBest,
    NewBest,
    Plateau,
    Dip,
    Concern,
    Contender, // of an open model: passed, and not better than best
    Rejected,
    BelowMinimum,
    SevereDrop,
    PatienceExhausted
}

using {fails} for Verdict global;

/// @dev In a strict model a failure also takes the current pointer back to the best version.
function fails(Verdict verdict) pure returns (bool) {
    return verdict >= Verdict.Rejected;
}

/// Why a model's training is over; `None` while it goes on.
enum CompletionReason {
    None,
    RollbackLimit,
    TargetReached,
    Converged,
    MaxIterations,
    Overtraining,
    Manual
}

/// What a step of the head stands for.
enum Operation {
    None,
    Create,
    Register,
    Validate,
    Rollback,
    Discard,
    Complete,
    Reopen,
    Revoke,
    SetPolicy,
    EnrolClient,
    ExcludeClient,
    ReinstateClient,
    ValidateByQuorum,
    AnnounceSuccessor
}

/// The rollback and completion policy of a model. Zero switches off every limit marked °. An open
/// model has those marked * alone.
struct PolicyConfig {
    uint32 tolerance; // ppm; a drop below best beyond this is labelled Concern, no more
    uint32 maxDrop; // ° * ppm; a drop below best beyond this rolls back at once
    uint32 patience; // ° this many validations in a row below best roll back
    uint32 minAccuracy; // ° * ppm; once best has reached it, a validation below it rolls back
    uint32 minImprovement; // ppm; a new best counts as progress only beyond this
    uint32 targetAccuracy; // ° ppm; reaching it completes
    uint32 convergencePatience; // ° this many validations in a row without progress complete
    uint32 maxIterations; // ° completes
    uint32 maxRollbacks; // ° this many automatic rollbacks complete
    uint32 maxGap; // ° ppm; training accuracy above accuracy by more than this completes
    uint8 quorum; // * validators that must agree, 1 … 255
    bool independent; // * a validator may not hold TRAINER
}

/// Where a forked model starts: a version of another model. All zero for one that is no fork.
struct Origin {
    bytes32 modelId;
    uint32 version;
}

/// The first holders of a model's roles; ADMIN goes to the creator. Zero addresses are skipped.
struct FirstRoles {
    address trainer;
    address validator;
    address operator;
}

/// What a trainer states about a version besides its number and its weights.
struct Details {
    uint32 parent; // the current version; of an open model any that passed; 0 for none
    uint32 iteration; // the state's iteration + 1; of an open model 0
    uint32 epoch; // the state's epoch; of an open model 0
    bytes32 object; // SHA-256 of the stored ciphertext, 0 if nothing is stored
    bytes32 content; // digest in the stored object's CIDv1, 0 if nothing is stored
    bytes32 updates; // Merkle root of the signed client updates, 0 without clients
    uint256 contributors; // bitmap of client indices
}

/// What a validator states about a version: how these very weights did on this very test set.
struct Evaluation {
    uint32 version;
    uint32 accuracy; // ppm
    uint32 trainingAccuracy; // ppm, as the version's metadata states it; 0 if unknown
    bool accepted; // false is a refusal on other grounds than accuracy
    bytes32 testSet;
    bytes32 weights;
    bytes32 details; // hash of the version's details
}

/// An ECDSA signature in the compact form of EIP-2098.
struct Signature {
    bytes32 r;
    bytes32 vs; // s, with the parity of y as its highest bit
}

/// An evaluation as one validator signed it; the EIP-712 type is in libraries/Signed.sol.
struct SignedEvaluation {
    Evaluation evaluation;
    bytes32 metrics; // keccak256 of the text
    uint64 deadline; // seconds since 1970
    Signature signature;
}

/// All that a version's commitment is of, but the test set.
struct VersionContent {
    bytes32 weights;
    address registrar;
    Details details;
    bytes32 metadata; // keccak256 of the text
}

/// What a client states about one update that it sends; the EIP-712 type is in
/// libraries/Signed.sol.
struct Update {
    uint32 epoch;
    uint32 iteration;
    uint32 base; // the version that it started from
    bytes32 digest;
    uint64 samples; // that it trained on
}

/// All about a model, unpacked.
struct ModelView {
    ModelKind kind;
    uint32 current;
    uint32 best;
    uint32 bestAccuracy; // ppm
    uint32 latest;
    uint32 iteration;
    uint32 epoch;
    uint32 belowBest;
    uint32 sinceProgress;
    uint32 rollbacks;
    uint32 pending; // the version that waits in a strict model, 0 if none
    uint32 waiting; // how many versions wait for their validation
    CompletionReason completed;
    bytes32 testSet;
    bytes32 head;
    uint256 activeClients; // bitmap of client indices
    PolicyConfig policy;
    Origin origin;
    Status originStatus; // now; None without an origin
}

/// A version's record, unpacked.
struct VersionView {
    uint32 version;
    uint32 parent;
    uint32 accuracy; // ppm, 0 until validated
    Status status;
    bytes25 commitment; // the first 200 bits of the commitment
}

/// A version on the way back to where its model, and the model that this was forked from, began.
struct LineageStep {
    bytes32 modelId;
    VersionView version;
}

/// What a weights identity is the hash of.
struct WeightsIdentity {
    bytes32 treeRoot; // StandardMerkleTree over the tensor leaves
    uint256 tensorCount;
    uint256 totalBytes;
    uint8 digestAlgorithm; // 1 BLAKE3-256, 2 SHA-256
    bytes32 filesRoot; // StandardMerkleTree over the other files, 0 if none
}

/// One tensor as its leaf names it.
struct Tensor {
    string name;
    string dtype; // as in a safetensors header: F32, BF16, I64 …
    uint256[] shape;
    bytes32 digest; // of its contiguous little-endian bytes
}
