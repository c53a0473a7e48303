r"""Small edits of a function's source: a sign, an operator, a transpose, a factor, another operand, a statement.

A mistake in a derivation often becomes one of these in code: `a - b` for `b - a`, a factor left out, the old variable
for the new one. `edits_of` makes them one by one in the syntax tree of a function, from the plainest (`rank` 1) to the
kinds of which there are many (`rank` 6); `mends` tries which of them make all claims hold.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

WIDTH = 70  # characters of source shown at most, if some part that contains the edit is that short
OPPOSITE = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
REWRITES = {  # what may stand in place of an expression, each with its rank; a, b and c are any parts of it
    "a + b": "1 a - b; 3 a * b; 2 a; 2 b",
    "a - b": "1 a + b; 1 b - a; 2 a; 2 b; 2 -b",
    "a * b": "1 a / b; 3 a + b; 2 a; 2 b; 3 a @ b",
    "a / b": "1 a * b; 1 b / a; 2 a; 2 b; 2 1 / b",
    "a @ b": "1 b @ a; 1 a.T @ b; 1 a @ b.T; 2 a.T @ b.T; 4 (a + a.T) @ b; 4 a @ (b + b.T); 2 a; 2 b; 3 a * b",
    "a ** b": "1 b ** a; 2 a; 2 b",
    "a @ b * c": "3 a @ (b * c)", "(a * b) @ c": "3 a * (b @ c)",
    "(a @ b) ** c": "3 a ** c @ b ** c",
    **{f"a {sign} b": "2 a; 2 b" for sign in ("%", "&", "|", "^", "<<", ">>")},
    "a // b": "2 (a - 1) // b; 2 (a + 1) // b; 2 a; 2 b",
    "a * b / c": "2 a * c / b",
    **{f"a {times} b {plus} c": f"2 a {times} (b {plus} c)" for times in "*/" for plus in "+-"},
    **{f"a {plus} b {times} c": f"2 (a {plus} b) {times} c" for times in "*/" for plus in "+-"},
    "a + b * c": "2 (a + b) * c; 2 b * (a + c)",  # in place of what the line before says of it
    **{f"a {times} (b {plus} c)": f"2 a {times} b {plus} c" for times in "*/" for plus in "+-"},
    "a / (b + c)": "2 b / (a + c); 2 a / b + c",  # likewise
    **{f"(a {plus} b) {times} c": f"2 a {plus} b {times} c" for times in "*/" for plus in "+-"},
    **{f"{sign} a": "1 a" for sign in ("-", "+", "~", "not")},
    "a if b else c": "2 c if b else a; 2 a; 2 c"}
COMPARED = {ast.Lt: (ast.Gt, ast.LtE), ast.Gt: (ast.Lt, ast.GtE), ast.LtE: (ast.GtE, ast.Lt),
            ast.GtE: (ast.LtE, ast.Gt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
            ast.IsNot: (ast.Is,)}
ALIKE = (("sum", "mean", "median"), ("maximum", "minimum"), ("max", "min"), ("max", "sum"),
         ("argmax", "argmin"), ("var", "std"), ("sin", "cos"), ("sinh", "cosh"), ("tanh", "tan", "sinh"),
         ("log", "log1p", "log2"), ("exp", "expm1"), ("add", "multiply"), ("zeros", "ones"),
         ("zeros_like", "ones_like"), ("triu", "tril"), ("vstack", "hstack"), ("floor", "ceil"), ("cumsum", "cumprod"),
         ("sqrt", "square"), ("norm", "square"), ("tile", "repeat"))  # within a group, each may be mistaken for another
UFUNCS = ("add", "multiply", "maximum", "minimum")  # whose methods are exchanged too: np.add.outer
REDUCED = ("sum", "mean", "max", "min", "std", "var", "norm", "prod", "median")
OTHER_AXIS = {"0": "1", "1": "0", "-1": "0"}
OF_NUMBERS = ("sqrt", "log", "exp", "square", "norm")  # functions whose values may be factors, or terms, elsewhere
OF_ARRAYS = ("shape", "size", "ndim", "dtype")  # attributes that are not operands themselves
FIELDS = ("block.a", "block.z", "block.g", "block.theta")  # what a method is given, whether it uses it or not
MADE = ("zeros_like", "ones_like", "empty_like")  # make arrays with the dtype of another, and can hold only that
# keywords that may be missing: the functions, the rank, the keyword and its value
ADDED = ((MADE, 1, "dtype", "float"), (("solve_triangular",), 1, "trans", "'T'"), (("var", "std"), 3, "ddof", "1"))
LARGEST = 10_000  # whole number that is an operand
CUTS = 4  # slices in a statement, at most, of which pairs are exchanged
ENDS = ("::-1", ":, ::-1", "..., ::-1", ":-1", "1:", ":, None")  # cuts of a name
ARRAYS = 4  # global arrays that count as operands, whether a function reads them or not
PIECES = 6  # pieces of one function that are tried as factors, or terms
CLIPS = ("np.maximum(_, 0)", "np.minimum(_, 0)")
CONJUGATE = "np.conj(_)"
HOLE = re.compile(r"(?<!\w)_(?!\w)")  # in the source of a call, where an operand goes
SIGNS = {ast.Mult: "*", ast.Div: "/", ast.Add: "+", ast.Sub: "-"}
ORDERED = (ast.Lt, ast.Gt, ast.LtE, ast.GtE)
AS_PIECE = {ast.Add: (ast.Mult, ast.Div), ast.Sub: (ast.Mult, ast.Div), ast.Mult: (ast.Add, ast.Sub),
            ast.Div: (ast.Mult, ast.Div), ast.Pow: (ast.Mult, ast.Div)}
GUARD = "__minilift_goes_on__"  # the function that loops in copies call to learn whether they may go on
# methods that change their object, which must stay what it is: a copy might change what does not belong to it
CHANGING = ("append", "insert", "extend", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "add")
WAITS = ("sleep", "input", "wait", "acquire")  # calls that are never edited: a copy might wait for a long time
ENDLESS = ("repeat", "count", "cycle")  # of itertools: code that exhausts one never ends, and cannot be stopped
KEPT = (ast.Import, ast.ImportFrom, ast.Raise, ast.Assert, ast.Global, ast.Nonlocal, ast.Pass)  # statements left alone


@dataclass
class Edit:
    """One change to a syntax tree: a field of some node, its holder, or one item of that field, is replaced.

    Attributes
    ----------
    rank : int
        From 1, the plainest, to 6.
    line : int
    chain : list
        The nodes from the statement down to what changes, so that as much of the source is shown as fits.
    holder, field, index, new
        What is set, and its new value: a node, its source, a list of statements, or a function that makes such a list.
        The index is None if the field is not a list, or is set as a whole.
    said : tuple of str, optional
        What to show before and after, instead of the source that changes.
    """

    rank: int
    line: int
    chain: list
    holder: ast.AST
    field: str
    index: int | None
    new: object
    said: tuple | None = None

    @contextlib.contextmanager
    def made(self):
        """Make the edit for the block, and undo it afterwards."""
        kept, new = getattr(self.holder, self.field), self.ready()
        whole = new if self.index is None else [*kept[: self.index], new, *kept[self.index + 1:]]
        setattr(self.holder, self.field, whole)
        try:
            yield
        finally:
            setattr(self.holder, self.field, kept)

    def ready(self):
        """Return the new value, built only on demand, since for most edits it is never needed."""
        new = self.new() if callable(self.new) else expression(self.new) if isinstance(self.new, str) else self.new
        return new if isinstance(new, list) else at(new, self.chain[-1])

    def told(self):
        """Return the source before and after: of the statement, or of the largest part with the edit that fits."""
        if self.said:
            return self.said
        before = [source(node) for node in self.chain]
        with self.made():
            after = [source(node) for node in self.chain]
        # the last node of the chain is the one replaced; its own source does not change
        pairs = [(old, new) for old, new in zip(before, after) if old != new] or [(before[-1], source(self.ready()))]
        return next((pair for pair in pairs if max(map(len, pair)) <= WIDTH), pairs[-1])

    def written(self, lines):
        """Return the line of a file that changes, before and after, as its author wrote it; None if that is no line."""
        old = getattr(self.holder, self.field)
        old = old if self.index is None else old[self.index]
        if self.said or not self.chain or not isinstance(old, ast.expr) or old.lineno != old.end_lineno:
            return None
        statement = self.chain[0]
        text, row = lines[statement.lineno - 1 : statement.end_lineno], old.lineno - statement.lineno
        line, new = text[row].encode(), source(self.ready())
        with self.made():
            wanted = source(statement)
        begin, end = line[: old.col_offset], line[old.end_col_offset :]
        in_brackets = begin.endswith(b"(") and end.startswith(b")")
        for before, part, behind in ([(begin[:-1], new, end[1:])] * in_brackets  # (a) for (a + 1) as a
                                     + [(begin, new, end), (begin, f"({new})", end)]):
            after = (before + part.encode() + behind).decode()
            with contextlib.suppress(SyntaxError):
                whole = ast.parse(textwrap.dedent("".join([*text[:row], after, *text[row + 1 :]]))).body[0]
                if source(whole) == wanted:
                    return line.decode().strip(), after.strip()
        return None


def source(node):
    """Return the source of a node in one line; for a compound statement, its first line."""
    return ast.unparse(node).split("\n")[0] if isinstance(node, (ast.If, ast.For, ast.While, ast.With)) else " ".join(
        ast.unparse(node).split())


def edits_of(function: ast.FunctionDef | ast.Lambda, known: dict, runs: Callable = lambda line, last: True,
             wraps: Mapping[str, set] | None = None, pieces: Mapping[str, tuple] | None = None,
             literals: Iterable[float] = ()):
    """Yield the edits of a function.

    Parameters
    ----------
    function : ast.FunctionDef or ast.Lambda
    known : dict
        The values of its global and enclosing names; modules, functions and classes are not operands.
    runs : callable
        From the first and last line of a statement to whether it was run; a statement that was not is left alone.
    wraps : mapping, optional
        What may be applied to an operand, as `wraps_in` returns it; default nothing.
    pieces : mapping, optional
        What may be a factor or a term beside an operand, as `pieces_in` returns it; default nothing.
    literals : iterable of floats, optional
        What may stand in place of a number: those that the thing's other code contains.
    """
    operands = Operands(function, known, wraps or {}, pieces or {}, list(literals))
    if isinstance(function, ast.Lambda):
        yield from of_expression([function], function, "body", None, function.body, operands)
    else:
        yield from of_block(function, "body", function.body, operands, runs)
        yield from everywhere(function, operands)


def everywhere(function, operands):
    """Yield the edits that change every occurrence of something a function contains several times.

    Another function is called, or its arguments are exchanged, another operand is taken, or the same edit is made to
    every copy of an expression.
    """
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    called = [called_name(node) for node in calls]
    pairs = [(3, name, other) for name in sorted(set(called)) if called.count(name) > 1 for other in alike(name)]
    read = [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    filled = {ast.unparse(node.func.value) for node in calls
              if isinstance(node.func, ast.Attribute) and node.func.attr in CHANGING}
    pairs += [(4, name, other) for name in operands.found if read.count(name) > 1 and name not in filled
              for other in operands.found if other != name and other.isidentifier()]

    def edit(rank, line, old, new, change):
        return Edit(rank, line, [], function, "body", None,
                    lambda: [Mapped(change).visit(copy.deepcopy(statement)) for statement in function.body],
                    (old, f"{new if isinstance(new, str) else ast.unparse(new)}, everywhere"))

    for rank, name, other in pairs:
        call = "(…)" * (rank == 3)
        yield edit(rank, function.lineno, name + call, other + call, (renaming if call else replacing)(name, other))
    parts = {ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.BinOp)}
    for name in (name for name in operands.found if f"1 - {name}" in parts):
        yield edit(4, function.lineno, f"{name} … 1 - {name}", f"1 - {name} … {name}", complementing(name))
    added = [node for node in ast.walk(function) if is_added(node)]
    if len(added) > 1:
        yield edit(3, added[0].lineno, "x[i] += y", "np.add.at(x, i, y)", added_at)
    forms = [(called_name(node), len(node.args)) for node in calls]
    for name, count in dict.fromkeys(forms):
        if forms.count((name, count)) > 1 and count in (2, 3):
            told = [f"{name}({'_, ' * (count - 2)}{pair})" for pair in ("x, y", "y, x")]
            yield edit(3, function.lineno, *told, exchanging(name, count))
    pieces = [(text, operator) for text, (_, operators) in operands.pieces.items() for operator in operators]
    for name, (text, operator) in itertools.product(operands.found, pieces):
        if read.count(name) > 1 and name not in names_in(text):
            new = combined(name, operator, text)
            yield edit(6, function.lineno, name, new, replacing(name, new))
    for text, nodes in alike_in(function).items():
        for rank, new in of_node(nodes[0], operands, top=False):
            yield edit(rank + 1, nodes[0].lineno, text, new, replacing(text, new))


def alike(name):
    """Return the names of the functions that one may be mistaken for."""
    return [other for group in ALIKE if name in group for other in group if other != name]


def alike_in(function):
    """Return {source: nodes} of the operations and calls that occur in a function several times."""
    found = {}
    for node in ast.walk(function):
        if isinstance(node, (ast.BinOp, ast.Call, ast.Subscript)) and not is_set(node) and called_name(node) not in (
                GUARD, *WAITS):
            found.setdefault(ast.unparse(node), []).append(node)
    return {text: nodes for text, nodes in found.items() if len(nodes) > 1}


class Mapped(ast.NodeTransformer):
    """Replace nodes wherever they occur: `change` returns what takes a node's place, or None, and may alter the node.

    Statements that must not be edited are left alone.
    """

    def __init__(self, change):
        self.change = change

    def visit(self, node):
        """Return the node, or what takes its place."""
        if isinstance(node, ast.Expr) and is_kept(node):
            return node
        new = self.change(node)
        return self.generic_visit(node) if new is None else new


def replacing(text, new):
    """Return the change of one expression to another, given as a node or by its source."""
    def change(node):
        if not is_set(node) and isinstance(node, (ast.Name, ast.BinOp, ast.Call, ast.Subscript)) and (
                ast.unparse(node) == text):
            return at(expression(new) if isinstance(new, str) else copy.deepcopy(new), node)

    return change


def complementing(share):
    """Return the change of a share to 1 minus it, and of 1 minus it to the share."""
    others = {share: f"1 - {share}", f"1 - {share}": share}

    def change(node):
        if isinstance(node, (ast.Name, ast.Attribute, ast.BinOp)) and not is_set(node) and (
                other := others.get(ast.unparse(node))):
            return at(expression(other), node)

    return change


def exchanging(name, count):
    """Return the change that exchanges the last two arguments in calls of a function with so many arguments."""
    def change(node):
        if isinstance(node, ast.Call) and (called_name(node), len(node.args)) == (name, count):
            node.args[-2:] = node.args[:-3:-1]

    return change


def renaming(name, other):
    """Return the change of calls of one function to calls of another."""
    def change(node):
        if called_name(node) == name:
            node.func = at(renamed(node.func, other), node.func)

    return change


def is_set(node):
    """Whether a node is a target, of an assignment or a deletion."""
    return isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))


def called_name(node):
    """Return the name of the function called, without its module or object; "" for a node that is not a call."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


