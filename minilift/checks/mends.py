r"""The search for an edit of the user's code that makes all claims hold, for `Report.mends`.

A failure says *that* something is wrong. The best way to say what is wrong is to show what would be right: the
functions under test are read from their files, one small edit after another is made in a copy (`edits`), and the claims
that failed are measured again, until an edit makes them all hold. This is not a guess: the edited code has been
verified. It may be one of several ways to mend the code, and there may be no way by a single edit.

Nothing of the user's is changed. The functions that the thing consists of, its classes, and the user's functions that
they call are copied, and the copies have their own global names; loops in them are stopped after a while.
"""

from __future__ import annotations
import __future__

import ast
import collections
import contextlib
import copy
import functools
import io
import itertools
import linecache
import math
import os
import re
import site
import sys
import sysconfig
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilift.checks.edits import CLIPS, CONJUGATE, GUARD, edits_of, literals_in, pieces_in, wraps_in
from minilift.checks.numeric import Asked
from minilift.checks.report import RUNS, Mend, NotClaimed, measured, unmeasured
from minilift.support.settings import codes_in, contents, plain

SECONDS = 5.0  # of processor time, after which no further edit is tried: other work on the machine makes no difference
OFTEN = 1e-2  # seconds between two looks at the time spent
LAST = 20.0  # seconds to verify again an edit that has been found
ONCE = 0.1  # seconds that a copy has, plus a multiple of what the original takes
MEMORY = 2**28  # bytes for each core that copies may take beyond what is in use; BLAS needs some of them for itself
COPIED = 100_000  # entries of an array, at most, for a copy of the thing to get its own copy
FEW = 3  # further problems in which a claim must hold, before everything is verified again
SMALLER = 0.6  # factor by which the numbers of a thing are scaled, or a power of it
GOLDEN = 0.618  # spreads the powers, so that numbers of a simple ratio have different ones
BOUNDS = (*CLIPS, "np.argsort(_)")  # tried around each operand, in the code or not
WEIGHT = {f"self.weight(len({name}))": (ast.Mult,) for name in "zv"}  # the factor in a loss that may be a mean
WRAPS = 12  # calls, at most, that are tried around other operands
MORE = 2  # edits reported at most, each in a different function
PACKAGE = str(Path(__file__).resolve().parents[1])
FOREIGN = (*{os.path.join(path, "") for path in (
    *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")), *site.getsitepackages(),
    site.getusersitepackages(), PACKAGE)}, "<frozen", "<string")
HELD = (dict, list, set, collections.deque, np.random.Generator)  # what may be a memory, and is copied
INSIDE = {types.MethodType: "__self__", functools.partial: "func", np.vectorize: "pyfunc",
          functools._lru_cache_wrapper: "__wrapped__"}  # where these hold what they call
HARM = frozenset(("os.remove", "os.rmdir", "os.rename", "os.truncate", "os.system", "os.kill", "os.link", "os.symlink",
                  "shutil.rmtree", "shutil.move", "subprocess.Popen", "socket.connect"))  # audit events
LAPACK = {name: getattr(np.linalg, name) for name in (
    "svd", "pinv", "lstsq", "eig", "eigh", "eigvals", "eigvalsh", "matrix_rank", "cond", "norm")}
UNGUARDED = {id(function): name for name, function in LAPACK.items()}  # as a user's own global names hold them
SEARCHING: set[int] = set()  # threads in which copies are run
ROLES = ("energy", "reference", "draw", "project")  # the functions that a claim is checked against
GIVEN = ("forward", "apply", "value", "energy", "value_per_sample")  # what a derivation starts from: edited last


class TooLongError(BaseException):
    """A copy runs for too long; not an Exception, so that no code catches it."""


STOPPED = (Exception, SystemExit, TooLongError)  # what a copy may raise


# ---- whose code it is


def is_own(function):
    """Whether a function is Python code of the user's: neither this package's nor a library's."""
    name = function.__code__.co_filename
    return not name.startswith(FOREIGN) and not str(function.__module__).startswith("minilift.")


