// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

/// @title What no contract can go below
/// @notice The least transactions of their kind: nothing is checked, nobody is kept out.
contract Floor {
    bytes32 private _head;
    mapping(bytes32 key => bytes32 value) private _slots;

    event Noted(bytes32 word);

    constructor() {
        _head = keccak256("head"); // a chain of hashes that has begun
    }

    /// @notice A call with one word, and nothing done.
    function nothing(bytes32) external {}

    /// @notice An event.
    function note(bytes32 word) external {
        emit Noted(word);
    }

    /// @notice The next link of a chain of hashes, and an event.
    function chain(bytes32 word) external {
        _head = keccak256(abi.encode(_head, word));
        emit Noted(word);
    }

    /// @notice A word stored where there was none, and an event.
    function store(bytes32 word) external {
        _slots[word] = word;
        emit Noted(word);
    }
}
