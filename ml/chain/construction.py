"""What a constructor leaves behind, found out by running it on this machine.

A contract's code is not the compiler's runtime code where it has immutables: the constructor writes
them into it, and they may hold the contract's own address and the chain's id, as those of EIP-712
domains do. Run here at the same address, it has to write the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ml.errors import ModelproofError

if TYPE_CHECKING:
    from eth.abc import ComputationAPI

_GAS: Final = 30_000_000
_NOBODY: Final = bytes(20)


def runtime_code(init_code: bytes, address: str, chain_id: int) -> bytes:
    """The code that init code makes at an address, under the EVM's rules of Shanghai.

    The constructor finds a chain with nothing on it, at block and time 0, and nobody as its sender:
    one that looks at more than its own address and the chain's id cannot be told by this.

    Raises:
        ModelproofError: the constructor fails.
    """
    done = _run(init_code, bytes.fromhex(address[2:]), chain_id)
    if done.is_error:
        raise ModelproofError(f"the constructor of what belongs at {address} fails: {done.error}.")
    return bytes(done.output)


def _run(init_code: bytes, address: bytes, chain_id: int) -> ComputationAPI:
    # py-evm takes a second to import
    from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS, ZERO_HASH32
    from eth.db.atomic import AtomicDB
    from eth.vm.execution_context import ExecutionContext
    from eth.vm.forks.shanghai.state import ShanghaiState
    from eth.vm.message import Message
    from eth_typing import Address, BlockNumber

    context = ExecutionContext(
        coinbase=Address(_NOBODY),
        timestamp=0,
        block_number=BlockNumber(0),
        difficulty=0,
        mix_hash=ZERO_HASH32,
        gas_limit=_GAS,
        prev_hashes=(),
        chain_id=chain_id,
        base_fee_per_gas=0,
    )
    state = ShanghaiState(AtomicDB(), context, BLANK_ROOT_HASH)
    message = Message(
        gas=_GAS,
        to=CREATE_CONTRACT_ADDRESS,
        sender=Address(_NOBODY),
        value=0,
        data=b"",
        code=init_code,
        create_address=Address(address),
    )
    transaction = state.get_transaction_context_class()(gas_price=0, origin=Address(_NOBODY))
    return state.computation_class.apply_create_message(state, message, transaction)
