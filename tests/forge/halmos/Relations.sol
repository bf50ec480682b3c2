// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

// Logic without jumps. halmos follows each branch of a program on its own, and a specification
// written with `&&`, `||` and `?:` would multiply the branches of what it specifies.

function both(bool a, bool b) pure returns (bool c) {
    assembly ("memory-safe") {
        c := and(a, b)
    }
}

function either(bool a, bool b) pure returns (bool c) {
    assembly ("memory-safe") {
        c := or(a, b)
    }
}

/// @return c `a` where the condition holds, else `b`
function select(bool condition, uint256 a, uint256 b) pure returns (uint256 c) {
    assembly ("memory-safe") {
        c := xor(b, and(xor(a, b), sub(0, condition)))
    }
}

/// @return the count after one more, which stops at `max`
function oneMore(uint256 count, uint256 max) pure returns (uint256) {
    unchecked {
        return select(count == max, max, count + 1);
    }
}
