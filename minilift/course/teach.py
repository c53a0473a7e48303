r"""What the notebooks of the course share: checks, predictions, records, style and figure helpers.

A check takes a student's answer and says PASS, FAIL (with the size of the error and the probable mistake)
or TODO. It returns what the notebook continues with: the answer if it is right, otherwise a stand-in made
from the library, so that later figures are right. A stand-in is not an answer: it refuses to be called from one. The
checks of each notebook are in `minilift.course.exercises`. They ask whether an answer has the property that defines it
(an equation, a minimum, a bound), and do not compare it with a solution. Typical wrong answers are in tables there: if
an answer behaves like one of them, the check says so; otherwise it says which property fails first.
"""

from __future__ import annotations

import ast
import collections.abc
import contextlib
import dis
import functools
import inspect
import io
import math
import numbers
import sys
import textwrap
import traceback
import types
import warnings
from typing import Any, NamedTuple

import numpy as np

from minilift import plots
from minilift.course.notebooks import REPORT, add_arguments, add_tutorials_arguments, run, run_tutorials
from minilift.support.arguments import unknown_name
from minilift.support.terminal import capitalised

__all__ = [
    "COLORS", "DIFFERENCES", "METHODS", "ROUNDING", "Claim", "add_arguments", "add_tutorials_arguments", "band",
    "beyond", "check", "claim", "close_to_answers", "compare", "contours", "gap", "holds", "method_style", "number",
    "record", "reveal", "run", "run_tutorials", "same", "show", "slips", "style", "times", "versions",
]

ROUNDING = 1e-12  # float64 (unit roundoff 1e-16), sums of up to a few thousand terms of order one
DIFFERENCES = 1e-6  # central differences in float64: good to about 1e-10, times the curvature
RETURNED_NONE = "your function returns None: a return is missing, or stands in a branch that is not reached"
TAKEN = "the answer calls a function of the checks; write it yourself, that is the exercise"
NOT_FINITE = "the answer holds nan or inf; finite numbers are wanted"
LIST_CHANGED = ("your function changes a list that it was given, or a dict, which is still needed; begin with a copy, "
                "list(…) or dict(…)")
