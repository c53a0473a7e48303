"""The course as a book: static pages, made from the executed notebooks, that need neither a network nor a server.

nbconvert renders Markdown and colours code; latex2mathml turns equations into MathML, which browsers display natively.
Everything else is one template and one style sheet, below.
"""

from __future__ import annotations

import html
import json
import re
from string import Template

from minilift.support.files import write_text

MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)\$", re.S)
TAG = re.compile(r"\\tag\{([^}]*)\}")
HEADING = re.compile(r"<h([123])[^>]*>(.*?)</h\1>", re.S)
FIGURE = "teach.show("  # cells that draw have their code folded

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="stylesheet" href="book.css">
<script src="search.js" defer></script>
</head>
<body>
<header>
<a href="index.html">The course</a>
<input id="search" type="search" placeholder="Search" aria-label="Search the course">
<ol id="found"></ol>
</header>
<main>
$body
</main>
<nav>$steps</nav>
</body>
</html>
""")
NO_REFERENCE = Template("""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>The reference</title>
<p>The reference, what each public name takes and returns, is built by <code>minilift docs --output $folder</code>,
which replaces this page.</p>
<p><a href="../index.html">The course</a></p>
</html>
""")

STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --back: #fff; --soft: #f4f4f2; --line: #d8d8d4; --link: #0072B2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e6e3; --back: #191919; --soft: #262624; --line: #444; --link: #56B4E9; }
  .highlight span { filter: invert(1) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0; color: var(--text); background: var(--back); font: 1.05rem/1.55 Georgia, serif; }
header, main, nav { max-width: 52rem; margin: 0 auto; padding: 0.6rem 1rem; }
header, nav { display: flex; gap: 1rem; flex-wrap: wrap; align-items: center; border-bottom: 1px solid var(--line); }
nav { border: 0; border-top: 1px solid var(--line); justify-content: space-between; padding-bottom: 3rem; }
header input { flex: 1 1 10rem; font: inherit; padding: 0.2rem 0.6rem; }
#found { flex-basis: 100%; margin: 0; padding-left: 1.2rem; }
#found:empty { display: none; }
a { color: var(--link); }
.anchor-link { text-decoration: none; opacity: 0; }
:hover > .anchor-link { opacity: 1; }
h1, h2, h3, summary, th { line-height: 1.25; font-family: system-ui, sans-serif; }
pre { background: var(--soft); padding: 0.6rem 0.8rem; overflow-x: auto; font: 0.82rem/1.4 ui-monospace, monospace;
  border-radius: 4px; tab-size: 4; }
code { font: 0.86em ui-monospace, monospace; }
pre.printed { background: none; border-left: 3px solid var(--line); border-radius: 0; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { font: 0.85rem/1.4 system-ui, sans-serif; opacity: 0.85; }
details { margin: 0.4rem 0; }
.table, .equation { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; }
td, th { border: 1px solid var(--line); padding: 0.25rem 0.5rem; text-align: left; }
.equation { display: flex; justify-content: space-between; align-items: center; gap: 1rem; padding: 0.3rem 0; }
.equation math { flex: 1 0 auto; font-size: 1.08em; }
@media (max-width: 30rem) {
  body { font-size: 1rem; }
  pre { font-size: 0.72rem; }
  .equation math { font-size: 0.95em; }
}
"""

SEARCH = """
const box = document.getElementById("search"), list = document.getElementById("found");
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(word => word.length > 1);
  list.replaceChildren();
  if (!words.length) return;
  const fits = INDEX.filter(([, , text]) => words.every(word => text.includes(word))).slice(0, 12);
  for (const [place, title] of fits) {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = place; link.textContent = title;
    item.append(link); list.append(item);
  }
});
"""


