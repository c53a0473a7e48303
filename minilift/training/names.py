"""Methods and optimizers by name, as the command line and `fit` know them: "proxprop:tau_theta=0.05", "cg3", "adam"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minilift.methods import (
    ADMM,
    BCD,
    DLADMM,
    FOOF,
    KFAC,
    LPOM,
    MAC,
    BackProp,
    FenchelLifted,
    GaussNewton,
    LiftedBregman,
    LocoProp,
    Method,
    PredictiveCoding,
    ProxProp,
    SemiImplicit,
    TargetPropagation,
    as_method,
)
from minilift.optim import SGD, Adam, HeavyBall, Muon, Nesterov, Optimizer, RMSProp
from minilift.support.arguments import made_by_name, shown
from minilift.support.settings import still_valid

PLAIN = {"steps": 10, "local_optimizer": "sgd", "local_lr": 5e-4}  # local steps without a state
# for each name, the class and its arguments
METHODS: dict[str, tuple[Callable[..., Method], dict[str, Any]]] = {
    "backprop": (BackProp, {}),
    "proxprop": (ProxProp, {"solver": "exact"}),
    **{f"cg{k}": (ProxProp, {"solver": f"cg{k}"}) for k in (1, 3, 5, 10)},
    "locoprop-s": (LocoProp, {"variant": "S", **PLAIN}),
    "locoprop-m": (LocoProp, {"variant": "M", **PLAIN}),
    "locoprop-m-rmsprop": (LocoProp, {"variant": "M", **PLAIN, "local_optimizer": "rmsprop", "local_lr": 1e-4}),
    "semi-implicit": (SemiImplicit, {}),
    "foof": (FOOF, {"damping": 0.01}),
    "kfac": (KFAC, {"damping": 0.01, "fisher": "empirical"}),
    "gauss-newton": (GaussNewton, {"damping": 0.1}),
    "bcd": (BCD, {}),
    "admm": (ADMM, {"alpha": 1.0}),
    "mac": (MAC, {"alpha": 3.0, "variables": "forward"}),
    "predictive-coding": (PredictiveCoding, {"steps": 10, "rate": 0.2}),
    "target-propagation": (TargetPropagation, {"variant": "lee", "rate": 0.1}),
    "dladmm": (DLADMM, {"schedule": False, "curvature": 1e-3, "variables": "forward"}),
    "fenchel": (FenchelLifted, {}),
    "lpom": (LPOM, {"variables": "forward"}),
    "lifted-bregman": (LiftedBregman, {}),
}
OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}), "momentum": (HeavyBall, {}), "nesterov": (Nesterov, {}), "adam": (Adam, {}),
    "rmsprop": (RMSProp, {}), "muon": (Muon, {}),
}


def named_method(what: str, method: str | Method | Callable[..., Any]) -> Method:
    """Return a method given by name, as an object (if its settings are valid), or as a function of a `Block`.

    Parameters
    ----------
    what : str
        The beginning of an error message.
    method : str, Method or callable
        A name may have arguments: "proxprop:tau_theta=0.05,last=implicit".
    """
    return made_by_name(what, method, METHODS) if isinstance(method, str) else still_valid(what, as_method(method))


def named_optimizer(what: str, optimizer: str | Optimizer) -> Optimizer:
    """Return an optimizer given by name, such as "adam" or "nesterov:lr=0.1", or as an object."""
    if isinstance(optimizer, str):
        return made_by_name(what, optimizer, OPTIMIZERS)
    if isinstance(optimizer, Optimizer):
        return still_valid(what, optimizer)
    raise TypeError(f"{what} must be an Optimizer such as SGD(lr=0.1), or a name such as 'adam' or 'sgd:lr=0.1', "
                    f"got {shown(optimizer)}")
