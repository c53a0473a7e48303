"""Training methods: `backward`, which eliminates the lifted values, and `lifted`, which keeps them.

Read `backward` first: it has the base class of methods, which `lifted` needs.
"""

from minilift.energy import Block
from minilift.methods.backward.backprop import BackProp
from minilift.methods.backward.gauss_newton import GaussNewton
from minilift.methods.backward.kronecker import FOOF, KFAC
from minilift.methods.backward.locoprop import LocoProp
from minilift.methods.backward.proxprop import ProxProp
from minilift.methods.backward.semi_implicit import SemiImplicit
from minilift.methods.backward.sweep import Method, as_method, sweep
from minilift.methods.lifted.admm import ADMM
from minilift.methods.lifted.bcd import BCD
from minilift.methods.lifted.dladmm import DLADMM
from minilift.methods.lifted.fenchel import FenchelLifted
from minilift.methods.lifted.lifted_bregman import LiftedBregman
from minilift.methods.lifted.lpom import LPOM
from minilift.methods.lifted.mac import MAC
from minilift.methods.lifted.predictive_coding import PredictiveCoding
from minilift.methods.lifted.target_propagation import TargetPropagation

__all__ = ["ADMM", "BCD", "DLADMM", "FOOF", "KFAC", "LPOM", "MAC", "BackProp", "Block", "FenchelLifted",
           "GaussNewton", "LiftedBregman", "LocoProp", "Method", "PredictiveCoding", "ProxProp", "SemiImplicit",
           "TargetPropagation", "as_method", "sweep"]
