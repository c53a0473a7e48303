"""The lecturer's kit: variants that the published answers do not solve, pages that say what the sources say."""

import html
import itertools
import json
import re
from importlib.util import find_spec

import numpy as np
import pytest

from minilift.checks.equations import EQUATIONS
from minilift.cli import main
from minilift.course import exam, judge, kit, notebooks, teach
from minilift.support.terminal import capitalised

pytest.importorskip("jupytext")
needs_pages = pytest.mark.skipif(not all(map(find_spec, ("nbconvert", "latex2mathml"))),
                                 reason="needs nbconvert and latex2mathml")
TABLE = notebooks.kit_file("variants")
VARIANTS = exam.variants(TABLE)
FIRST = {number.split(".")[0]: number for number in reversed(VARIANTS)}.values()  # one exercise of each notebook


def seeds_of(number):
    """Return seeds that draw each variant of an exercise once."""
    found: dict[str, int] = {}
    for seed in itertools.count():
        if len(found) == len(VARIANTS[number]):
            return list(found.values())
        variant = exam.drawn(TABLE, number, seed)
        found.setdefault(re.sub(r"[0-9.]+", "", f"{variant.text} {variant.changes}"), seed)


@pytest.fixture
def status_of(monkeypatch):
    """Return a function from an exercise, an answer and a seed to the report of the variant's check."""
    seen = []
    monkeypatch.setattr(teach, "publish", lambda text, report: seen.append(report) if not teach.UNSEEN else None)

    def judged(*arguments):
        judge.variant(*arguments)
        return seen.pop()
    return judged


# ---- variants

@pytest.mark.parametrize(("number", "seed"), [(number, 3) for number in FIRST] + [
    pytest.param(number, seed, marks=pytest.mark.slow) for number in VARIANTS for seed in seeds_of(number)])
def test_the_published_answer_fails_a_variant_and_the_changed_one_solves_it(number, seed, status_of):
    published, changed, cases = judge.material(number, seed)
    assert cases
    assert status_of(number, changed, seed)["status"] == "PASS"
    report = status_of(number, published, seed)
    assert (report["status"], report["message"]) == ("FAIL", judge.AS_PUBLISHED)


def test_every_exercise_has_variants_or_a_reason_for_none():
    exercises = {match for name in notebooks.CURRICULUM
                 for match in re.findall(r"(?m)^# Exercise (\d+\.\d+)$", notebooks.paths(name)[0].read_text("utf-8"))}
    without = exam.without(TABLE)
    assert set(VARIANTS) | set(without) == exercises
    assert not set(VARIANTS) & set(without)
    assert all(len(reason.split()) > 3 for reason in without.values())
    assert len(VARIANTS) > 2 * len(without)


def test_a_seed_draws_one_variant_and_another_seed_another():
    assert exam.drawn(TABLE, "5.1", 7) == exam.drawn(TABLE, "5.1", 7)
    assert len({exam.drawn(TABLE, "5.1", seed).text for seed in range(40)}) > 20


def test_what_has_no_variant_is_refused():
    with pytest.raises(ValueError, match=r"exercise 1\.3 has no variant"):
        exam.drawn(TABLE, "1.3", 0)
    with pytest.raises(ValueError, match="'x' is not in the model answer"):
        exam.changed("y", exam.Variant("1.1", "", [("x", "y")]))


@pytest.mark.parametrize(("actual", "expected", "size"), [
    (np.array([2.0, 1.0]), np.array([2.0, 1.5]), 0.25),
    ((1.0, [2e-9]), (1.0, [1e-9]), 1.0), ([None, 4.0], [None, 2.0], 1.0),
    (float("nan"), float("nan"), 0.0), (float("nan"), 1.0, float("inf")), (float("inf"), float("inf"), 0.0)])
def test_errors_are_relative_to_the_largest_entry_expected(actual, expected, size):
    assert judge.error(actual, expected) == pytest.approx(size)


