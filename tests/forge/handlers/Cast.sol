// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Evaluation, Role, Signature, Update} from "../../../contracts/types/Records.sol";
import {vm} from "../Cheats.sol";
import {Registry} from "../Deployed.sol";

/// @title Who acts, and how they sign
/// @dev The roles that everybody holds are kept here too, as they were granted and taken away.
abstract contract Cast {
    Registry internal immutable REGISTRY;
    bytes32 private immutable DOMAIN;

    uint256 internal constant VALIDATORS = 5;
    uint256 internal constant CLIENTS = 3;

    address internal constant CREATOR = address(0xC0);
    address internal constant OPERATOR = address(0x09);
    address internal constant STRANGER = address(0x57);
    address[2] internal trainers = [address(0x71), address(0x72)];
    address[] internal validators; // ascending, as a quorum has to be
    address[] internal clients;

    mapping(address signer => uint256 privateKey) private _keys;
    mapping(bytes32 role => mapping(address account => bool)) internal holds;

    constructor(Registry registry) {
        REGISTRY = registry;
        DOMAIN = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Modelproof"),
                keccak256("1"),
                block.chainid,
                registry
            )
        );
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            validators.push(_withKey("validator", i));
            for (uint256 j = i; j > 0 && validators[j - 1] > validators[j]; --j) {
                (validators[j - 1], validators[j]) = (validators[j], validators[j - 1]);
            }
        }
        for (uint256 i = 0; i < CLIENTS; ++i) {
            clients.push(_withKey("client", i));
        }
    }

    /// @dev All that ever hold a role, and one who never does.
    function _everybody() internal view returns (address[] memory all) {
        all = new address[](VALIDATORS + 5);
        (all[0], all[1], all[2]) = (CREATOR, OPERATOR, STRANGER);
        (all[3], all[4]) = (trainers[0], trainers[1]);
        for (uint256 i = 0; i < VALIDATORS; ++i) {
            all[i + 5] = validators[i];
        }
    }

    /// @dev The role's id, put together here a second time.
    function _role(bytes32 modelId, Role role) internal pure returns (bytes32) {
        return bytes32(uint256(modelId) + uint256(role));
    }

    function _signEvaluation(
        address signer,
        bytes32 modelId,
        Evaluation memory e,
        string memory metrics,
        uint64 deadline
    ) internal view returns (Signature memory) {
        bytes memory first = abi.encode(
            keccak256(
                "Evaluation(bytes32 modelId,uint32 version,uint32 accuracy,uint32 trainingAccuracy,bool accepted,bytes32 testSet,bytes32 weights,bytes32 details,bytes32 metrics,uint64 deadline)"
            ),
            modelId,
            e
        );
        bytes memory second = abi.encode(keccak256(bytes(metrics)), deadline);
        return _sign(signer, keccak256(bytes.concat(first, second)));
    }

    function _signUpdate(address signer, bytes32 modelId, Update memory update)
        internal
        view
        returns (Signature memory signature, bytes32 leaf)
    {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Update(bytes32 modelId,uint32 epoch,uint32 iteration,uint32 base,bytes32 digest,uint64 samples)"
                ),
                modelId,
                update
            )
        );
        signature = _sign(signer, structHash);
        leaf = keccak256(
            bytes.concat(keccak256(abi.encode(signer, structHash, signature.r, signature.vs)))
        );
    }

    function _sign(address signer, bytes32 structHash)
        private
        view
        returns (Signature memory signature)
    {
        bytes32 hash = keccak256(abi.encodePacked(hex"1901", DOMAIN, structHash));
        (signature.r, signature.vs) = vm.signCompact(_keys[signer], hash);
    }

    function _withKey(string memory kind, uint256 index) private returns (address account) {
        uint256 privateKey = uint256(keccak256(abi.encode(kind, index)));
        account = vm.addr(privateKey);
        _keys[account] = privateKey;
    }
}
