"""Training methods: one backward sweep, and for each paper the local problem that it solves in the sweep."""

from minilift.energy import Block
from minilift.methods.backward.backprop import BackProp
from minilift.methods.backward.locoprop import LocoProp
from minilift.methods.backward.proxprop import ProxProp
from minilift.methods.backward.semi_implicit import SemiImplicit
from minilift.methods.backward.sweep import Method, as_method, sweep
from minilift.methods.lifted.dladmm import DLADMM
from minilift.methods.lifted.fenchel import FenchelLifted
from minilift.methods.lifted.lifted_bregman import LiftedBregman
from minilift.methods.lifted.lpom import LPOM

__all__ = ["DLADMM", "LPOM", "BackProp", "Block", "FenchelLifted", "LiftedBregman", "LocoProp", "Method", "ProxProp",
           "SemiImplicit", "as_method", "sweep"]
