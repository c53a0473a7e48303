"""The index of equations: every equation has a line in the code and a test (test_mutations.py breaks the lines)."""

import re
from pathlib import Path

import pytest

from minilift.checks import equations
from minilift.checks.equations import EQUATIONS, collect, index, parse_tags
from minilift.checks.report import CLAIMS

ROOT = Path(equations.__file__).parent.parent.parent
CODE, TESTS = index()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_every_equation_has_a_line_and_a_test(equation):
    assert CODE[equation], f"no line of the package ends in '# {equation}'"
    assert TESTS[equation], f"no test says '# holds {equation}'"
    for place in TESTS[equation]:
        assert place.name.startswith("test_"), f"{place} is no test"


# ---- the reader of tags


@pytest.mark.parametrize(("text", "expected"), [
    ("ProxProp (11), (13)", ["ProxProp (11)", "ProxProp (13)"]),
    ("LocoProp-M, LocoProp-S", ["LocoProp-M", "LocoProp-S"]),
    ("ProxProp (8), (10), SIBP signal", ["ProxProp (8)", "ProxProp (10)", "SIBP signal"]),
    ("ProxProp (11), (13), Prop. 2", ["ProxProp (11)", "ProxProp (13)", "ProxProp Prop. 2"]),
    ("BackProp, ProxProp Prop. 1, Representer", ["BackProp", "ProxProp Prop. 1", "Representer"]),
    ("BackProp signal", ["BackProp signal"]),
    ("BackProp", ["BackProp"])])
def test_tags(text, expected):
    assert parse_tags(text, "here") == expected


@pytest.mark.parametrize(("text", "message"), [
    ("ProxProp (99)", r"file\.py:3: equation: unknown name 'ProxProp \(99\)'; did you mean 'ProxProp \(9\)'"),
    ("ProxProp (11) with the bias inside", "file.py:3: the comment .* looks like the tag of an equation but is none"),
    ("LocoProp-S (3)", "looks like the tag"),
    ("ProxProp Prop. 6", "did you mean 'ProxProp Prop. "),
    ("Representer theorem", "looks like the tag"),
    ("SIBP", "looks like the tag")])
def test_a_wrong_tag_is_an_error(tmp_path, text, message):
    (tmp_path / "file.py").write_text(f"def f(x):\n    return (\n        x)  # {text}\n")
    with pytest.raises(ValueError, match=message):
        collect(tmp_path, r"(?P<tags>.*)")


def test_only_comments_count_and_the_innermost_function_is_named(tmp_path):
    (tmp_path / "file.py").write_text('''\
class Method:
    def solve(self):
        """A docstring that says # ProxProp (11)."""
        text = "# ProxProp (12)"  # not a tag: ProxProp (13)

        def inner():
            return text  # ProxProp (14)
        return inner


value = 1  # BackProp
# LocoProp's notebook and ProxProp's paper are prose
''')
    found = {equation: places for equation, places in collect(tmp_path, r"(?P<tags>.*)").items() if places}
    assert {equation: [(place.line, place.name) for place in places] for equation, places in found.items()} == {
        "ProxProp (14)": [(7, "Method.solve.inner")], "BackProp": [(11, "")]}


def test_notebooks_inside_an_installed_package_are_left_out(tmp_path):
    (tmp_path / "tutorials" / "src").mkdir(parents=True)
    (tmp_path / "tutorials" / "src" / "08_local_losses.py").write_text("# LocoProp-S is prose here\nx = 1  # SIBP W\n")
    assert not any(collect(tmp_path, r"(?P<tags>.*)").values())


# ---- what is printed and written


def test_the_listing_names_lines_and_tests():
    text = equations.listing(CODE, TESTS)
    for place in (CODE["ProxProp (13)"][0], TESTS["ProxProp (13)"][0]):
        assert str(place) in text


BLOCKS = ["Lifted θ", "Lifted a", "Lifted z", "Lifted output"]


@pytest.mark.parametrize(("query", "named", "others"), [
    ("13", ["ProxProp (13)"], []), ("ProxProp (13)", ["ProxProp (13)"], []),
    ("11", ["ProxProp (11)"], ["ProxProp (13)", "ProxProp Prop. 2", "Lifted θ"]),
    ("3", ["ProxProp (3)", "ProxProp Prop. 3"], []), ("REPRESENTER", ["Representer"], []),
    ("proposition", [], [f"ProxProp Prop. {number}" for number in range(1, 6)]),
    ("prop. 4", ["ProxProp Prop. 4"], []), ("backprop", ["BackProp", "BackProp signal"], []),
    ("SIBP", ["SIBP W", "SIBP b", "SIBP signal"], ["MAC W"]), ("condition number", [], ["ProxProp Prop. 4"]),
    ("bcd", ["BCD jacobi"], BLOCKS), ("Zeng", [], [*BLOCKS, "BCD jacobi"]),
    ("Taylor 2016", [], [*BLOCKS, "ADMM u"]), ("lifted zeng", [], BLOCKS), ("benning", [], [
        "Matching energy", "Matching gradient", "Matching θ", "Bregman a"]),
    ("gram.py", [], ["Representer"]), ("", list(EQUATIONS), [])])