class Operands:
    """The names and attributes that a function computes with, each with the line from which it is available."""

    def __init__(self, function, known, wraps, pieces, literals):
        self.wraps, self.known, self.literals = wraps, known, literals
        called = {id(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
        based = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        given = function.args
        positional, named = ([a.arg for a in several] for several in (given.posonlyargs + given.args, given.kwonlyargs))
        self.arguments = [name for name in positional + named if name != "self"]
        self.cut = {ast.unparse(node.value) for node in ast.walk(function) if isinstance(node, ast.Subscript)}
        self.cut.update(self.arguments)
        self.entries = list(dict.fromkeys(ast.unparse(node) for node in ast.walk(function) if isinstance(
            node, ast.Subscript) and is_chain(node.value) and is_chain(node.slice)))[:PIECES]  # also those that are set
        stored, names = {}, [node for node in ast.walk(function) if isinstance(node, ast.Name)]
        for node in names:
            if isinstance(node.ctx, ast.Store):
                stored[node.id] = min(node.lineno, stored.get(node.id, node.lineno))
        self.families = families_of(names, self.arguments)
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        # a forgotten operand may be one of these
        self.unread = [name for name in [*self.arguments, *stored] if name not in read and name[0] != "_"]
        self.found = dict.fromkeys([*self.arguments, *self.unread], 0)
        self.numbers = [name for name, value in known.items() if name[0] != "_" and (  # powers of large ones take hours
            type(value) is float or (type(value) is int and abs(value) <= LARGEST))]
        arrays = [name for name, value in known.items() if isinstance(value, np.ndarray) and name[0] != "_"]
        self.found |= dict.fromkeys([*self.numbers, *arrays[:ARRAYS]], 0)

        for node in ast.walk(function):
            if not isinstance(getattr(node, "ctx", None), ast.Load) or id(node) in called:
                continue
            if isinstance(node, ast.Name):
                value, own = known.get(node.id, getattr(builtins, node.id, None)), node.id in [*stored, *self.arguments]
                if node.id not in ("self", "cls") and not callable(value) and not isinstance(value, ModuleType) and (
                        own or id(node) not in based):
                    self.found.setdefault(node.id, stored.get(node.id, 0))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and not isinstance(
                    known.get(node.value.id), ModuleType) and not is_of_array(node) and not is_transpose(node):
                self.found.setdefault(ast.unparse(node), stored.get(node.value.id, 0))
        self.found |= {name: line + 1 for name, line in stored.items() if name in self.found
                       and name not in self.arguments}
        modules = {name for name, value in known.items() if isinstance(value, ModuleType)}
        self.pieces = {text: (names, operators) for text, operators in pieces.items()
                       if (names := names_in(text) - {"self"} - modules) <= self.found.keys()}
        if "block" in self.arguments:
            self.pieces.setdefault("block.weight", ({"block"}, (ast.Div, ast.Mult)))
        self.fields = [field for field in FIELDS if "block" in self.arguments and field not in self.found]
        pairs = [*zip(positional[::-1], given.defaults[::-1]), *zip(named, given.kw_defaults)]
        settings = [name for name, value in pairs if isinstance(getattr(value, "value", None), float)]
        self.shares = [*self.numbers, *settings, *(name for name in self.found if name.startswith("self."))]

    def is_tool(self, node):
        """Whether a node is a module's attribute other than a function or a number, such as np.c_: not an operand."""
        module = self.known.get(getattr(node.value, "id", None)) if isinstance(node, ast.Attribute) else None
        return isinstance(module, ModuleType) and not isinstance(getattr(module, node.attr, 0.0), (int, float))

    def at(self, line):
        """Return the source of the operands available on a line."""
        return [text for text, first in self.found.items() if first <= line]


# ---- statements


def of_block(holder, field, block, operands, runs):
    """Yield the edits of a list of statements, and of everything in them."""
    for index, statement in enumerate(block):
        if is_kept(statement) or not runs(statement.lineno, statement.end_lineno):
            continue
        yield from of_statement(holder, field, index, statement, operands)
        yield from of_slices(holder, field, index, statement)
        yield from of_order(statement, holder, field, index, block)
        is_definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for part, name, k, node in () if is_definition else parts_of(statement):
            if isinstance(node, ast.Subscript) and is_set(node):
                yield from of_expression([statement], node, "slice", None, node.slice, operands, top=False)
                yield from (Edit(2, statement.lineno, [statement], node, "slice", None, cut)
                            for cut in other_ends(node.slice))
            elif isinstance(node, ast.expr) and name != "annotation":
                yield from of_expression([statement], part, name, k, node, operands)
        for each in [statement, *getattr(statement, "handlers", ())]:
            for name in ("body", "orelse", "finalbody"):
                yield from of_block(each, name, getattr(each, name, ()), operands, runs)


def parts_of(node):
    """Yield (holder, field, index, part) for the parts of a node, also for those in keywords and the like."""
    for name, value in ast.iter_fields(node):
        for k, part in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(part, (ast.keyword, ast.comprehension, ast.withitem)):
                yield from parts_of(part)
            else:
                yield node, name, k, part


def is_kept(statement):
    """Whether a statement is left alone: docstrings and the guards in loops are, among others."""
    value = getattr(statement, "value", None) if isinstance(statement, ast.Expr) else None
    called = called_name(value)
    return isinstance(statement, KEPT) or isinstance(value, ast.Constant) or called in (GUARD, *WAITS) or any(
        ast.unparse(node.func).removeprefix("itertools.") in ENDLESS for node in ast.walk(statement)
        if isinstance(node, ast.Call))


def of_statement(holder, field, index, statement, operands):
    """Yield the edits that put something else in place of a statement, or of its value."""
    def edit(rank, new, said=None):
        return Edit(rank, statement.lineno, [statement], holder, field, index, new, said)

    def part(rank, name, new, said=None):
        return Edit(rank, statement.lineno, [statement], statement, name, None, new, said)

    value = getattr(statement, "value", None)
    if not isinstance(statement, (ast.Return, ast.FunctionDef, ast.ClassDef)):
        yield edit(2, ast.Pass())
    if isinstance(statement, ast.AugAssign):
        target = expression(ast.unparse(statement.target))
        if type(statement.op) in OPPOSITE:
            yield part(1, "op", OPPOSITE[type(statement.op)]())
        yield edit(1, ast.Assign([statement.target], ast.BinOp(target, statement.op, value)))
        yield edit(2, ast.Assign([statement.target], value))
        if is_added(statement):
            yield edit(3, added_at(statement))
        beside = [name for name in operands.arguments if any(has_name(node, name) for node in ast.walk(value))]
        for name, cut in itertools.product([None, *beside], (":-1", "1:") if isinstance(target, ast.Name) else ()):
            yield edit(4, Mapped(cut_to((target.id, name), cut)).visit(copy.deepcopy(statement)))
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and not isinstance(
            target := statement.targets[0], ast.Tuple):
        yield edit(3, ast.AugAssign(target, ast.Add(), value))
        if isinstance(target, ast.Name) and any(has_name(node, target.id) for node in ast.walk(value)):
            yield edit(4, Mapped(cut_to((target.id,), ":-1")).visit(copy.deepcopy(statement)))
    if isinstance(statement, (ast.Return, ast.Assign)) and isinstance(value, (ast.Name, ast.Attribute, ast.Subscript)):
        yield part(3, "value", f"{ast.unparse(value)}.copy()")
    if isinstance(statement, (ast.Return, ast.Assign)) and called_name(value) == "list" and value.args:
        yield part(3, "value", f"[one.copy() for one in {ast.unparse(value.args[0])}]")
    if isinstance(statement, ast.Return) and value is not None:
        for name in operands.arguments[:2]:
            of = "block.theta" if name == "block" else name
            yield part(5, "value", f"({ast.unparse(value)}).astype({of}.dtype)")
    for one, other in itertools.permutations(operands.families, 2):
        pairs = {old: new for old, new in zip(one, other) if any(has_name(node, old) for node in ast.walk(statement))}
        if len(pairs) > 1 and not isinstance(statement, (ast.FunctionDef, ast.For, ast.While, ast.If, ast.With)):
            yield edit(5, Mapped(renaming_all(pairs)).visit(copy.deepcopy(statement)))
    if isinstance(statement, ast.If):
        looked_up = any(isinstance(node, (ast.In, ast.NotIn)) for node in ast.walk(statement.test))  # as in a cache
        yield from (part(1 if looked_up else 2, "test", ast.Constant(truth)) for truth in (True, False))
    if isinstance(statement, ast.For):
        for name in changed_in(statement):
            said = f"{name}, read in {source(statement)}", f"{name} as it was where this loop begins"
            yield edit(4, with_copy(statement, name), said)
    if isinstance(statement, (ast.For, ast.While)):
        last = statement.body[-1]
        for old, new in renewed_in(statement, getattr(holder, field)[:index]):
            more = at(ast.Assign([ast.Name(old, ast.Store())], ast.Name(new, ast.Load())), last)
            yield part(3, "body", [*statement.body, more], (source(last), f"{source(last)}; {source(more)}"))
    if isinstance(statement, ast.For):
        yield part(3, "iter", f"reversed(list({ast.unparse(statement.iter)}))")


def families_of(names, arguments):
    """Return the names that belong together: those set in one place, x, y = …, and those that differ in a digit."""
    found = {}
    for name in dict.fromkeys([*arguments, *(node.id for node in names)]):
        if name[-1:].isdigit():
            found.setdefault(name.rstrip("0123456789"), []).append(name)
    places = {}
    for node in names:
        if isinstance(node.ctx, ast.Store):
            places.setdefault(node.lineno, []).append(node.id)
    return [group for group in [*map(sorted, found.values()), *places.values()] if 1 < len(group) <= 4][:PIECES]


def renaming_all(pairs):
    """Return the change of several names that are read, each to another."""
    def change(node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in pairs:
            return at(ast.Name(pairs[node.id], ast.Load()), node)

    return change


def has_name(node, name):
    """Whether a node is a certain name."""
    return isinstance(node, ast.Name) and node.id == name


def cut_to(names, cut):
    """Return the change of arrays to some of their rows, such as all but the last, that of the bias."""
    def change(node):
        if any(has_name(node, name) for name in names):
            return at(ast.Subscript(ast.Name(node.id, ast.Load()), expression(f"_[{cut}]").slice, node.ctx), node)

    return change


def renewed_in(loop, before):
    """Return the pairs (x, x_new) of names of which a loop reads the first and sets only the second.

    They are named so, or the second is set in the loop as the first was `before` it.
    """
    names = [node for node in ast.walk(loop) if isinstance(node, ast.Name)]
    stored, read = ({node.id for node in names if isinstance(node.ctx, ctx)} for ctx in (ast.Store, ast.Load))
    pairs = [(name.removesuffix("_new").removeprefix("new_"), name) for name in sorted(stored)]
    sets = [(node.targets[0].id, ast.unparse(node.value)) for node in (*before, *loop.body)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
    pairs += [(one, other) for (one, how), (other, again) in itertools.combinations(sets, 2) if how == again]
    return [(old, new) for old, new in pairs if old != new and old in read - stored and new in stored]


def changed_in(loop):
    """Return the names of the arrays in which a loop both changes and reads entries."""
    cuts = [node for node in ast.walk(loop) if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name)]
    changed, read = ({node.value.id for node in cuts if isinstance(node.ctx, ctx)} for ctx in (ast.Store, ast.Load))
    return sorted(changed & read)


def with_copy(loop, name):
    """Return a loop that reads an array as it was before, from a copy made where the loop begins; it writes as ever."""
    kept = f"__{name}_before"

    def change(node):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and has_name(node.value, name):
            node.value = at(ast.Name(kept, ast.Load()), node.value)

    copied = expression(f"({kept} := {name}.copy(), {ast.unparse(loop.iter)})[1]")
    body = [Mapped(change).visit(copy.deepcopy(statement)) for statement in loop.body]
    return ast.For(loop.target, at(copied, loop.iter), body, loop.orelse)


def is_added(statement):
    """Whether something is added to or subtracted from entries of an array, whose index may contain repetitions."""
    return isinstance(statement, ast.AugAssign) and isinstance(statement.op, (ast.Add, ast.Sub)) and isinstance(
        statement.target, ast.Subscript)


def added_at(node):
    """Return an addition to entries of an array as `add.at`, which counts as often as an index is repeated."""
    if is_added(node):
        target, name = expression(ast.unparse(node.target)), "add" if isinstance(node.op, ast.Add) else "subtract"
        place = ast.Subscript(expression("np.s_"), target.slice, ast.Load())
        return at(ast.Expr(ast.Call(expression(f"np.{name}.at"), [target.value, place, node.value], [])), node)


def of_slices(holder, field, index, statement):
    """Yield a statement with the slices of two arrays exchanged: the inverse of a move or a shift."""
    cuts = [node for node in ast.walk(statement) if isinstance(node, ast.Subscript)]
    if not isinstance(statement, (ast.Assign, ast.AugAssign)) or len(cuts) > CUTS:
        return
    for i, j in itertools.combinations(range(len(cuts)), 2):
        if ast.unparse(cuts[i].slice) != ast.unparse(cuts[j].slice):
            new = copy.deepcopy(statement)
            others = [node for node in ast.walk(new) if isinstance(node, ast.Subscript)]
            others[i].slice, others[j].slice = others[j].slice, others[i].slice
            yield Edit(2, statement.lineno, [statement], holder, field, index, new)


def of_order(statement, holder, field, index, block):
    """Yield the edits that exchange a statement with a later one, or move it behind that one."""
    for later, other in enumerate(block[index + 1:], start=index + 1):
        if is_kept(other) or isinstance(other, ast.Return) or isinstance(statement, ast.Return):
            continue
        between, rest = block[index + 1 : later], block[later + 1:]
        orders = [[other, *between, statement]] + [[*between, other, statement]] * bool(between)
        one, two = source(statement), source(other)
        for order in orders:  # moved behind, it leaves the others in their order
            yield Edit(4 if between else 2, statement.lineno, [], holder, field, None, [*block[:index], *order, *rest],
                       (f"{one}; {two}", f"{two}; {one}"))


# ---- expressions


def at(new, old):
    """Return a new node with the position of an old one; a part of the old one keeps its own."""
    return ast.fix_missing_locations(new if hasattr(new, "lineno") else ast.copy_location(new, old))


def of_expression(chain, holder, field, index, node, operands, top=True):
    """Yield the edits of an expression and of all in it; `top` says that a further factor or term may be added here."""
    here = chain if node is chain[-1] else [*chain, node]

    def edit(rank, new):
        return Edit(rank, node.lineno, here, holder, field, index, new)

    changes = of_node(node, operands, top) if not isinstance(node, (ast.JoinedStr, ast.Slice)) else ()
    yield from (edit(rank, new) for rank, new in changes)
    if isinstance(node, (ast.JoinedStr, ast.FormattedValue)):
        return
    if isinstance(node, ast.DictComp) and is_chain(node.value):
        yield Edit(3, node.lineno, here, node, "value", None, f"{ast.unparse(node.value)}.copy()")
    for part, name, k, child in parts_of(node):
        if isinstance(node, ast.Call) and name == "func":
            if isinstance(child, ast.Attribute) and child.attr not in CHANGING and (
                    not is_chain(child.value) or ast.unparse(child.value) in operands.found):
                whole = child.attr in REDUCED  # (w * x).sum()
                yield from of_expression(here, child, "value", None, child.value, operands, top=whole)
        elif isinstance(child, ast.expr) and is_edited(node):
            yield from of_expression(here, part, name, k, child, operands, is_top(node, name))


def is_edited(node):
    """Whether the parts of an expression are edited separately: not for targets of assignment or dotted names."""
    is_dotted = isinstance(node, ast.Attribute) and node.attr not in ("T", *OF_ARRAYS) and is_chain(node.value)
    return not is_set(node) and not is_dotted


def is_chain(node):
    """Whether a node is a name, or an attribute of one, to any depth."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def is_top(node, field):
    """Whether a node's field holds a whole term or argument, and not a factor of a product, say."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, (ast.Add, ast.Sub)) or (isinstance(node.op, ast.Pow) and field == "left")
    if isinstance(node, ast.Compare):  # what is looked up is a key, not a number
        return not any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops)
    return is_transpose(node) or not isinstance(
        node, (ast.UnaryOp, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred))


def of_node(node, operands, top):
    """Yield (rank, replacement) for the expressions that may take the place of a node."""
    if is_set(node):
        return
    yield from rewritten(node)
    kind = {ast.BinOp: of_operator, ast.Constant: of_constant, ast.Compare: of_comparison, ast.BoolOp: of_boolean,
            ast.Call: of_call, ast.Subscript: of_subscript, ast.List: of_items, ast.Tuple: of_items}
    if type(node) in kind:
        yield from kind[type(node)](node)
    if operands.is_tool(node):
        return
    if isinstance(node, ast.Attribute) and node.attr == "size" and is_of_array(node):
        yield 2, f"len({ast.unparse(node.value)})"
    is_name = isinstance(node, (ast.Name, ast.Attribute))
    is_number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
    is_value = is_name or isinstance(node, (ast.Call, ast.BinOp, ast.Subscript))
    if is_of_array(node) or not (is_value or is_number or isinstance(node, ast.UnaryOp)):
        return
    own, there = ast.unparse(node), operands.at(node.lineno)
    if is_number:
        yield from ((3, repr(other)) for other in operands.literals if other != node.value)
    if is_name and own in operands.found:
        yield from ((4, other) for other in operands.entries if own not in names_in(other))
    if is_number or own in operands.found:
        yield from ((4 if is_number else 3, other) for other in [*there, *operands.fields * is_name] if other != own)
    if is_value and (top or not isinstance(getattr(node, "op", None), (ast.Mult, ast.Div))):
        if called_name(node) not in MADE:
            yield 3, ast.BinOp(ast.Constant(1), ast.Div(), node)
        of_length = called_name(node) == "len"  # its root is common, its square is not
        yield from ((6 if of_length and power == 2 else 3, f"({own}) ** {power}") for power in (2, 0.5))
        yield from ((4, f"({own}) ** {name}") for name in operands.numbers)
    if is_value and top:
        yield from of_whole(node, f"({own})", operands, there)
    if is_value:  # less its mean, or its component along another operand, as after centring or normalisation
        yield from ((6, f"({own}) - ({own}).mean(axis={axis}, keepdims=True)") for axis in (0, -1))
        yield from ((6, f"({own}) - {other} * (({own}) * {other}).{mean}(axis=-1, keepdims=True)")
                    for other, mean in itertools.product(there, ("mean", "sum")))
    if called_name(node) == "sum" and isinstance(node.func, ast.Attribute) and "axis=0" in own:  # of weighted rows
        yield from ((5, f"{other} @ {ast.unparse(node.func.value)}") for other in there if other.isidentifier())
    if CONJUGATE in operands.wraps and is_value and not top:
        yield 4, HOLE.sub(lambda _: own, CONJUGATE)
    if is_name:
        yield from ((4, HOLE.sub(lambda _: own, wrap)) for wrap, names in operands.wraps.items()
                    if wrap.startswith("_ **") and names.issubset(there) and not top)
        yield from ((5, f"{own}[{cut}]") for cut in ENDS)
        yield from ((5, f"({own} + {own}.T){half}") for half in ("", " / 2"))  # symmetric, if it is a matrix
        yield from ((5, f"{own} {sign} 1") for sign in "+-")
    if (is_name or isinstance(node, ast.Subscript)) and not top:
        others = [other for other in there if other != own]
        yield from ((5, combined(own, sign, other)) for other in others for sign in (ast.Add, ast.Sub))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        left, right = ast.unparse(node.left), ast.unparse(node.right)
        yield from ((5, f"{left} @ {other} @ ({right})") for other in there if other.isidentifier())
        if right.endswith("[:-1]"):  # all but the bias
            yield 3, f"{own} + {right[:-4]}-1]"
        if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.MatMult):
            first, second = ast.unparse(node.left.left), ast.unparse(node.left.right)
            yield from ((4, f"{first} @ ({second} @ {right} {sign} {other})")
                        for other in operands.arguments for sign in "+-")
    if top:
        yield from beside(own, operands, there)
    if is_value and top:  # last, since √n in the code is a likelier factor than the number that it is here
        yield from ((5, text) for number in (2, 3, 4) for text in (f"{number} * ({own})", f"({own}) / {number}"))


def of_whole(node, own, operands, there):
    """Yield what may replace a whole term: its negative, itself and 1, its transpose, or it wrapped in another call."""
    if called_name(node) != "len":
        yield 1, ast.UnaryOp(ast.USub(), node)
    if not isinstance(node, (ast.Name, ast.Attribute)):
        yield from ((5, f"{own} {sign} 1") for sign in "+-")
    yield from ((4, text) for text in (f"1 - {own}", f"abs({own})", f"{own}.T"))
    is_order = ast.unparse(getattr(node, "operand", node)) in operands.cut  # an array with entries may be sorted
    yield from ((4, HOLE.sub(lambda _: own, wrap)) for wrap, names in operands.wraps.items()
                if names.issubset(there) and (is_order or "argsort" not in wrap)
                and not (wrap in CLIPS and ast.unparse(node) in operands.arguments))  # what is given is not clipped


def combined(one, operator, other):
    """Return the source of an operation on two expressions."""
    return f"({one}) {SIGNS[operator]} ({other})"


def beside(own, operands, there):
    """Yield a term combined with another operand, or a piece of the code, as a factor, a divisor or a further term."""
    for other, operator in itertools.product(there, SIGNS):
        if other != own:  # 2x and x² are tried as such
            yield 2 if other in operands.unread else 4, combined(own, operator, other)
    of_rows = [f"{name}[:, None]" for name in operands.unread if name in there]
    yield from ((3, combined(own, operator, other)) for other in of_rows for operator in (ast.Mult, ast.Div))
    yield from ((5, combined(other, ast.Sub, own)) for other in there if own != other)
    for other, (names, operators) in operands.pieces.items():
        yield from ((5, combined(own, operator, other)) for operator in operators if names.issubset(there))
    shares = [f"1 - {name}" for name in operands.shares if name in there]
    shares += [f"np.sign({name})" for name in operands.arguments]
    shares += [f"{name} ** 2" for name in operands.shares if name in there]
    yield from ((5, combined(own, operator, share)) for share in shares for operator in (ast.Mult, ast.Div))
    sized = [name for name in operands.found if name.partition(".")[0] in operands.arguments]  # and their attributes
    sizes = [size for name in sized for size in (f"len({name})", f"{name}.shape[-1]") if not own.startswith("len(")]
    squares = itertools.product(["", *(f"{number} * " for number in operands.numbers)], operands.arguments)
    yield from ((5, f"({own}) + {weight}{name} ** 2") for weight, name in squares)
    yield from ((5, combined(own, operator, size)) for size, operator in itertools.product(sizes, (ast.Div, ast.Mult)))


def wraps_in(function):
    """Return {source: names} of the calls in a function whose other arguments are plain, with `_` for the first one.

    So of powers, and of products with a setting. They let what is applied to one operand be applied to another: a root,
    an inverse, a sort, or a clip at a named bound, wherever that name is known.
    """
    found = {}
    for node in ast.walk(function):
        for side in (node.left, node.right) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) else ():
            if isinstance(side, ast.Attribute) and is_chain(side) and has_name(side.value, "self"):  # a setting
                found[f"{ast.unparse(side)} * _"] = set()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and is_chain(node.right):
            found[f"_ ** {ast.unparse(node.right)}"] = names_in(ast.unparse(node.right)) - {"self"}
        if not isinstance(node, ast.Call):
            continue
        others = [*node.args[1:], *(word.value for word in node.keywords)]
        is_plain = all(isinstance(each, (ast.Constant, ast.UnaryOp, ast.Name)) for each in others)
        if node.args and is_plain and not isinstance(node.args[0], (ast.Starred, ast.Constant)) and is_chain(node.func):
            call = ast.Call(node.func, [ast.Name("_", ast.Load()), *node.args[1:]], node.keywords)
        elif not node.args and isinstance(node.func, ast.Attribute) and is_plain:
            call = ast.Call(ast.Attribute(ast.Name("_", ast.Load()), node.func.attr, ast.Load()), [], node.keywords)
        else:
            continue
        found[ast.unparse(call)] = {each.id for each in others if isinstance(each, ast.Name)}
    return found


