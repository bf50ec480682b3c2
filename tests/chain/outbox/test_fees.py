"""Fees: bearing a rise of the base fee, enough to replace, never above the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.chain.outbox.fees import GWEI, Fees, Market, TooDear, offer, replace

CALM = Market(base_fee=10 * GWEI, tip=GWEI)
OLD = Market(base_fee=None, tip=7 * GWEI)
amounts = st.integers(0, 10**12)


def test_offer_bears_a_base_fee_twice_as_high() -> None:
    assert offer(CALM) == Fees(21 * GWEI, GWEI)


def test_chain_without_a_base_fee_is_offered_its_gas_price() -> None:
    assert offer(OLD) == Fees(7 * GWEI, 7 * GWEI, is_legacy=True)


def test_offer_is_cut_to_the_cap() -> None:
    assert offer(CALM, cap=12 * GWEI) == Fees(12 * GWEI, GWEI)


@pytest.mark.parametrize(("market", "cap"), [(CALM, 10 * GWEI), (OLD, 6 * GWEI)])
def test_gas_above_the_cap_is_refused(market: Market, cap: int) -> None:
    with pytest.raises(TooDear, match=r"gwei now, above the cap of \d+: wait, or raise MODELPROOF"):
        offer(market, cap)


@given(maximum=amounts, base_fee=amounts, tip=amounts, share=st.fractions(0, 1))
def test_replacement_pays_at_least_an_eighth_more_in_both_fees(
    maximum: int, base_fee: int, tip: int, share: float
) -> None:
    before = Fees(maximum, int(maximum * share))
    after = replace(before, Market(base_fee, tip))
    assert after.maximum * 8 > before.maximum * 9
    assert after.priority * 8 > before.priority * 9
    assert after.priority <= after.maximum
    assert after.maximum >= base_fee + tip


def test_replacement_above_the_cap_is_refused() -> None:
    with pytest.raises(
        TooDear, match=r"offers 21 gwei, and to replace it takes 23\.6250\d*, above"
    ):
        replace(offer(CALM), CALM, cap=22 * GWEI)


def test_replacement_is_cut_to_a_cap_that_still_replaces() -> None:
    dear = Market(base_fee=100 * GWEI, tip=GWEI)
    assert replace(offer(CALM), dear, cap=30 * GWEI).maximum == 30 * GWEI