COMPLEX = "your function returns complex numbers where real ones are expected"
TEXT = "the answer is text where a number is meant: leave out the quotation marks"
PART_DONE = "a part of the answer is still None"
STILL_RAISES = "the line `raise NotImplementedError` still stands above your code: delete it"
SIGN, FACTOR = "the sign:", "a factor:"
ROUGHLY = 1e-5  # an error below this does not come from a wrong formula
FACTORS = "; is a factor transposed, or a bias row missing or left in?"
LIKELY = {"mismatch in its core dimension": FACTORS, "not aligned": FACTORS,
          "broadcast": "; is * or ^ written for @ or **, are parentheses missing, is a factor transposed, a bias row "
                       "missing or left in, or an axis missing (keepdims=True in a sum, v[:, None])?",
          "must have the same shape": "; the arrays differ in their numbers of rows: np.concatenate, not np.stack?",
          "can only concatenate": "; with + a list is joined to a list alone, [a[0]] + […]: is one a tuple?",
          "boolean array indexing assignment": "; does x[mask] = … need the mask on its right side, too?",
          "must match exactly": "; where arrays are put together, do their other sizes agree, and is the axis right?",
          "same number of dimensions": "; a row that goes below a matrix needs a second axis, which np.vstack gives "
                                       "it; a column beside it is np.ones((N, 1)), not np.ones(N)",
          "inhomogeneous": "; the arrays of a list differ in shape: are they taken one by one, or flattened? Or do "
                           "several parts come back where one array is asked for?",
          "setting an array element with a sequence": "; an entry of an array is a number: keep arrays in a list",
          "enough dimensions": "; is one factor a number, or None (an unused slot of a list)?",
          "only 0-dimensional arrays": "; is one number asked for, and an array comes?",
          "not 'function'": "; a function comes where its value is meant: it must be called",
          "not 'complex'": "; a complex number comes where a real one is meant",
          "float() argument": "; is one number asked for, and a list comes, or are two parts exchanged?",
          "empty sequence": "; what should come back where there is none?",
          "axis 0 with size 0": "; what should come back where there is none?",
          "infinity to integer": "; is a number cut to a whole one that may be infinite?",
          "math domain error": "; is it a root or logarithm of a number that is 0 or negative?",
          "expected a positive input": "; is it a logarithm of a number that is 0 or negative?",  # from Python 3.14 on
          "expected a nonnegative input": "; is it a root of a negative number?",
          "division by zero": "; what should come back where that number is 0?",
          "index out of range": "; does a loop go one too far, or read what is not made yet?",
          "Singular matrix": "; is the damping missing?",
          "at least two-dimensional": "; np.linalg.solve takes the matrix first, then the right side",
          "did not contain a loop": "; does text come back where numbers are meant?",
          "must be square": "; is one to be solved with or inverted that is not, or does the right side stand first?",
          "cannot reshape": "; do the sizes, taken from .shape, multiply to that number?",
          "is ambiguous": "; where np.where, np.minimum or np.min is meant, does an if, or Python's min or max, "
                          "compare arrays?",
          "cannot unpack": "; how many parts are asked for?", "values to unpack": "; how many parts are asked for?",
          "object is not callable": "; is an entry meant, with square brackets, or a method, such as f.forward of a "
                                   "transfer f?",
          "'NoneType' object has no attribute": "; unused slots of lists hold None: is an index 0, or off by one?",
          "has no attribute": "; does an argument hold something else than you take it for?",
          "bitwise_xor": "; a power is **, not ^", "for ^": "; a power is **, not ^",
          "unsupported operand": "; is one of the two a list, None or an uncalled function where an array is meant?",
          "out of bounds": "; does an index or an axis go one too far, or is it one into another or a flattened array?",
          "could not convert string": "; is a number asked for, and text comes?",
          "'NoneType' object is not subscriptable": "; unused slots of lists hold None: is an index 0, off by one, or "
                                                    "that of a join, which has no θ?",
          "is not subscriptable": "; is one number or function taken for several?",
          "missing 1 required": "; are all arguments handed on?",
          "cannot access local variable": "; is it used before it is made, in the first turn of a loop?",
          "referenced before assignment": "; is it used before it is made, in the first turn of a loop?",  # Python 3.10
          "is not defined": "; is it an argument, or is it made in a cell that has not run?",
          "KeyError": "; does a loop go one too far, or is an index off by one?",
          "type NoneType": "; unused slots of these lists hold None: does a loop start at 0, or reach one?",
          "'NoneType'": "; unused slots of these lists hold None: is an index off by one?"}  # by Python's message
DPI = 100  # of figures: sharp enough to read, and a notebook of ten stays below 700 KB


# ---- what notebooks print

UNSEEN: list[bool] = []  # not empty while a check runs whose output must not be shown


@contextlib.contextmanager
def unseen():
    """Publish nothing in the block."""
    UNSEEN.append(True)
    try:
        yield
    finally:
        UNSEEN.pop()


def publish(text, report):
    """Show `text`, and in a notebook attach `report` (a dict) in machine-readable form."""
    if UNSEEN:
        return
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        print(text)
        return
    from IPython.display import display
    display({"text/plain": text, REPORT: report}, raw=True)


def versions():
    """Print the versions of the software that matter for these results."""
    import matplotlib

    import minilift
    print(f"Python {sys.version_info.major}.{sys.version_info.minor}, NumPy {np.__version__}, "
          f"matplotlib {matplotlib.__version__}, minilift {minilift.__version__}")


def reveal(prediction, answer, because="", in_order=True):
    """Answer a *predict* cell: say whether `prediction` (None if none was made) equals `answer`, and why.

    A list, a set or an array counts as the tuple of its items; "(C)" and "c" are one, and so are "5" and 5, "3, 0" and
    (3, 0), and two numbers that differ by rounding. If not `in_order`, the answer is a tuple whose items may be
    predicted in any order, and a single one by itself.
    """
    if isinstance(prediction, str) and not isinstance(answer, str):
        with contextlib.suppress(SyntaxError, ValueError):  # it is no number or tuple
            prediction = ast.literal_eval(prediction.strip())
    if isinstance(prediction, set):
        prediction = tuple(prediction)
    if isinstance(prediction, str) and spelled(prediction) == spelled(answer):
        prediction = answer
    if prediction is not None and not in_order and sorted(np.ravel(prediction)) == sorted(answer):
        prediction = answer
    if isinstance(prediction, (list, np.ndarray)):
        items = tuple(prediction if isinstance(prediction, list) else prediction.ravel().tolist())
        prediction = items if isinstance(answer, tuple) or len(items) != 1 else items[0]
    if stands_for(prediction, answer):
        prediction = answer
    if prediction is None:
        text = f"No prediction was written down. It is {answer!r}."
    elif isinstance(answer, str) and isinstance(prediction, tuple) and (
            len(prediction) > 3 or any(map(np.ndim, prediction))):  # a = …, and not "a"
        text = f"Predicted: {len(prediction)} values; were quotation marks left out? It is {answer!r}."
    elif prediction == answer:
        text = f"Predicted: {answer!r}, and so it is."
    else:
        text = f"Predicted: {prediction!r}; it is {answer!r}."
    print(f"{text} {because}".rstrip())


