"""What `verify` finds: the page is current, a part of it is run; the whole by ``python tests/checks/finds.py``."""

import re
from collections import Counter

import pytest
from finds import PAGE, PLANTS, RIGHT, SETS, look, refused, total

TEXT = PAGE.read_text(encoding="utf-8")


def rows(title):
    """Return {(kind, what): verdict} of the mistakes and of the right things in one section of the page."""
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in re.split(r" (?<!\\)\| ", line)] for line in section.splitlines()
             if line.startswith("| ") and not line.startswith(("| of |", "| --- |"))]
    return [{(row[0][2:], row[1]): row[2].rstrip(" |") for row in cells if len(row) == width} for width in (4, 3)]


def test_the_plants_are_many_and_of_all_kinds():
    assert len(PLANTS) >= 90
    assert len(RIGHT) >= 40
    assert set(Counter(plant.kind for plant in PLANTS)) == {
        "transfer", "map", "loss", "method", "block", "sequence"}
    assert len({plant.what for plant in PLANTS}) == len(PLANTS)
    assert sum(plant.named is not None for plant in PLANTS) >= 0.7 * len(PLANTS)


@pytest.mark.parametrize(("title", "plants", "rights"), SETS, ids=[title for title, *_ in SETS])
def test_the_page_has_a_row_for_each_and_counts_its_rows(title, plants, rights):
    mistakes, right = rows(title)
    assert set(mistakes) == {(plant.kind, plant.what) for plant in plants}
    assert set(right) == {(plant.kind, plant.what) for plant in rights}
    found = Counter(mistakes.values())
    found["refused"] = sum(said.startswith("with") for said in right.values())
    assert f"- {title}: {total(plants, rights, found)}" in TEXT.splitlines()


def some(which):
    """Return each eighteenth of the mistakes, or of the right things, of each set."""
    return [pytest.param(chosen[0], plant, id=f"{plant.kind}: {plant.what}") for chosen in SETS
            for plant in chosen[which][::18]]


@pytest.mark.slow
@pytest.mark.parametrize(("title", "plant"), some(1))
def test_mistakes_are_found_as_the_page_says(title, plant):
    found = look(plant)
    assert found.verdict == rows(title)[0][plant.kind, plant.what], found


@pytest.mark.slow
@pytest.mark.parametrize(("title", "plant"), some(2))
def test_right_things_are_refused_no_more_often_than_the_page_says(title, plant):
    said = re.match("never|with", rows(title)[1][plant.kind, plant.what])[0]
    assert said == "with" or not refused(plant, 1)
