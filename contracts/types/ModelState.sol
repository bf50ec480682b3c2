// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {CompletionReason, ModelKind, ModelView} from "./Records.sol";

/// @dev The whole state of a model in one word, from the least significant bit:
///
///   bits      field           unit
///     0 …  31 current         version number, 0 if none
///    32 …  63 best            version number, 0 if none
///    64 …  95 latest          version number, 0 if none
///    96 … 119 bestAccuracy    ppm
///   120 … 151 iteration       validations so far
///   152 … 183 epoch           rollbacks, discards and reopenings so far
///   184 … 199 belowBest       validations in a row
///   200 … 215 sinceProgress   validations in a row
///   216 … 231 rollbacks       automatic ones
///   232 … 239 completed       CompletionReason
///   240 … 247 waiting         versions that wait for their validation; strict: 1 if the latest does
///   248 … 255 kind            ModelKind, 0 if the model does not exist
type ModelState is uint256;

using ModelStateLibrary for ModelState global;

/// @title Reading and rewriting a packed ModelState
/// @dev Everything is pure: `with…` returns a new word. Counters saturate. Values are masked by
/// their types, and accuracies are at most 1,000,000, so that no field can spill into the next.
library ModelStateLibrary {
    uint256 private constant U8 = type(uint8).max;
    uint256 private constant U16 = type(uint16).max;
    uint256 private constant U24 = type(uint24).max;
    uint256 private constant U32 = type(uint32).max;

    // forgefmt: disable-start
    function current(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 0, U32)); }
    function best(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 32, U32)); }
    function latest(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 64, U32)); }
    function bestAccuracy(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 96, U24)); }
    function iteration(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 120, U32)); }
    function epoch(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 152, U32)); }
    function belowBest(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 184, U16)); }
    function sinceProgress(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 200, U16)); }
    function rollbacks(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 216, U16)); }
    function completed(ModelState s) internal pure returns (CompletionReason) { return CompletionReason(_get(s, 232, U8)); }
    function isCompleted(ModelState s) internal pure returns (bool) { return _get(s, 232, U8) != 0; }
    function waiting(ModelState s) internal pure returns (uint32) { return uint32(_get(s, 240, U8)); }
    function kind(ModelState s) internal pure returns (ModelKind) { return ModelKind(_get(s, 248, U8)); }
    function exists(ModelState s) internal pure returns (bool) { return _get(s, 248, U8) != 0; }
    function isOpen(ModelState s) internal pure returns (bool) { return _get(s, 248, U8) == uint256(ModelKind.Open); }

    function withCurrent(ModelState s, uint32 v) internal pure returns (ModelState) { return _set(s, 0, U32, v); }
    function withNextIteration(ModelState s) internal pure returns (ModelState) { return _count(s, 120, U32); }
    function withNextEpoch(ModelState s) internal pure returns (ModelState) { return _count(s, 152, U32); }
    function withBelowBest(ModelState s, uint16 n) internal pure returns (ModelState) { return _set(s, 184, U16, n); }
    function withOneMoreBelowBest(ModelState s) internal pure returns (ModelState) { return _count(s, 184, U16); }
    function withSinceProgress(ModelState s, uint16 n) internal pure returns (ModelState) { return _set(s, 200, U16, n); }
    function withOneMoreSinceProgress(ModelState s) internal pure returns (ModelState) { return _count(s, 200, U16); }
    function withRollbacks(ModelState s, uint16 n) internal pure returns (ModelState) { return _set(s, 216, U16, n); }
    function withOneMoreRollback(ModelState s) internal pure returns (ModelState) { return _count(s, 216, U16); }
    function withoutCompleted(ModelState s) internal pure returns (ModelState) { return _set(s, 232, U8, 0); }
    function withNoneWaiting(ModelState s) internal pure returns (ModelState) { return _set(s, 240, U8, 0); }
    function withKind(ModelState s, ModelKind k) internal pure returns (ModelState) { return _set(s, 248, U8, uint256(k)); }

    // forgefmt: disable-end

    /// @return the version that waits for its validation in a strict model, which can only be the
    /// latest; 0 if none does, and in an open model, whose records say which do
    function pending(ModelState s) internal pure returns (uint32) {
        return waiting(s) != 0 && !isOpen(s) ? latest(s) : 0;
    }

    /// @dev The version is the latest from now on, and one more that waits: at most 255 may.
    function withRegistered(ModelState s, uint32 version) internal pure returns (ModelState) {
        return _count(_set(s, 64, U32, version), 240, U8);
    }

    /// @dev For a model in which a version waits.
    function withOneLessWaiting(ModelState s) internal pure returns (ModelState) {
        return ModelState.wrap(ModelState.unwrap(s) - (1 << 240));
    }

    /// @dev The version becomes both the current one and the one to go back to.
    function withBest(ModelState s, uint32 version, uint32 accuracy)
        internal
        pure
        returns (ModelState)
    {
        uint256 both = (uint256(version) << 32) | version; // current and best are neighbours
        return _set(_set(s, 0, type(uint64).max, both), 96, U24, accuracy);
    }

    /// @dev What is served once training is over is the best version.
    function withCompleted(ModelState s, CompletionReason reason)
        internal
        pure
        returns (ModelState)
    {
        return _set(withCurrent(s, best(s)), 232, U8, uint256(reason));
    }

    /// @dev Fills the fields of the view that the state holds.
    function unpackInto(ModelState s, ModelView memory view_) internal pure {
        view_.kind = kind(s);
        view_.current = current(s);
        view_.best = best(s);
        view_.bestAccuracy = bestAccuracy(s);
        view_.latest = latest(s);
        view_.iteration = iteration(s);
        view_.epoch = epoch(s);
        view_.belowBest = belowBest(s);
        view_.sinceProgress = sinceProgress(s);
        view_.rollbacks = rollbacks(s);
        view_.pending = pending(s);
        view_.waiting = waiting(s);
        view_.completed = completed(s);
    }

    function _get(ModelState s, uint256 offset, uint256 mask) private pure returns (uint256) {
        return (ModelState.unwrap(s) >> offset) & mask;
    }

    function _set(ModelState s, uint256 offset, uint256 mask, uint256 value)
        private
        pure
        returns (ModelState)
    {
        return ModelState.wrap((ModelState.unwrap(s) & ~(mask << offset)) | (value << offset));
    }

    function _count(ModelState s, uint256 offset, uint256 max) private pure returns (ModelState) {
        bool hasRoom = _get(s, offset, max) != max;
        unchecked {
            // where the field has room for one more, nothing is carried into the next
            return ModelState.wrap(ModelState.unwrap(s) + (SafeCast.toUint(hasRoom) << offset));
        }
    }
}