def stands_for(prediction, number):
    """Whether a prediction is a number that differs from the right one by rounding at most."""
    if isinstance(number, (str, tuple)):
        return False
    try:
        return math.isclose(float(prediction), number, rel_tol=1e-6, abs_tol=1e-12)
    except (TypeError, ValueError):  # no number
        return False


def spelled(prediction):
    """Return a prediction as text without the ways of writing it that mean nothing: (A), "a." and a are one."""
    return str(prediction).strip(" ().").casefold()


def gap(actual, expected):
    r"""Return :math:`\max|x - y| / \max(1, \max|y|)`, absolute for small y, relative for large; inf for NaN.

    Equal infinities count as differing by 0.

    Raises
    ------
    ValueError
        If the shapes differ, as nothing is broadcast.
    """
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    if actual.shape != expected.shape:
        turned = " (is it transposed?)" if actual.ndim == 2 and actual.shape == expected.shape[::-1] else ""
        raise ValueError(f"shape {actual.shape} where {expected.shape} is expected{turned}")
    with np.errstate(invalid="ignore"):
        differences = np.where(actual == expected, 0.0, abs(actual - expected))
    sizes = abs(expected[np.isfinite(expected)])
    error = float(differences.max(initial=0)) / max(1.0, float(sizes.max(initial=0)))
    return error if math.isfinite(error) else math.inf


def holds(text, actual, expected, tolerance=ROUNDING):
    """Check an equation of the text: print the error of `actual` against `expected`, or raise AssertionError.

    Parameters
    ----------
    text : str
        The claim, such as "four forms of the step agree".
    actual, expected : arrays or numbers of one shape
    tolerance : float, default ROUNDING
    """
    error = gap(actual, expected)
    verdict = f"{text}: error {error:.1e} (tolerance {tolerance:g})"
    if not error <= tolerance:
        raise AssertionError(f"does not hold: {verdict}")
    print(f"holds   {verdict}")


def compare(text, mine, theirs):
    """Print how an array computed by hand compares with the library's: equal, equal up to rounding, largest gap."""
    error = gap(mine, theirs)
    exact = bool((np.asarray(mine) == np.asarray(theirs)).all())
    rounding = error <= ROUNDING
    print(f"{text:<24} exact {exact!s:<5}  to rounding {rounding!s:<5}  largest difference {error:.1e}")


def number(name, value):
    """Print a number that the text mentions."""
    print(f"{name}: {float(value):.4g}")


def record(name, value, expected, tolerance):
    """Record a number that the prose relies on; tests check it against its tolerance, as committed and when rerun.

    Parameters
    ----------
    name : str
    value : float
        As measured here.
    expected : float
        As stated in the prose.
    tolerance : float
        Absolute tolerance.
    """
    value, expected, tolerance = float(value), float(expected), float(tolerance)
    kept = abs(value - expected) <= tolerance
    note = "" if kept else f"   <- the text says {expected:g} ± {tolerance:g}"
    publish(f"{name}: {value:.4g}{note}",
            {"kind": "record", "name": name, "value": value if math.isfinite(value) else None,
             "expected": expected, "tolerance": tolerance, "kept": kept})


# ---- checks of exercises

class Claim(NamedTuple):
    """One property that a right answer has: its error is at most the tolerance."""

    text: str
    error: float
    tolerance: float
    look: str = ""  # where to look if this property is the first that fails

    @property
    def holds(self):
        """Whether the error is small enough (NaN is not)."""
        return bool(self.error <= self.tolerance)


def beyond(excess):
    """Return the amount by which something is too large: 0 if it is not, infinity for NaN, which is not an answer."""
    return max(0.0, float(excess)) if excess == excess else math.inf


