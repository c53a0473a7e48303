"""The fifth stranger's list: mistakes are found, right things hold; every sixth is run. See fifth_stranger.py."""

import pytest
from fifth_stranger import ITEMS, judged

GROUPS = {"activation", "transfer", "map", "loss", "network", "method", "argmin", "gradient", "equal", "decreases"}


def test_the_list_is_long_and_of_all_kinds():
    assert sum(not item.right for item in ITEMS) >= 330
    assert sum(item.right for item in ITEMS) >= 140
    assert {item.group for item in ITEMS} == GROUPS


@pytest.mark.slow
@pytest.mark.parametrize("item", ITEMS[::6], ids=lambda item: f"{item.group}/{item.name}")
def test_it_is_found_or_holds(item):
    passed, reasons = judged(item, seed=0)
    assert passed == item.right, reasons
