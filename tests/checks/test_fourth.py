"""The fourth stranger's list: each mistake is found, each right thing holds; a sixth is run. See fourth_stranger.py."""

import pytest
from fourth_stranger import ITEMS, judged


def test_the_list_is_long_and_of_all_kinds():
    assert sum(not item.right for item in ITEMS) >= 120
    assert sum(item.right for item in ITEMS) >= 60
    assert {item.group for item in ITEMS} == {"transfer", "map", "loss", "method", "block", "sequence"}


@pytest.mark.slow
@pytest.mark.parametrize("item", ITEMS[::6], ids=lambda item: f"{item.group}/{item.name}")
def test_it_is_found_or_holds(item):
    passed, reasons = judged(item, seed=0)
    assert passed == item.right, reasons
