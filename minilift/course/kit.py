"""The lecturer's kit: plans, quiz, slides, handout, rubrics and a guide to misconceptions, from the course's sources.

Its prose is in `tutorials/kit/*.md`; the pages look like the book's, and equations are in MathML, too.
"""

from __future__ import annotations

import ast
import html
import itertools
import re
import textwrap
from importlib import resources
from string import Template

from minilift.course import book, exam
from minilift.support.files import write_text
from minilift.support.terminal import capitalised

ROW = re.compile(r"^\| \[(\d\d) ([^]]*)\]\((\w+)\.ipynb\)[^|]*\| (\d+) \|", re.M)
MATH_OR_CODE = re.compile(r"\$\$.*?\$\$|\$.*?\$|`.*?`", re.S)
SENTENCE_END = re.compile(r"""(?:(?<=[.?!])|(?<=[.?!][")]))(?<!Fig\.)(?<!e\.g\.)\s+(?=[A-Z*("])""")
OPEN = re.compile(r"^## Exercise (\d+\.\d+) \(open\): (.*)$", re.M)
FOLDED = re.compile(r"(?s)<details>.*?</details>\n?")
WRITTEN_OUT = re.compile(r"(?s)<details><summary>Written out.*?</summary>\n*(.*?)</details>\n?")
QUESTION = re.compile(r"^\d+\. (.*)\n((?:   - \[.\] .*\n)+)   > (.*)$", re.M)
SCORE = re.compile(r"^- (\d+): (.*)$", re.M)
KIND = re.compile(r"^## ([^\n]*)\n<!-- words: ([^\n]*) -->\n(.*?)(?=^## |\Z)", re.M | re.S)
TAGGED = re.compile(r"  # .*(\([\w.–]+\)|\bProp(osition|\.))")
LONG = 80  # words in a part beyond which slides show only the first sentence of each paragraph
FULL = 11  # weight of a full slide: an equation counts two, a line of a list or of code one, ten words one
WIDE = 90  # letters of code in a line of a slide
AFTER = {"exercise": "After the exercise", "predict": "The answer"}  # titles after a cell with such a tag

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="stylesheet" href="book.css">
</head>
<body>
<header><a href="index.html">The lecturer's kit</a></header>
<main>
$body
</main>
</body>
</html>
""")

SLIDES = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style
html { scroll-snap-type: y mandatory; }
body { font-size: clamp(1rem, 2.1vw, 1.7rem); counter-reset: slide; }
section { min-height: 100vh; padding: 5vh 7vw; scroll-snap-align: start; display: flex; flex-direction: column;
  justify-content: center; counter-increment: slide; position: relative; }
section::after { content: counter(slide) " · $title"; position: absolute; bottom: 2vh; right: 3vw; font-size: 0.6em;
  opacity: 0.6; }
section.title { font-size: 0.85em; }
section.title, section.question { background: var(--soft); }
h1, h2 { margin: 0 0 0.6em; color: var(--link); }
p, .equation, pre, ul, ol { margin: 0.35em 0; }
pre { font-size: 0.72em; white-space: pre-wrap; }
.equation math { flex: none; }
.equation { gap: 0 2rem; justify-content: flex-start; flex-wrap: wrap; font-size: 0.95em; }
figure { margin: 0; text-align: center; }
figure img { max-height: 68vh; width: auto; }
figcaption { font-size: 0.6em; }
.notes { display: none; font-size: 0.62em; border-top: 1px solid var(--line); margin-top: 1em; }
.speaking .notes { display: block; }
@media print {
  @page { size: 297mm 167mm; margin: 0; }
  section { break-after: page; height: 167mm; min-height: 0; overflow: hidden; }
}
</style>
</head>
<body>
$slides
<script>
const slides = [...document.querySelectorAll("section")];
const here = () => slides.findIndex(slide => slide.getBoundingClientRect().bottom > innerHeight / 2);
addEventListener("keydown", event => {
  const step = {ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1}[event.key];
  if (event.key === "n") document.body.classList.toggle("speaking");
  if (!step) return;
  event.preventDefault();
  slides[Math.min(Math.max(here() + step, 0), slides.length - 1)].scrollIntoView();
});
</script>
</body>
</html>
""")