@pytest.mark.parametrize("actual", [[1.0], 1.0])
def test_a_part_that_is_missing_is_told(actual):
    with pytest.raises(ValueError, match="2 parts are expected"):
        judge.error(actual, (1.0, 2.0))


def test_an_examination_holds_questions_and_its_key_answers():
    given, key = (notebooks.examination("04", 11, kind) for kind in ("exam", "key"))
    text, solved = (json.dumps(notebook, ensure_ascii=False) for notebook in (given, key))
    for number in ("4.1", "4.2", "4.3", "4.4", "4.5"):
        variant = exam.drawn(TABLE, number, 11)
        assert json.dumps(variant.text, ensure_ascii=False)[1:-1] in text
        for _, new in variant.changes:
            assert json.dumps(new)[1:-1] in solved
    assert text.count("NotImplementedError") == 5
    assert "def phi" in text
    assert not re.search("judge|<details>|§|11,|SEED = 11", text)
    assert solved.count("judge.variant(") == 5
    assert "SEED = 11" in solved


@pytest.mark.parametrize("name", notebooks.CURRICULUM)
def test_an_examination_shows_the_equations_that_it_names_and_no_answer(name):
    blank, solved = (notebooks.version(name, kind) for kind in ("student", "solution"))
    for seed in (0, 1, 2, 5):
        cells = exam.examination(blank, solved, TABLE, "", seed, "exam")[2:]
        text = "\n".join(source for _, source, _ in cells)
        shown, known = (set(re.findall(r"\\tag\{(?:ProxProp )?([^}]+)\}", each)) for each in (
            text, "\n".join(cell.source for cell in blank.cells)))
        assert set(re.findall(r"\((\d+\.\d+)\)", text)) <= shown, seed
        assert {tag for tag in known if (tag if tag[0].isalpha() else f"({tag})") in text} <= shown, seed
        asked, held = ([function for kind, source, tags in cells if kind == "code" and tags == of
                        for function in re.findall(r"(?m)^def (\w+)", source)] for of in (["exercise"], []))
        assert not {*asked} & {*held}, seed


def test_what_an_answer_is_given_are_functions_and_not_its_own_names():
    notebook = {"cells": [{"cell_type": "code", "source": f"def {name}(x):\n    return {result}"}
                          for name, result in (("phi", "sigma(x)"), ("sigma", "x"), ("gradient", "2 * x"))]}
    source = "def step(a, gradient):\n    sigma = gradient(a)\n    return sigma\n\ndef more(a):\n    return {}"
    assert exam.given(notebook, source.format("a")) == []
    assert [text[:8] for text in exam.given(notebook, source.format("phi(a)"))] == ["def phi(", "def sigm"]
    assert exam.given(notebook, source.format("list(map(lambda phi: phi, a))")) == []


def test_the_pages_on_examinations_know_what_is_public():
    """The table of variants and the solutions make up each variant's answer, and texts speak of the course's checks."""
    page, head = (" ".join(notebooks.kit_file(name).split()) for name in ("examination", "exam"))
    assert "no answer to copy" not in page
    assert "without network" in page.partition("**What grading does not")[0]
    sheet = " ".join(cell.source for cell in notebooks.examination("13", 5, "exam").cells)
    assert "The check tests" in sheet
    assert "checks that a text mentions are the notebook's" in head


@pytest.mark.slow
def test_a_returned_examination_is_graded_with_its_seed(tmp_path):
    path = tmp_path / "returned.ipynb"
    returned = notebooks.examination("01", 5, "exam")
    solved = notebooks.answers_in(notebooks.examination("01", 5, "key"))
    for each in returned.cells:
        if each.source.startswith("# Exercise 1.1"):
            each.source = solved["1.1"]
        if each.source.startswith("# Exercise 1.2"):  # as published
            each.source = exam.exercise_sources(notebooks.version("01", "solution"))["1.2"]
    path.write_text(notebooks.as_text(returned), encoding="utf-8")
    results = notebooks.grade(path, 5, of_exam=True)
    assert [(result["exercise"], result["status"]) for result in results] == [("1.1", "PASS"), ("1.2", "FAIL")]
    assert results[1]["message"] == judge.AS_PUBLISHED