def pieces_in(function):
    """Return {source: operators} of short parts of a function that may be factors, or terms, elsewhere.

    A sum or a comparison may be a factor, a product a term, and an entry of an array, or a root, may be either.
    """
    def is_short(side):
        return is_chain(side.value if isinstance(side, ast.Subscript) else side) or isinstance(side, ast.Constant)

    def is_simple(node):
        return isinstance(node, ast.BinOp) and is_short(node.left) and is_short(node.right)

    def is_root(node):
        return isinstance(node, ast.Call) and len(node.args) == 1 and any(of(node.args[0]) for of in (
            is_short, is_simple)) and (called_name(node) in OF_NUMBERS or has_name(getattr(
                node.func, "value", None), "self"))

    found = {}
    for node in ast.walk(function):
        if is_simple(node):
            found[ast.unparse(node)] = AS_PIECE.get(type(node.op), ())
        elif isinstance(node, ast.Compare) and is_short(node.left) and all(map(is_short, node.comparators)):
            found[ast.unparse(node)] = (ast.Mult,) * all(isinstance(op, ORDERED) for op in node.ops)
        elif is_root(node) or (isinstance(node, ast.Subscript) and is_short(node) and isinstance(node.ctx, ast.Load)):
            found[ast.unparse(node)] = (ast.Mult, ast.Div, ast.Add, ast.Sub)
    return dict([(text, operators) for text, operators in found.items() if operators][:PIECES])


