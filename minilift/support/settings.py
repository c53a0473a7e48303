r"""What a thing was made with: a single description, for printing, comparing, saving and continuing.

`Settings` is the base class of networks, methods, layers, losses, optimizers, schedules and `EarlyStop`. Its
`settings()` reads the constructor's signature and returns each argument, under its own name, as the object stores it.
`repr`, ``==``, the files of `Network.save` and the identity of a run in a checkpoint are all derived from it.

Values of other kinds are distinguished as well as possible; see `traits`.
"""

from __future__ import annotations

import contextlib
import copy
import copyreg
import dis
import functools
import inspect
import re
import types
import zlib
from typing import Any

import numpy as np

from minilift.support.spellings import ARGUMENTS, ELSEWHERE, check_arguments, unknown_argument

PLAIN = (bool, int, float, str, type(None))  # what JSON holds as it is


class NotKeptError(TypeError):
    """An object does not keep an argument of its constructor, so its settings cannot be determined."""


class ConstructorSignature:
    """The signature of a class, read from its `__init__`, whatever its `__new__` may take."""

    def __get__(self, thing, cls):
        if thing is not None:  # an instance's own signature is that of its __call__
            raise AttributeError("__signature__")
        if cls.__init__ is object.__init__:
            return inspect.Signature()
        _, *parameters = inspect.signature(cls.__init__).parameters.values()
        return inspect.Signature(parameters)


class Settings:
    """Base class of objects that are fully described by the arguments of their constructor.

    A subclass keeps each argument as an attribute of the same name. Where its constructor takes ``*args`` or
    ``**kwargs``, the arguments of the base class count as well. A subclass that keeps its arguments otherwise defines
    `settings`.

    Objects are equal if they are of one class and their settings are the same. What an object has learnt since (a
    velocity, running statistics) is not compared. ``copy.copy`` is ``copy.deepcopy``: a copy shares no memory with its
    original.

    Attributes
    ----------
    shown_bare : tuple of str
        Arguments that `repr` shows without their names; the first ones of the constructor.
    shown_always : tuple of str
        Arguments that `repr` shows even where they have their default values.
    """

    shown_bare: tuple[str, ...] = ()
    shown_always: tuple[str, ...] = ()

    __signature__ = ConstructorSignature()

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        """Refuse an argument that the constructor does not have, suggesting the right one, or a missing argument."""
        if named or arguments or cls.__new__ is Settings.__new__:  # a user's own __new__ may keep them to itself
            check_names(cls, arguments, named)
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep a NumPy number that is assigned to a setting as a Python number, which promotes no float32 array."""
        if isinstance(value, np.generic) and name in arguments_of(type(self)):  # type: ignore[arg-type]
            value = value.item()
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how copy and pickle make a copy: without arguments, which are not required in that case."""
        reduced = super().__reduce_ex__(protocol)
        bare = reduced[:2] == (copyreg.__newobj__, (type(self),))  # type: ignore[attr-defined]
        return (object.__new__, *reduced[1:]) if bare and type(self).__new__ is Settings.__new__ else reduced

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, in its order.

        Raises
        ------
        TypeError
            If an argument is not kept as an attribute of its own name.
        """
        return kept_arguments(self)

    def __repr__(self):
        try:
            arguments = ", ".join(arguments_text(self))
        except NotKeptError:
            arguments = "…"
        return f"{type(self).__name__}({arguments})"

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        try:
            return self is other or describe(self) == describe(other)
        except NotKeptError:  # if its settings cannot be determined, a thing equals only itself
            return False

    def __hash__(self):
        return hash(type(self))  # attributes may be assigned: a hash of them would become stale in a dict

    def __copy__(self):
        return copy.deepcopy(self)


# ---- the arguments of a constructor


@functools.cache
def arguments_of(cls):
    """Return the parameters of a class's constructor by name, with those that ``*args`` and ``**kwargs`` pass on."""
    arguments = {}
    for base in cls.__mro__:
        if not inspect.isfunction(vars(base).get("__init__")):  # inherited, or not written in Python
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()
        passed_on = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        arguments |= {p.name: p for p in parameters if p not in passed_on and p.name not in arguments}
        if not passed_on:
            break
    return arguments


def check_names(cls, arguments, named):
    """Raise a `TypeError` for an argument that a constructor does not have, has been given already, or lacks."""
    if arguments and cls.__init__ is object.__init__:
        hint = f"; {ELSEWHERE[cls.__name__, '(…)']}" if (cls.__name__, "(…)") in ELSEWHERE else ""
        raise TypeError(f"{cls.__name__}() takes no arguments, got {len(arguments)}{hint}")
    parameters = parameters_of(cls)
    if parameters is not None:
        check_arguments(cls.__name__, parameters, len(arguments), named)


@functools.cache
def parameters_of(cls):
    """Return the parameters of a class's constructor, or None if it takes any name."""
    parameters = tuple(inspect.signature(cls).parameters.values())
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else parameters