def is_own_class(cls):
    """Whether a class is the user's."""
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    own = [function for function in map(plain, vars(cls).values()) if isinstance(function, types.FunctionType)]
    return not str(cls.__module__).startswith(("minilift.", "builtins")) and (
        file is None or not file.startswith(FOREIGN)) and any(map(is_own, own))


class Own:
    """All the user's functions and classes that a thing consists of, found by following references from it.

    `copied` rebuilds the thing from copies of all of them, in which some functions have different code.
    """

    def __init__(self, thing):
        self.thing, self.functions, self.classes, self.seen = thing, [], [], set()
        self.find(thing)

    def find(self, value):
        """Add the user's functions and classes in a value, and in all that it calls."""
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        inside = next((name for kind, name in INSIDE.items() if isinstance(value, kind)), None)
        if inside is not None:
            self.find(getattr(value, inside))
        elif isinstance(value, types.FunctionType):
            others = list(contents(value).values())  # also for a library's decorator around the user's function
            if is_own(value):
                self.functions.append(value)
                others = [*reached(value).values(), *others, *(value.__defaults__ or ())]
            for other in others:
                self.find(other)
        elif isinstance(value, type):
            for cls in value.__mro__:
                if is_own_class(cls) and cls not in self.classes:
                    self.classes.append(cls)
                    for attribute in vars(cls).values():
                        self.find(plain(attribute))
        elif hasattr(value, "__dict__") and not isinstance(value, types.ModuleType):
            self.find(type(value))
            if is_claim(value) or is_own_class(type(value)):
                for other in list(vars(value).values()):
                    if callable(other) or is_own_class(type(other)):
                        self.find(other)

    def copied(self, codes, scale=1.0):
        """Return the thing made of copies, its floats scaled, with the code of some functions replaced by `codes`."""
        return Copy(self, codes, scale).of(self.thing)


def is_claim(value):
    """Whether a value is a claim about functions, or a method made from a function."""
    return hasattr(type(value), "roles") or type(value).__name__ == "FunctionMethod"


def reached(function, code=None):
    """Return {name: value} of the globals that a function, or a function in it, refers to, with other code if given."""
    names = {name for one in codes_in(code or function.__code__) for name in one.co_names}
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