HANDOUT_STYLE = """<style>
main { max-width: none; font-size: 0.8rem; line-height: 1.3; }
main h1 { font-size: 1.1rem; margin: 0; } main p { margin: 0.3rem 0; }
dl { columns: 24rem; margin: 0.3rem 0; } dl div { break-inside: avoid; margin-bottom: 0.28rem; }
dt { font: bold 0.92em system-ui, sans-serif; display: inline; } dd { display: inline; margin: 0 0 0 0.4em; }
dd small { opacity: 0.7; } sub, sup { font-size: 0.75em; line-height: 0; }
@media print { @page { size: A4; margin: 9mm; } header, nav { display: none; } main { padding: 0; font-size: 6.9pt; }
  dl { columns: 2; column-gap: 6mm; } }
</style>"""

GRADER = """<p><button id="grade">Grade</button> <strong id="score" role="status"></strong></p>
<script>
const KEYS = $keys, ADVICE = $advice;
const mark = text => [...text].reduce((h, c) => Math.imul(h ^ c.codePointAt(0), 16777619) >>> 0, 2166136261);
document.getElementById("grade").addEventListener("click", () => {
  let right = 0;
  document.querySelectorAll("fieldset").forEach((field, k) => {
    const chosen = field.querySelector("input:checked"), fits = chosen && mark(k + ":" + chosen.value) === KEYS[k];
    right += fits ? 1 : 0;
    field.querySelector("output").textContent = fits ? "Right." : "Not yet. Read up: " + field.dataset.review;
  });
  const words = ADVICE.find(([least]) => right >= least)[1];
  document.getElementById("score").textContent = `$${right} of $${KEYS.length}. $${words}`;
});
</script>"""


def write(directory, notebooks, answers, texts, seed):
    """Write the kit, without its examinations, into a folder that exists.

    Parameters
    ----------
    directory : Path
    notebooks : dict of name → notebook
        The executed student versions, in order.
    answers : dict of name → cells
        The cells of the sources, with model answers.
    texts : dict of name → str
        The Markdown files of `tutorials/kit`, and "README", the course's own.
    seed : int
        The seed of the examinations.
    """
    found = {name: diagnoses(module_source(name)) for name in notebooks}
    places = {number: f"[{number} {title}](slides/{name}.html) ({minutes} min)"
              for number, title, name, minutes in ROW.findall(texts["README"])}
    minutes = {number: int(time) for number, _, _, time in ROW.findall(texts["README"])}
    words = {"{slides}": ", ".join(f"[{name[:2]}](slides/{name}.html)" for name in notebooks), "{seed}": str(seed),
             "{total}": str(sum(len(said) for kinds in found.values() for _, said in kinds)),
             **{f"{{{number}}}": place for number, place in places.items()}}

    def filled(name):
        text = re.sub(r"\{minutes: ([\d ]+)\}", lambda m: str(sum(minutes[n] for n in m[1].split())), texts[name])
        return re.sub(r"\{\w+\}", lambda match: words.get(match[0], match[0]), text)
    pages = {"index": filled("index"), "plans": filled("plans"),
             "examination": filled("examination") + changes(texts["variants"], seed),
             "rubrics": texts["rubrics"] + "\n".join(rubric for cells in answers.values() for rubric in rubrics(cells)),
             "misconceptions": misconceptions(filled("misconceptions"), found)}
    bodies = {name: book.markdown(text) for name, text in pages.items()}
    bodies |= {"quiz": quiz(texts["quiz"]), "handout": handout(texts["handout"], notebooks)}
    for name, body in bodies.items():
        write_text(directory / f"{name}.html", page(body))
    write_text(directory / "book.css", book.STYLE)
    (directory / "slides").mkdir(exist_ok=True)
    for name, notebook in notebooks.items():
        write_text(directory / "slides" / f"{name}.html", slides(notebook))


# ---- slides