def claim(text, actual, expected, tolerance=ROUNDING, look=""):
    """Return the `Claim` that two arrays or numbers are equal, as measured by `gap`."""
    try:
        error = gap(actual, expected)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    return Claim(text, error, tolerance, "" if error <= tolerance else multiple(actual, expected) or look)


def multiple(actual, expected):
    """Return what is wrong with an answer that is a multiple of the right one, else "".

    A single number is a multiple of any other; for it only a wrong sign and the factors 2 and ½ are worth mentioning.
    """
    factor = times(actual, expected)
    if not math.isfinite(factor) or factor == 0:
        return ""
    if same(factor, 1.0, ROUGHLY):
        return ""  # float32, say
    if same(factor, -1.0, 1e-6):
        return f"{SIGN} it is minus what it should be"
    if np.size(expected) == 1 and not any(same(factor, plain, 1e-6) for plain in (2, 0.5, -2, -0.5)):
        return ""
    return f"{FACTOR} it is {factor:.4g} times what it should be (a ½, a mean, a step size?)"


def times(actual, expected, tolerance=1e-6):
    """Return the number c with actual = c · expected up to a relative error, nan if there is none."""
    if np.shape(actual) != np.shape(expected):
        return math.nan
    actual, expected = np.ravel(np.asarray(actual, dtype=float)), np.ravel(np.asarray(expected, dtype=float))
    if not (np.isfinite(actual).all() and np.isfinite(expected).all() and expected.any()):
        return math.nan
    factor = float(actual @ expected / (expected @ expected))
    rest = float(abs(actual - factor * expected).max())
    return factor if rest <= tolerance * abs(factor) * float(abs(expected).max()) else math.nan


def same(actual, wrong, tolerance=1e-9):
    """Whether an answer equals the wrong one that a known mistake gives; False if the shapes differ.

    Lists and tuples are compared part by part; None (in the unused first slots) matches None, and NaN matches
    NaN.
    """
    if any(isinstance(value, (list, tuple)) for value in (actual, wrong)):
        return len(actual) == len(wrong) and all(same(*pair, tolerance) for pair in zip(actual, wrong))
    if actual is None or wrong is None:
        return actual is wrong
    actual, wrong = np.asarray(actual, dtype=float), np.asarray(wrong, dtype=float)
    if actual.shape != wrong.shape or (np.isnan(actual) != np.isnan(wrong)).any():
        return False
    return gap(np.where(np.isnan(actual), 0.0, actual), np.where(np.isnan(wrong), 0.0, wrong)) <= tolerance


def slips(answer, questions, table):
    """Yield (whether an answer is this wrong one, message) for each entry of a table of wrong answers.

    Parameters
    ----------
    answer : function
    questions : list of tuple
        Arguments on which an answer must agree with a wrong one to be identified with it.
    table : dict of message → function
        Functions that make the mistake. One that cannot handle a question does not match.
    """
    found = [answer(*arguments) for arguments in questions]
    for message, wrong in table.items():
        try:
            yield all(same(value, wrong(*arguments)) for value, arguments in zip(found, questions)), message
        except (ValueError, TypeError, IndexError):  # an answer of another shape, say
            yield False, message


