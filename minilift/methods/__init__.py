"""Training methods: one backward sweep, and for each paper the local problem that it solves in the sweep."""

from minilift.methods.backprop import BackProp
from minilift.methods.locoprop import LocoProp
from minilift.methods.proxprop import ProxProp
from minilift.methods.semi_implicit import SemiImplicit
from minilift.methods.sweep import Block, Method, as_method, sweep

__all__ = ["BackProp", "Block", "LocoProp", "Method", "ProxProp", "SemiImplicit", "as_method", "sweep"]