def slides(notebook):
    """Return a notebook's slides as one HTML file.

    The part of the text under a heading becomes one or more slides: the first sentence of each paragraph, all
    equations, the statements of code that carry an equation's number, what is printed below a text that ends in a
    colon, and each figure by itself. The notes hold all text.
    """
    shown: list[str] = []
    title, parts, notes = "", [], []

    def close(carried=()):
        nonlocal parts, notes
        if parts:
            shown.append(slide(title, parts, "\n\n".join(notes), first=not shown))
        parts, notes = list(carried), []

    def add(unit):
        if shown and parts and sum(map(weight_of, [*parts, unit])) > FULL:
            leads = unit.startswith(("$$", "```text")) and len(parts) > 1  # to an equation, or to what is printed
            close([parts.pop()] if leads else [])
        parts.append(unit)

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            for heading, text in blocks(cell["source"]):
                if heading:
                    close()
                    title = heading
                notes.append(text)
                for unit in units(text):
                    for part in re.split(r"\n(?=[-*] )", unit) if weight_of(unit) > FULL else [unit]:
                        add(part)
            continue
        tags = cell["metadata"].get("tags", [])
        lines = [] if "exercise" in tags else tagged_lines(cell["source"])
        announced = bool(parts) and parts[-1].endswith(":")
        if lines:
            add("```python\n" + "\n".join(lines) + "\n```")
        if announced and (printed := "".join(book.joined(output.get("text", "")) for output in cell["outputs"])):
            add("```text\n" + printed.rstrip("\n") + "\n```")
        figures = [book.output_html(output) for output in cell["outputs"] if "image/png" in output.get("data", {})]
        behind = [AFTER[tag] for tag in tags if tag in AFTER]
        if figures or behind:
            close()
        title = behind[0] if behind else title
        shown.extend(f'<section class="figure">\n<h2>{heading_html(title)}</h2>\n{figure}\n</section>'
                     for figure in figures)
    close()
    first = book.HEADING.search(shown[0])
    return SLIDES.substitute(title=html.escape(book.plain(first[2])).replace('"', ""), slides="\n".join(shown),
                             style=book.STYLE)


def blocks(source):
    """Return the parts of a cell under headings, as pairs (heading or "", text), without folded hints.

    What an exercise asks for, written out and folded after it, is unfolded: a slide comes after the exercise.
    """
    parts = re.split(r"(?m)^(?=#{1,2} )", FOLDED.sub("", WRITTEN_OUT.sub(r"\1", source)))
    return [re.fullmatch(r"(?s)(?:#{1,2} (.*?)(?:\n|$))?(.*)", part).groups() for part in parts if part.strip()]


def slide(title, parts, notes, first):
    """Return one slide as HTML."""
    kind = "title" if first else "question" if re.match("Predict|Exercise", title) else "text"
    level = "h1" if first else "h2"
    notes = f'<div class="notes">\n{book.markdown(notes)}\n</div>' if notes.strip() else ""
    return (f'<section class="{kind}">\n<{level}>{heading_html(title)}</{level}>\n'
            + book.markdown("\n\n".join(parts)) + notes + "\n</section>")


def heading_html(title):
    """Return a heading's text as HTML."""
    return re.sub(r"^\s*<p>(.*)</p>\s*$", r"\1", book.markdown(title), flags=re.S)


def units(text):
    """Return the units of a part of the text that a slide shows: sentences, equations, lists, tables."""
    found, long = [], len(text.split()) > LONG
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        prose = not re.match(r"\$\$|\||[-*\d]+\.? |```|    ", paragraph) and "\n1. " not in paragraph
        for piece in re.split(r"(?s)(\$\$.*?\$\$)", paragraph):
            shown = sentences(piece)[0] if prose and long and not piece.startswith("$$") else piece
            found += [shown.strip()] if shown.strip(" .,;\n") else []
    return found