def test_words_choose_rows_by_name_first(query, named, others):
    assert equations.matching(query, CODE, TESTS) == (named, others)


def test_rows_that_match_by_another_thing_than_their_name_are_said_to():
    blocks = equations.listing(CODE, TESTS, *equations.matching("bcd", CODE, TESTS)).split("\n\n")
    assert [block.split("  ")[0] for block in blocks] == [
        "BCD jacobi", "Others, which have it in their statement or paper:", *BLOCKS]
    assert "Others" not in equations.listing(CODE, TESTS, *equations.matching("zeng", CODE, TESTS))


def test_a_row_names_its_paper_as_the_modules_do():
    """The whole index, and the table; what belongs to no single paper names none."""
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "minilift").rglob("*.py")
                   if path.name != "equations.py").replace(" (", ", ").replace(")", "")
    for paper in equations.PAPERS.values():
        for one in re.sub(r" \([^)]*\)", "", paper).split("; "):
            assert one in text, f"{one} stands in no docstring"
    without = {name for name in EQUATIONS if not equations.paper_of(name)}
    assert without == {"BackProp", "BackProp signal", "Representer", "Gauss–Newton"}
    paper = "Taylor, Burmeister, Xu, Singh, Patel, Goldstein, ICML 2016"
    assert f"\n    paper   {paper}\n    code    " in equations.listing(CODE, TESTS, ["ADMM u"])
    assert f"| ADMM u | {EQUATIONS['ADMM u']} | {paper} | " in equations.markdown(CODE, TESTS)
    assert "paper" not in equations.listing(CODE, TESTS, ["Representer"]).replace("test_", "")


def test_the_closed_form_of_a_lifted_value_is_found_where_it_is_computed():
    assert {place.name for place in CODE["Lifted z"]} == {"ThreeSplit.best_z", "fit_pieces"}


@pytest.mark.parametrize(("query", "nearest"), [
    ("representr", "'Representer'"), ("locoprop-t", "'LocoProp-"), ("proxprop (31)", "'ProxProp (3)'")])
def test_the_nearest_name_is_given_where_nothing_fits(query, nearest):
    with pytest.raises(ValueError, match=re.escape(f"unknown name {query!r}; did you mean {nearest}")):
        equations.matching(query, CODE, TESTS)


@pytest.mark.parametrize("query", ["99", "٣", "batch norm", "[", "\\"])
def test_words_that_fit_nothing_are_refused(query):
    with pytest.raises(ValueError, match="WORD: unknown name"):
        equations.matching(query, CODE, TESTS)


def test_every_claim_about_an_equation_is_listed():
    """Sources of claims are prose; the equations that they name are read from it."""
    assert equations.named_in("BackProp, ProxProp (8)–(10)") == [
        "BackProp", "ProxProp (8)", "ProxProp (9)", "ProxProp (10)"]
    assert equations.named_in("LocoProp-S = ProxProp (13), Prop. 4, 5") == [
        "LocoProp-S", "ProxProp (13)", "ProxProp Prop. 4", "ProxProp Prop. 5"]
    assert equations.named_in("ADMM u, dlADMM u; K-FAC average") == ["ADMM u", "dlADMM u", "K-FAC average"]
    found = {place.name for places in equations.claims().values() for place in places}
    named = {claim.measure.__name__ for claim in CLAIMS
             if re.search(r"\(\d|Prop\. \d|LocoProp|SIBP W|BackProp|FOOF|K-FAC|Gauss|ADMM u|Lifted z|Matching",
                          claim.source)}
    assert found == named
    assert all(equations.claims()[f"ProxProp Prop. {number}"] for number in (2, 3, 4, 5))


def test_without_tests_the_listing_says_so():
    assert "tests are not installed" in equations.listing(CODE, {equation: [] for equation in EQUATIONS})


def test_a_table_is_renewed_between_its_marks_and_nowhere_else():
    text = "before\n<!-- equations -->\nold\n<!-- /equations -->\nafter\n"
    assert equations.with_table(text, "| new |") == "before\n<!-- equations -->\n| new |\n<!-- /equations -->\nafter\n"
    for bad in ("no marks", text + text):
        with pytest.raises(ValueError, match="expected one '<!-- equations -->'"):
            equations.with_table(bad, "| new |")


def test_a_table_without_tests_is_not_written(tmp_path, monkeypatch, capsys):
    text = "<!-- equations -->\n<!-- /equations -->\n"
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(equations, "index", lambda: (CODE, {equation: [] for equation in EQUATIONS}))
    with pytest.raises(ValueError, match="--write: the tests, which the table names, are not installed"):
        equations.write_table(tmp_path / "README.md", [])
    assert (tmp_path / "README.md").read_text() == text
    monkeypatch.undo()
    with pytest.raises(ValueError, match="leave out the words"):
        equations.write_table(tmp_path / "README.md", ["13"])
    assert equations.write_table(tmp_path / "README.md", []) == 0
    assert "| Representer |" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "renewed" in capsys.readouterr().out
