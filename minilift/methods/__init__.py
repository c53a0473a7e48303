"""Training methods: one backward sweep, and for each paper the local problem that it solves in the sweep."""

from minilift.energy import Block
from minilift.methods.backward.backprop import BackProp
from minilift.methods.backward.gauss_newton import GaussNewton
from minilift.methods.backward.kronecker import FOOF, KFAC
from minilift.methods.backward.locoprop import LocoProp
from minilift.methods.backward.proxprop import ProxProp
from minilift.methods.backward.semi_implicit import SemiImplicit
from minilift.methods.backward.sweep import Method, as_method, sweep

__all__ = ["FOOF", "KFAC", "BackProp", "Block", "GaussNewton", "LocoProp", "Method", "ProxProp", "SemiImplicit",
           "as_method", "sweep"]
