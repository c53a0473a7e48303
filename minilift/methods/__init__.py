"""Training methods: one backward sweep, and for each paper the local problem that it solves in the sweep."""

from minilift.methods.backprop import BackProp
from minilift.methods.proxprop import ProxProp
from minilift.methods.sweep import Block, Method, as_method, sweep

__all__ = ["BackProp", "Block", "Method", "ProxProp", "as_method", "sweep"]
