// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CompletionReason, ModelKind, ModelView} from "../../../contracts/types/Records.sol";
import {ModelState} from "../../../contracts/types/ModelState.sol";
import {vm} from "../Cheats.sol";
import {stateWord} from "../Layouts.sol";

/// @title A model's state holds what was put into it, and nothing spills into a neighbour
/// @notice For all words and all values: each change of a state is that of one or two of its fields,
/// and counters stop at what they can hold.
contract ModelStateProof {
    uint32 private constant PPM = 1_000_000;

    /* READING */

    function check_fieldsMakeUpTheWholeWord(ModelState state) external pure {
        vm.assume(_isState(state));
        assert(ModelState.unwrap(state) == stateWord(_read(state)));
    }

    function check_viewSaysWhatTheFieldsSay(ModelState state) external pure {
        vm.assume(_isState(state));
        ModelView memory filled;
        state.unpackInto(filled);
        assert(ModelState.unwrap(state) == stateWord(filled));
        assert(filled.pending == state.pending());
        assert(state.exists() == (filled.kind != ModelKind.None));
        assert(state.isOpen() == (filled.kind == ModelKind.Open));
        assert(state.isCompleted() == (filled.completed != CompletionReason.None));
    }

    function check_pendingIsTheLatestThatWaitsInAStrictModel(ModelState state) external pure {
        vm.assume(_isState(state));
        bool waits = state.waiting() != 0 && state.kind() != ModelKind.Open;
        assert(state.pending() == (waits ? state.latest() : 0));
    }

    /* SETTING */

    function check_currentChangesAlone(ModelState state, uint32 version) external pure {
        ModelView memory fields = _given(state);
        fields.current = version;
        _assertHas(state.withCurrent(version), fields);
    }

    function check_newBestIsCurrentToo(ModelState state, uint32 version, uint32 accuracy)
        external
        pure
    {
        vm.assume(accuracy <= PPM);
        ModelView memory fields = _given(state);
        (fields.current, fields.best, fields.bestAccuracy) = (version, version, accuracy);
        _assertHas(state.withBest(version, accuracy), fields);
    }

    function check_belowBestChangesAlone(ModelState state, uint16 count) external pure {
        ModelView memory fields = _given(state);
        fields.belowBest = count;
        _assertHas(state.withBelowBest(count), fields);
    }

    function check_sinceProgressChangesAlone(ModelState state, uint16 count) external pure {
        ModelView memory fields = _given(state);
        fields.sinceProgress = count;
        _assertHas(state.withSinceProgress(count), fields);
    }

    function check_rollbacksChangeAlone(ModelState state, uint16 count) external pure {
        ModelView memory fields = _given(state);
        fields.rollbacks = count;
        _assertHas(state.withRollbacks(count), fields);
    }

    function check_kindChangesAlone(ModelState state, ModelKind kind) external pure {
        ModelView memory fields = _given(state);
        fields.kind = kind;
        _assertHas(state.withKind(kind), fields);
    }

    function check_completionMakesBestCurrent(ModelState state, CompletionReason reason)
        external
        pure
    {
        ModelView memory fields = _given(state);
        (fields.current, fields.completed) = (fields.best, reason);
        _assertHas(state.withCompleted(reason), fields);
    }

    function check_reopeningChangesTheReasonAlone(ModelState state) external pure {
        ModelView memory fields = _given(state);
        fields.completed = CompletionReason.None;
        _assertHas(state.withoutCompleted(), fields);
    }

    /* COUNTING */

    function check_iterationsCountUpToTheLast(ModelState state) external pure {
        ModelView memory fields = _given(state);
        if (fields.iteration < type(uint32).max) ++fields.iteration;
        _assertHas(state.withNextIteration(), fields);
    }

    function check_epochsCountUpToTheLast(ModelState state) external pure {
        ModelView memory fields = _given(state);
        if (fields.epoch < type(uint32).max) ++fields.epoch;
        _assertHas(state.withNextEpoch(), fields);
    }

    function check_validationsBelowBestCountUpToTheLast(ModelState state) external pure {
        ModelView memory fields = _given(state);
        if (fields.belowBest < type(uint16).max) ++fields.belowBest;
        _assertHas(state.withOneMoreBelowBest(), fields);
    }

    function check_validationsSinceProgressCountUpToTheLast(ModelState state) external pure {
        ModelView memory fields = _given(state);
        if (fields.sinceProgress < type(uint16).max) ++fields.sinceProgress;
        _assertHas(state.withOneMoreSinceProgress(), fields);
    }

    function check_rollbacksCountUpToTheLast(ModelState state) external pure {
        ModelView memory fields = _given(state);
        if (fields.rollbacks < type(uint16).max) ++fields.rollbacks;
        _assertHas(state.withOneMoreRollback(), fields);
    }

    function check_registeredVersionIsTheLatestAndWaits(ModelState state, uint32 version)
        external
        pure
    {
        ModelView memory fields = _given(state);
        fields.latest = version;
        if (fields.waiting < type(uint8).max) ++fields.waiting;
        _assertHas(state.withRegistered(version), fields);
    }

    function check_oneLessWaitsWhereAnyDoes(ModelState state) external pure {
        ModelView memory fields = _given(state);
        vm.assume(fields.waiting != 0);
        --fields.waiting;
        _assertHas(state.withOneLessWaiting(), fields);
    }

    function check_noneWaitsAndNothingElseChanges(ModelState state) external pure {
        ModelView memory fields = _given(state);
        fields.waiting = 0;
        _assertHas(state.withNoneWaiting(), fields);
    }

    /* WORDS */

    /// @dev Of a word that a model can have; of another one, reading its enums reverts.
    function _isState(ModelState state) private pure returns (bool) {
        uint256 word = ModelState.unwrap(state);
        return uint8(word >> 232) <= uint256(type(CompletionReason).max)
            && uint8(word >> 248) <= uint256(type(ModelKind).max);
    }

    function _given(ModelState state) private pure returns (ModelView memory) {
        vm.assume(_isState(state));
        return _read(state);
    }

    function _assertHas(ModelState state, ModelView memory fields) private pure {
        assert(ModelState.unwrap(state) == stateWord(fields));
    }

    function _read(ModelState state) private pure returns (ModelView memory fields) {
        fields.kind = state.kind();
        fields.waiting = state.waiting();
        fields.completed = state.completed();
        fields.rollbacks = state.rollbacks();
        fields.sinceProgress = state.sinceProgress();
        fields.belowBest = state.belowBest();
        fields.epoch = state.epoch();
        fields.iteration = state.iteration();
        fields.bestAccuracy = state.bestAccuracy();
        fields.latest = state.latest();
        fields.best = state.best();
        fields.current = state.current();
    }
}