class Copy:
    """Copies of everything in a thing that is the user's, each made once."""

    def __init__(self, own, codes, scale=1.0):
        self.own, self.codes, self.scale, self.made, self.spaces = own, codes, scale, {}, {}

    def of(self, value):
        """Return the copy of a value, or the value itself if nothing in it is the user's."""
        if type(value) is float:  # each by a factor of its own, since one factor for all would keep their ratios
            return value * self.scale ** (1 + value * GOLDEN % 1 / 2) if math.isfinite(value) else value
        if id(value) in self.made:
            return self.made[id(value)][0]
        if type(value) is np.ndarray:
            return self.array(value)
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, functools.partial):
            return functools.partial(self.of(value.func), *map(self.of, value.args),
                                     **{name: self.of(other) for name, other in value.keywords.items()})
        if isinstance(value, np.vectorize):
            new = copy.copy(value)
            new.pyfunc = self.of(value.pyfunc)
            return new
        if isinstance(value, functools._lru_cache_wrapper):
            return functools.lru_cache(maxsize=value.cache_parameters()["maxsize"])(self.of(value.__wrapped__))
        if isinstance(value, type):
            return self.cls(value)
        if isinstance(value, property):
            return property(*(each and self.of(each) for each in (value.fget, value.fset, value.fdel)))
        if isinstance(value, (staticmethod, classmethod)):
            return type(value)(self.of(value.__func__))
        if is_claim(value) or (hasattr(value, "__dict__") and type(value) in self.own.classes):
            return self.instance(value)
        if not isinstance(value, HELD):
            return value
        is_large = isinstance(value, Sized) and len(value) >= 1000
        return self.keep(value, (copy.copy if is_large else copy.deepcopy)(value))

    def keep(self, value, new):
        """Note the copy of a value, and return it."""
        self.made[id(value)] = new, value  # which is kept too, so that its id is not reused
        return new

    def array(self, value):
        """Return the copy of an array, into which an edited function may write; for a large one, a read-only view."""
        new = value.copy() if value.size <= COPIED else value.view()
        new.flags.writeable = new.base is None
        return self.keep(value, new)

    def function(self, value):
        """Return the copy of a function."""
        if value not in self.own.functions and not value.__closure__:
            return value
        code = self.codes.get(value, value.__code__)
        held = dict(zip(value.__code__.co_freevars, value.__closure__ or ()))
        cells = tuple(types.CellType() for _ in code.co_freevars)
        space = self.space(value.__globals__) if value in self.own.functions else value.__globals__
        defaults = value.__defaults__ and tuple(map(self.of, value.__defaults__))
        new = self.keep(value, types.FunctionType(code, space, value.__name__, defaults, cells))
        new.__kwdefaults__ = value.__kwdefaults__ and {name: self.of(one) for name, one in value.__kwdefaults__.items()}
        new.__module__, new.__qualname__ = value.__module__, value.__qualname__
        for name, cell in zip(code.co_freevars, cells):
            with contextlib.suppress(ValueError):
                cell.cell_contents = self.of(held[name].cell_contents)
        for name, other in reached(value, code).items() if value in self.own.functions else ():
            space[name] = self.of(other)
        new.__dict__.update({name: self.of(other) for name, other in vars(value).items()})
        return new

    def space(self, names):
        """Return the dict of global names that copies use."""
        if id(names) not in self.spaces:
            arrays = {name: self.of(value) for name, value in names.items() if type(value) is np.ndarray}
            own = {name: getattr(np.linalg, UNGUARDED[id(value)]) for name, value in names.items()
                   if id(value) in UNGUARDED}
            self.spaces[id(names)] = {**names, **arrays, **own, GUARD: Guard.goes_on}
        return self.spaces[id(names)]

    def cls(self, value):
        """Return the copy of a class."""
        if value not in self.own.classes:
            return value
        left_out = {"__dict__", "__weakref__", *(vars(value).get("__slots__", ()))}
        bases = tuple(self.of(base) for base in value.__bases__)
        new = self.keep(value, type(value)(value.__name__, bases, {
            name: self.of(attribute) if isinstance(attribute, (float, np.ndarray, *HELD)) else attribute
            for name, attribute in vars(value).items() if name not in left_out}))
        for name, attribute in vars(value).items():
            if name not in left_out and isinstance(plain(attribute), (types.FunctionType, functools.partial)):
                setattr(new, name, self.of(attribute))
        return new

    def instance(self, value):
        """Return the copy of an instance."""
        new = self.keep(value, copy.copy(value))
        if type(value) in self.own.classes:
            object.__setattr__(new, "__class__", self.cls(type(value)))
        for name, other in list(vars(value).items()):
            if isinstance(other, (float, np.ndarray, *HELD, types.FunctionType, types.MethodType,
                                  functools.partial)) or type(other) in self.own.classes:
                object.__setattr__(new, name, self.of(other))
        return new


# ---- source and code


class Source:
    """The syntax tree of a function in its file, with guards in its loops, and the code made from it."""

    def __init__(self, function):
        self.function, self.file = function, function.__code__.co_filename
        node, class_name = found_in(tree_of(self.file), function.__code__)
        self.node = Guard().visit(copy.deepcopy(node))
        self.node.decorator_list = []
        self.module = module_of(self.node, class_name, function.__code__)
        self.name = function.__qualname__.split("<locals>.")[-1]
        self.place = "the cell" if "ipykernel" in self.file or self.file.startswith("<") else Path(self.file).name
        self.plain = self.code()
        if {*self.plain.co_names} - {GUARD} != {*function.__code__.co_names}:
            raise LookupError(f"{self.name} has been changed in its file since it was read")

    def code(self):
        """Return the code of the tree as it is now."""
        return code_in(self.module, self.function.__code__)