def check(exercise, answer, claims, mistakes=None, fallback=None, array=False):
    """Judge an answer, print the verdict and return what the notebook continues with.

    Parameters
    ----------
    exercise : str
        Number, such as "1.2".
    answer : function, array, number or str
        None, a function that raises NotImplementedError, or an earlier check's stand-in mean that it is not done yet.
    claims : function
        From the answer to an iterable of `Claim`: the properties that define a right answer. A function's
        arguments reach it as read-only copies.
    mistakes : function, optional
        From the answer to an iterable of (whether it is this mistake, what to say), for wrong answers.
    fallback : object, optional
        What replaces an answer that is not right, made from the library; None if the notebook needs none.
    array : bool, default False
        Whether one array is asked for; a tuple of numbers then counts as one.
    """
    answer = answer if callable(answer) or answer is GIVEN.get(exercise) else in_form(answer)
    changed: list[bool] = []
    formed: list[bool] = []
    asked = guarded(answer, exercise, changed, formed, array)
    held: list[Claim] = []
    message = ""
    try:
        if unanswered(answer) or answer is GIVEN.get(exercise):
            raise NotImplementedError
        require_finite(answer)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for each in claims(asked):
                held.append(each)
        status = "PASS" if held and all(each.holds for each in held) else "FAIL"
        if status == "PASS" and any(changed):
            status, message = "FAIL", LIST_CHANGED
    except NotImplementedError:
        part = isinstance(answer, tuple) and any(each is not None for each in answer)
        status, message = "TODO", PART_DONE if part else STILL_RAISES * raises_above_its_code(answer)
    except Exception as error:  # whatever a student's code raises is a finding about that code
        status, message = "FAIL", explained(error)
    if status == "FAIL" and message not in (TAKEN, RETURNED_NONE, NOT_FINITE, LIST_CHANGED, COMPLEX, TEXT):
        message = (not message and nearly_right(held)) or diagnosis(asked, mistakes) or message or located(held)
        if names := read_from_notebook(answer):
            message = (f"{message}{stop(message)} Your function reads {', '.join(names)} of the notebook, not of its "
                       "arguments: is it right for another problem?")
    publish(verdict(exercise, status, held, message, fallback is not None),
            {"kind": "check", "exercise": exercise, "status": status, "message": message,
             "claims": [{"text": c.text, "error": float(c.error) if math.isfinite(c.error) else None,
                         "tolerance": float(c.tolerance)} for c in held]})
    if status == "PASS" and any(formed):
        return with_form(answer, array)
    if status == "PASS" or fallback is None:
        return answer
    GIVEN[exercise] = stand_in(exercise, fallback)
    return GIVEN[exercise]


def raises_above_its_code(answer):
    """Whether a function has code below the line that says that it is not done yet."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(answer))).body[0].body
    except (AttributeError, IndexError, OSError, SyntaxError, TypeError):  # no source, or no function
        return False
    return any(isinstance(part, ast.Raise) for part in body[:-1])


def read_from_notebook(answer):
    """Return the names of numbers, arrays and other objects that a function reads where it was defined."""
    space, codes, names = getattr(answer, "__globals__", {}), [getattr(answer, "__code__", None)], []
    while codes:
        code = codes.pop()
        if isinstance(code, types.CodeType):
            codes += code.co_consts  # of functions in it
            names += [step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"]
    return [name for name in dict.fromkeys(names) if space.get(name) is not None
            and not callable(space[name]) and not isinstance(space[name], types.ModuleType)]


def unanswered(answer):
    """Whether an answer is None, or a tuple of several answers one of which is None."""
    return answer is None or (isinstance(answer, tuple) and any(part is None for part in answer))


def require_finite(answer):
    """Raise an error if an answer made of numbers contains one that is not finite, or is written as text."""
    if isinstance(answer, (list, tuple)):
        for part in answer:
            require_finite(part)
        return
    if answer is None:
        return  # an unused slot
    if isinstance(answer, str) and is_number(answer):
        raise TextError
    try:
        values = np.asarray(answer)
        unreal = np.iscomplexobj(values) and values.imag.any()
        values = (values.real if np.iscomplexobj(values) else values).astype(float)
    except (TypeError, ValueError):
        return  # a function, say
    if unreal:
        raise ValueError("it holds complex numbers where real ones are expected")
    if not np.isfinite(values).all():
        raise NotFiniteError


def is_number(text):
    """Whether a text stands for a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def guarded(answer, exercise="", changed=None, formed=None, array=False):
    """Return a function wrapped so that it cannot change its arguments and must return a result.

    It receives copies of lists. At each call, whether it has changed one is appended to the list `changed`, and whether
    its result consists of arrays in another form, to the list `formed`.
    """
    if not callable(answer):
        return answer

    def ask(*arguments, **named):
        arguments, named = [*map(read_only, arguments)], dict(zip(named, map(read_only, named.values())))
        given = [*arguments, *named.values()]
        before = parts(given)
        with asking(exercise):
            result = answer(*arguments, **named)
            form = in_form(result, array)
        if changed is not None:
            changed.append([*map(id, parts(given))] != [*map(id, before)])
        if formed is not None:
            formed.append(form is not result)
        if result is None:
            raise NoResultError
        if isinstance(form, str) and is_number(form):
            raise TextError
        if is_complex(form) and not is_complex(given):
            raise ComplexResultError
        return form
    return ask


def with_form(answer, array=False):
    """Return an answer whose results have the form in which they were checked."""
    @functools.wraps(answer)
    def own(*arguments, **named):
        return in_form(answer(*arguments, **named), array)
    return own


def parts(value):
    """Return all items of a list, including those of nested lists and dicts."""
    items = ([*part.values()] if type(part) is dict else part for part in value)
    return [inner for part in items for inner in (parts(part) if isinstance(part, list) else [part])]


