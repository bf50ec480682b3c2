// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title The cheat codes of forge and halmos that the proofs use
/// @dev A few lines of forge-std and of halmos-cheatcodes, which need no package for this.
interface Vm {
    function assume(bool condition) external pure;
    function prank(address sender) external;
    function warp(uint256 time) external;
    function addr(uint256 privateKey) external pure returns (address);
    function signCompact(uint256 privateKey, bytes32 digest)
        external
        pure
        returns (bytes32 r, bytes32 vs);
    function deployCode(string calldata artifact) external returns (address);
}

/// @dev halmos alone answers these.
interface SymbolicVm {
    /// @dev From here on every word of a contract's storage may have any value.
    function enableSymbolicStorage(address target) external;
    /// @dev A call of any function of a contract, with any arguments.
    function createCalldata(string calldata contractName) external returns (bytes memory);
    function createUint256(string calldata name) external returns (uint256);
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
SymbolicVm constant svm = SymbolicVm(address(uint160(uint256(keccak256("svm cheat code")))));