@functools.lru_cache(maxsize=32)
def parsed(text):
    """Return the syntax tree of some source."""
    return ast.parse(text)


def tree_of(file):
    """Return the syntax tree of a file, or of a notebook's cell."""
    lines = linecache.getlines(file)
    if not lines:
        raise OSError(f"no source of {file}")
    return parsed("".join(lines))


def found_in(tree, code):
    """Return the node of a function's code, and the name of the class around it, or ""."""
    name, found = code.co_name, []

    def look(node, class_name):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.Lambda)):
                first = min([child.lineno, *(d.lineno for d in getattr(child, "decorator_list", ()))])
                if getattr(child, "name", "<lambda>") == name and first == code.co_firstlineno:
                    found.append((child, class_name))
                look(child, "")
            else:
                look(child, child.name if isinstance(child, ast.ClassDef) else class_name)

    look(tree, "")
    alike = [pair for pair in found if len(found) == 1 or is_body(pair[0].body, code)]
    if len(alike) != 1:
        raise LookupError(f"{len(alike)} functions {name} in line {code.co_firstlineno}")
    return alike[0]


def is_body(node, code):
    """Whether an expression is at the position that a lambda's code gives: several may be on one line.

    Python 3.10 gives no positions: such lambdas are left alone there.
    """
    where = node.lineno, node.end_lineno, node.col_offset, node.end_col_offset
    return hasattr(code, "co_positions") and where in code.co_positions()


def module_of(node, class_name, original):
    """Return the tree of a module with a function nested as it was defined: in a class, in other functions."""
    if isinstance(node, ast.Lambda):
        node = ast.Assign([ast.Name("made", ast.Store())], node)
    if class_name:
        node = ast.ClassDef(class_name, [], [], [node], [])
    free = [ast.arg(name) for name in original.co_freevars if name != "__class__" or not class_name]
    outer = ast.FunctionDef("outer", ast.arguments([], free, None, [], [], None, []), [node], [])
    return ast.fix_missing_locations(ast.Module([outer], []))


def code_in(module, original):
    """Return the code of the function with an original's name in a module."""
    flags = original.co_flags & __future__.annotations.compiler_flag
    for code in codes_in(compile(module, original.co_filename, "exec", flags, dont_inherit=True)):
        if code.co_name == original.co_name:
            return code
    raise LookupError(original.co_name)


class Guard(ast.NodeTransformer):
    """Insert a call into each function and loop that stops code which takes too long."""

    until, patience, begun, next, known = math.inf, ONCE, (0.0, 0.0), 0.0, 0.0

    @classmethod
    def begin(cls):
        """Begin to count."""
        cls.begun, cls.next, cls.known = (time.thread_time(), time.perf_counter()), 0.0, 0.0

    @classmethod
    def spent(cls):
        """Return the processor seconds spent, or half the time elapsed if that is more, as for code that waits.

        They are those of `OFTEN` ago at most: a thread's time is slow to get on some machines.
        """
        now = time.perf_counter()
        if now > cls.next:
            cls.next = now + OFTEN
            cls.known = max(time.thread_time() - cls.begun[0], (now - cls.begun[1]) / 2)
        return cls.known

    @classmethod
    def goes_on(cls):
        """Raise `TooLongError` if a copy's time is up."""
        if cls.spent() > cls.until:
            raise TooLongError

    def visit_loop(self, node):
        """Put the call at the beginning of a body, after any docstring."""
        self.generic_visit(node)
        k = int(isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None)
        node.body = [*node.body[:k], ast.Expr(ast.Call(ast.Name(GUARD, ast.Load()), [], [])), *node.body[k:]]
        return node

    visit_While = visit_For = visit_FunctionDef = visit_loop  # noqa: N815  (names that ast asks for)


# ---- the search


def always(*_):
    """Return True."""
    return True