def kept_arguments(thing):
    """Return the constructor's arguments of any object by name, from its attributes, or raise `NotKeptError`."""
    for name in arguments_of(type(thing)):
        if not keeps(thing, name):
            raise NotKeptError(f"{type(thing).__name__}: the constructor's argument {name!r} is not kept, so that the "
                          f"settings cannot be told: assign self.{name}, or define settings()")
    return {name: getattr(thing, name) for name in arguments_of(type(thing))}


def keeps(thing, name):
    """Whether an object has an attribute with this name that is not a method of its class."""
    method = inspect.isroutine(getattr(type(thing), name, None)) and name not in getattr(thing, "__dict__", ())
    return hasattr(thing, name) and not method


def arguments_text(thing):
    """Return the arguments that `repr` shows: required ones, changed ones, and those that are always shown."""
    arguments, texts = arguments_of(type(thing)), []
    for name, value in thing.settings().items():
        default = arguments[name].default if name in arguments else inspect.Parameter.empty
        if name in thing.shown_always or describe(value) != describe(default):
            texts.append(as_shown(value) if name in thing.shown_bare else f"{name}={as_shown(value)}")
    return texts


def as_shown(value):
    """Return a value as `repr` shows it: functions, classes and dtypes by their names, arrays as lists."""
    if inspect.isroutine(value) or inspect.isclass(value):
        return value.__name__
    if isinstance(value, np.dtype):
        return value.name
    return repr(value.tolist() if is_array(value) else value)


def is_array(value):
    """Whether a value is an array of some library, or a scalar of NumPy's."""
    return hasattr(type(value), "tolist")  # its class is asked: a layer, say, would look for the nearest name first


def still_valid(what, thing):
    """Return `thing` if its constructor accepts its present settings, one of which may have been assigned since.

    Or assigned under a name from another library, which has no effect; that is checked for the package's own classes.
    What a user's own constructor accepts is left to the user.
    """
    if type(thing).__module__.startswith("minilift."):  # a subclass may keep anything
        known = arguments_of(type(thing))
        for name in sorted(vars(thing).keys() & ARGUMENTS.keys() - known.keys()):
            if not hasattr(type(thing), name) and any(other in known for other in ARGUMENTS[name]):
                raise unknown_argument(f"{what}: {type(thing).__name__}", name, known)
    if getattr(type(thing).__init__, "__module__", "").startswith("minilift."):
        try:
            type(thing)(**thing.settings())
        except (ValueError, TypeError) as error:
            raise type(error)(f"{what}: {error}") from None
    return thing


# ---- descriptions that JSON can hold


def describe(value, inside=()):
    """Return a description of a value that JSON can hold; for a thing with settings, [class name, {name: description}].

    Functions and other objects are described in the same form, by their `traits`, and a user's class with settings also
    by its `own_code`. `inside` holds the objects that are being described, so that describing a function which refers
    to itself ends.
    """
    if is_array(value):
        value = value.tolist()
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, (list, tuple)):
        return [describe(item, inside) for item in value]
    if isinstance(value, dict):
        return {str(name): describe(item, inside) for name, item in value.items()}
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if any(value is other for other in inside):
        return [name, {}]
    if isinstance(value, Settings):
        return [type(value).__name__, describe({**own_code(type(value)), **value.settings()}, (*inside, value))]
    return [name, describe(traits(value), (*inside, value))]


def traits(value):
    r"""Return the properties that distinguish a function or a foreign object, by name, apart from its own name.

    - For a function (a schedule, a method made from one): a checksum of its compiled code and the constants in it,
      which depends on the version of Python; its default values; the variables that it takes from the functions
      around it; and what it reads from its file (`read_globals`). Only numbers, text, tuples, functions and things with
      settings count: a list, an array or another object may be the function's memory, which changes as it runs.
    - For an object: the constructor's arguments that it keeps, its other attributes with the same exceptions, and
      the code of its ``__call__``.
    - For a class or a built-in function: nothing but the name.
    """
    if isinstance(value, functools.partial):
        return {"function": value.func, "arguments": value.args, **value.keywords}
    if inspect.ismethod(value):
        return {"function": value.__func__, "object": value.__self__}
    if inspect.isfunction(value):
        around = {**inspect.getclosurevars(value).nonlocals}
        around.pop("__class__", None)  # where super() is called
        defaults = {name: p.default for name, p in inspect.signature(value).parameters.items()}
        return {**read_globals(value), "code": code_checksum(value.__code__, value.__doc__), **telling(around),
                **telling(defaults)}
    if inspect.isclass(value) or inspect.isroutine(value):
        return {}
    if isinstance(value, (set, frozenset)):  # whose order is that of one process
        return {"value": f"{{{', '.join(sorted(map(repr, value)))}}}"}
    if not hasattr(value, "__dict__"):
        return {"value": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))}  # an address is meaningless
    kept = {name: getattr(value, name) for name in arguments_of(type(value)) if keeps(value, name)}
    call = inspect.getattr_static(type(value), "__call__", None)
    code = {"code": code_checksum(call.__code__, call.__doc__)} if inspect.isfunction(call) else {}
    return {**kept, **telling(vars(value)), **code}


