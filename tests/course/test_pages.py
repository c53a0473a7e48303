"""The book and the kit's pages in a browser: nothing is cut off on a telephone, and what moves does.

They need playwright and a Chromium: its own, or the one that the variable CHROMIUM names.
"""

import os
import re

import pytest

from minilift.course import book, kit, notebooks

sync_api = pytest.importorskip("playwright.sync_api")
for needed in ("nbconvert", "latex2mathml"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.slow
NAMES = ("05_implicit_weights", "13_branches")  # long equations; a wide table
WAIT = 120_000  # milliseconds: a machine may be busy


@pytest.fixture(scope="module")
def browser():
    """Return a browser, or skip where there is none."""
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM"), timeout=WAIT)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a book of two notebooks, their slides, the quiz and the handout."""
    place = tmp_path_factory.mktemp("pages")
    course = {name: notebooks.read(notebooks.paths(name)[1]) for name in NAMES}
    slides = {name: kit.slides(notebook) for name, notebook in course.items()}
    handout = kit.handout(notebooks.kit_file("handout"), course)
    book.write(place, course, f"[One]({NAMES[0]}.ipynb)")
    for name, text in slides.items():
        (place / f"slides_{name}.html").write_text(text, encoding="utf-8")
    for name, body in (("quiz", kit.quiz(notebooks.kit_file("quiz"))), ("handout", handout)):
        (place / f"{name}.html").write_text(kit.page(body), encoding="utf-8")
    return place


@pytest.fixture
def opened(browser, folder):
    """Return a function that opens a page at a width; a page that reports an error or loads from elsewhere fails."""
    pages, wrong = [], []

    def show(name, width, height=800, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
        page.goto((folder / f"{name}.html").as_uri(), timeout=WAIT)
        pages.append(page)
        return page
    yield show
    for page in pages:
        page.close()
    assert not wrong


@pytest.mark.parametrize("width", [400, 1200])
def test_a_page_of_the_book_is_as_wide_as_the_window_and_draws_everything(opened, width):
    for name in NAMES:
        page = opened(name, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.alt)")
        assert page.evaluate("[...document.querySelectorAll('main math')].filter(one => !one.closest('details'))"
                             ".every(one => one.getBoundingClientRect().height > 3)")
        cut = page.evaluate("[...document.querySelectorAll('main p, main li, main td, pre, .equation, figure')]"
                            ".filter(one => one.getBoundingClientRect().right > innerWidth + 1 &&"
                            " !one.closest('.table')).map(one => one.textContent.slice(0, 60))")
        assert cut == []
        assert page.evaluate("[...document.querySelectorAll('details')].every(one => !one.open)")


def test_text_can_be_read_on_a_telephone_and_in_the_dark(opened):
    page = opened(NAMES[0], 400, color_scheme="dark")
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('pre')).fontSize)") >= 11
    back, text = (page.evaluate(f"getComputedStyle(document.body).{what}") for what in ("backgroundColor", "color"))
    dark, light = (sum(map(int, re.findall(r"\d+", color)[:3])) for color in (back, text))
    assert dark < 150 < 600 < light


def test_the_search_finds_a_section_and_leads_there_and_on(opened):
    page = opened("index", 1200)
    page.fill("#search", "kantorovich")
    page.click("#found a")
    page.wait_for_url(f"**/{NAMES[0]}.html#part*")
    page.click("nav a:last-child")
    page.wait_for_url(f"**/{NAMES[1]}.html")


def test_the_quiz_counts_right_answers(opened):
    page = opened("quiz", 400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.click("#grade")
    assert page.text_content("#score").startswith("0 of 10.")
    questions = [choices for _, choices, _ in kit.QUESTION.findall(notebooks.kit_file("quiz"))]
    right = [re.findall(r"\[(.)\]", choices).index("x") for choices in questions]
    for k, i in enumerate(right):
        page.check(f'input[name="q{k}"][value="{i}"]')
    page.click("#grade")
    assert page.text_content("#score").startswith("10 of 10. You are ready")
    page.check(f'input[name="q0"][value="{(right[0] + 1) % 4}"]')
    page.click("#grade")
    assert page.text_content("#score").startswith("9 of 10.")


@pytest.mark.parametrize("name", NAMES)
def test_slides_fit_the_screen_and_turn_by_keys(opened, name):
    page = opened(f"slides_{name}", 1200, 675)
    too_large = page.evaluate("[...document.querySelectorAll('section')].map((one, k) => [k + 1, one.offsetHeight])"
                              ".filter(pair => pair[1] > 690)")
    assert too_large == []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.evaluate("here()") == 1
    hidden = page.evaluate("getComputedStyle(document.querySelector('.notes')).display")
    page.keyboard.press("n")
    assert [hidden, page.evaluate("getComputedStyle(document.querySelector('.notes')).display")] == ["none", "block"]


def test_the_handout_prints_on_one_page(opened, tmp_path):
    opened("handout", 1200).pdf(path=tmp_path / "handout.pdf", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "handout.pdf").read_bytes())) == 1
