"""The claims of benchmarks/claims.py with one seed, where their data is here. The committed records hold three."""

import pytest

from benchmarks import claims, quality


TESTED = [*(claim for claim in claims.CLAIMS if claim.in_tests), *claims.SHORT]


@pytest.mark.slow
@pytest.mark.parametrize("claim", TESTED, ids=lambda claim: claim.name)
def test_bars_are_met(claim):
    reason = quality.absent_data(claim.data)
    if reason:
        pytest.skip(reason)
    found = [quality.train(claim, seed=0)]
    for bar in claim.bars:
        value, bound = quality.against(bar, found)
        assert quality.holds(bar, value, bound), f"{bar.metric} {value:.4f}, not {bar.comparison} {bound:.4f}"