def literals_in(node):
    """Return the floats in some code, without their signs, other than 0, ½ and 1."""
    found = (abs(each.value) for each in ast.walk(node) if isinstance(getattr(each, "value", None), float))
    return {value for value in found if value not in (0.0, 0.5, 1.0)}


def names_in(text):
    """Return the names in some source, without Python's built-in ones."""
    return {node.id for node in ast.walk(expression(text)) if isinstance(node, ast.Name)} - set(dir(builtins))


def is_of_array(node):
    """Whether a node is an attribute such as an array's shape."""
    return isinstance(node, ast.Attribute) and node.attr in OF_ARRAYS and not has_name(node.value, "self")


def expression(text):
    """Return the node of some source."""
    return ast.parse(text, mode="eval").body


def turned(node):
    """Return the transpose of a node; that of a transpose is the node itself."""
    return node.value if is_transpose(node) else ast.Attribute(node, "T", ast.Load())


def is_transpose(node):
    """Whether a node is a transpose."""
    return isinstance(node, ast.Attribute) and node.attr == "T" and not has_name(node.value, "self")


def has_form(node, form, parts):
    """Whether a node has a certain form; what the names in it stand for is added to `parts`, a dict."""
    if isinstance(form, ast.Name):
        parts[form.id] = node
        return True
    pairs = zip(ast.iter_child_nodes(node), ast.iter_child_nodes(form))
    return type(node) is type(form) and all(has_form(part, other, parts) for part, other in pairs)


