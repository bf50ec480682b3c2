"""The operators of the mutation run: what they change, and what they leave alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mutation.operators import mutants

CONTRACTS = Path(__file__).parents[2] / "contracts"

SOURCE = """
import {A} from "./a >= b.sol";
// a >= b
function f(uint256 a, bytes32 b) {
    if (a >= 2) revert TooMuch(a, "a > b");
    _check(Role.Operator, !b);
    next = state.withBest(1).withoutPending();
    return keccak256(abi.encode(a, g(a, b), b));
}
"""


def changed(source: str) -> set[str]:
    return {str(mutant) for mutant in mutants(source)}


def test_each_kind_of_mistake_is_made() -> None:
    assert {
        "comparison: `>=` → `>`",
        "number: `2` → `3`",
        'guard removed: `if (a >= 2) revert TooMuch(a, "a > b");` → ``',
        "call removed: `_check(Role.Operator, !b);` → ``",
        "member: `Role.Operator` → `Role.Admin`",
        "negation: `!` → ``",
        "step removed: `.withBest(1)` → ``",
        "step removed: `.withoutPending()` → ``",
        "assignment removed: `next = state.withBest(1).withoutPending();` → ``",
        "argument removed: `a,` → ``",
        "argument removed: `, g(a, b)` → ``",
        "argument removed: `, b` → ``",
    } <= changed(SOURCE)


def test_prose_and_imports_are_left_alone() -> None:
    assert not changed('import {A} from "./a >= b.sol"; // a >= b\n/* 1 + 2 */ /// `!x && y`\n')


def test_every_mutant_of_the_contracts_is_another_program() -> None:
    for path in CONTRACTS.glob("libraries/*.sol"):
        source = path.read_text()
        programs = [mutant.apply(source) for mutant in mutants(source)]
        assert source not in programs
        assert len(set(programs)) == len(programs)
