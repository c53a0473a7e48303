r"""The index of equations: which line implements an equation of the papers, what checks it, and which test guards it.

The index is built from comments, so that it lists only what the code itself declares. A line that implements an
equation ends with its tag, such as ``# ProxProp (11), (13)`` or ``# LocoProp-S``; a test that fails when that line is
wrong says ``# holds ProxProp (11)`` in its body. The claims that `verify` measures name their equation as their source.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

from minilift.checks.report import CLAIMS
from minilift.support.arguments import unknown_name
from minilift.support.files import read_text, write_bytes
from minilift.support.options import naming

EQUATIONS = {
    "BackProp": "∇J in θ_l is ãᵀ g_l, with g_l = ∂J/∂z_l",
    "BackProp signal": "g_{l−1} = σ′(z_{l−1}) ⊙ (g_l W_lᵀ), the recursion from the last map to the first",
    "Representer": "every local step is ãᵀU: solve for U with ããᵀ, or for the step with ãᵀã, whichever is smaller",
    "ProxProp (3)": "E = L_y(φ_D) + Σ γ/2 ‖σ(z_l) − a_l‖² + ρ/2 ‖φ_l − z_l‖²",
    "ProxProp (8)": "a_{D−1}^½ = a_{D−1} − τ ∂J/∂a_{D−1}",
    "ProxProp (9)": "z_l^½ = z_l − τ g_l",
    "ProxProp (10)": "a_l^½ = a_l − τ ∂J/∂a_l",
    "ProxProp (11)": "θ_l ← argmin ½‖φ(θ, a_{l−1}) − z_l^½‖² + 1/(2τ_θ) ‖θ − θ_l‖²",
    "ProxProp (12)": "θ_D ← θ_D − τ ∇J, the explicit step on the last map",
    "ProxProp (13)": "the step of (11) is τ M⁻¹∇J with M = I/τ_θ + ãᵀã",
    "ProxProp (14)": "M v = ∇J by conjugate gradients from v = 0",
    "ProxProp Prop. 1": "Proposition 1: a sweep of Algorithm 1 on E with γ = ρ = 1/τ takes θ to θ − τ ∇J, on any graph",
    "ProxProp Prop. 2": "Proposition 2: the minimiser of (11) is θ_l − τ M⁻¹∇J",
    "ProxProp Prop. 3": "Proposition 3: fixed points are stationary points, d = 0 ⇔ ∇J = 0",
    "ProxProp Prop. 4": "Proposition 4: d descends; the condition number of M bounds its angle to ∇J",
    "ProxProp Prop. 5": "Proposition 5: any number of conjugate gradient steps gives a descent direction",
    "LocoProp-S": "min ½‖ãθ − (z_l − γ g_l)‖² + 1/(2η) ‖θ − θ_l‖²",
    "LocoProp-M": "min Σ F(ãθ) − ⟨f(z_l) − γ g_l, ãθ⟩ + 1/(2η) ‖θ − θ_l‖²",
    "SIBP W": "W ← argmin ‖σ(aW + 1bᵀ) − (σ(z_l) − η ∂J/∂a_l)‖² + λ ‖W − W_l‖²",
    "SIBP b": "b ← argmin of the same in b, at the new W",
    "SIBP signal": "∂J/∂a_{l−1} = g_l Wᵀ with the new W",
    "FOOF": "d_l = (A + λI)⁻¹∇J, A = ãᵀã/N or its running average, of the mean loss",
    "K-FAC": "d_l = (A + λ_A I)⁻¹ ∇J (S + λ_S I)⁻¹, or the solution of A d S + λ d = ∇J",
    "K-FAC S": "S = Σ BᵀHB/N with B = ∂z_D/∂z_l and H the loss's Hessian, or the samples' own ggᵀ in its place",
    "K-FAC average": "each factor F ← r F + (1 − r) F_batch with r = min(1 − 1/k, decay) in step k",
    "Gauss–Newton": "(G + λI) d = ∇J for all θ at once, G = Σ JᵀHJ/N",
    "Muon": "Newton–Schulz: X ← aX + (bXXᵀ + c(XXᵀ)²)X, which acts on each singular value by itself",
    "Lifted θ": "θ_l ← argmin ρ/2 ‖z_l − φ(θ, a_{l−1})‖² + α/2 ‖θ − θ_l‖², ProxProp (11) with target z_l (BCD, ADMM)",
    "Lifted a": "a_l ← argmin ρ/2 ‖z_{l+1} − φ(θ_{l+1}, a)‖² + γ/2 ‖a − σ(z_l)‖² (BCD, ADMM)",
    "Lifted z": "z_l ← argmin γ/2 ‖σ(z) − a_l‖² + ρ/2 ‖z − φ_l‖² + α/2 ‖z − z_l‖², entry by entry (BCD, ADMM)",
    "Lifted output": "v ← argmin L_y(v) + w/2 ‖v − c‖², the prox of the summed loss (BCD, ADMM)",
    "BCD jacobi": "W for the old b and b for the old W, as the authors' program has it",
    "ADMM u": "u ← u + β (z_D − φ_D)",
    "PC latent": "v_l ← v_l − η (e_l + (∂φ_{l+1}/∂v_l)ᵀ g_{l+1}), all l at once; e_l = v_l − f_l, g_l = ∂F/∂φ_l",
    "PC direction": "∂F/∂θ_l = ãᵀ g_l at the values reached; with fixed predictions and η = 1 it is ∇J",
    "DTP target": "h_{l−1} − t_{l−1} = g_l(h_l) − g_l(t_l) with learned inverses g_l",
    "DTP direction": "the gradient of ½‖f_l(h_{l−1}) − t_l‖² in θ_l, divided by β",
    "DTP inverse": "the gradient of ½‖g_l(f_l(h̃)) − h̃‖² in ψ_l, with h̃ = h_{l−1} + σε",
    "MAC W": "argmin μ/2 ‖σ(ãθ) − a_l‖² + α/2 ‖θ − θ_l‖² (SIBP's problem), on the last map L_y(ãθ) + α/2 ‖θ − θ_D‖²",
    "dlADMM b": "b_l ← mean of z_l + u_l/ρ − a_{l−1}W_l, the argmin of its block",
    "dlADMM W": "W_l ← W_l − ∂E/∂W_l / α with the least α = κ 2^m that bounds E along it",
    "dlADMM a": "a_l ← a_l − ∂E/∂a_l / α likewise",
    "dlADMM u": "u ← u + ρ (z_D − φ_D)",
    "Matching energy": "E = L_y(φ_D) + Σ μ_l (F(φ_l) + F*(a_l) − ⟨a_l, φ_l⟩), F′ = σ",
    "Matching gradient": "∂E/∂a_l = μ_l (σ⁻¹(a_l) − q_l), q_l = φ_l − ∇h_{l+1}(φ_{l+1}) W_{l+1}ᵀ/μ_l, without σ′",
    "Matching θ": "θ_l ← argmin of E + α/2 ‖θ − θ⁰‖², LocoProp-M's problem with target a_l",
    "Fenchel a": "a_l ← argmin of E, where a_l = σ(q_l)",
    "LPOM a": "a_l ← σ(q_l(a_l)), repeated",
    "Bregman a": "a_l ← prox of tψ at a_l − t (a_l − q_l(a_l)), repeated, where σ is the prox of ψ",
    "MAC a": "a_l by Gauss–Newton steps on μ/2 ‖a − σ(φ_l)‖² + μ/2 ‖a_{l+1} − σ(φ(θ_{l+1}, a))‖², of each sample",
}

TOP = Path(__file__).parent.parent.parent  # of the project
PAPERS = {  # of the equations whose names begin so
    "ProxProp": "Frerix, Möllenhoff, Moeller, Cremers, ICLR 2018",
    "LocoProp": "Amid, Anil, Warmuth, AISTATS 2022",
    "SIBP": "Liu, Zhang, 2020",
    "FOOF": "Benzing, ICML 2022",
    "K-FAC": "Martens, Grosse, ICML 2015",
    "Muon": "Jordan et al., 2024",
    "Lifted": "Zeng, Lau, Lin, Yao, ICML 2019 (BCD); Taylor, Burmeister, Xu, Singh, Patel, Goldstein, ICML 2016 (ADMM)",
    "BCD": "Zeng, Lau, Lin, Yao, ICML 2019",
    "ADMM": "Taylor, Burmeister, Xu, Singh, Patel, Goldstein, ICML 2016",
    "PC": "Whittington, Bogacz 2017; Millidge, Tschantz, Buckley 2020 (fixed predictions)",
    "DTP": "Lee, Zhang, Fischer, Bengio 2015",
    "MAC": "Carreira-Perpiñán, Wang, AISTATS 2014",
    "dlADMM": "Wang, Yu, Chen, Zhao, KDD 2019",
    "Matching": "Gu, Askari, El Ghaoui, AISTATS 2020 (Fenchel lifted networks); Li, Fang, Lin, AAAI 2019 (LPOM); "
                "Wang, Benning, 2022 (lifted Bregman)",
    "Fenchel": "Gu, Askari, El Ghaoui, AISTATS 2020",
    "LPOM": "Li, Fang, Lin, AAAI 2019",
    "Bregman": "Wang, Benning, 2022",
}

NAMES = "|".join(sorted((re.escape(name) for name in EQUATIONS if not name.startswith("ProxProp")), reverse=True))
TAG = rf"(?:ProxProp \(\d+\)|ProxProp Prop\. \d|{NAMES})"
TAGS = re.compile(rf"{TAG}(?:, (?:{TAG}|\(\d+\)|Prop\. \d))*")  # "ProxProp (11), (13), Prop. 2"
FIRST_WORDS = "|".join(sorted({re.escape(name.split()[0]) for name in EQUATIONS} - {"ProxProp"}))
LOOKS_LIKE_TAG = re.compile(rf"(?:ProxProp \(|ProxProp Prop|(?:{FIRST_WORDS})\b)")


class Place(NamedTuple):
    """A tagged line: path from the top of the project, line number, and the function or class that holds it."""

    path: str
    line: int
    name: str

    def __str__(self):
        return f"{self.path}:{self.line} {self.name}"


def add_arguments(parser):
    """Declare the options of `minilift equations`."""
    parser.add_argument("filter", nargs="*", metavar="WORD",
                        help="print only rows that have all these words in the name, and then those that have them in "
                             "name, statement and paper; if there are none, those that have them in the places: 13, "
                             "'ProxProp (13)', representer, 'Taylor 2016', sibp, energy.py (default: everything)")
    parser.add_argument("--write", metavar="FILE", type=Path,
                        help="renew the table between the two 'equations' marks of a Markdown file such as "
                             "tutorials/EQUATIONS.md")


def run(arguments):
    """Print the index, or write it into a file; return the exit code."""
    if arguments.write is not None:
        return write_table(arguments.write, arguments.filter)
    code, tests = index()
    print(listing(code, tests, *matching(" ".join(arguments.filter), code, tests)))
    return 0


def write_table(path, words):
    """Renew the table in a Markdown file; return the exit code."""
    if words:
        raise ValueError("--write: writes the whole table; leave out the words")
    with naming("--write", OSError):
        text = read_text(path)
        with_table(text, "")
    code, tests = index()
    if not any(tests.values()):
        raise ValueError("--write: the tests, which the table names, are not installed; write it in a clone")
    above = path.resolve().parents
    top = "../" * above.index(TOP) if TOP in above else ""  # from the file's folder to the top of the project
    write_bytes(path, with_table(text, markdown(code, tests, top)).encode())
    print(f"renewed the table of equations in {path}")
    return 0


def matching(query, code, tests):
    """Return the equations that match a query by name, and the others that match; all, by name, if it is empty.

    All its words must be in the name of an equation, or in name, statement and paper; if they are in none of these, in
    the places. Case does not matter. A number does not match a part of another.

    Raises
    ------
    ValueError
        If nothing matches; the message gives the nearest name.
    """
    patterns = [rf"(?<!\d){word}(?!\d)" if re.fullmatch("[0-9]+", word) else re.escape(word) for word in query.split()]

    def found(text_of):
        return [name for name in EQUATIONS if all(re.search(word, text_of(name), re.IGNORECASE) for word in patterns)]

    named = found(str)
    others = [name for name in found(lambda name: f"{name} {EQUATIONS[name]} {paper_of(name)}") if name not in named]
    if not named and not others:
        others = found(lambda name: " ".join(f"{place.path} {place.name}" for place in code[name] + tests[name]))
    if not named and not others:
        raise unknown_name("WORD", query, tuple(EQUATIONS))
    return named, others


def paper_of(equation):
    """Return the papers in which an equation stands, or "" for what belongs to no single paper."""
    return next((paper for first, paper in PAPERS.items() if equation.startswith(first)), "")


def index():
    """Return two dicts from each equation to its list of `Place`: lines of the package, and tests that guard it.

    An installed package comes without its tests: the lists of the second dict are then empty.
    """
    tests = TOP / "tests"
    own = (tests / "checks" / "test_equations.py").is_file()  # tests beside an installed package may be someone else's
    held = collect(tests, r"holds (?P<tags>.*)") if own else {equation: [] for equation in EQUATIONS}
    return collect(TOP / "minilift", r"(?P<tags>.*)"), held


def collect(folder, form):
    """Return {equation: [Place, …]} from the comments of `form` in the Python files of a folder.

    The notebooks' sources, which an installed package contains, are left out: their comments are prose.

    Raises
    ------
    ValueError
        If a comment looks like a tag but is not one, or names an equation that is not in the list.
    """
    places = {equation: [] for equation in EQUATIONS}
    for path in sorted(folder.rglob("*.py")):
        if "tutorials" in path.relative_to(folder).parts:
            continue
        shown = path.relative_to(folder.parent).as_posix()
        source = path.read_text(encoding="utf-8")
        found = tagged_lines(source, form)
        holders = definitions(source) if found else []
        for line, tags in found:
            name = ".".join(name for first, last, name in holders if first <= line <= last)
            for equation in parse_tags(tags, f"{shown}:{line}"):
                places[equation].append(Place(shown, line, name))
    return places


def parse_tags(text, where):
    """Return the equations of a tag such as 'ProxProp (11), (13), Prop. 2'."""
    if not TAGS.fullmatch(text):
        raise ValueError(f"{where}: the comment {text!r} looks like the tag of an equation but is none; "
                         "write tags alone, as in 'ProxProp (11), (13)'")
    equations, paper = [], None
    for item in text.split(", "):
        continued = item.startswith(("(", "Prop."))  # of the same paper as the item before
        paper = paper if continued else item.split()[0]
        equation = f"{paper} {item}" if continued else item
        if equation not in EQUATIONS:
            raise unknown_name(f"{where}: equation", equation, tuple(EQUATIONS))
        equations.append(equation)
    return equations


def tagged_lines(source, form):
    """Return (line, tags) for each comment of a Python source that matches `form` and looks like a tag."""
    if not re.search(rf"#.*{LOOKS_LIKE_TAG.pattern}", source):  # this is quicker than parsing for comments
        return []
    comments = [(token.start[0], token.string.lstrip("#").strip())
                for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT]
    matches = [(line, re.fullmatch(form, comment)) for line, comment in comments]
    return [(line, match["tags"]) for line, match in matches if match and LOOKS_LIKE_TAG.match(match["tags"])]


def definitions(source):
    """Return (first line, last line, name) of each function and class of a Python source, the outer ones first."""
    nodes = [node for node in ast.walk(ast.parse(source))
             if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    return [(min(part.lineno for part in (node, *node.decorator_list)), node.end_lineno, node.name) for node in nodes]


def claims():
    """Return {equation: [Place, …]} of the functions in which `verify` measures a claim about an equation."""
    places = {equation: [] for equation in EQUATIONS}
    for claim in CLAIMS:
        function = inspect.unwrap(claim.measure).__code__
        path = Path(function.co_filename).relative_to(TOP).as_posix()
        for equation in named_in(claim.source):
            places[equation].append(Place(path, function.co_firstlineno, function.co_name))
    return places


def named_in(source):
    """Return the equations that the source of a claim names, such as 'ProxProp (8)–(10)' or 'ProxProp Prop. 4, 5'."""
    numbers = [f"ProxProp ({number})" for first, last in re.findall(r"\((\d+)\)(?:–\((\d+)\))?", source)
               for number in range(int(first), int(last or first) + 1)]
    propositions = [f"ProxProp Prop. {number}" for several in re.findall(r"Prop\. ([\d, ]+)", source)
                    for number in re.findall(r"\d", several)]
    return [*re.findall(rf"\b(?:{NAMES})(?!\w)", source), *numbers, *propositions]


def listing(code, tests, equations=tuple(EQUATIONS), others=()):
    """Return the index as text: each equation, its paper, its lines, the claims of `verify` about it, and its tests.

    If there are `equations`, a line says that the `others`, which follow them, have other names.
    """
    blocks, claimed = [], claims()
    for equation in (*equations, *others):
        rows = [f"{equation:<16} {EQUATIONS[equation]}"]
        places = {"paper": filter(None, [paper_of(equation)]), "code": code[equation], "verify": claimed[equation],
                  "test": tests[equation]}
        rows += [f"    {kind:<6}  {place}" for kind, found in places.items() for place in found]
        blocks.append("\n".join(rows))
    if equations and others:
        blocks.insert(len(equations), "Others, which have it in their statement or paper:")
    if not any(tests.values()):
        blocks.append("The tests are not installed with the package; in a clone they are listed here too.")
    return "\n\n".join(blocks)


def markdown(code, tests, top=""):
    """Return the index as a Markdown table, without line numbers, which every edit would make out of date.

    `top` is the relative path to the top of the project, which the places start from.
    """
    heads, claimed = ("equation", "says", "paper", "code", "`verify`", "test"), claims()
    rows = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for equation, statement in EQUATIONS.items():
        places = " | ".join(links(found[equation], top) for found in (code, claimed, tests))
        rows.append(f"| {equation} | {statement} | {paper_of(equation)} | {places} |")
    return "\n".join(rows)


def links(places, top=""):
    """Return Markdown links to the functions of some places, each once."""
    found = dict.fromkeys((place.name or place.path, place.path) for place in places)
    return "<br>".join(f"[`{name}`]({top}{path})" for name, path in found)


def with_table(text, table):
    """Return a Markdown text with the table between its two marks replaced.

    Raises
    ------
    ValueError
        If the text does not have exactly one pair of marks.
    """
    parts = re.split(r"(<!-- equations -->\n|<!-- /equations -->)", text)
    if len(parts) != 5:
        raise ValueError("expected one '<!-- equations -->' and one '<!-- /equations -->' line to hold the table")
    return "".join([parts[0], parts[1], table + "\n", parts[3], parts[4]])
