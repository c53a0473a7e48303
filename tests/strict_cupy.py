"""A strict stand-in for CuPy, on the CPU: its arrays refuse all that CuPy's arrays refuse.

With it in `sys.modules` a network with ``backend="cupy"`` runs its whole chain without a GPU, and what
would fail on one fails here: host arrays mixed in, implicit conversion to NumPy, a function that CuPy does
not have.

- `ndarray` is no subclass of `numpy.ndarray` but holds one: `numpy.asarray(x)` can then be refused, as CuPy
  does; for a subclass it could not be. NumPy's functions and ufuncs applied to it go to the stand-in's own,
  if it has one of that name, as NumPy's protocols go to CuPy's.
- Reductions return arrays of no dimension, not scalars; only Python's and NumPy's scalars may stand beside
  an array.
- A failed factorisation raises nothing and leaves finite nonsense, unless
  ``cupyx.errstate(linalg="raise")`` holds.
- A pickle of an array holds its host copy, as one of CuPy's does.
- There is no `cupy.random`: the package draws all random numbers with NumPy.

Limits. It computes with NumPy, so rounding and speed say nothing of a GPU; it is stricter than CuPy in
places (host arrays as indices, or assigned to a slice, are refused here and copied there); and the list of
functions, `FUNCTIONS`, is kept by hand: a name belongs on it only if CuPy's reference has it. The tests
marked `gpu` run the same on real CuPy.
"""

import contextlib
import types

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

FUNCTIONS = [
    "abs", "absolute", "add", "all", "any", "arange", "arctan", "arctanh", "argmax", "argmin", "argsort",
    "bincount", "bitwise_and", "bitwise_or", "broadcast_to", "ceil", "clip", "concatenate", "copyto", "cos",
    "cosh", "count_nonzero", "cumsum", "diag", "divide", "dot", "einsum", "vdot", "empty", "empty_like", "equal",
    "exp", "expand_dims", "expm1", "eye", "flip", "floor", "full", "full_like", "greater", "greater_equal",
    "hstack", "invert", "isfinite", "isinf", "isnan", "less", "less_equal", "linspace", "log", "log1p",
    "logaddexp", "logical_and", "logical_not", "logical_or", "matmul", "max", "maximum", "mean", "min",
    "minimum", "moveaxis", "multiply", "negative", "nonzero", "not_equal", "ones", "ones_like", "outer",
    "pad", "power", "prod", "reciprocal", "repeat", "reshape", "roll", "sign", "sin", "sinh", "split",
    "sqrt", "square", "squeeze", "stack", "std", "subtract", "sum", "swapaxes", "take", "take_along_axis",
    "tanh", "tensordot", "tile", "transpose", "tril", "triu", "true_divide", "unique", "var",
    "vstack", "where", "zeros", "zeros_like",
]
METHODS = [
    "all", "any", "argmax", "argmin", "argsort", "astype", "clip", "copy", "cumsum", "diagonal", "dot",
    "flatten", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "squeeze", "std",
    "sum", "swapaxes", "take", "trace", "transpose", "var", "view",
]
LINALG = ["cholesky", "eigh", "eigvalsh", "inv", "lstsq", "norm", "qr", "solve", "svd"]
errors = {"linalg": "ignore"}


