// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title The Merkle tree of RFC 6962, section 2.1, word for word
/// @notice With keccak256 and from all leaves, which are hashed already: as slow and as plain as the
/// text that it follows. `D[from:to]` there is `leaves, from, to` here.
library Rfc6962 {
    /// @dev MTH(D[from:to]), section 2.1.
    function root(bytes32[] memory leaves, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32)
    {
        if (to == from) return keccak256("");
        if (to - from == 1) return leaves[from];
        uint256 k = _split(to - from);
        return node(root(leaves, from, from + k), root(leaves, from + k, to));
    }

    /// @dev PATH(m, D[from:to]), section 2.1.1.
    function path(uint256 m, bytes32[] memory leaves, uint256 from, uint256 to)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 k = _split(to - from);
        return m < k
            ? _with(path(m, leaves, from, from + k), root(leaves, from + k, to))
            : _with(path(m - k, leaves, from + k, to), root(leaves, from, from + k));
    }

    /// @dev PROOF(m, D[0:to]), section 2.1.2, for 0 < m < to.
    function consistency(uint256 m, bytes32[] memory leaves, uint256 to)
        internal
        pure
        returns (bytes32[] memory)
    {
        return _subproof(m, leaves, 0, to, true);
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(1), left, right));
    }

    /// @dev SUBPROOF(m, D[from:to], b), section 2.1.2.
    function _subproof(uint256 m, bytes32[] memory leaves, uint256 from, uint256 to, bool b)
        private
        pure
        returns (bytes32[] memory)
    {
        if (m == to - from) {
            return b ? new bytes32[](0) : _with(new bytes32[](0), root(leaves, from, to));
        }
        uint256 k = _split(to - from);
        return m <= k
            ? _with(_subproof(m, leaves, from, from + k, b), root(leaves, from + k, to))
            : _with(_subproof(m - k, leaves, from + k, to, false), root(leaves, from, from + k));
    }

    /// @dev The largest power of two that is smaller than n.
    function _split(uint256 n) private pure returns (uint256 k) {
        for (k = 1; 2 * k < n; k *= 2) {}
    }

    function _with(bytes32[] memory list, bytes32 last)
        private
        pure
        returns (bytes32[] memory all)
    {
        all = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            all[i] = list[i];
        }
        all[list.length] = last;
    }
}