def is_complex(value):
    """Whether an array, or one in a list or tuple, has an imaginary part."""
    if isinstance(value, (list, tuple)):
        return any(map(is_complex, value))
    return np.iscomplexobj(value) and bool(np.imag(value).any())


def in_form(value, array=False):
    """Return a result as arrays where arrays are meant: from lists of numbers or rows, an iterator, another library.

    If one `array` is asked for, a tuple of numbers counts as one.
    """
    if array and type(value) is tuple:
        value = list(value)
    if isinstance(value, np.matrix) or (hasattr(value, "__array__")
                                        and not isinstance(value, (np.ndarray, np.generic, type))):
        return np.asarray(value)  # a matrix; a tensor
    if isinstance(value, (collections.abc.Iterator, collections.abc.ValuesView, collections.abc.Set)):
        value = list(value)
    if not isinstance(value, (list, tuple)):
        return value
    if is_array(value):
        return np.array(value)
    formed = [in_form(part) for part in value]
    if all(new is old for new, old in zip(formed, value)):
        return value
    return formed if isinstance(value, list) else tuple(formed)


def is_array(value):
    """Whether lists form an array of numbers, or of rows of equal length; a mere tuple of numbers does not."""
    if not len(value):
        return False
    if isinstance(value, tuple) and not isinstance(value[0], (list, tuple)) and np.ndim(value[0]) == 0:
        return False
    if all(isinstance(part, numbers.Real) or (isinstance(part, np.ndarray) and part.ndim == 0) for part in value):
        return True
    if not all(isinstance(part, (list, tuple, np.ndarray)) for part in value) or len({*map(len, value)}) > 1:
        return False
    return all(part.ndim == 1 if isinstance(part, np.ndarray) else is_array(list(part)) for part in value)


def read_only(value):
    """Return a read-only copy of an array, or of the arrays in a list, tuple or dict; anything else as it is."""
    if isinstance(value, list):
        return [read_only(part) for part in value]
    if type(value) is tuple:
        return tuple(map(read_only, value))
    if type(value) is dict:
        return {key: read_only(part) for key, part in value.items()}
    if not isinstance(value, np.ndarray):
        return value
    value = value.copy()
    value.flags.writeable = False
    return value


# ---- stand-ins are no answers

class TakenError(Exception):
    """An answer has called a function that belongs to the checks."""


class NoResultError(Exception):
    """An answer has returned None."""


class TextError(Exception):
    """An answer is text that stands for a number."""


class ComplexResultError(Exception):
    """An answer has returned complex numbers for real ones."""


class NotFiniteError(Exception):
    """An answer that consists of numbers holds nan or inf."""


ASKED: list[str] = []  # the exercises whose answers are running, innermost last; "" while a check itself does
GIVEN: dict[str, Any] = {}  # the stand-in for an answer, by exercise


@contextlib.contextmanager
def asking(exercise):
    """Note in the block that the answer to an exercise is running ("" for the course's own code)."""
    ASKED.append(exercise)
    try:
        yield
    finally:
        ASKED.pop()


def closed(function, exercise=None):
    """Return a function that raises `TakenError` if it is called by any answer, or by the answer to one exercise."""
    @functools.wraps(function)
    def own(*arguments, **named):
        if ASKED and ASKED[-1] and exercise in (None, ASKED[-1]):
            raise TakenError
        with asking(""):
            return function(*arguments, **named)
    return own


def close_to_answers(namespace):
    """Make all functions defined by a module of checks refuse calls from answers; the module's last line."""
    for name, value in list(namespace.items()):
        if isinstance(value, types.FunctionType) and value.__module__ == namespace["__name__"]:
            namespace[name] = closed(value)


def stand_in(exercise, fallback):
    """Return the stand-in for an answer: unusable as an answer to its own exercise, and a recognisable object."""
    if callable(fallback):
        return closed(fallback, exercise)
    return np.int64(fallback) if isinstance(fallback, int) else fallback  # Python has one object for each small int


# ---- what a verdict says

