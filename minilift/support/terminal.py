"""Messages and exit codes of a command that stops, and streams that accept every character.

A command ends with an exit code and, if something stopped it, one line on standard error. The codes are 2 for a user's
mistake (in an argument, or in a file of the user's that was run), 70 for a bug in minilift, 130 after Ctrl-C, 143 after
SIGTERM, 141 if nobody reads the output to its end, and 74 if there is no output to write to. With MINILIFT_TRACEBACK=1
the traceback is printed before the line.
"""

from __future__ import annotations

import codecs
import contextlib
import dis
import errno
import io
import math
import os
import re
import sys
import textwrap
import traceback
import unicodedata
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from minilift.support.signals import Terminated

PACKAGE = Path(__file__).parent.parent
TRACEBACK = "MINILIFT_TRACEBACK"  # the environment variable that asks for tracebacks
USERS_FILE = "__minilift_target__"  # a name in a user's module, with its path; see checks.command.module_of
MISTAKES = (ValueError, TypeError, RuntimeError, ArithmeticError)
FAULT, INTERRUPTED, TERMINATED, UNREAD, UNWRITTEN = 70, 130, 143, 141, 74
FULL = (errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", None))  # what stops a stream that was open
# replacements for signs that a stream cannot encode
PLAIN = {"─": "-", "–": "-", "—": "-", "−": "-", "⁻": "^-", "¹": "1", "²": "^2", "ᵀ": "^T", "½": "1/2", "·": "*",
         "∗": "*", "⋆": "*", "×": "x", "⊙": "(.)", "→": "->", "←": "<-", "⇒": "=>", "⇔": "<=>", "≤": "<=", "≥": ">=",
         "‖": "|", "⟨": "<", "⟩": ">", "′": "'", "±": "+-", "√": "sqrt", "∞": "inf", "∂": "d", "∇": "grad ",
         "Σ": "sum ", "∫": "int ", "∈": "in", "∠": "angle", "§": "section "}


def exit_code_of(prog, run, *arguments):
    """Call `run` and return the exit code of a command, reporting in one line what stops it, if anything does.

    Parameters
    ----------
    prog : str
        The beginning of the line, such as "minilift compare".
    run : function
        Called with the arguments; returns the exit code.

    Returns
    -------
    int
        As listed in the module's docstring.
    """
    if not open_streams():
        return said(prog, UNWRITTEN, "standard output is closed")
    with warnings.catch_warnings():
        warnings.showwarning = partial(told, prog, warnings.showwarning)
        try:
            code = run(*arguments)
        except BaseException as error:
            code = said(prog, *outcome(error))
    unwritten = settled(sys.stdout)
    if unwritten is not None and code == 0:
        code = said(prog, *outcome(unwritten))
    settled(sys.stderr)
    return code


def said(prog, code, line):
    """Write a line, if there is one and somebody reads it, and return the exit code."""
    if line is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{prog}: {line}\n")
            sys.stderr.flush()
    return code


def told(prog, show, message, category, *place, **more):
    """Show a warning of ours in one line, and any other as Python does, with its place in the source."""
    if category is UserWarning:
        note(f"{prog}: {message}")
    else:
        show(message, category, *place, **more)


# ---- progress


def note(text):
    """Say what is being done, in a line on standard error for whoever is waiting."""
    with contextlib.suppress(OSError):  # nobody reads it
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def watched():
    """Whether standard error is shown on a terminal, where a progress bar can move."""
    return sys.stderr.isatty()


def bar_class():
    """Return tqdm's class of progress bars; in a notebook without ipywidgets the plain one, as the other would warn."""
    if find_spec("ipywidgets"):
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm


def capitalised(text):
    """Return a text with a capital letter, unless it begins with a symbol or a name of code: n is not N."""
    return text[0].upper() + text[1:] if re.match("(a|[a-z]{2,})[ ,;:-]", text) else text


def about(seconds):
    """Return an estimated duration in words: 'about 20 seconds', 'about 3 minutes', 'about 2 hours'."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit}s"
    return f"about {10 * math.ceil(seconds / 10):.0f} seconds"


def how_to_install(extra):
    """Return the command that installs an extra; in a clone, that of the clone."""
    top = PACKAGE.resolve().parent
    where = f"-e '{top}[{extra}]'" if (top / "setup.cfg").is_file() else f"'minilift[{extra}]'"
    return f"{sys.executable} -m pip install {where}"


def absent(name, needed, extra):
    """Return a placeholder for a class that needs what is not installed; making an object of it raises an error."""
    def refuse(self, *arguments, **named):
        raise ImportError(f"{name} needs {needed}; install with: {how_to_install(extra)}")
    return type(name, (), {"__init__": refuse, "__module__": "minilift", "__doc__": f"Needs {needed}."})


# ---- what stopped it


def outcome(error):
    """Return the exit code and the line (None if nothing is to be said) for what stopped a command."""
    show_traceback(error)
    place = place_in_users_file(error)
    if isinstance(error, Terminated):
        return TERMINATED, "terminated"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted"
    if isinstance(error, BrokenPipeError):  # the reader, such as head, has ended
        return UNREAD, None
    if isinstance(error, OSError) and error.filename is None and error.errno in FULL:  # all files are named
        return 2, f"standard output: {error.strerror}"
    if place is not None:
        return 2, f"{place}: {in_a_line(error)} ({TRACEBACK}=1 shows the traceback)"
    if isinstance(error, SystemExit):  # argparse has spoken
        return error.code or 0, None
    if isinstance(error, MemoryError):
        return 2, f"not enough memory: {error}"
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("minilift"):
        return 2, f"{error.name} is needed, and not installed"
    if isinstance(error, (*MISTAKES, OSError)) and is_mistake(error):
        return 2, str(error)
    return FAULT, (f"a fault of minilift's own, at {place_in_package(error)}: {in_a_line(error)} "
                   f"({TRACEBACK}=1 shows the traceback)")


def show_traceback(error):
    """Print the traceback of an error, if the environment asks for it."""
    if os.environ.get(TRACEBACK) and not isinstance(error, (SystemExit, BrokenPipeError)):
        with contextlib.suppress(OSError):
            traceback.print_exception(error)


def is_mistake(error):
    """Whether an exception is a check's answer to a user's mistake, rather than a bug.

    An `OSError` is about a file or the network. Of the others, those raised by a ``raise`` statement in this package
    are answers to mistakes; if an operation failed by itself (shapes that do not fit in a product, say) it is a bug.
    """
    if isinstance(error, OSError):
        return True
    if hasattr(error, "is_mistake"):  # it comes from another process, where it was judged
        return error.is_mistake
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    inside = PACKAGE in Path(code.co_filename).parents
    return inside and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def place_in_users_file(error):
    """Return the innermost line of a file given as FILE.py:NAME that an exception came through, or None."""
    places = [f"{frame.f_globals[USERS_FILE]}, line {line}" for frame, line in traceback.walk_tb(error.__traceback__)
              if USERS_FILE in frame.f_globals]
    return places[-1] if places else None


def place_in_package(error):
    """Return the innermost line of this package that an exception came through."""
    places = [f"{Path(frame.f_code.co_filename).relative_to(PACKAGE.parent).as_posix()}:{line}"
              for frame, line in traceback.walk_tb(error.__traceback__)
              if PACKAGE in Path(frame.f_code.co_filename).parents]
    return places[-1]


def in_a_line(error):
    """Return the class and the message of an exception in one line of moderate length."""
    try:
        message = str(error)
    except Exception:  # even this may fail for a user's exception class
        message = "its message cannot be shown"
    return textwrap.shorten(f"{type(error).__name__}: {message}", 500, placeholder=" …")


# ---- the streams


def open_streams():
    """Make the standard streams accept every character; return whether there is an output to write to.

    Characters that an ASCII terminal or a Windows code page lacks are replaced by others that it has (see `plain`). A
    closed input or error stream is opened on the null device, so that no file is given its number.
    """
    codecs.register_error("minilift.plain", plain)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None and name != "stdout":
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  (open to the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="minilift.plain")
    return sys.stdout is not None


def plain(error):
    """Return a replacement for characters that a stream cannot encode, and where to continue; a codec error handler."""
    return "".join(map(plain_character, error.object[error.start:error.end])), error.end


def plain_character(character):
    """Return an ASCII form of a character: a similar sign, a Greek letter's name, a letter without accent, or '?'."""
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER"):
        return name.split()[3].lower()
    if unicodedata.combining(character):
        return ""
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return PLAIN.get(character) or decomposed or "?"


def settled(stream):
    """Flush a stream; if that fails, return the error and discard what is left in the stream.

    Otherwise the interpreter would try again on exit, and complain.
    """
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
