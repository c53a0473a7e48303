"""Lists of those who had not read the checks, in strangers/: mistakes are found, right things hold.

Of the fourth and fifth each eighteenth is run here, of the first in test_finds.py; each list is run as a
whole by itself, ``python tests/checks/strangers/second.py``.
"""

import pytest
from strangers import fifth, fourth

LISTS = {"fourth": fourth, "fifth": fifth}


@pytest.mark.parametrize(("name", "mistakes", "right", "groups"), [
    ("fourth", 120, 60, {"transfer", "map", "loss", "method", "block", "sequence"}),
    ("fifth", 330, 140, {"activation", "transfer", "map", "loss", "network", "method", "argmin", "gradient", "equal",
                         "decreases"})], ids=LISTS)
def test_the_list_is_long_and_of_all_kinds(name, mistakes, right, groups):
    items = LISTS[name].ITEMS
    assert sum(not item.right for item in items) >= mistakes
    assert sum(item.right for item in items) >= right
    assert {item.group for item in items} == groups


@pytest.mark.slow
@pytest.mark.parametrize(("name", "item"), [pytest.param(name, item, id=f"{name}: {item.group}/{item.name}")
                                            for name, chosen in LISTS.items() for item in chosen.ITEMS[::18]])
def test_it_is_found_or_holds(name, item):
    passed, reasons = LISTS[name].judged(item, seed=0)
    assert passed == item.right, reasons