def explained(error):
    """Return one line about an exception raised by a student's code."""
    if isinstance(error, TakenError):
        return TAKEN
    if isinstance(error, NoResultError):
        return RETURNED_NONE
    if isinstance(error, NotFiniteError):
        return NOT_FINITE
    if isinstance(error, ComplexResultError):
        return COMPLEX
    if isinstance(error, TextError):
        return TEXT
    if isinstance(error, ValueError) and "read-only" in str(error):
        return "your function writes into one of its arguments (x += …, x[i] = …); make a new array instead"
    raised = f"{type(error).__name__}: {error}"
    likely = next((guess for words, guess in LIKELY.items() if words in raised), "")
    if not by_check(error):
        return f"your answer raised {raised}{likely}"
    if "inhomogeneous" in raised:  # NumPy's words are about the check's own array
        return f"your answer does not fit{likely.replace(';', ':')}"
    if "broadcast" in raised or likely == FACTORS:  # the check's own operation
        likely = "; has it the shape that is asked for?"
    return f"your answer does not fit: {error}{likely}"


def by_check(error):
    """Whether an error was raised by a check itself, about an answer or what it has returned."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not any(frame.f_code.co_name == "ask" and frame.f_globals is globals() for frame in frames)


def diagnosis(answer, mistakes):
    """Return the message of the first known mistake that fits, or ""."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return next((message for fits, message in mistakes(answer) if fits), "") if mistakes else ""
    except Exception:  # a wrong answer may be anything; then there is no diagnosis, but the verdict stands
        return ""


def located(claims):
    """Return which property fails first, which property before it still holds, and where to look."""
    k = next(k for k, each in enumerate(claims) if not each.holds)
    if claims[k].look.startswith((SIGN, FACTOR)):
        return f"{claims[k].look}, in '{claims[k].text.strip()}'"
    if all(each.error <= ROUGHLY for each in claims):
        return rough(claims[k])
    before = f" ('{claims[k - 1].text.strip()}' holds)" if k else ""
    look = f"; {claims[k].look}" if claims[k].look else ""
    return f"the first property that fails is '{claims[k].text.strip()}'{before}{look}"


def rough(claim):
    """Return the message for an answer that is right except for some digits."""
    return (f"right up to an error of {claim.error:.0e}, in '{claim.text.strip()}': is an array of type float32, is a "
            "result rounded, is a small number added somewhere, is a slope a difference quotient, or does an iteration "
            "stop too early?")


def stop(message):
    """Return the full stop that a message lacks, or ""."""
    return "" if message.endswith(("?", "!", ".")) else "."


def nearly_right(claims):
    """Return the message for an equation that should hold up to rounding and fails only slightly, else ""."""
    failed = next((each for each in claims if not each.holds), None)
    little = failed is not None and 1e-13 < failed.tolerance <= 1e-8 and failed.error <= ROUGHLY
    return rough(failed) if little and all(each.error <= 1e-2 for each in claims) else ""


def verdict(exercise, status, claims, message, has_fallback):
    """Return the text of a check's result."""
    lines = [f"{status}  Exercise {exercise}"]
    if status == "TODO":
        lines[0] += ": not done yet"
    width = max((len(c.text) for c in claims), default=0)
    if status != "TODO":
        lines += [f"      {c.text:<{width}}  error {c.error:.1e}  (tolerance {c.tolerance:g})"
                  f"{'' if c.holds else '   <- too large'}" for c in claims]
    if message:
        guess = claims and not message.startswith(("your ", "the answer ", "the first "))  # these are no guesses
        lines.append(f"      Probably: {message}" if guess else f"      {capitalised(message)}{stop(message)}")
    if status != "PASS" and has_fallback:
        lines.append("      The cells below go on with a stand-in, so that their results are right.")
    return "\n".join(lines)


# ---- style and figures

COLORS = {"black": plots.BLACK, "orange": plots.ORANGE, "sky": plots.SKY, "green": plots.GREEN, "yellow": plots.YELLOW,
          "blue": plots.BLUE, "vermillion": plots.VERMILLION, "purple": plots.PURPLE, "grey": plots.GREY}

LOOKS = {  # the method in plots.METHOD_STYLE whose look a name in the notebooks uses
    "BackProp": "backprop", "ProxProp exact": "proxprop", "ProxProp cg1": "cg1", "ProxProp cg3": "cg3",
    "ProxProp cg5": "cg5", "ProxProp cg10": "cg10", "LocoProp-S": "locoprop-s", "LocoProp-M": "locoprop-m",
    "SIBP": "semi-implicit", "explicit": "backprop", "implicit": "proxprop",
    "BCD": "bcd", "ADMM": "admm", "MAC": "mac",
    "Predictive coding": "predictive-coding", "Target propagation": "target-propagation",
}
METHODS = {name: tuple(plots.METHOD_STYLE[look][key] for key in ("color", "linestyle", "marker"))
           for name, look in LOOKS.items()}