@pytest.mark.parametrize("metadata", [True, False])
def test_an_examination_is_not_graded_as_the_course_nor_with_another_seed(tmp_path, monkeypatch, metadata):
    """Also if its metadata is lost or says something else, as far as that can be seen."""
    path = tmp_path / "01_backward_step.ipynb"
    returned = notebooks.examination("01", 5, "exam")
    if not metadata:
        returned.metadata = notebooks.notebook_metadata("01", "student")
    path.write_text(notebooks.as_text(returned), encoding="utf-8")
    seen = []
    monkeypatch.setattr(notebooks, "execute", lambda notebook, **options: seen.append(notebook) or notebook)
    with pytest.raises(ValueError, match="it is an examination; grade it with --exam"):
        notebooks.grade(path, 5)
    if metadata:
        with pytest.raises(ValueError, match="an examination of another seed than 1"):
            notebooks.grade(path, 1, of_exam=True)
    assert not seen
    assert [result["exercise"] for result in notebooks.grade(path, 5, of_exam=True)] == ["1.1", "1.2"]
    assert any("judge" in cell.source for cell in seen[0].cells)


def test_answers_are_held_to_the_examination_if_the_teacher_says_so(tmp_path, monkeypatch):
    path = tmp_path / "returned.ipynb"
    path.write_text(notebooks.as_text(notebooks.version("01", "solution")), encoding="utf-8")
    monkeypatch.setattr(notebooks, "execute", lambda notebook, **options: notebook)
    assert [result["exercise"] for result in notebooks.grade(path, 5, of_exam=True)] == ["1.1", "1.2"]


# ---- pages

@needs_pages
def test_the_quiz_grades_itself_and_hides_its_answers():
    text = notebooks.kit_file("quiz")
    page = kit.quiz(text)
    questions = kit.QUESTION.findall(text)
    assert len(questions) == page.count("<fieldset") == 10
    keys = json.loads(re.search(r"KEYS = (\[.*?\])", page)[1])
    for k, (_, choices, _) in enumerate(questions):
        marks = re.findall(r"\[(.)\]", choices)
        assert marks.count("x") == 1
        assert [kit.mark_of(f"{k}:{i}") == keys[k] for i in range(4)] == [mark == "x" for mark in marks]
    assert not re.search(r"\[x\]|\$[^{]|correct", page)
    assert kit.mark_of("a") == 0xE40C292C  # the published value of FNV-1a


def cell(kind, source, *outputs):
    return {"cell_type": kind, "source": source, "metadata": {}, "outputs": list(outputs)}


PICTURE = {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "Figure: Two curves."}}
NOTEBOOK = {"cells": [
    cell("markdown", "# 01 · One\n\nYou will see.\n\n**Afterwards you can**\n1. do it."),
    cell("markdown", "## Exercise 1.1 (core): it\n\nDo it.\n\n"
                     "<details><summary>Hint</summary>\n\nHidden.\n\n</details>"),
    {**cell("code", "x = secret  # (1.1)"), "metadata": {"tags": ["exercise"]}},
    cell("markdown", "It is $x = 1$, see Fig. 2 there. Then " + "word " * 90 + "\n\n$$ x = 1. \\tag{1.1} $$\n"),
    cell("code", "x = 1  # (1.1)\nteach.holds(x)  # (1.1)"),
    cell("code", "teach.show(fig)", PICTURE)]}


@needs_pages
def test_slides_hold_what_a_lecture_needs_and_no_solution():
    text = kit.slides(NOTEBOOK)
    shown = [re.sub("<[^>]+>", " ", part) for part in re.split("<section", text.replace("<div class=\"notes\">",
                                                                                           "<section notes"))]
    assert text.count("<section") == 4
    assert [re.search(r"<h[12]>(.*?)</h", part)[1] for part in text.split("<section")[1:]] == \
        ["01 · One", "Exercise 1.1 (core): it", "After the exercise", "After the exercise"]
    assert "see Fig. 2 there." in shown[5]
    assert "word" not in shown[5]
    assert "word word" in shown[6]
    assert text.count("(1.1)") >= 2
    assert "aGVsbG8=" in text
    assert not re.search("secret|Hidden|teach.holds|https?:(?!//www.w3.org)", text)