def rewritten(node):
    """Yield what `REWRITES` make of a node."""
    for form, changes in FORMS:
        parts = {}
        if has_form(node, form, parts):
            yield from ((rank, filled(text, parts)) for rank, text in changes)


def filled(text, parts):
    """Return the node of some source in which names stand for parts; the transpose of a transpose is that itself."""
    def change(node):
        return turned(parts[node.value.id]) if is_transpose(node) else parts.get(getattr(node, "id", None))

    return Mapped(change).visit(expression(text))


FORMS = [(expression(form), [(int(change[0]), change[2:]) for change in changes.split("; ")])
         for form, changes in REWRITES.items()]


def of_operator(node):
    """Yield f(x, …)/c as f(x/c, …), and f([x, y])/c with one of the two divided."""
    left, op = node.left, node.op
    if not (isinstance(op, (ast.Mult, ast.Div)) and isinstance(left, ast.Call) and left.args):
        return
    first, *rest = left.args
    parts = getattr(first, "elts", ())
    for k, part in enumerate(parts):
        items = [*parts[:k], ast.BinOp(part, op, node.right), *parts[k + 1:]]
        yield 2, ast.Call(left.func, [ast.List(items, ast.Load()), *rest], left.keywords)
    if not parts and not isinstance(first, ast.Starred):
        yield 2, ast.Call(left.func, [ast.BinOp(first, op, node.right), *rest], left.keywords)


