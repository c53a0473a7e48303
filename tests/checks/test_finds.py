"""What `verify` finds, a third of it; the whole, with seeds, by ``python tests/checks/finds.py``."""

from collections import Counter

import pytest
from finds import PLANTS, RIGHT, look

import minilift as ml


def test_the_plants_are_many_and_of_all_kinds():
    assert len(PLANTS) >= 90
    assert len(RIGHT) >= 40
    assert set(Counter(plant.kind for plant in PLANTS)) == {
        "transfer", "map", "loss", "method", "block", "sequence"}
    assert len({plant.what for plant in PLANTS}) == len(PLANTS)
    assert sum(plant.named is not None for plant in PLANTS) >= 0.7 * len(PLANTS)


@pytest.mark.slow
@pytest.mark.parametrize("plant", PLANTS[::3], ids=lambda plant: f"{plant.kind}: {plant.what}")
def test_a_mistake_is_found_and_no_wrong_reason_given(plant):
    found = look(plant)
    assert found.verdict == ("found" if plant.named is None and not found.unverified else "named"), found


@pytest.mark.slow
@pytest.mark.parametrize("plant", RIGHT[::2], ids=lambda plant: f"{plant.kind}: {plant.what}")
def test_what_is_right_is_not_refused(plant):
    report = ml.verify(plant.make(), **plant.options)
    assert report.passed, report