def test_slides_unfold_what_is_written_out_after_an_exercise_and_no_hint():
    source = ("<details><summary>Written out (after Exercise 1.1)</summary>\n\nSo it is.\n\n</details>\n\nThen.\n"
              "<details><summary>Hint 1: idea</summary>\n\nHidden.\n\n</details>\n")
    (_, text), = kit.blocks(source)
    assert text.split() == ["So", "it", "is.", "Then."]


@needs_pages
def test_a_long_list_goes_on_on_the_next_slide():
    items = [f"- item {k}: " + "word " * 60 for k in range(3)]
    text = kit.slides({"cells": [cell("markdown", "# One\n\nIt begins."),
                                 cell("markdown", "## Summary\n\n" + "\n".join(items))]})
    shown = re.sub('(?s)<div class="notes">.*?</div>', "", text).split("<section")[2:]
    assert [re.findall(r"item \d", part) for part in shown] == [["item 0"], ["item 1"], ["item 2"]]


def test_sentences_are_cut_at_their_ends_alone():
    assert kit.sentences("See Fig. 2, e.g. $a. B$ here. Then `x. Y`! **So.** It ends.") == \
        ["See Fig. 2, e.g. $a. B$ here.", "Then `x. Y`!", "**So.** It ends."]
    assert kit.sentences('I expect it. "It holds." (So I say.) It ends.') == \
        ["I expect it.", '"It holds."', "(So I say.)", "It ends."]


@needs_pages
def test_slides_show_what_is_printed_below_a_colon_and_nothing_else_that_is_printed():
    printed = {"output_type": "stream", "name": "stdout", "text": "one: 1\ntwo: 2\n"}
    long = {**printed, "text": "line\n" * 12}
    text = kit.slides({"cells": [cell("markdown", "# One\n\nIt begins.\n\n## Two\n\nThe two numbers:"),
                                 cell("code", "x = 1", printed),
                                 cell("markdown", "They are these."), cell("code", "x = 1", {**printed, "text": "no"}),
                                 cell("markdown", "All lines:"), cell("code", "x = 1", long)]})
    first, second = re.sub('(?s)<div class="notes">.*?</div>', "", text).split("<section")[-2:]
    assert "two: 2" in html.unescape(re.sub("<[^>]+>", "", first))
    assert "All lines" not in first
    assert "All lines" in second
    assert second.count("line") >= 12
    assert "no</" not in text


def test_slides_show_whole_statements_that_carry_an_equations_number():
    source = ("# (1.1) of a section\ndef f(x):\n    # (1.2), term by term\n    y = (x +\n         1)\n    return g(\n"
              "        y)  # (1.3)\n\n\nteach.holds(1,\n            1)  # (1.3)\nwinner = None  # BackProp or ADMM\n"
              "for k in (1, 2):  # (1.4)\n    z = k\n")
    assert kit.tagged_lines(source) == ["# (1.2), term by term", "y = (x +", "     1)", "return g(", "    y)  # (1.3)",
                                        "for k in (1, 2):  # (1.4)"]


@needs_pages
def test_the_handout_has_every_equation_of_the_index():
    page = kit.handout(notebooks.kit_file("handout"), {"05_x": {"cells": [cell("markdown", "\\tag{ProxProp 11}")]}})
    assert page.count("<dt>") == len(EQUATIONS)
    assert page.count("<small>[05]</small>") == 1
    assert "z<sub>l</sub><sup>½</sup> = z<sub>l</sub> − τ g<sub>l</sub>" in page


