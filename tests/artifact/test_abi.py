"""Our ABI encoder beside the general one."""

from __future__ import annotations

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.artifact import ArtifactError, abi

UINT256 = st.integers(0, 2**256 - 1)
VALUES = st.one_of(
    st.tuples(st.just("uint256"), UINT256),
    st.tuples(st.just("bytes32"), st.binary(min_size=32, max_size=32)),
    st.tuples(st.just("string"), st.text(max_size=100)),
    st.tuples(st.just("uint256[]"), st.lists(UINT256, max_size=5).map(tuple)),
)


@given(st.lists(VALUES, max_size=6))
def test_encoding_equals_the_general_encoder(typed: list[tuple[str, object]]) -> None:
    types = [name for name, _ in typed]
    values = [value for _, value in typed]
    assert abi.encode(*values) == eth_abi.encode(types, values)


@pytest.mark.parametrize("value", [-1, 2**256, b"short", "\ud800"])
def test_unencodable_value_is_refused(value: int | bytes | str) -> None:
    with pytest.raises(ArtifactError):
        abi.encode(value)