def of_constant(node):
    """Yield other numbers, or the other truth value."""
    value = node.value
    if isinstance(value, bool):
        yield 2, ast.Constant(not value)
    elif type(value) in (int, float):
        others = [-value, 2 * value, value / 2, value + 1, value - 1, 0, 1, 2, -1, 0.5, value * value, 10 * value,
                  100 * value, 3 * value, value / 3]
        others += [1 / value, abs(value) ** 0.5] if value else []
        kind = type(value)
        others = dict.fromkeys(kind(other) if kind(other) == other else other for other in others)
        plain = (-value, value + 1, value - 1, 0, 1, -1)
        yield from ((2 if other in plain else 3, repr(other)) for other in others
                    if other != value and abs(other) <= 1e6)


def of_comparison(node):
    """Yield a comparison reversed, or with equality added or dropped; and a sign for a comparison with 0."""
    if getattr(node.comparators[-1], "value", None) == 0 and len(node.ops) == 1:
        yield 3, f"np.sign({ast.unparse(node.left)})"
    for k, op in enumerate(node.ops):
        for rank, other in enumerate(COMPARED.get(type(op), ()), start=1):
            yield rank, ast.Compare(node.left, [*node.ops[:k], other(), *node.ops[k + 1:]], node.comparators)


def of_boolean(node):
    """Yield `and` with `or` in its place, or the reverse."""
    yield 1, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def of_items(node):
    """Yield a list or a tuple with two neighbouring items exchanged; for two halves of an array, every other entry."""
    halves = [ast.unparse(part) for part in node.elts if isinstance(part, ast.Subscript)]
    if len(node.elts) == len(halves) == 2 and (match := re.fullmatch(r"(.*[\[ ]):([^:,]+)\]", halves[0])) and (
            halves[1] == f"{match[1]}{match[2]}:]"):
        yield 4, f"[{match[1]}::2], {match[1]}1::2]]"
    for k in range(min(len(node.elts) - 1, 4)):
        yield 2, type(node)([*node.elts[:k], *node.elts[k : k + 2][::-1], *node.elts[k + 2:]], node.ctx)