def test_each_open_exercise_has_a_rubric():
    for name in ("01", "13"):
        found = list(kit.rubrics(notebooks.source_cells(name)))
        assert len(found) == 1
        assert re.match(r"\n## \d+\.\d+ \w", found[0])
        assert found[0].count("| 1 |") >= 2
        assert "| The cell" not in found[0]  # which says nothing of what an answer needs


def test_diagnoses_are_those_of_the_tables_and_of_the_functions():
    source = ('WRONG_STEPS = {"the sign": 1, "a factor": 2}\nOTHER = {"no message": 1}\n'
              'def step(answer):\n    def mistakes(found):\n        yield found, "too large"\n'
              '        yield from slips(found, WRONG_STEPS)\n    return check("1.1", answer, OTHER, mistakes)\n')
    assert kit.diagnoses(source) == [("1.1", ["the sign", "a factor", "too large"])]


@pytest.mark.parametrize("symbol", ["n is the inner size", "τ_θ divides", "σ' is missing", "t_3 is used", "a_2 sees it",
                                    "np.sum adds", "inverses[l] is all", "gradient(l, a) wants", "3 are too many"])
def test_what_begins_with_a_symbol_keeps_it(symbol):
    assert capitalised(symbol) == symbol
    assert capitalised(f"a sum; {symbol}") == f"A sum; {symbol}"
    assert capitalised(f"here: {symbol}") == f"Here: {symbol}"


def test_every_diagnosis_is_in_the_guide_once():
    found = {name: kit.diagnoses(kit.module_source(name)) for name in notebooks.CURRICULUM}
    text = kit.misconceptions(notebooks.kit_file("misconceptions"), found)
    messages = [(number, message) for exercises in found.values() for number, said in exercises for message in said]
    assert text.count("\n- ") == len(messages) > 500
    for number, message in messages:
        assert f"- {number}: {capitalised(message)}\n" in text
    assert sum(map(int, re.findall(r"^## .* \((\d+)\)$", text, re.M))) == len(messages)