class ndarray(NDArrayOperatorsMixin):  # noqa: N801  (CuPy's name)
    """An array on the pretended device."""

    def __init__(self, host):
        self._host = host

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`.")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__" or ufunc.__name__ not in FUNCTIONS:
            return NotImplemented
        if out is not None:
            kwargs["out"] = out[0]
        return on_host(ufunc, *inputs, **kwargs)

    def __array_function__(self, func, types_, args, kwargs):
        home = cupy.linalg if func.__module__.endswith("linalg") else cupy
        if not hasattr(home, func.__name__):
            return NotImplemented
        return getattr(home, func.__name__)(*args, **kwargs)

    def __getitem__(self, key):
        return wrapped(self._host[unwrapped(key)])

    def __setitem__(self, key, value):
        self._host[unwrapped(key)] = unwrapped(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return map(wrapped, self._host)

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __index__(self):
        return self._host.__index__()

    def __repr__(self):
        return repr(self._host)

    def __copy__(self):
        return ndarray(self._host.copy())

    def __deepcopy__(self, memo):
        return ndarray(self._host.copy())

    def __reduce__(self):
        return as_device, (self._host,)

    def get(self):
        """Return a copy on the host."""
        return self._host.copy()

    def item(self, *args):
        return self._host.item(*args)

    def tolist(self):
        return self._host.tolist()

    def fill(self, value):
        self._host.fill(unwrapped(value))

    T = property(lambda self: ndarray(self._host.T))
    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)


def as_device(host):
    """Return a host array on the pretended device: how a pickle, which holds the host's copy, comes back."""
    return ndarray(host)


def method(name):
    def call(self, *args, **kwargs):
        return on_host(getattr(np.ndarray, name), self, *args, **kwargs)
    return call


for name in METHODS:
    setattr(ndarray, name, method(name))


def wrapped(value):
    """Return arrays and NumPy scalars as device arrays, containers of them likewise."""
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    if isinstance(value, (list, tuple)):
        items = [wrapped(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def unwrapped(value):
    """Return what a device array holds; a host array is refused."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray}: a host array, shape {value.shape}, beside device arrays")
    if isinstance(value, (list, tuple)):
        return type(value)(unwrapped(item) for item in value)
    if isinstance(value, dict):
        return {key: unwrapped(item) for key, item in value.items()}
    return value


def on_host(function, *args, **kwargs):
    """Apply a function of NumPy to device arrays."""
    with np.errstate(all="ignore"):  # a GPU says nothing of overflow
        result = function(*unwrapped(args), **unwrapped(kwargs))
    out = kwargs.get("out")
    return out if out is not None else wrapped(result)


def device_function(function):
    def call(*args, **kwargs):
        return on_host(function, *args, **kwargs)
    return call


def to_device(function):
    """Return a function that takes host arrays too: the way onto the device."""
    def call(array, dtype=None, **kwargs):
        host = array._host if isinstance(array, ndarray) else function(array)
        if host.dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {host.dtype}")
        moved = function(host, dtype=dtype, **kwargs)
        if isinstance(array, ndarray):
            return array if moved is host else ndarray(moved)
        return ndarray(moved.copy())
    return call


def cholesky(a):
    """Return the Cholesky factor; of a matrix that has none, finite nonsense."""
    host = unwrapped(a)
    try:
        return ndarray(np.linalg.cholesky(host))
    except np.linalg.LinAlgError:
        if errors["linalg"] == "raise":
            raise
        return ndarray(np.tril(host))


def inv(a):
    """Return the inverse; of a singular matrix, nonsense."""
    host = unwrapped(a)
    try:
        return ndarray(np.linalg.inv(host))
    except np.linalg.LinAlgError:
        if errors["linalg"] == "raise":
            raise
        return ndarray(np.full_like(host, 1e300))


@contextlib.contextmanager
def errstate(linalg):
    """Do as `cupyx.errstate`, for linalg alone."""
    before, errors["linalg"] = errors["linalg"], linalg
    try:
        yield
    finally:
        errors["linalg"] = before


def asnumpy(array):
    """Return a copy on the host."""
    return array.get() if isinstance(array, ndarray) else np.asarray(array)


def make_cupy():
    """Return the module that is put in CuPy's place."""
    module = types.ModuleType("cupy", "strict stand-in")
    for name in FUNCTIONS:
        setattr(module, name, device_function(getattr(np, name)))
    for name in ("asarray", "array", "ascontiguousarray"):
        setattr(module, name, to_device(getattr(np, name)))
    for name in ("float32", "float64", "int32", "int64", "bool_", "inf", "nan", "pi", "newaxis", "finfo",
                 "dtype", "integer", "floating"):
        setattr(module, name, getattr(np, name))
    module.ndarray, module.asnumpy = ndarray, asnumpy
    module.linalg = types.ModuleType("cupy.linalg")
    for name in LINALG:
        setattr(module.linalg, name, device_function(getattr(np.linalg, name)))
    module.linalg.cholesky, module.linalg.inv = cholesky, inv
    stream = types.SimpleNamespace(synchronize=lambda: None)
    module.cuda = types.SimpleNamespace(get_current_stream=lambda: stream)
    strides = types.SimpleNamespace(
        as_strided=device_function(np.lib.stride_tricks.as_strided),
        sliding_window_view=device_function(np.lib.stride_tricks.sliding_window_view))
    module.lib = types.SimpleNamespace(stride_tricks=strides)
    return module


def make_cupyx():
    """Return the module beside it; its special functions lack `spence`, as CuPy's do."""
    module = types.ModuleType("cupyx", "strict stand-in")
    module.errstate = errstate
    module.scipy = types.ModuleType("cupyx.scipy")
    module.scipy.special = types.ModuleType("cupyx.scipy.special")
    return module


cupy, cupyx = make_cupy(), make_cupyx()


def modules():
    """Return the stand-ins by the name under which they are imported."""
    return {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": cupyx.scipy,
            "cupyx.scipy.special": cupyx.scipy.special}