@dataclass(frozen=True)
class Problem:
    """The thing to be mended and how its claims are checked.

    Attributes
    ----------
    thing
        As the user gave it.
    failed : list of (Claim, ...)
        The claims that do not hold.
    posed : callable
        From a copy of the thing to the subject on which its claims are measured, and the random problems.
    verified : callable
        From a copy of the thing to its checks; optionally also from a number that is added to the seed, and one by
        which drawn numbers are multiplied.
    checks : list of Check
        Those of the thing itself.
    possible : callable
        From a claim, its subject and a problem to whether measuring the claim there is worthwhile.
    is_whole : bool, default True
        Whether all numbers that the claims depend on belong to the copy, so that others may be tried.
    held : tuple
        What the thing is checked against; its functions stay as they are.
    is_same : callable
        From a copy to whether it is defined as before: the derivative should be mended, and not the function that it
        is the derivative of.
    """

    thing: object
    failed: list
    posed: Callable
    verified: Callable
    checks: list
    possible: Callable = always
    is_same: Callable = always
    is_whole: bool = True
    held: tuple = ()


def mends_of(problem: Problem) -> list[Mend] | None:
    """Return edits of the user's code, each in a different function, each of which makes all claims hold.

    The list is empty if no known single edit mends it in `SECONDS`; it is None if there is no code to edit, since it
    has no file or is not the user's.
    """
    Guard.begin()
    try:
        own = Own(problem.thing)
        sources = list(sources_of(own, problem.held)) or list(sources_of(own))  # a reference may be a subclass
    except Exception:  # attributes of a user's object may raise anything when they are read
        return None
    if not sources:
        return None
    with quiet(), bounded(), harmless(), Asked.only():
        try:
            ran, failed = run_lines(problem, own, sources)
        except STOPPED:
            return []
        if failed is None:  # nothing fails: the file is not what was read when it was imported
            return None
        return searched(problem, failed, own, sources, ran, SECONDS)


def searched(problem, failed, own, sources, ran, until):
    """Return the edits that make all claims hold; if there are none, one that makes some of the failed claims hold.

    After the first, further edits are sought only among those that are as plain, in other functions.
    """
    edits = in_order(sources, ran, own)
    until += Guard.spent()  # nothing has been tried yet
    found: list[Mend] = []
    partial, doubtful, plainest = [], [], math.inf
    others = ((edit, source) for edit, source in edits if edit.rank <= plainest
              and all(mend.function != source.name for mend in found)
              and not (found and source.function.__name__ in GIVEN))  # what defines the thing changes only if it must
    for edit, source, codes, mended in mending(problem, failed, own, sources, others, until):
        if len(mended) < len(failed):
            if any(claim.source != "convention" for claim in mended):  # mending a dtype alone is not worth reporting
                partial.append((edit, source, codes))
        elif left_by(problem, own, codes) == 0 and not is_by_chance(problem, own, codes, sources):
            if divides_by_0(problem, own, codes) and not divides_by_0(problem, own, plain_codes(sources)):
                doubtful.append(told(edit, source))  # x / inf may be the right number, by a wrong way
                continue
            plainest = edit.rank
            found.append(told(edit, source))
            if len(found) == MORE:
                break
    found = found or doubtful[:1]
    until += SECONDS / 2
    apart = (mending(problem, [one], own, sources, edits, until) for one in failed[1:] if one[0].source != "convention")
    for edit, source, codes, *_ in itertools.chain(partial, *apart) if not found else ():
        left = left_by(problem, own, codes)
        if left is not None and not is_by_chance(problem, own, codes, sources, left):
            return [told(edit, source, left)]
        if Guard.spent() > until:
            break
    return found


def mending(problem, failed, own, sources, edits, until):
    """Yield edits with the functions' codes and those of the failed claims that each edit makes hold.

    If the thing cannot even be run, no claim is known to fail, and all edits are yielded.
    """
    for edit, source in edits:
        if Guard.spent() > until:
            return
        codes = codes_with(edit, source, sources)
        mended = codes and claims_mended(problem, failed, own, codes)
        if codes and (mended or not failed):
            yield edit, source, codes, mended