@pytest.mark.parametrize("words", [["kit", "kit"], ["grade", "x.ipynb", "--exam"], ["grade", ".", "--exam"], ["build"]])
def test_what_needs_the_sources_says_in_a_line_where_they_are(tmp_path, monkeypatch, capsys, words):
    """An installed package leaves them out, since they hold the answers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.ipynb").write_text("{}")
    monkeypatch.setattr(notebooks, "folder", lambda: tmp_path)
    assert main(["teach", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("run this with minilift installed from a clone of the repository (pip install -e .)")
    assert [path.name for path in tmp_path.iterdir()] == ["x.ipynb"]


@needs_pages
def test_a_kit_that_is_there_is_not_made_anew_with_another_seed_unasked(tmp_path, monkeypatch, capsys):
    """Its examinations have been handed out."""
    seeds = []
    monkeypatch.setattr(kit, "write", lambda *arguments: seeds.append(arguments[-1]))
    monkeypatch.setattr(notebooks, "CURRICULUM", ())
    (tmp_path / "examination.html").touch()
    assert main(["teach", "kit", str(tmp_path)]) == 2
    assert "holds a kit already, and a new seed would replace its examinations" in capsys.readouterr().err
    assert main(["teach", "kit", str(tmp_path), "--seed", "7"]) == 0
    assert seeds == [7]


@needs_pages
@pytest.mark.slow
def test_the_whole_kit_is_built(tmp_path, capsys):
    assert main(["teach", "kit", str(tmp_path), "--seed", "7"]) == 0
    assert "grading needs: 7" in capsys.readouterr().out
    names = {path.stem for path in tmp_path.glob("*.html")}
    assert names == {"index", "plans", "quiz", "handout", "rubrics", "misconceptions", "examination"}
    for place, ending in (("slides", "html"), ("exam", "ipynb"), ("key", "ipynb")):
        assert {path.stem for path in (tmp_path / place).glob(f"*.{ending}")} == set(notebooks.CURRICULUM)
    for path in tmp_path.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'(src|import|url\()\s*=?\s*["\']?https?:', text), path
        shown = re.sub(r"(?s)<script.*?</script>|<style.*?</style>|<pre.*?</pre>", "", text)
        assert not re.search(r"\{(\d\d|minutes|seed|total|slides)|MATH\d|§[cr]\b", shown), path
        for link in re.findall(r'href="([\w/]+\.html)"', text):
            assert (path.parent / link).exists(), (path, link)
    listed = (tmp_path / "examination.html").read_text(encoding="utf-8")
    assert re.findall(r"<li>(\d+\.\d+):", listed) == [*VARIANTS, *exam.without(TABLE)]
    plan = (tmp_path / "plans.html").read_text(encoding="utf-8").split("Twelve weeks")[1]
    assert {name[:2] for name in notebooks.CURRICULUM} <= set(re.findall(r"slides/(\d\d)_", plan))


@pytest.mark.parametrize("seed", seeds_of("8.3"))
def test_a_variant_of_8_3_asks_for_the_slope_of_what_it_asks_for(seed, status_of):
    """By differences: the divergence is changed, and its slope with it."""
    text = exam.drawn(TABLE, "8.3", seed).text
    factor = float(re.search(r"[0-9.]+", text.partition("return")[2] or text.partition("symmetric")[2])[0])

    def value(f, z, w):
        def divergence(x, y):
            return f.integral(x) - f.integral(y) - f.forward(y) * (x - y)
        return factor * (divergence(w, z) + ("symmetric" in text) * divergence(z, w))

    def right(f, z, w):
        h = 1e-5
        moved = [(z + step, w) if "symmetric" in text else (z, w + step) for step in (h, -h)]
        above, below = (value(f, *pair) for pair in moved)
        return value(f, z, w), (above - below) / (2 * h)

    report = status_of("8.3", right, seed)
    errors = {claim["text"]: claim["error"] for claim in report["claims"]}
    assert max(errors.values()) < 1e-5, (text, errors)


@pytest.mark.parametrize("seed", [16, 26])
def test_the_published_answer_to_10_2_solves_no_variant_of_it(seed, status_of):
    """Nor one with the factor 9, which was the number of samples of its check."""
    published, changed, _ = judge.material("10.2", seed)
    assert [status_of("10.2", answer, seed)["status"] for answer in (published, changed)] == ["FAIL", "PASS"]


def cg_by_columns(ones):
    """Return an answer to 6.2 by the textbook, column by column, with another bias input."""
    def column(A, b, beta, steps):
        d, r, p = 0 * b, b, b
        for _ in range(steps):
            Mp = A.T @ (A @ p) + beta * p
            alpha = r @ r / (p @ Mp)
            d, new = d + alpha * p, r - alpha * Mp
            p, r = new + new @ new / (r @ r) * p, new
        return d

    def answer(a, g, tau_theta, steps):
        A = np.hstack([a, np.full((len(a), 1), ones)])
        return np.stack([column(A, b, 1 / tau_theta, steps) for b in (A.T @ g).T], axis=1)
    return answer


def test_a_variant_of_6_2_takes_the_same_formulas_written_otherwise(status_of):
    """As large a κ as a bias input of 9 makes lets rounding decide after n + 1 steps."""
    drawn = {seed: re.search(r"fed by ([0-9.]+)", exam.drawn(TABLE, "6.2", seed).text) for seed in range(25)}
    statuses = [status_of("6.2", cg_by_columns(float(found[1])), seed)["status"]
                for seed, found in drawn.items() if found]
    assert len(statuses) > 5
    assert {*statuses} == {"PASS"}


@pytest.mark.parametrize("seed", range(4))
def test_a_variant_of_8_2_takes_the_sum_of_the_second_hint(seed, status_of):
    weight = float(re.search(r"([0-9.]+)/2", exam.drawn(TABLE, "8.2", seed).text)[1])

    def by_the_sum(s, rate, steps, damping):
        return weight * rate * sum((1 - rate * (weight * s + damping)) ** t for t in range(steps))
    assert status_of("8.2", by_the_sum, seed)["status"] == "PASS"
