"""The book: pages that need nothing but themselves, with equations, folded code, captions and a search."""

import json
import re

import pytest

from minilift.cli import main
from minilift.course import book, notebooks

for needed in ("nbconvert", "latex2mathml"):
    pytest.importorskip(needed)


def cell(kind, source, *outputs):
    return {"cell_type": kind, "source": source, "metadata": {}, "outputs": list(outputs)}


PICTURE = {"output_type": "display_data", "data": {"image/png": "aGVsbG8=", "text/plain": "Figure: Two <curves>."}}
PRINTED = {"output_type": "stream", "name": "stdout", "text": ["a < b\n", "done"]}
SMALL = {
    "01_one": {"cells": [cell("markdown", "# 01 · One\n\nA *word* and $x^2 < y$."),
                         cell("markdown", "## Second part\n\n$$ \\arg\\min_u f(u) \\tag{1.1} $$\n\n"
                                          "| a | b |\n|---|---|\n| 1 | 2 |"),
                         cell("code", "fig = 1\nteach.show(fig)", PICTURE), cell("code", "print(1)", PRINTED)]},
    "02_two": {"cells": [cell("markdown", "# 02 · Two\n\n$$ \\begin{aligned} a &= b \\\\ c &= d \\end{aligned} $$")]},
}


@pytest.fixture
def pages(tmp_path):
    """Write the small book and return its files' texts by name."""
    book.write(tmp_path, dict(SMALL), "[One](01_one.ipynb), [solutions](solutions), [far](https://example.org)")
    return {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.is_file()}


def test_there_is_a_page_for_each_notebook_and_each_leads_on(pages):
    assert sorted(pages) == ["01_one.html", "02_two.html", "book.css", "index.html", "search.js"]
    assert re.findall(r'href="(\w+\.html)"', pages["01_one.html"].split("<nav>")[1]) == ["index.html", "02_two.html"]
    assert re.findall(r'href="(\w+\.html)"', pages["02_two.html"].split("<nav>")[1]) == ["01_one.html"]
    assert re.findall(r'href="([^"#]+)"', pages["index.html"].split("<main>")[1]) == \
        ["01_one.html", "https://example.org", "01_one.html", "reference/index.html"]


def test_it_leads_to_the_reference_which_it_never_replaces(pages, tmp_path):
    page = tmp_path / "reference" / "index.html"
    assert f"minilift docs --output {page.parent}" in page.read_text(encoding="utf-8")
    page.write_text("built", encoding="utf-8")
    book.write(tmp_path, dict(SMALL), "")
    assert page.read_text(encoding="utf-8") == "built"


def test_equations_are_mathml_with_their_numbers(pages):
    one, two = pages["01_one.html"], pages["02_two.html"]
    assert one.count("<math") == 2
    assert "<span>(1.1)</span>" in one
    assert not re.search(r"\$|\\\\[a-z]|MATH\d", one.split("<main>")[1])
    assert two.count("<mtr>") == 2


def test_figures_have_captions_and_their_code_is_folded(pages):
    page = pages["01_one.html"]
    assert 'alt="Two &lt;curves&gt;." src="data:image/png;base64,aGVsbG8="' in page
    assert "<figcaption>Two &lt;curves&gt;.</figcaption>" in page
    assert page.count("<details>") == 1
    assert "a &lt; b\ndone" in page


def test_nothing_is_loaded_from_elsewhere(pages):
    for name, text in pages.items():
        assert not re.search(r'(src|import|url\()\s*=?\s*["\']?https?:', text), name
    assert 'name="viewport"' in pages["index.html"]
    assert "prefers-color-scheme: dark" in pages["book.css"]


def test_the_search_knows_each_section(pages):
    index = json.loads(re.match(r"const INDEX = (.*);\n", pages["search.js"])[1])
    assert [(place, title) for place, title, _ in index] == [
        ("01_one.html#part0", "01 · One: 01 · One"), ("01_one.html#part1", "01 · One: Second part"),
        ("02_two.html#part0", "02 · Two: 02 · Two")]
    assert "a word and" in index[0][2]
    for place, _, _ in index:
        page, part = place.split("#")
        assert f'id="{part}"' in pages[page]


@pytest.mark.parametrize("outputs", [[], [PICTURE]])
def test_a_book_without_figures_says_so(tmp_path, monkeypatch, capsys, outputs):
    """An installed package has the notebooks without what they show."""
    monkeypatch.setattr(notebooks, "read", lambda path: {"cells": [cell("markdown", "x"), cell("code", "x", *outputs)]})
    monkeypatch.setattr(book, "write", lambda *arguments: None)
    assert main(["teach", "book", str(tmp_path)]) == 0
    assert ("the pages will have no figures" in capsys.readouterr().err) is not bool(outputs)


def test_every_equation_of_the_course_is_understood():
    for name in notebooks.CURRICULUM:
        texts = [c["source"] for c in notebooks.read(notebooks.paths(name)[1])["cells"] if c["cell_type"] == "markdown"]
        found = [formula for text in texts for formula in re.findall(r"(?s)<math.*?</math>", book.markdown(text))]
        assert len(found) > 30, name
        assert not [formula for formula in found if "\\" in formula], name