def write(directory, notebooks, front):
    """Write the book into a folder that exists.

    Parameters
    ----------
    directory : Path
    notebooks : dict of name → notebook
        Executed notebooks, as dicts, in the order of the pages.
    front : str
        Markdown of the first page; links to `NAME.ipynb` are turned into links to the pages.
    """
    from pygments.formatters import HtmlFormatter
    names, titles, index = list(notebooks), {}, []
    for name, notebook in notebooks.items():
        parts = [cell_html(cell) for cell in notebook["cells"]]
        titles[name] = plain(HEADING.search(parts[0])[2])
        index += sections(name, titles[name], parts)
        notebooks[name] = "\n".join(parts)
    for k, name in enumerate(names):
        steps = [(names[k - 1], "← ") if k else ("index", "← "), (names[k + 1], "→ ") if k + 1 < len(names) else None]
        links = [f'<a href="{step[0]}.html">{step[1]}{titles.get(step[0], "The course")}</a>' for step in steps if step]
        write_text(directory / f"{name}.html", page(titles[name], notebooks[name], " ".join(links)))
    first = re.sub(r"\((\w+)\.ipynb\)", r"(\1.html)", front)
    first = re.sub(r"\[([^]]*)\]\((?![\w/]+\.html|https?:)[^)]*\)", r"\1", first)  # folders are not in the book
    ends = f'<a href="{names[0]}.html">Begin</a> <a href="reference/index.html">The reference</a>'
    write_text(directory / "index.html", page("The course", markdown(first), ends))
    reference = directory / "reference"
    if not (reference / "index.html").exists():
        write_text(reference / "index.html", NO_REFERENCE.substitute(folder=html.escape(str(reference))))
    write_text(directory / "book.css", STYLE + HtmlFormatter().get_style_defs(".highlight"))
    write_text(directory / "search.js", f"const INDEX = {json.dumps(index, ensure_ascii=False)};\n{SEARCH}")


def page(title, body, steps):
    """Return the HTML of a page."""
    return PAGE.substitute(title=html.escape(title), body=body, steps=steps)


def sections(name, title, parts):
    """Add anchors to headings, and return [anchor, title, text in lower case] of each section, for the search."""
    found = []
    for k, part in enumerate(parts):
        heading = HEADING.search(part)
        if heading:
            parts[k] = f'<a id="part{k}"></a>\n{part}'
            found.append([f"{name}.html#part{k}", f"{title}: {plain(heading[2])}", ""])
        if found:
            found[-1][2] += " " + plain(part).lower()
    return found


def plain(text):
    """Return the text in some HTML, without tags and equations."""
    text = re.sub(r"(?s)<(math|pre|svg).*?</\1>|<[^>]+>", " ", text)
    return re.sub(r"\s+", " ", html.unescape(text)).replace("¶", "").strip()


# ---- cells

def cell_html(cell):
    """Return a cell as HTML."""
    if cell["cell_type"] == "markdown":
        return markdown(cell["source"])
    from nbconvert.filters import Highlight2HTML
    code = Highlight2HTML(pygments_lexer="python3")(cell["source"])
    if FIGURE in cell["source"]:
        code = f"<details><summary>Code of the figure</summary>\n{code}\n</details>"
    return "\n".join([code, *map(output_html, cell["outputs"])])


def output_html(output):
    """Return an output of a cell as HTML: a figure with its caption, or what was printed."""
    data = output.get("data", {})
    text = joined(output.get("text") or data.get("text/plain", ""))
    if "image/png" not in data:
        return f'<pre class="printed">{html.escape(text)}</pre>'
    caption, image = html.escape(text.removeprefix("Figure: ")), "".join(joined(data["image/png"]).split())
    return (f'<figure><img alt="{caption}" src="data:image/png;base64,{image}">\n'
            f"<figcaption>{caption}</figcaption></figure>")


def joined(text):
    """Return a text that a notebook file may store as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


def markdown(source):
    """Return Markdown as HTML, with its equations as MathML."""
    from nbconvert.filters import markdown2html
    formulas = []

    def aside(match):
        formulas.append(mathml(*match.groups()))
        return f"MATH{len(formulas) - 1}HTAM"

    body = markdown2html(MATH.sub(aside, source))
    body = re.sub(r"<p>(MATH\d+HTAM)</p>", r"\1", body)
    body = re.sub(r"(?s)<table>.*?</table>", r'<div class="table">\g<0></div>', body)
    return re.sub(r"MATH(\d+)HTAM", lambda match: formulas[int(match[1])], body)


def mathml(display, inline):
    """Return an equation in TeX as MathML: displayed, with its number, or inline."""
    from latex2mathml.converter import convert

    def converted(tex, **options):
        return convert(tex.replace("{aligned}", "{align*}").replace(r"\arg", r"\operatorname{arg}").strip(), **options)
    if inline is not None:
        return converted(inline)
    number, equation = TAG.search(display), converted(TAG.sub("", display), display="block")
    return f'<div class="equation">{equation}<span>{f"({number[1]})" if number else ""}</span></div>'