def of_subscript(node):
    """Yield the whole of what is sliced, or sliced at another end or axis, or reversed; and an index one off."""
    yield 3, node.value
    yield 5, f"{ast.unparse(node)}[::-1]"
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    others = [(2, [*parts[:k], other, *parts[k + 1:]]) for k, cut in enumerate(parts) for other in (
        [ast.BinOp(cut, op(), ast.Constant(1)) for op in (ast.Sub, ast.Add)] if isinstance(cut, ast.Name)
        else other_ends(cut))]
    others += [(4, [*parts[:k], expression(f"np.argsort({ast.unparse(cut)})"), *parts[k + 1:]])
               for k, cut in enumerate(parts) if is_chain(cut)]  # back in place
    if len(parts) == 1 and not isinstance(parts[0], (ast.Constant, ast.UnaryOp)):
        others.append((3, [ast.Slice(), node.slice]))
    elif len(parts) == 2 and all(isinstance(cut, ast.Slice) for cut in parts):
        others.append((3, parts[::-1]))
    for rank, new in others:
        whole = ast.Tuple(new, ast.Load()) if len(new) > 1 or isinstance(node.slice, ast.Tuple) else new[0]
        yield rank, ast.Subscript(node.value, whole, ast.Load())


def other_ends(cut):
    """Yield a slice one place later or earlier; and for a slice open at one end, one that is open at the other."""
    if isinstance(cut, ast.Slice) and cut.step is not None and cut.upper is None:
        yield ast.Slice(cut.lower, ast.Constant(-1), cut.step)  # every other one, but not the last
    if not isinstance(cut, ast.Slice) or cut.step is not None or (cut.lower is None and cut.upper is None):
        return
    for step in (1, -1):
        ends = [end and moved(end, step) for end in (cut.lower, cut.upper)]
        if step == 1 or cut.lower is not None:
            yield ast.Slice(ends[0] or ast.Constant(1), ends[1])
    if (cut.lower is None) == (cut.upper is None):
        return
    bound = cut.lower or cut.upper
    opposite = bound.operand if isinstance(bound, ast.UnaryOp) else ast.UnaryOp(ast.USub(), bound)
    for other in (opposite, bound):
        ends = (None, other) if cut.upper is None else (other, None)
        yield ast.Slice(*ends, cut.step)


def moved(end, step):
    """Return the end of a slice moved one place on or back: n − 1 moved on is n."""
    op, other = (ast.Add, ast.Sub)[:: step]
    if isinstance(end, ast.BinOp) and isinstance(end.op, other) and getattr(end.right, "value", None) == 1:
        return end.left
    return ast.BinOp(end, op(), ast.Constant(1))