def told(edit, source, left=0):
    """Return the `Mend` of an edit."""
    old, new = edit.written(linecache.getlines(source.file)) or edit.told()
    return Mend(source.place, edit.line, source.name, old, new, left)


@contextlib.contextmanager
def quiet():
    """Keep copies from printing or warning, at the level of the process too: LAPACK writes of NaN past Python."""
    with (contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()),
          contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings()):
        for stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError, AttributeError, ValueError):  # there may be no such stream
                stack.enter_context(nowhere(stream))
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def nowhere(stream):
    """Discard what is written to a stream of the process."""
    stream.flush()
    kept = os.dup(stream.fileno())
    with open(os.devnull, "w", encoding="utf-8") as null:
        os.dup2(null.fileno(), stream.fileno())
    try:
        yield
    finally:
        stream.flush()
        os.dup2(kept, stream.fileno())
        os.close(kept)


@contextlib.contextmanager
def bounded():
    """Let copies take little more memory than is in use, as an edited size may be huge; on Linux only."""
    try:
        import resource
        in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    most = in_use + MEMORY * (1 + (os.cpu_count() or 1))
    resource.setrlimit(resource.RLIMIT_AS, (min([most, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refuse(event, given):
    """Refuse what no copy may do, as an audit hook: write, delete or move files, start processes, reach others."""
    if not SEARCHING or threading.get_ident() not in SEARCHING:
        return
    writes = event == "open" and isinstance(given[0], (str, bytes)) and (
        set(given[1] or "") & set("wax+") or (given[2] or 0) & (os.O_WRONLY | os.O_RDWR))
    if writes or event in HARM:
        raise PermissionError(f"{event}: not done in a copy of your code")


def guarded(function):
    """Return a function of np.linalg that refuses, in copies, a matrix that is not finite.

    LAPACK may loop for ever on one, and nothing reaches it there.
    """
    @functools.wraps(function)
    def refusing(a, *others, **options):
        if threading.get_ident() in SEARCHING and np.ndim(a) > 1 and not np.all(np.isfinite(a)):
            raise np.linalg.LinAlgError(f"{function.__name__}: a matrix is not finite")
        return function(a, *others, **options)

    return refusing


hooked = functools.cache(lambda: sys.addaudithook(refuse))  # the hook stays for the rest of the process


@contextlib.contextmanager
def harmless():
    """Let copies leave everything outside this process as it is, and come back: an edit may make of them anything."""
    hooked()
    SEARCHING.add(threading.get_ident())
    try:
        for name, function in LAPACK.items():
            setattr(np.linalg, name, guarded(function))
        yield
    finally:
        SEARCHING.discard(threading.get_ident())
        for name, function in LAPACK.items() if not SEARCHING else ():
            setattr(np.linalg, name, function)


def sources_of(own, held=()) -> Iterator[Source]:
    """Yield the sources of a thing's functions, those of `GIVEN` last; not of those that it is checked against."""
    held = (*held, *(getattr(own.thing, role, None) for role in ROLES if is_claim(own.thing)))
    given = {function for each in held for function in Own(getattr(each, "__func__", each)).functions}
    for function in sorted(own.functions, key=lambda function: function.__name__ in GIVEN):
        if function not in given:
            with contextlib.suppress(LookupError, OSError, SyntaxError):
                yield Source(function)


def run_lines(problem, own, sources):
    """Return {source: lines that are run where a claim fails}, and the failing claims, the quickest first, or None.

    Claims about conventions, such as a dtype, come last. With each claim comes the number of the first problem in
    which it fails. None stands for no failing claim: the file is not what it was when it was read.
    """
    codes = plain_codes(sources)
    lines = {code: set() for code in codes.values()}
    inner = {one: code for code in codes.values() for one in codes_in(code)}

    def trace(frame, event, _):
        if frame.f_code not in inner:
            return None
        lines[inner[frame.f_code]].add(frame.f_lineno)
        return trace

    started = Guard.spent()
    Guard.until = started + 50 * ONCE
    thing, before, failed = own.copied(codes), sys.gettrace(), []
    sys.settrace(trace)
    try:
        subject, cases = problem.posed(thing)
        for claim in problem.failed:
            for k, case in enumerate(some(claim, cases)):
                begun = time.perf_counter()
                if not holds(claim, subject, [case]):
                    failed.append((time.perf_counter() - begun, claim, k))
                    break
        if not failed:
            return {}, None
    except (Exception, SystemExit):  # it cannot even be run; the lines run until then are known
        failed = []
    finally:
        sys.settrace(before)
    failed.sort(key=lambda item: (item[1].source == "convention", item[0]))
    Guard.patience = 6 * ONCE + 5 * (failed[0][0] if failed else Guard.spent() - started)
    return {source: lines[codes[source.function]] for source in sources}, [item[1:] for item in failed]


def holds(claim, subject, cases, not_made=True):
    """Whether a claim holds in all those cases in which it is made and decided; `not_made` is said if it is in none."""
    made = False
    for case in cases:
        try:
            finding = measured(claim.measure, subject, case)
        except NotClaimed:
            continue
        made = True
        if not finding.holds and not finding.undecided:
            return False
    return made or not_made


def some(claim, cases):
    """Return the cases in which a claim is measured."""
    return cases[:1] if claim.once else cases


def in_order(sources, ran, own):
    """Return (edit, source) for all edits of the code that is run, the plainest first, those of forward passes last."""
    found, nodes = [], [source.node for source in sources]
    for function in own.functions:  # a call made in one function may be missing in another
        with contextlib.suppress(LookupError, OSError, SyntaxError):
            nodes.append(found_in(tree_of(function.__code__.co_filename), function.__code__)[0])
    every = {wrap: names for node in nodes for wrap, names in wraps_in(node).items() if GUARD not in wrap}
    is_complex = any(re.search("fft|[0-9]j\\b|complex", ast.unparse(node)) for node in nodes)
    of_one = [node for node in nodes if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")
              and len(node.args.args) == 2 and node.args.args[0].arg == "self"]  # methods that may not have been called
    others = [*BOUNDS, *[CONJUGATE] * is_complex, *(f"self.{node.name}(_)" for node in of_one)]
    wraps = dict(list(every.items())[:WRAPS]) | {wrap: set() for wrap in others}
    pieces = {text: operators for node in nodes for text, operators in pieces_in(node).items()}
    pieces = dict(list(pieces.items())[:WRAPS]) | (WEIGHT if hasattr(own.thing, "reduction") else {})
    literals = sorted(set().union(*map(literals_in, nodes), *(numbers_of(cls) for cls in own.classes)))[:WRAPS]
    for number, source in enumerate(sources):
        if not ran[source]:
            continue
        known = {**source.function.__globals__, **contents(source.function)}
        if source.function.__code__.co_varnames[:1] == ("self",):
            known |= {f"self.{name}": value for name, value in getattr(own.thing, "__dict__", {}).items()
                      if type(value) is float}
        edits = edits_of(source.node, known, lambda first, last, lines=ran[source]: any(
            first <= line <= last for line in lines), wraps, pieces, literals)
        found += [((source.function.__name__ in GIVEN, edit.rank, number, edit.line), edit, source) for edit in edits]
    found.sort(key=lambda item: item[0])
    return [(edit, source) for _, edit, source in found]


def numbers_of(cls):
    """Return the floats in a class's attributes, also those in tuples, without their signs."""
    values = [value for name, value in vars(cls).items() if name[0] != "_" and isinstance(value, (float, tuple))]
    with contextlib.suppress(ValueError, TypeError):  # of different lengths, or not all numbers
        return {float(abs(one)) for value in values for one in np.ravel(value) if np.isfinite(one) and abs(one) > 1}
    return set()


def codes_with(edit, source, sources):
    """Return {function: code} of all functions, one of them edited; None if the result is not valid Python."""
    try:
        with edit.made():
            code = source.code()
    except (SyntaxError, ValueError, TypeError, LookupError):
        return None
    return {**plain_codes(sources), source.function: code}


def plain_codes(sources):
    """Return {function: code} of all functions as they are."""
    return {source.function: source.plain for source in sources}


def claims_mended(problem, failed, own, codes):
    """Return the claims that now hold where they failed, and in a few other problems, up to the first that does not."""
    mended, begun = [], Guard.spent()
    Guard.until = begun + Guard.patience
    measurable = {(check.claim, check.source) for check in problem.checks if math.isfinite(check.number)}
    try:
        subject, cases = problem.posed(own.copied(codes))
        for claim, k in failed:
            not_made = (claim.words, claim.source) not in measurable  # what could be measured, must be again
            there = [cases[k], *some(claim, cases)[:FEW]]
            if not (problem.possible(claim, subject, cases[k]) and holds(claim, subject, there, not_made)):
                return mended
            mended.append(claim)
            Guard.until = begun + LAST  # it is not an endless loop
        return mended
    except STOPPED:  # an edited function may raise anything
        return []


def left_by(problem, own, codes):
    """Return how many claims still fail; None if new ones fail, or in another way, or the definition has changed."""
    Guard.until = Guard.spent() + LAST
    try:
        if not problem.is_same(own.copied(codes)):
            return None
        with Asked.only(measured=True):
            after = problem.verified(own.copied(codes))
        if unmeasured(after) and not unmeasured(problem.checks):  # what is not looked at does not fail
            return None
        return still_failing(problem.checks, after)
    except STOPPED:
        return None


def divides_by_0(problem, own, codes):
    """Whether a copy divides by 0 in the problems on which the claims that failed are measured first."""
    Guard.until = Guard.spent() + LAST
    try:
        subject, cases = problem.posed(own.copied(codes))
    except STOPPED:
        return False
    for claim in problem.failed:
        for case in some(claim, cases)[:FEW]:
            try:
                with np.errstate(divide="raise"):
                    claim.measure(case.met(subject), case)
            except FloatingPointError:
                return True
            except STOPPED:  # what is not claimed here, or raises with these numbers, says nothing
                continue
    return False


def is_by_chance(problem, own, codes, sources, left=0):
    """Whether an edit mends only by chance: with other numbers or problems the same claims fail, more than are `left`.

    So it is with b for b² where b is 1, or an edit that works for most draws.
    """
    plain, begun = plain_codes(sources), Guard.spent()
    Guard.until = begun + LAST
    for more, scale in itertools.product((1, 2, 3), (SMALLER, 1.0)) if problem.is_whole else [(1, 1.0)]:
        try:
            with Asked.only(measured=True):
                before, after = (problem.verified(own.copied(each, scale), more, scale) for each in (plain, codes))
        except STOPPED:  # with other numbers anything may happen
            continue
        fails = sum(check.passed is False and math.isfinite(check.number) for check in after)  # measurably
        if fails > left and (left or failing_of(before) == failing_of(problem.checks)):
            return True
        if Guard.spent() - begun > 5 * ONCE:
            break
    return False


def failing_of(checks):
    """Return which claims fail."""
    return {(check.claim, check.source) for check in checks if check.passed is False}


def still_failing(before, after):
    """Return how many checks still fail; None if that is all of them, or they fail differently, or new ones fail."""
    failing, holding = ({(check.claim, check.source): check.number for check in after if check.passed is passed}
                        for passed in (False, True))
    judged = {(check.claim, check.source): check for check in before if check.passed is not None
              and check.claim != RUNS}
    wanted = {name for name, check in judged.items() if check.passed or math.isfinite(check.number)}
    # a claim that could not even be measured before may turn out not to be made at all
    if any(name.startswith("it is a function of") for name, _ in failing):
        return None  # what else holds of it may do so by chance
    if not holding or not wanted <= failing.keys() | holding.keys() or not failing.keys() <= judged.keys():
        return None
    alike = all(not judged[name].passed and (number == judged[name].number or math.isclose(
        number, judged[name].number, rel_tol=1e-6)) for name, number in failing.items())
    return len(failing) if alike and len(failing) < sum(check.passed is False for check in before) else None