METHODS["exact"] = (plots.GREY, "--", "")  # the curve that methods try to follow


def method_style(name):
    """Return the plot arguments (color, linestyle, marker, label) of a method, the same in every figure."""
    if name not in METHODS:
        raise unknown_name("method_style", name, tuple(METHODS))
    color, line, marker = METHODS[name]
    return {"color": color, "linestyle": line, "marker": marker, "label": name}


def style():
    """Set matplotlib's style for the course: white background, Okabe–Ito colours, quiet axes."""
    import matplotlib
    from cycler import cycler
    cycle = [COLORS[name] for name in ("blue", "vermillion", "green", "orange", "purple", "sky", "black")]
    matplotlib.rcParams.update({
        "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
        "figure.constrained_layout.use": True, "figure.dpi": DPI, "font.size": 10, "axes.titlesize": 10,
        "axes.prop_cycle": cycler(color=cycle), "axes.spines.top": False, "axes.spines.right": False,
        "axes.grid": True, "grid.color": "#E6E6E6", "grid.linewidth": 0.6, "axes.axisbelow": True,
        "lines.linewidth": 1.6, "lines.markersize": 4, "legend.frameon": False, "legend.fontsize": 9,
    })


def show(fig, alt):
    """Show a figure with a text alternative (for readers who cannot see it), and close it.

    Parameters
    ----------
    fig : matplotlib figure
    alt : str
        What the figure shows and what can be seen in it, in one or two sentences.
    """
    import matplotlib.pyplot as plt
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.08,
                metadata={"Software": None})
    plt.close(fig)
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import display
        display({"image/png": file.getvalue(), "text/plain": f"Figure: {alt}"}, raw=True,
                metadata={"image/png": {"alt": alt}})


def contours(ax, function, x, y, levels=12):
    """Draw contours of function(points (n, 2)) -> (n,), log-spaced from its least value, with equal aspect."""
    points = np.stack(np.meshgrid(x, y), axis=-1)
    values = function(points.reshape(-1, 2)).reshape(points.shape[:2])
    least, span = values.min(), np.ptp(values)
    heights = least + span * np.logspace(-4, 0, levels)
    ax.contour(x, y, values, levels=heights, colors="#B0B0B0", linewidths=0.7)
    ax.set_aspect("equal")
    ax.grid(False)


def band(ax, x, runs, name, ceiling=None, row=0, survivors=False, **plot):
    """Draw the median of several runs and their range, and where any diverged a cross on the top edge or above it.

    Parameters
    ----------
    ax : matplotlib axes
    x : array (k,)
    runs : array (seeds, k)
        Non-finite where a run diverged.
    name : str
        A method in `METHODS`, which defines the style.
    ceiling : float, optional
        Values above it count as diverged too.
    row : int, default 0
        The row of the crosses, 0 being the top edge; with one row per method no cross hides another.
    survivors : bool, default False
        Whether the runs that did not diverge are also drawn below the crosses, as open circles.
    **plot
        Arguments of ax.plot that replace those of the style.
    """
    x, runs = np.asarray(x, dtype=float), np.array(runs, dtype=float)
    runs[~np.isfinite(runs) | (runs > (math.inf if ceiling is None else ceiling))] = np.nan
    lost = np.isnan(runs).any(axis=0)
    kept = np.where(lost, np.nan, runs)
    options = {**method_style(name), **plot}
    ax.plot(x, np.median(kept, axis=0), **options)
    ax.fill_between(x, kept.min(axis=0), kept.max(axis=0), color=options["color"], alpha=0.15, linewidth=0)
    if lost.any():  # an empty line that is not clipped would claim the figure's corner in the layout
        ax.plot(x[lost], np.full(lost.sum(), 1 + 0.045 * row), "x", color=options["color"], markersize=7,
                markeredgewidth=1.8, transform=ax.get_xaxis_transform(), clip_on=False)
    if survivors:
        ax.plot(x[lost], runs[:, lost].T, "o", color=options["color"], markerfacecolor="none", markersize=5)


if __name__ == "__main__":
    import argparse
    parser = argparse.ArgumentParser(prog="python -m minilift.course.teach", description="Notebooks.")
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