def own_code(cls):
    """Return the functions and numbers, by name, in the bodies of a user's class and its bases of other modules."""
    own = [base for base in cls.__mro__ if not base.__module__.startswith(("minilift.", "builtins", "abc", "typing"))]
    named = {name: plain(value) for base in reversed(own) for name, value in vars(base).items()}
    return {name: value for name, value in named.items()
            if inspect.isfunction(value) or (isinstance(value, PLAIN) and not name.startswith("__"))}


def plain(value):
    """Return the function behind a class's attribute: a method, a property, a static or a class method."""
    if isinstance(value, (staticmethod, classmethod)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def codes_in(code):
    """Yield some code and, after it, the code of the functions and classes in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_in(constant)


def contents(function):
    """Return {name: value} of the variables that a function takes from the functions around it."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        with contextlib.suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found


def read_globals(function):
    """Return what a user's function reads from its file: numbers, text and tuples by name, and checksums of functions.

    The functions that it calls are followed. What one of them writes is memory, and left out.
    """
    found, written, waiting = {}, set(), [function] * (not str(function.__module__).startswith("minilift."))
    while waiting:
        reader = waiting.pop()
        for code in codes_in(reader.__code__):
            written |= {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_GLOBAL"}
            for name in {*code.co_names} - found.keys():
                value = reader.__globals__.get(name)
                if inspect.isfunction(value) and value.__module__ == function.__module__ and value is not function:
                    found[name] = code_checksum(value.__code__, value.__doc__)
                    waiting.append(value)
                elif isinstance(value, (*PLAIN, tuple)) and value is not None and tells(value) and name[:2] != "__":
                    found[name] = value
    return {name: found[name] for name in sorted(found.keys() - written)}


def telling(values):
    """Return those values, by name, that are not memory: numbers, text, tuples of them, functions, settings."""
    return {name: value for name, value in values.items() if tells(value)}


def tells(value):
    """Whether a value is of a kind that its owner does not change while running."""
    if isinstance(value, tuple):
        return all(map(tells, value))
    return (isinstance(value, (*PLAIN, np.generic, Settings)) or inspect.isroutine(value)
            or (inspect.isclass(value) and value is not inspect.Parameter.empty))


def code_checksum(code, docstring=None):
    """Return a checksum of compiled code and of the code in its constants, but not of its position or its docstring."""
    constants = [code_checksum(constant) if isinstance(constant, types.CodeType) else
                 sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant
                 for constant in code.co_consts if docstring is None or constant != docstring]
    content = repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))
    return f"{zlib.crc32(content.encode()):08x}"


# ---- things that can be recreated


def recipe(thing):
    """Return [class name, arguments], from which a layer can be recreated, or raise a `TypeError`."""
    arguments = thing.settings() if isinstance(thing, Settings) else kept_arguments(thing)
    for name, value in arguments.items():
        if not can_be_made_again(value):
            raise TypeError(f"{type(thing).__name__}: a file cannot hold {name}={as_shown(value)}; it holds numbers, "
                            "text, layers, and lists of them")
    return [type(thing).__name__, describe(arguments)]


def can_be_made_again(value):
    """Whether the description of a value is complete."""
    if isinstance(value, (list, tuple)):
        return all(map(can_be_made_again, value))
    if isinstance(value, Settings):
        return all(map(can_be_made_again, value.settings().values()))
    return isinstance(value, PLAIN) or is_array(value)


# ---- differences


def differences(was, now, where):
    """Yield the differences between two descriptions as texts, such as 'optimizer: lr was 0.1, is 0.2'."""
    if is_thing(was) and is_thing(now) and was[0] == now[0]:
        was, now = was[1], now[1]
    if isinstance(was, dict) and isinstance(now, dict):
        for name in {**was, **now}:
            yield from differences(was.get(name), now.get(name), f"{where}: {name}")
    elif are_lists(was, now) and len(was) == len(now):
        for position, pair in enumerate(zip(was, now)):
            yield from differences(*pair, f"{where}[{position}]")
    elif was != now:
        yield f"{where} was {as_text(was)}, is {as_text(now)}"


def is_thing(description):
    """Whether a description is that of a named thing, and not a list or a value."""
    return (isinstance(description, list) and len(description) == 2 and isinstance(description[0], str)
            and isinstance(description[1], dict))


def are_lists(*descriptions):
    """Whether all descriptions are lists with several items."""
    return all(isinstance(description, list) and not is_thing(description) for description in descriptions)


def as_text(description):
    """Return a description as a person would write it: SGD(lr=0.1, weight_decay=0.0)."""
    if is_thing(description):
        name, settings = description
        shown = {key: value for key, value in settings.items()  # not the code of its class, which is long
                 if not is_thing(value) or value[0].split(".")[-1] != key}
        return f"{name}({', '.join(f'{key}={as_text(value)}' for key, value in shown.items())})"
    if isinstance(description, list):
        return f"[{', '.join(map(as_text, description))}]"
    return str(description)