def of_call(node):
    """Yield a call of another function, an argument alone, or arguments exchanged, left out or transposed."""
    function, arguments, keywords = node.func, node.args, node.keywords
    name = called_name(node)

    def call(function=function, arguments=arguments, keywords=keywords, **more):
        more = [ast.keyword(word, expression(value)) for word, value in more.items()]
        return ast.Call(function, arguments, [*keywords, *more])

    yield from ((2, call(renamed(function, other))) for other in alike(name))
    if isinstance(function, ast.Attribute):  # np.add.outer
        inner = function.value
        if isinstance(inner, ast.Attribute) and inner.attr in UFUNCS:
            yield from ((2, call(ast.Attribute(renamed(inner, other), function.attr, ast.Load())))
                        for other in alike(inner.attr))
        if not isinstance(inner, ast.Name) or not arguments:
            yield 2, inner  # x.sum() as x
    for argument in arguments[:3]:
        if not isinstance(argument, ast.Starred):
            yield 2, argument
            if len(arguments) == 1 and (is_chain(argument) or name in ("inv", "pinv")):
                yield 3, turned(argument)
    if len(arguments) in (2, 3):
        yield 1, call(arguments=[*arguments[:-2], *arguments[:-3:-1]])
    if len(arguments) == 2 and isinstance(arguments[1], ast.Constant):  # max(n, 1) as n + 1
        yield from ((3, ast.BinOp(arguments[0], op(), arguments[1])) for op in (ast.Add, ast.Sub))
    for k, argument in enumerate(arguments):
        if isinstance(argument, (ast.Name, ast.Attribute)):
            yield 2, call(arguments=[*arguments[:k], turned(argument), *arguments[k + 1:]])
    for k in range(len(keywords)):
        yield 2, call(keywords=[*keywords[:k], *keywords[k + 1:]])
    named = {word.arg for word in keywords}
    axis = next((OTHER_AXIS.get(ast.unparse(word.value)) for word in keywords if word.arg == "axis"), None)
    if name in REDUCED and axis:
        others = [word for word in keywords if word.arg not in ("axis", "keepdims")]
        yield 3, call(keywords=others, axis=axis, **{} if "keepdims" in named else {"keepdims": "True"})
        if "keepdims" not in named:
            yield 4, call(keepdims="True")
    if name == "eye" and len(arguments) == 1:  # nothing for the bias
        yield 4, f"np.diag([1.0] * ({ast.unparse(arguments[0])} - 1) + [0.0])"
    if name in REDUCED and "axis" not in named:
        yield from ((3, call(axis=axis, **held)) for axis in ("0", "1", "-1") for held in ({}, {"keepdims": "True"}))
    yield from of_composition(node)
    yield from of_running(node, name)
    yield from of_length(node, name)
    if name == "einsum" and arguments and isinstance(getattr(arguments[0], "value", None), str):
        for text in other_subscripts(arguments[0].value):
            yield 2, call(arguments=[ast.Constant(text), *arguments[1:]])
    if name == "transpose" and len(arguments) > 3:
        for k, j in itertools.combinations(range(len(arguments)), 2):
            swapped = list(arguments)
            swapped[k], swapped[j] = swapped[j], swapped[k]
            yield 3, call(arguments=swapped)
    if name == "reshape" and isinstance(function, ast.Attribute) and ast.unparse(function.value) != "np":
        yield 4, call(expression(f"({ast.unparse(function.value)}).swapaxes(-1, -2).reshape"))
        for k in range(len(arguments) - 1):  # the same axes, laid out in another order
            order = [*arguments[:k], *arguments[k : k + 2][::-1], *arguments[k + 2 :]]
            yield 4, f"{ast.unparse(call(arguments=order))}.swapaxes({k}, {k + 1})"
    if name == "range" and len(arguments) == 1:
        yield 2, call(arguments=[ast.Constant(1), *arguments])
        yield 2, f"range(1, {ast.unparse(arguments[0])} + 1)"
    if name == "range" and (text := ast.unparse(node)).startswith("range(1, ") and text.endswith(" + 1)"):
        yield 1, f"range({text[9:-5]})"
    if name == "solve" and len(arguments) == 2:
        yield 3, ast.BinOp(arguments[0], ast.MatMult(), arguments[1])
    if name == "mean" and isinstance(getattr(function, "value", None), ast.BinOp) and not arguments:  # over a mask
        words = ", ".join(map(ast.unparse, keywords))
        yield from ((4, f"{ast.unparse(call(renamed(function, 'sum')))} / ({ast.unparse(mask)}).sum({words})")
                    for mask in (function.value.left, function.value.right))
    if name == "split" and len(arguments) == 2:
        whole, parts = map(ast.unparse, arguments)
        yield 4, f"[({whole})[:, _k::{parts}] for _k in range({parts})]"
    for names, rank, word, value in ADDED:
        if name in names and word not in named:
            yield rank, call(**{word: value})


def of_composition(node):
    """Yield f(g(x, …), …) as g(f(x, …), …), and f(x/c, …) as f(x, …)/c."""
    inner = node.args[0] if node.args else None
    if isinstance(inner, ast.BinOp) and isinstance(inner.op, (ast.Mult, ast.Div)):
        yield 2, ast.BinOp(ast.Call(node.func, [inner.left, *node.args[1:]], node.keywords), inner.op, inner.right)
    if isinstance(inner, ast.Call) and inner.args and not isinstance(inner.args[0], ast.Starred):
        outer = ast.Call(node.func, [inner.args[0], *node.args[1:]], node.keywords)
        yield 2, ast.Call(inner.func, [outer, *inner.args[1:]], inner.keywords)


def other_subscripts(text):
    """Yield an einsum's subscripts with two letters of one term exchanged, or one replaced by another term's."""
    letters = sorted(set(filter(str.isalpha, text)))
    terms = re.split(r"(,|->)", text)
    for k, term in enumerate(terms):
        changed = [term.translate(str.maketrans(one + other, other + one)) for one, other in itertools.combinations(
            sorted(set(filter(str.isalpha, term))), 2)]
        changed += [term[:i] + other + term[i + 1:] for i, one in enumerate(term) if one.isalpha()
                    for other in letters if other not in term]
        yield from ("".join([*terms[:k], new, *terms[k + 1:]]) for new in changed)


def of_running(node, name):
    """Yield a running sum, or maximum, from the other end; and likewise a call of the user's own function."""
    if len(node.args) != 1 or isinstance(node.args[0], (ast.Starred, ast.Constant)):
        return
    if name in ("cumsum", "cumprod", "accumulate"):
        axis = next((ast.unparse(word.value) for word in node.keywords if word.arg == "axis"), None)
        cuts = ["[::-1]" if axis is None else f"[{':, ' * int(axis)}::-1]" if axis.isdigit() else "[..., ::-1]"]
    else:
        own = isinstance(node.func, ast.Name) or ast.unparse(node.func).startswith("self.")
        cuts = ("[::-1]", "[:, ::-1]") if own and name not in dir(builtins) else ()
    for cut in cuts:
        back = ast.Call(node.func, [expression(f"({ast.unparse(node.args[0])}){cut}")], node.keywords)
        yield 3, f"{ast.unparse(back)}{cut}"


def of_length(node, name):
    """Yield a sum, as of weights, or another number of entries in place of a length, and a length in place of a sum."""
    if name == "len" and len(node.args) == 1 and is_chain(node.args[0]):
        yield from ((3, f"{ast.unparse(node.args[0])}.{other}") for other in ("sum()", "size", "shape[-1]"))
    elif name == "sum" and not node.args and not node.keywords and isinstance(node.func, ast.Attribute):
        yield 3, f"len({ast.unparse(node.func.value)})"


def renamed(function, name):
    """Return the function called, under another name: np.mean for np.sum."""
    return ast.Attribute(function.value, name, ast.Load()) if isinstance(function, ast.Attribute) else ast.Name(
        name, ast.Load())