def sentences(paragraph):
    """Return the sentences of a paragraph in Markdown, without ever cutting equations or code."""
    kept: list[str] = []

    def aside(match):
        kept.append(match[0])
        return f"MATH{len(kept) - 1}HTAM"
    cut = SENTENCE_END.split(MATH_OR_CODE.sub(aside, " ".join(paragraph.split())))
    return [re.sub(r"MATH(\d+)HTAM", lambda match: kept[int(match[1])], sentence) for sentence in cut]


def weight_of(unit):
    """Return how much of a slide's capacity a unit takes."""
    lines = unit.count("\n") + 1 if re.match(r"\||[-*\d]+\.? |```", unit) else 0
    if unit.startswith("```"):
        lines += sum(len(line) // WIDE for line in unit.split("\n"))  # which are broken there
    return 2 if unit.startswith("$$") else lines if unit[0] in "|`" else max(lines, len(unit.split()) / 10)


def tagged_lines(source):
    """Return the lines of the statements of code that carry the number of an equation, except checks of it.

    Of a loop or a definition only the head is a statement here; a comment belongs to the statement below it.
    """
    lines, found, above = source.split("\n"), [], 0
    statements = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    for node in sorted(statements, key=lambda node: node.lineno):
        inside = getattr(node, "body", [])
        end = inside[0].lineno - 1 if inside else node.end_lineno
        while inside and lines[end - 1].strip().startswith("#"):
            end -= 1
        shown, above = lines[above:end], end
        if any(TAGGED.search(line) for line in shown) and not lines[node.lineno - 1].strip().startswith("teach."):
            found += textwrap.dedent("\n".join(shown)).strip("\n").split("\n")
    return found


# ---- the pages

def page(body):
    """Return a page of the kit; its title is its first heading."""
    title = book.plain(re.search(r"(?s)<h1[^>]*>(.*?)</h1>", body)[1])
    return PAGE.substitute(title=html.escape(title), body=body)


def changes(table, seed):
    """Return in Markdown what a seed changes in each exercise, and which exercises have no variant."""
    texts = {number: " ".join(exam.drawn(table, number, seed).text.split()) for number in exam.variants(table)}
    lists = ["\n".join(f"- {number}: {text}" for number, text in rows.items()) for rows in (texts, exam.without(table))]
    return f"\n## What it changes\n\n{lists[0]}\n\n## Exercises without a variant\n\n{lists[1]}\n"


def quiz(text):
    """Return the quiz as HTML that grades itself; it contains only hashes of the right answers."""
    keys, fields = [], []
    for k, (question, choices, review) in enumerate(QUESTION.findall(text)):
        options = re.findall(r"- \[(.)\] (.*)", choices)
        right = next(i for i, (mark, _) in enumerate(options) if mark == "x")
        keys.append(mark_of(f"{k}:{right}"))
        buttons = "\n".join(f'<label><input type="radio" name="q{k}" value="{i}"> {heading_html(words)}</label><br>'
                            for i, (_, words) in enumerate(options))
        review = html.escape(book.plain(book.markdown(re.sub(r"\$(.*?)\$", readable, review))))
        fields.append(f'<fieldset data-review="{review}"><legend><strong>{k + 1}.</strong></legend>\n'
                      f"{book.markdown(question)}\n{buttons}\n<output></output></fieldset>")
    advice = [[int(least), words] for least, words in SCORE.findall(text)]
    head = text[:QUESTION.search(text).start()]
    script = Template(GRADER).substitute(keys=keys, advice=book.json.dumps(advice, ensure_ascii=False))
    return "\n".join([book.markdown(head), *fields, script])


def readable(match):
    """Return a short formula in TeX as plain text."""
    return match[1].replace("^T", "ᵀ")


def mark_of(text):
    """Return the 32-bit FNV-1a hash of a text of plain letters, as the quiz's script computes it."""
    number = 2166136261
    for letter in text:
        number = (number ^ ord(letter)) * 16777619 % 2**32
    return number


def handout(head, notebooks):
    """Return a page with the equations of the index, each with the first notebook that displays it."""
    from minilift.checks.equations import EQUATIONS
    texts = {name[:2]: "\n".join(cell["source"] for cell in notebook["cells"]) for name, notebook in notebooks.items()}
    rows = []
    for name, says in EQUATIONS.items():
        tag = name.replace("(", "").replace(")", "")
        sign = tag.replace("ProxProp Prop.", "Proposition") if "Prop." in tag else f"\\tag{{{tag}}}"
        first = next((f" <small>[{number}]</small>" for number, text in texts.items() if sign in text), "")
        rows.append(f"<div><dt>{html.escape(name)}</dt><dd>{indexed(says)}{first}</dd></div>")
    return HANDOUT_STYLE + book.markdown(head) + "\n<dl>\n" + "\n".join(rows) + "\n</dl>"


def indexed(text):
    """Return an equation of the index as HTML, with subscripts and superscripts."""
    text = re.sub(r"_(?:\{([^}]*)\}|([a-z]{2,}|\w))", lambda match: f"<sub>{match[1] or match[2]}</sub>",
                  html.escape(text))
    return re.sub(r"\^(\w|½)", r"<sup>\1</sup>", text)


def rubrics(cells):
    """Yield the rubric of each open exercise of a notebook, in Markdown, from its model answer.

    What an answer says of its own cells is worth no point.
    """
    for before, cell in itertools.pairwise(cells):
        if cell["cell_type"] != "markdown" or "answer" not in cell["metadata"].get("tags", []):
            continue
        heading = OPEN.search(before["source"])
        question = " ".join(FOLDED.sub("", before["source"][heading.end():]).split())
        points = [sentence.removeprefix("**One answer.** ") for sentence in sentences(cell["source"])
                  if not sentence.startswith("The cell ")]
        rows = "\n".join(f"| {point.replace('|', '&#124;')} | 1 |" for point in points)
        yield f"\n## {heading[1]} {heading[2]}\n\n{question}\n\n| one answer says | points |\n|---|---|\n{rows}\n"


# ---- the mistakes that exercises name

def module_source(name):
    """Return the source of a notebook's module of checks."""
    return (resources.files("minilift.course.exercises") / f"{name[3:]}.py").read_text(encoding="utf-8")


def diagnoses(source):
    """Return the messages of a module's checks about wrong answers: list of (exercise, list of messages)."""
    top = {}
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [])
        top[getattr(node, "name", targets[0].id if targets and isinstance(targets[0], ast.Name) else "")] = node
    found = []
    for node in top.values():
        number = next((call.args[0].value for call in ast.walk(node) if isinstance(call, ast.Call)
                       and ast.unparse(call.func) == "check" and isinstance(call.args[0], ast.Constant)), None)
        if number:
            used = [top[name.id] for name in ast.walk(node) if isinstance(name, ast.Name) and name.id in top]
            said = [message for part in [*used, node] for message in messages(part)]
            found.append((number, list(dict.fromkeys(said))))
    return found


def messages(node):
    """Yield the messages of a table of wrong answers, or those that a function of mistakes yields."""
    table = getattr(node, "value", None)
    wrong = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("WRONG")
    if wrong and isinstance(table, ast.Dict):
        yield from (key.value for key in table.keys if isinstance(key, ast.Constant))
    for part in ast.walk(node):
        pair = part.value if isinstance(part, ast.Yield) else None
        if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
            yield from (text.value for text in [pair.elts[1]] if isinstance(text, ast.Constant))


def misconceptions(text, found):
    """Return the guide in Markdown; each of the checks' messages is listed under the first kind that it fits."""
    kinds = KIND.findall(text)
    lines: dict[str, list[str]] = {title: [] for title, _, _ in kinds}
    for exercises in found.values():
        for number, said in exercises:
            for message in said:
                kind = next(title for title, words, _ in kinds if re.search(words, message))
                lines[kind].append(f"- {number}: {capitalised(message)}")
    parts = [f"## {title} ({len(lines[title])})\n\n{prose.strip()}\n\n<details><summary>What the checks say</summary>"
             "\n\n" + "\n".join(lines[title]) + "\n\n</details>\n" for title, _, prose in kinds]
    return text[:text.index("## ")] + "\n".join(parts)
