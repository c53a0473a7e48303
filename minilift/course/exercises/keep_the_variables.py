r"""Checks of notebook 14: a weighted mean, a fit by pieces, weights and bias as blocks, a multiplier's step."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import numpy as np

from minilift.course.teach import Claim, beyond, check, claim, close_to_answers, same, slips, times
from minilift.layers.activations import HardTanh, LeakyReLU, ReLU
from minilift.local.fits import fit_transfer

SOLVED = 1e-9  # slopes and repeated steps: rounding times some hundred terms


def slope(function, at, tangent):
    """Return the slope of a quadratic function along a tangent: central differences are exact, but for rounding."""
    return (function(at + tangent) - function(at - tangent)) / 2


def two(answer, names):
    """Return both parts of an answer as arrays."""
    parts = len(answer) if isinstance(answer, (tuple, list)) or np.ndim(answer) == 3 else 1
    if parts != 2:
        raise ValueError(f"two arrays are expected, {names}, got {parts}")
    return [np.asarray(part, dtype=float) for part in answer]


def shares(linear, count):
    """Return with which number each argument of a linear function counts."""
    return [np.mean(linear(*(np.full((2, 2), float(k == each)) for k in range(count)))) for each in range(count)]


# ---- 14.1

def mean_with(target=1.0, z=lambda gamma, alpha: gamma, old=lambda gamma, alpha: alpha, total=None, factor=1.0):
    """Return an answer to 14.1 with a slip in it: the weights of the three values, their sum, a factor."""
    def output_block(Y, z_D, a_old, gamma, alpha):
        weights = target, z(gamma, alpha), old(gamma, alpha)
        whole = sum(weights) if total is None else total(gamma, alpha)
        return factor * (weights[0] * Y + weights[1] * z_D + weights[2] * a_old) / whole
    return output_block


WRONG_MEANS = {
    "the weights γ and α stand on each other's values": mean_with(z=lambda g, a: a, old=lambda g, a: g),
    "the plain mean: each value must count with its weight": mean_with(z=lambda g, a: 1.0, old=lambda g, a: 1.0),
    "the sum of the weights is missing below": mean_with(total=lambda g, a: 1.0),
    "the weight of the target, 1, is missing in the sum below": mean_with(total=lambda g, a: g + a),
    "α is missing in the sum below": mean_with(total=lambda g, a: 1 + g),
    "γ is missing in the sum below": mean_with(total=lambda g, a: 1 + a),
    "divide by the sum of the weights, not by their number": mean_with(total=lambda g, a: 3.0),
    "divide by the sum of the weights, not by their product": mean_with(total=lambda g, a: g * a),
    "the proximal term is missing: a_old counts with α": mean_with(old=lambda g, a: 0.0),
    "the proximal term is missing above, and is there below": mean_with(old=lambda g, a: 0.0,
                                                                         total=lambda g, a: 1 + g + a),
    "the gap to z_D is missing: it counts with γ": mean_with(z=lambda g, a: 0.0),
    "the gap to z_D is missing above, and is there below": mean_with(z=lambda g, a: 0.0, total=lambda g, a: 1 + g + a),
    "the loss is missing: the target counts with 1": mean_with(target=0.0),
    "the loss is missing above, and is there below": mean_with(target=0.0, total=lambda g, a: 1 + g + a),
    "the weights are inverted: a large γ must pull towards z_D": mean_with(z=lambda g, a: 1 / g,
                                                                           old=lambda g, a: 1 / a),
    "the weights are not squared": mean_with(z=lambda g, a: g * g, old=lambda g, a: a * a),
    "the weight is γ: all three squares have the same ½": mean_with(z=lambda g, a: g / 2, old=lambda g, a: a / 2),
    "the weights have no ½: all three squares have one": mean_with(target=0.5),
    "the sign of a_old: the proximal term pulls towards it": mean_with(old=lambda g, a: -a,
                                                                       total=lambda g, a: 1 + g + a),
    "the sign of z_D: its gap pulls towards it": mean_with(z=lambda g, a: -g, total=lambda g, a: 1 + g + a),
    "this is a gradient step; the slope can be set to zero at once":
        lambda Y, z, a, g, alpha: a - ((a - Y) + g * (a - z)),
    "this is a gradient; the a_D where it is zero is wanted": lambda Y, z, a, g, alpha: (a - Y) + g * (a - z),
    "this is uphill: the slope is to be subtracted": lambda Y, z, a, g, alpha: (
        a + ((a - Y) + g * (a - z)) / (1 + g + alpha)),
    "this is a gradient step of length 1/α; the slope can be set to zero at once": lambda Y, z, a, g, alpha: (
        a - ((a - Y) + g * (a - z)) / alpha),
    "parentheses: the whole sum is divided, not its last term": lambda Y, z, a, g, alpha: (
        Y + g * z + alpha * a / (1 + g + alpha)),
    "everything here is summed over the samples: the loss is not divided by N": lambda Y, z, a, g, alpha:
        mean_with(target=1 / len(Y))(Y, z, a, g, alpha),
    "1/α: here α is the weight of the prox term itself": mean_with(old=lambda g, a: 1 / a),
    "three squares balance at once; one after the other is another point": lambda Y, z, a, g, alpha: (
        (Y + g * z) / (1 + g) + alpha * a) / (1 + alpha),
    "this is the change; the new a_D is wanted": lambda Y, z, a, g, alpha: mean_with()(Y, z, a, g, alpha) - a,
}


def output_block(answer, seed):
    """Exercise 14.1: the argmin of ½‖a − Y‖² + γ/2 ‖a − z_D‖² + α/2 ‖a − a_old‖²."""
    rng = np.random.default_rng(seed)
    Y, z, a_old, tangent = rng.normal(size=(4, 5, 3))
    gamma, alpha = 0.7, 2.3

    def energy(a):
        return (np.sum((a - Y) ** 2) + gamma * np.sum((a - z) ** 2) + alpha * np.sum((a - a_old) ** 2)) / 2

    def claims(block):
        found = block(Y, z, a_old, gamma, alpha)
        yield claim("where all three agree, there it is", block(Y, Y, Y, gamma, alpha), Y,
                    look="do the weights above and below the line have the same sum?")
        yield claim("γ = α = 1e-15: the target", block(Y, z, a_old, 1e-15, 1e-15), Y, look="which weight has Y?")
        yield claim("the slope of (14.2) in it", slope(energy, found, tangent), 0.0, SOLVED,
                    "set the slope of the three squares to zero: which weight stands at which value?")
        yield claim("a huge α: a_old", block(Y, z, a_old, gamma, 1e15), a_old)

    def mistakes(block):
        yield from slips(block, [(Y, z, a_old, gamma, alpha), (z, a_old, Y, 1.9, 0.4)], WRONG_MEANS)
        found = block(Y, z, a_old, gamma, alpha)
        yield (np.shape(found) != Y.shape,
               f"one array of the shape of Y, {Y.shape}, is asked for: the minimiser, not a value")
        yield same(found, np.round(found)), "whole numbers come back: // rounds down, / divides"
        yield (not same(block(0 * Y, 0 * Y, 0 * Y, gamma, alpha), 0 * Y),
               "where Y, z_D and a_old are zero, so is the minimiser; yours is not: is 1 + γ + α all below the line?")
        yield (same(found, library(Y, z, a_old, gamma, alpha)),
               f"right for γ = {gamma:g} and α = {alpha:g}, not for all: the slope can be set to zero at once, without "
               "an iteration")
        yield (not same(block(-Y, -z, -a_old, gamma, alpha), -found, 1e-5),
               "all three values turned to their negatives turn the minimiser too; yours is cut off (clip, ReLU?)")
        target, z_share, old_share = shares(lambda *values: block(*values, gamma, alpha), 3)
        yield target == 0, "Y does not count at all: the loss pulls towards it"
        for name, share, weight in (("z_D", z_share, gamma), ("a_old", old_share, alpha)):
            yield (not same(share / target, weight, 1e-5),
                   f"{name} counts {share / target:.3g} times as much as Y; their squares have {weight:g} and 1")
        yield (not same(target + z_share + old_share, 1.0, 1e-5),
               f"the weights of the three values add up to {target + z_share + old_share:.3g}, not to 1")

    def library(Y, z, a_old, gamma, alpha):
        return (Y + gamma * z + alpha * a_old) / (1 + gamma + alpha)

    return check("14.1", answer, claims, mistakes, fallback=library)


# ---- 14.2

def value_on(pieces, u):
    """Return σ(u) for a transfer given by its pieces."""
    value = np.full(np.shape(u), np.nan)
    for low, high, s, o in pieces:
        value = np.where((low <= u) & (u <= high), s * u + o, value)
    return value


def cost(u, t, q, c, pieces):
    """Return ½(σ(u) − t)² + c/2 (u − q)²."""
    return (value_on(pieces, u) - t) ** 2 / 2 + c / 2 * (u - q) ** 2


def pieces_with(lowest_of=lambda t, q, c, s, o: (s * (t - o) + c * q) / (s * s + c), clip=np.clip, fit=1.0, price=1.0,
                choose=np.less, taken=lambda pieces: pieces, of=lambda u, s, o: s * u + o, given=lambda u, *end: u):
    """Return an answer to 14.2 with a slip in it.

    `lowest_of` is the lowest point of a piece's parabola, `clip` moves it into the piece, `fit` and `price` weigh the
    two terms that are compared by `choose`, `taken` says which pieces are looked at, `of` is σ on one, `given` what is
    returned of the best.
    """
    def piece_fit(t, q, c, pieces):
        best, lowest = np.array(q, dtype=float), np.full(np.shape(q), math.inf if choose is np.less else -math.inf)
        for low, high, s, o in taken(list(pieces)):
            u = clip(lowest_of(t, q, c, s, o), low, high)
            here = fit * (of(u, s, o) - t) ** 2 + price * c * (u - q) ** 2
            better = choose(here, lowest)
            best, lowest = np.where(better, u, best), np.where(better, here, lowest)
        return given(best, lowest / 2)
    return piece_fit


def dropped(u, low, high):
    """Return the points that lie in the piece; infinity for others."""
    return np.where((low <= u) & (u <= high), u, math.inf)


def from_moved_centres(t, q, c, pieces):
    """Return the best of the lowest points that the parabolas have if q is moved into each piece first."""
    best, lowest = np.array(q, dtype=float), math.inf
    for low, high, s, o in pieces:
        u = (s * (t - o) + c * np.clip(q, low, high)) / (s * s + c)
        here = (s * u + o - t) ** 2 + c * (u - q) ** 2
        best, lowest = np.where(here < lowest, u, best), np.minimum(here, lowest)
    return best


def on_own_piece(t, q, c, pieces):
    """Return the minimiser on the piece where q lies."""
    found = np.array(q, dtype=float)
    for low, high, s, o in pieces:
        u = np.clip((s * (t - o) + c * q) / (s * s + c), low, high)
        found = np.where((low <= q) & (q <= high), u, found)
    return found


def first_local(t, q, c, pieces, order=1):
    """Return the lowest point of the first parabola that has it on its piece."""
    found = np.full(np.shape(q), math.nan)
    for low, high, s, o in list(pieces)[::order]:
        u = (s * (t - o) + c * q) / (s * s + c)
        found = np.where(np.isnan(found) & (low <= u) & (u <= high), u, found)
    return np.where(np.isnan(found), q, found)


def candidates(t, q, c, pieces):
    """Return the lowest point of each piece and its value, (pieces, entries)."""
    u = np.array([np.clip((s * (t - o) + c * q) / (s * s + c), low, high) for low, high, s, o in pieces])
    return u, np.array([cost(each, t, q, c, pieces) for each in u])


def before_the_move(t, q, c, pieces):
    """Return the candidate of the parabola whose lowest point, inside its piece or not, has the least value."""
    lowest = [((s * (t - o) + c * q) / (s * s + c), s, o) for _, _, s, o in pieces]
    values = np.array([(s * u + o - t) ** 2 / 2 + c / 2 * (u - q) ** 2 for u, s, o in lowest])
    return np.take_along_axis(candidates(t, q, c, pieces)[0], values.argmin(axis=0)[None], axis=0)[0]


def ends_alone(t, q, c, pieces):
    """Return the best of the finite ends of the pieces; q if there is none."""
    ends = np.array([high for _, high, *_ in pieces[:-1]])
    if not len(ends):
        return np.array(q)
    return ends[np.array([cost(np.full_like(q, end), t, q, c, pieces) for end in ends]).argmin(axis=0)]


def against_the_last(t, q, c, pieces):
    """Return the candidate that was the last to be better than the one before it."""
    best, before = q, math.inf
    for u, value in zip(*candidates(t, q, c, pieces)):
        best, before = np.where(value < before, u, best), value
    return best


def overwriting(t, q, c, pieces):
    """Return the best point where each piece takes the best before it for q."""
    lowest = math.inf
    for low, high, s, o in pieces:
        u = np.clip((s * (t - o) + c * q) / (s * s + c), low, high)
        here = (s * u + o - t) ** 2 + c * (u - q) ** 2
        q, lowest = np.where(here < lowest, u, q), np.minimum(here, lowest)
    return q


def over_slope(t, q, c, pieces):
    """Return the best point where each piece's sum is divided by s² alone, and c is added."""
    best, lowest = q, math.inf
    for low, high, s, o in pieces:
        u = np.clip(np.divide(s * (t - o) + c * q, s * s) + c, low, high)
        here = (s * u + o - t) ** 2 + c * (u - q) ** 2
        best, lowest = np.where(here < lowest, u, best), np.minimum(here, lowest)  # NaN, once there, is kept
    return best


def one_for_all(t, q, c, pieces):
    """Return the candidates of the piece whose values have the least sum."""
    u, values = candidates(t, q, c, pieces)
    return u[values.sum(axis=1).argmin()]


WRONG_PIECES = {
    "the least value so far must be kept: this compares with the piece before alone": against_the_last,
    "within a piece the lowest point of its parabola is wanted, not q": pieces_with(lambda t, q, c, s, o: q),
    "one choice for all entries: each has its own best piece": one_for_all,
    "q is overwritten by the best point; later pieces need q itself": overwriting,
    "parentheses: s² + c stands below the line, all of it": over_slope,
    "parentheses: the whole sum is divided, not its last term": pieces_with(
        lambda t, q, c, s, o: s * (t - o) + c * q / (s * s + c)),
    "the candidates are averaged: the one of least value is wanted": lambda *problem: np.mean(
        candidates(*problem)[0], axis=0),
    "the candidate nearest to q is taken: the fit counts too": lambda t, q, c, pieces: np.take_along_axis(
        candidates(t, q, c, pieces)[0], abs(candidates(t, q, c, pieces)[0] - q).argmin(axis=0)[None], axis=0)[0],
    "only the first piece is looked at (is a return inside the loop, or must a condition hold for all entries?), or "
    "the smallest candidate is taken":
        pieces_with(taken=lambda pieces: pieces[:1]),
    "only the last piece counts (nothing is compared, or the least value so far is not kept?), or the largest "
    "candidate is taken": pieces_with(
        choose=lambda here, lowest: here < math.inf),
    "the last piece is never looked at": pieces_with(taken=lambda pieces: pieces[:-1]),
    "the first piece is never looked at": pieces_with(taken=lambda pieces: pieces[1:]),
    "the worst piece is taken: the comparison is upside down": pieces_with(choose=np.greater),
    "q comes back as it was: no candidate is ever taken (is the least value lowered before it is compared, or a piece "
    "unpacked in another order?)": lambda t, q, c, pieces: np.array(q),
    "the lowest point of a parabola may lie outside its piece: move it into [low, high]":
        pieces_with(clip=lambda u, low, high: u),
    "a parabola whose lowest point lies outside its piece still counts, at the end of the piece":
        pieces_with(clip=dropped),
    "the lower end is forgotten: move the point into [low, high]":
        pieces_with(clip=lambda u, low, high: np.minimum(u, high)),
    "the upper end is forgotten: move the point into [low, high]":
        pieces_with(clip=lambda u, low, high: np.maximum(u, low)),
    "q is moved into the piece; it is the lowest point that must lie in it": from_moved_centres,
    "only the piece on which q lies: another may hold a deeper minimum": on_own_piece,
    "the first minimum that is found is not always the deepest: compare values": first_local,
    "the last minimum that is found is not always the deepest: compare values":
        partial(first_local, order=-1),
    "the offset is missing: on a piece σ(u) − t is s·u − (t − o)": pieces_with(
        lambda t, q, c, s, o: (s * t + c * q) / (s * s + c)),
    "the sign of the offset: on a piece σ(u) − t is s·u − (t − o)": pieces_with(
        lambda t, q, c, s, o: (s * (t + o) + c * q) / (s * s + c)),
    "the chain rule's s is missing, once above and once below": pieces_with(
        lambda t, q, c, s, o: (t - o + c * q) / (s + c)),
    "the chain rule's s stands before the offset, as before t": pieces_with(
        lambda t, q, c, s, o: (s * t - o + c * q) / (s * s + c)),
    "the lowest point is a u, not a σ(u): no offset is added to it": pieces_with(
        lambda t, q, c, s, o: (s * (t - o) + c * q) / (s * s + c) + o),
    "the offset is missing in the values that are compared": pieces_with(of=lambda u, s, o: s * u),
    "the slope is missing above: the chain rule gives s·(t − o)": pieces_with(
        lambda t, q, c, s, o: (t - o + c * q) / (s * s + c)),
    "the slope is not squared below: s² + c": pieces_with(lambda t, q, c, s, o: (s * (t - o) + c * q) / (s + c)),
    "the slope counts below; it is taken for 1": pieces_with(lambda t, q, c, s, o: (s * (t - o) + c * q) / (1 + c)),
    "the slope is not divided by: this solves σ(u) = t and q apart": pieces_with(
        lambda t, q, c, s, o: s * (t - o) + c * q),
    "c weighs q, and s weighs t": pieces_with(lambda t, q, c, s, o: (c * s * (t - o) + q) / (s * s * c + 1)),
    "c stands before the fit; it weighs (u − q)²": lambda t, q, c, pieces: pieces_with(
        lambda t, q, c, s, o: (c * s * (t - o) + q) / (s * s * c + 1), fit=c, price=1 / c)(t, q, c, pieces),
    "q and t are exchanged": pieces_with(lambda t, q, c, s, o: (s * (q - o) + c * t) / (s * s + c)),
    "the price of moving is missing in the values that are compared": pieces_with(price=0.0),
    "c is missing in the values that are compared: both terms count, (u − q)² with c":
        lambda t, q, c, pieces: pieces_with(price=1 / c)(t, q, c, pieces),
    "in the values that are compared both terms have a ½; the price has lost it": pieces_with(fit=0.5),
    "in the values that are compared both terms have a ½; the fit has lost it": pieces_with(price=0.5),
    "the values compare u with t; σ(u) is meant": pieces_with(of=lambda u, s, o: u),
    "these are least values; the u that has them is wanted": pieces_with(given=lambda u, lowest: lowest),
    "these are twice the least values; the u that has them is wanted": pieces_with(given=lambda u, lowest: 2 * lowest),
    "a piece is (low, high, slope, offset): slope and offset are exchanged": lambda t, q, c, pieces:
        pieces_with()(t, q, c, [(low, high, o, s) for low, high, s, o in pieces]),
    "the values are compared before the point is moved into its piece": lambda t, q, c, pieces: before_the_move(
        t, q, c, pieces),
    "c weighs the move (u − q)², not the fit, in the values that are compared": lambda t, q, c, pieces: pieces_with(
        fit=c, price=1 / c)(t, q, c, pieces),
    "candidates are where σ(u) = t: they are the lowest points of the fit alone": pieces_with(
        lambda t, q, c, s, o: (t - o) / s if s else q),
    "the price has its c/2 above, and the slope of it is c (u − q)": pieces_with(
        lambda t, q, c, s, o: (s * (t - o) + c / 2 * q) / (s * s + c / 2)),
    "this is σ of the best point; the point itself is wanted": lambda t, q, c, pieces: value_on(
        pieces, pieces_with()(t, q, c, pieces)),
    "q is no candidate with the value ½(q − t)²: start from infinity": lambda t, q, c, pieces: np.where(
        cost(pieces_with()(t, q, c, pieces), t, q, c, pieces) < (q - t) ** 2 / 2, pieces_with()(t, q, c, pieces), q),
    "only the piece on which q lies, and its point may lie outside": lambda t, q, c, pieces: np.select(
        [(low <= q) & (q <= high) for low, high, *_ in pieces],
        [(s * (t - o) + c * q) / (s * s + c) for _, _, s, o in pieces]),
    "only the ends of the pieces are tried; the lowest point may lie inside": lambda t, q, c, pieces: ends_alone(
        t, q, c, pieces),
    "the offset is missing, in u and in the values": lambda t, q, c, pieces: pieces_with()(
        t, q, c, [(low, high, s, 0.0) for low, high, s, _ in pieces]),
    "q and t are exchanged, in u and in the values": lambda t, q, c, pieces: pieces_with()(q, t, c, pieces),
    "c is missing in u: the price of moving has it": pieces_with(
        lambda t, q, c, s, o: (s * (t - o) + q) / (s * s + 1)),
    "the price is c/2 (u − q)², and its slope has c, not 2c": pieces_with(
        lambda t, q, c, s, o: (s * (t - o) + 2 * c * q) / (s * s + 2 * c)),
    "c is missing above: q counts with it": pieces_with(lambda t, q, c, s, o: (s * (t - o) + q) / (s * s + c)),
    "c is missing below: s² + c": pieces_with(lambda t, q, c, s, o: (s * (t - o) + c * q) / (s * s + 1)),
    "each piece has its own ends; here every point is moved up to 0":
        pieces_with(clip=lambda u, low, high: np.maximum(u, 0)),
    "u itself is wanted, and may be negative; here a ReLU stands around it":
        pieces_with(given=lambda u, lowest: np.maximum(u, 0)),
    "q is no candidate with the value ½t², as if σ(q) were 0: start from infinity": lambda t, q, c, pieces: np.where(
        cost(pieces_with()(t, q, c, pieces), t, q, c, pieces) < t**2 / 2, pieces_with()(t, q, c, pieces), q),
    "the sign of q: the price pulls towards it": pieces_with(
        lambda t, q, c, s, o: (s * (t - o) - c * q) / (s * s + c)),
    "the ends of the outer pieces are infinite; here they are cut": lambda t, q, c, pieces: pieces_with()(
        t, q, c, [(max(low, -1), min(high, 1), s, o) for low, high, s, o in pieces]),
    "as if σ were the identity": lambda t, q, c, pieces: (t + c * q) / (1 + c),
    "as if σ were ReLU: the pieces are given": lambda t, q, c, pieces: pieces_with()(t, q, c, ReLU.pieces),
}
SHAPES = {"the identity": [(-math.inf, math.inf, 1.0, 0.0)], "ReLU": list(ReLU.pieces),
          "leaky ReLU": list(LeakyReLU(0.3).pieces), "hard tanh": list(HardTanh.pieces),
          "three slopes": [(-math.inf, -1.0, 0.25, -0.75), (-1.0, 0.5, 1.0, 0.0), (0.5, math.inf, 2.0, -0.5)],
          "a zigzag": [(-math.inf, 0.0, -1.0, 0.0), (0.0, 0.5, 1.0, 0.0), (0.5, 1.0, -1.0, 1.0),
                       (1.0, math.inf, 1.0, -1.0)]}


ALONG_ROWS = "where they have two, a loop over len(t), or an index along one axis, goes through whole rows"


def misses(fit, t, q, c):
    """Return how far each value lies above the least, whether the minimiser ends a piece, and whether q is on another.

    Of all shapes, one after the other.
    """
    found: list[tuple] = []
    for pieces in SHAPES.values():
        best = fit_transfer(SimpleNamespace(pieces=pieces), t, q, c)
        above = cost(fit(t, q, c, pieces), t, q, c, pieces) - cost(best, t, q, c, pieces)
        edges = np.array([high for _, high, *_ in pieces[:-1]])
        other = np.digitize(q, edges) != np.digitize(best, edges)
        found.append((np.nan_to_num(above, nan=np.inf), np.isin(best, edges), other))
    missed, ends, moved = (np.concatenate(part) for part in zip(*found))
    return missed, ends, moved


def piece_fit(answer, seed):
    """Exercise 14.2: argmin_u ½(σ(u) − t)² + c/2 (u − q)², for σ given by its pieces."""
    rng = np.random.default_rng(seed)
    t, q = rng.uniform(-2, 2, size=(2, 200))
    t[:5], q[:5] = (1.0, 0.1, -1.0, 0.6, 2.0), (-0.3, -0.3, 0.8, 1.7, 0.24)  # two minima; at a kink; far; 1st of three
    grid = np.linspace(-8, 8, 4001)[:, None]
    two_axes = t.reshape(20, 10), q.reshape(20, 10)

    def by_rows(fit):
        """Whether arrays of two axes are fitted as their entries are alone."""
        try:
            rows = fit(*two_axes, 0.4, SHAPES["hard tanh"])
        except (IndexError, TypeError, ValueError):
            return False
        return same(rows, np.reshape(fit(t, q, 0.4, SHAPES["hard tanh"]), (20, 10)))

    def claims(fit):
        for name, pieces in SHAPES.items():
            found = np.asarray(fit(t, q, 0.4, pieces), dtype=float)
            if found.shape != q.shape:
                raise ValueError(f"{name}: shape {found.shape} where {q.shape} is expected")
            on_grid = cost(grid, t, q, 0.4, pieces).min(axis=0)
            with np.errstate(invalid="ignore"):
                above = np.nan_to_num(cost(found, t, q, 0.4, pieces), nan=np.inf, posinf=np.inf) - on_grid
            yield Claim(f"{name}: above the least on a grid", beyond(above.max()), SOLVED,
                        f"entry {above.argmax()}: t = {t[above.argmax()]:.2f}, q = {q[above.argmax()]:.2f}, c = 0.4")
            for size, c in ((1, 1.3), (10, 3.0)):
                far_t, far_q = size * t, size * q
                least = cost(fit_transfer(SimpleNamespace(pieces=pieces), far_t, far_q, c), far_t, far_q, c, pieces)
                value = cost(fit(far_t, far_q, c, pieces), far_t, far_q, c, pieces)
                yield claim(f"    its value, c = {c:g}", value, least, SOLVED * size**2)
        flat, rows = fit(t, q, 0.4, SHAPES["hard tanh"]), fit(*two_axes, 0.4, SHAPES["hard tanh"])
        yield claim("arrays of two axes", rows, np.reshape(flat, (20, 10)), SOLVED, ALONG_ROWS)

    def mistakes(fit):
        shape = np.shape(fit(t, q, 0.4, SHAPES["hard tanh"]))
        yield shape != q.shape, f"one u for each entry is asked for, in the shape of q, {q.shape}; yours has {shape}"
        yield from slips(fit, [(t, q, 0.4, pieces) for pieces in SHAPES.values()], WRONG_PIECES)
        yield (not np.isfinite(fit(t, q, 0.4, SHAPES["hard tanh"])).all(),
               "the answer is not finite: an end of a piece may be infinite, and np.clip takes low before high")
        alone = [fit(t[k:k + 1], q[k:k + 1], 0.4, SHAPES["hard tanh"])[0] for k in range(9)]
        together = fit(t[:9], q[:9], 0.4, SHAPES["hard tanh"])
        yield not same(alone, together), "an entry's answer changes with the others: each must be fitted alone"
        yield (same(fit(t, q, 0.4, SHAPES["hard tanh"]), fit(t, q, 1.3, SHAPES["hard tanh"]))
               and not same(fit(t, q, 0.4, SHAPES["the identity"]), q),
               "another c gives the same u: is the argument c used?")
        missed, ends, moved = misses(fit, t, q, 0.4)
        if (missed <= SOLVED).all():
            yield not by_rows(fit), f"right for arrays of one axis alone: {ALONG_ROWS}"
            return
        yield bool((missed < 0.01).all()), \
            "close, but no minimiser: is it a grid, or an iteration? The lowest point of a parabola is exact"
        here = {name: cost(fit(t, q, 0.4, pieces), t, q, 0.4, pieces) for name, pieces in SHAPES.items()}
        local = [here[name] <= cost(fit(t, q, 0.4, pieces) + step, t, q, 0.4, pieces) + 1e-3
                 for name, pieces in SHAPES.items() for step in (-0.1, 0.1)]
        yield bool(np.all(local)), \
            "each answer is lower than its neighbours (of an iteration from q?), but another piece holds a deeper one"
        yield bool(ends[missed > SOLVED].all()), "it is wrong only where the best point is the end of a piece"
        yield bool(moved[missed > SOLVED].all()), \
            "it is wrong only where the best point lies on another piece than q: is each piece tried, and compared?"
        yield same(fit(t, q, 0.4, SHAPES["the identity"]), q), \
            "even for one piece, σ(u) = u, q comes back: is no candidate ever lower? (np.clip takes low before high)"
        plain, lowest = fit(t, q, 0.4, SHAPES["the identity"]), (t + 0.4 * q) / 1.4
        yield not same(plain, lowest) and bool(np.all((abs(plain - lowest) < SOLVED) | (plain == q))), \
            "for one piece each answer is right or q: q is no candidate, so let the least value start from infinity"
        yield not same(plain, lowest), \
            "even for one piece, σ(u) = u, this is no minimiser: set the slope of (14.3) to zero"
        yield all((abs(candidates(t, q, 0.4, pieces)[0] - fit(t, q, 0.4, pieces)) < SOLVED).any(axis=0).all()
                  for pieces in SHAPES.values()), \
            "each answer is the best point of a piece, but not of the best piece: which values are compared?"

    def library(t, q, c, pieces):
        return fit_transfer(SimpleNamespace(pieces=pieces), np.asarray(t, dtype=float), np.asarray(q, dtype=float), c)

    return check("14.2", answer, claims, mistakes, fallback=library)


# ---- 14.3

def weights(a, z, W, b, rho, alpha, right=1.0, left=1.0, damping=None, bias=1.0, old=1.0):
    """Return the W block with this bias; slips: weights of both sides, the damping, the bias, the old W."""
    damping = alpha if damping is None else damping
    return np.linalg.solve(left * rho * a.T @ a + damping * np.eye(a.shape[1]),
                           right * rho * a.T @ (z - bias * b) + old * alpha * W)


def bias_of(a, z, W, b, rho, alpha, samples=None, old=1.0, sign=-1.0, summed=np.sum):
    """Return the b block with these weights; slips: the number of samples, the old b, a sign, a mean for the sum."""
    samples = len(a) if samples is None else samples
    return (alpha * old * b + rho * summed(z + sign * a @ W, axis=0)) / (rho * samples + alpha)


def pair_of(W_block=weights, b_block=bias_of, rho=lambda rho: rho, alpha=lambda alpha: alpha):
    """Return an answer to 14.3 made of a W block and a b block, with ρ and α changed."""
    def pair(a, z, W, b, r, al):
        W_new = W_block(a, z, W, b, rho(r), alpha(al))
        return W_new, b_block(a, z, W_new, b, rho(r), alpha(al))
    return pair


def joint(a, z, W, b, rho, alpha):
    """Return W and b as one block."""
    rows = np.hstack([a, np.ones((len(a), 1))])
    theta = weights(rows, z, np.vstack([W, b]), 0.0, rho, alpha)
    return theta[:-1], theta[-1]


def bias_first(a, z, W, b, rho, alpha):
    """Return b with the old W, then W with the new b."""
    b_new = bias_of(a, z, W, b, rho, alpha)
    return weights(a, z, W, b_new, rho, alpha), b_new


def published(a, z, W, b, rho, alpha):
    """Return W with the old b, and b with the old W."""
    return weights(a, z, W, b, rho, alpha), bias_of(a, z, W, b, rho, alpha)


def b_slips(**slip):
    """Return an answer to 14.3 with a slip in the b block."""
    return pair_of(b_block=partial(bias_of, **slip))


def twice(a, z, W, b, rho, alpha):
    """Return W and b after two rounds."""
    for _ in range(2):
        W, b = pair_of()(a, z, W, b, rho, alpha)
    return W, b


WRONG_PAIRS = {
    "these are the changes of W and b; the new W and b are wanted": lambda *problem: tuple(
        new - old for new, old in zip(pair_of()(*problem), problem[2:4])),
    "this is the result of a second round; W and b are solved for once each": twice,
    "ρ is missing in the b block": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: bias_of(a, z, W, b, 1.0, alpha)),
    "ρ is missing in the W block": pair_of(lambda a, z, W, b, rho, alpha: weights(a, z, W, b, 1.0, alpha)),
    "the sign of z − aW in the b block": pair_of(b_block=lambda a, z, W, b, rho, alpha: (
        alpha * b - rho * np.sum(z - a @ W, axis=0)) / (rho * len(a) + alpha)),
    "b is made of the old W: then W and b step at the same time, and b is no block step": published,
    "b comes first here: the order is W, then b with the new W": bias_first,
    "W and b are solved together; that is a better step, but two blocks are asked for": joint,
    "b stays as it was: it is a block of its own": lambda *problem: (pair_of()(*problem)[0], problem[3]),
    "W stays as it was: it is a block of its own": lambda *problem: (problem[2], bias_of(*problem)),
    "the old W comes back; it must be the one that b was made with": lambda *problem: (
        problem[2], pair_of()(*problem)[1]),
    "the sign of the old W: on the right side stands + αW": pair_of(partial(weights, old=-1.0)),
    "the solve gives the new W itself; here the old W is added to it": pair_of(
        lambda a, z, W, b, rho, alpha: W + weights(a, z, W, b, rho, alpha)),
    "the solve, without αW on the right side, is no change of W: the target of a change is z − aW − 1bᵀ": pair_of(
        lambda a, z, W, b, rho, alpha: W + weights(a, z, W, b, rho, alpha, old=0.0)),
    "the target of the W block is z − 1bᵀ with the old b, not z less its mean": pair_of(
        lambda a, z, W, b, rho, alpha: weights(a, z - z.mean(axis=0), W, b, rho, alpha, bias=0.0)),
    "the old b is missing in the W block: the target is z − 1bᵀ": pair_of(partial(weights, bias=0.0)),
    "the sign of b in the W block: the target is z − 1bᵀ": pair_of(partial(weights, bias=-1.0)),
    "α must stand on the diagonal: αI, not α in every entry": pair_of(lambda a, z, W, b, rho, alpha: np.linalg.solve(
        rho * a.T @ a + alpha, rho * a.T @ (z - b) + alpha * W)),
    "the sign of the W step: it moves away from the minimiser": pair_of(
        lambda a, z, W, b, *rest: 2 * W - weights(a, z, W, b, *rest)),
    "each output has its own b; here one sum runs over all of them": b_slips(summed=lambda rest, axis: np.sum(rest)),
    "the samples are counted in the wrong place: below stands ρN + α": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: (
            alpha * b + rho * np.sum(z - a @ W, axis=0)) / (rho + alpha) / len(a)),
    "1/α stands in the W block: the damping is α": lambda a, z, W, b, rho, alpha: pair_of(
        partial(weights, damping=1 / alpha))(a, z, W, b, rho, alpha),
    "parentheses: ρN + α stands below the line in the b block, all of it": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: (
            alpha * b + rho * np.sum(z - a @ W, axis=0)) / rho * len(a) + alpha),
    "parentheses: aᵀ multiplies z − 1bᵀ in the W block, all of it": pair_of(
        lambda a, z, W, b, rho, alpha: weights(a, z, W, 0 * b, rho, alpha)
        - np.linalg.solve(rho * a.T @ a + alpha * np.eye(a.shape[1]), np.broadcast_to(b, W.shape))),
    "the W block: with equations divided by ρ the old W counts α/ρ, as the damping does":
        lambda a, z, W, b, rho, alpha: pair_of(partial(weights, old=rho))(a, z, W, b, rho, alpha),
    "the damping α is missing in the W block": pair_of(partial(weights, damping=0.0)),
    "the damping is there, but it pulls W to 0; it must pull to the old W": pair_of(partial(weights, old=0.0)),
    "the prox term is missing in the W block": pair_of(partial(weights, damping=0.0, old=0.0)),
    "the prox term is missing in both blocks": pair_of(alpha=lambda alpha: 0.0),
    "ρ is missing in both blocks": pair_of(rho=lambda rho: 1.0),
    "α and ρ are exchanged": lambda a, z, W, b, rho, alpha: pair_of()(a, z, W, b, alpha, rho),
    "the damping is α, not 1/α": pair_of(alpha=lambda alpha: 1 / alpha),
    "ρ is missing on the right side of the W block":
        lambda a, z, W, b, rho, alpha: pair_of(partial(weights, right=1 / rho))(a, z, W, b, rho, alpha),
    "ρ is missing on the left side of the W block": lambda a, z, W, b, rho, alpha: pair_of(
        partial(weights, left=1 / rho))(a, z, W, b, rho, alpha),
    "the W block: a damping α/ρ belongs to equations divided by ρ":
        lambda a, z, W, b, rho, alpha: pair_of(partial(weights, damping=alpha / rho))(a, z, W, b, rho, alpha),
    "a factor ½ is left in the damping: both terms have one": pair_of(alpha=lambda alpha: alpha / 2),
    "a factor 2 in the damping: both terms have a ½": pair_of(alpha=lambda alpha: 2 * alpha),
    "the number of samples is missing below in the b block: b reaches all of them": b_slips(samples=1),
    "the b block takes a mean above and counts the samples below": b_slips(summed=np.mean),
    "the b block takes a mean where the energy has a sum: there α weighs too much":
        b_slips(summed=np.mean, samples=1),
    "the b block is a plain mean: the prox term α/2 ‖b − b_old‖² is missing": pair_of(
        b_block=lambda a, z, W, *rest: np.mean(z - a @ W, axis=0)),
    "the old b is missing above in the b block: it must pull to the old b": b_slips(old=0.0),
    "the sign of aW in the b block: b fits what W leaves": b_slips(sign=1.0),
    "what W leaves is z − aW; here aW is missing in the b block": b_slips(sign=0.0),
    "the b block counts the old b twice: the target of b is z − aW": pair_of(
        b_block=lambda a, z, W, b, *rest: bias_of(a, z - b, W, b, *rest)),
    "b comes back as the change; the new b is wanted": lambda *problem: (
        pair_of()(*problem)[0], pair_of()(*problem)[1] - problem[3]),
    "the W block is a gradient step; it can be solved": pair_of(lambda a, z, W, b, rho, alpha:
        W - rho * a.T @ (a @ W + b - z)),
    "N counts the samples, not the entries of z, below in the b block": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: bias_of(a, z, W, b, rho, alpha, samples=z.size)),
    "the old b counts with α in the b block; here with 1": lambda a, z, W, b, rho, alpha: pair_of(
        b_block=partial(bias_of, old=1 / alpha))(a, z, W, b, rho, alpha),
    "the old W counts with α in the W block; here with 1": lambda a, z, W, b, rho, alpha: pair_of(
        partial(weights, old=1 / alpha))(a, z, W, b, rho, alpha),
    "N counts the samples, not the outputs, below in the b block": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: bias_of(a, z, W, b, rho, alpha, samples=z.shape[1])),
    "N counts the samples, not the inputs, below in the b block": pair_of(
        b_block=lambda a, z, W, b, rho, alpha: bias_of(a, z, W, b, rho, alpha, samples=a.shape[1])),
    "ρ and α are exchanged below in the b block: ρN + α": pair_of(b_block=lambda a, z, W, b, rho, alpha: (
        alpha * b + rho * np.sum(z - a @ W, axis=0)) / (rho + alpha * len(a))),
    "the change of b lacks N: b reaches all samples, ρN + α": pair_of(b_block=lambda a, z, W, b, rho, alpha: (
        b - rho * np.sum(a @ W + b - z, axis=0) / (rho + alpha))),
    "these are gradient steps of length 1/α; each block can be solved": pair_of(
        lambda a, z, W, b, rho, alpha: W - rho / alpha * a.T @ (a @ W + b - z),
        lambda a, z, W, b, rho, alpha: b - rho / alpha * np.sum(a @ W + b - z, axis=0)),
    "W is solved once more after b; the order is W, then b": lambda a, z, W, b, rho, alpha: (
        weights(a, z, W, pair_of()(a, z, W, b, rho, alpha)[1], rho, alpha), pair_of()(a, z, W, b, rho, alpha)[1]),
    "W is solved once more, from the new W and b; the order is W, then b": lambda a, z, W, b, rho, alpha: (
        pair_of()(a, z, *pair_of()(a, z, W, b, rho, alpha), rho, alpha)[0], pair_of()(a, z, W, b, rho, alpha)[1]),
    "as rows of a least-squares problem the damping has √α, not α": pair_of(
        lambda a, z, W, b, rho, alpha: weights(a, z, W, b, rho, alpha**2)),
    "ρ stands where the prox terms have α": pair_of(
        lambda a, z, W, b, rho, alpha: weights(a, z, W, b, rho, rho),
        lambda a, z, W, b, rho, alpha: bias_of(a, z, W, b, rho, rho)),
    "W and b come back in the other order": lambda *problem: pair_of()(*problem)[::-1],
    "these are gradient steps; each block can be solved": lambda a, z, W, b, rho, alpha: (
        W + rho * a.T @ (z - a @ W - b), b + rho * np.sum(z - a @ W - b, axis=0)),
}


def pair(answer, seed):
    """Exercise 14.3: W, then b, each the argmin of ρ/2 ‖z − aW − 1bᵀ‖² plus its prox term."""
    rng = np.random.default_rng(seed)
    a, z, b, tangent_b = rng.normal(size=(7, 3)) + 1, rng.normal(size=(7, 2)), rng.normal(size=2), rng.normal(size=2)
    W, tangent = rng.normal(size=(2, 3, 2))
    problem = a, z, W, b, 0.6, 1.7
    other = a[:4], z[:4], W, b, 2.5, 0.3

    def energy(question, W_new, b_new):
        a, z, W, b, rho, alpha = question
        moved = np.sum((W_new - W) ** 2) + np.sum((b_new - b) ** 2)
        return rho / 2 * np.sum((z - a @ W_new - b_new) ** 2) + alpha / 2 * moved

    def claims(pair):
        for name, question in (("", problem), (", other ρ and α", other)):
            W_new, b_new = two(pair(*question), "W and b")
            yield claim(f"shapes of W and b{name}", [*W_new.shape, *b_new.shape], [3, 2, 2])
            yield claim(f"slope in W, at the old b{name}",
                        slope(partial(energy, question, b_new=b), W_new, tangent), 0.0, SOLVED,
                        "normal equations of (14.4), with z − 1bᵀ for the target")
            yield claim(f"slope in b, at the new W{name}",
                        slope(partial(energy, question, W_new), b_new, tangent_b), 0.0, SOLVED,
                        "W is right: which W, how many samples, which weights does b see?")

    def mistakes(pair):
        yield from slips(pair, [problem, other], WRONG_PAIRS)
        shapes = [part.shape for part in two(pair(*problem), "W and b")]
        yield (shapes != [(3, 2), (2,)],
               f"W and b have the shapes (3, 2) and (2,) here; yours {shapes[0]} and {shapes[1]}")
        samples = []
        for question in (problem, other):
            W_new, b_new = two(pair(*question), "W and b")
            a_here, z_here, *_, rho, alpha = question
            samples += [*((rho * np.sum(z_here - a_here @ W_new, axis=0) + alpha * b) / b_new - alpha) / rho]
        yield (same(samples, np.full(len(samples), samples[0])),
               f"the b block divides by ρ · {samples[0]:.3g} + α, however many samples there are: is a number written "
               "in?")
        fitted = a @ W + b
        W_new, b_new = two(pair(a, fitted, W, b, 0.6, 1.7), "W and b")
        yield not same(W_new, W), "where the old W and b fit already, W must stay; here it moves"
        yield not same(b_new, b), "W stays where the old W and b fit already; b must stay too, and moves"
        W_new, b_new = pair(a, z, W, b, 0.6, 1e15)
        yield not same(W_new, W), "a huge α must hold W where it was; what is α multiplied with?"
        yield not same(b_new, b), "a huge α holds W; it must hold b too"
        W_new = pair(*problem)[0]
        acting = times(0.6 * a.T @ (z - b - a @ W_new), W_new - W)
        yield (acting == acting and not same(acting, 1.7),
               f"the W block is solved for a damping of {acting:.3g}; α is 1.7 here, and ρ 0.6")
        b_right, b_mine = bias_of(a, z, W_new, b, 0.6, 1.7) - b, pair(*problem)[1] - b
        yield (same(W_new, weights(*problem)) and times(b_mine, b_right) == times(b_mine, b_right),
               f"the W block is right; b moves {times(b_mine, b_right):.3g} times as far as it should")
        far = np.linalg.norm(pair(*problem)[0] - W) / np.linalg.norm(weights(*problem) - W)
        yield not same(weights(*problem), pair(*problem)[0]), \
            f"W moves {far:.2f} times as far as to its minimiser: is the fit a sum over samples, with ρ, damped by α?"
        yield True, \
            "the W block is right, b is not: it sees what the new W leaves, ρ for each sample and α for the old b"

    return check("14.3", answer, claims, mistakes, fallback=pair_of())


# ---- 14.4

def standstill(left, update):
    """Return what a kind of step leaves after 1 and after 20 rounds, for an answer that the notebook does not show."""
    return [left(update, np.arange(101, 107), 0.001, rounds) for rounds in (1, 20)]


def stands_still(answer, left, seed):
    """Exercise 14.4: inputs and α for which the simultaneous steps make no progress, and block steps do."""
    def parts(answer):
        inputs, alpha = answer
        if np.size(alpha) > 1:
            raise ValueError(f"inputs first, then alpha: one number is expected for alpha, got {np.size(alpha)}")
        inputs, alpha = np.asarray(inputs, dtype=float).ravel(), float(alpha)
        if len(inputs) != 6:
            raise ValueError(f"inputs: six numbers are expected, got {len(inputs)}")
        if not np.isfinite(inputs).all() or not math.isfinite(alpha):
            raise ValueError("inputs and alpha: finite numbers are expected")
        return inputs, alpha

    def too_near(inputs):
        """Return by how much two inputs are nearer to each other than 1."""
        return beyond(1 - np.diff(np.sort(inputs)).min())

    def claims(answer):
        inputs, alpha = parts(answer)
        yield Claim("α is positive", 0.0 if alpha > 0 else math.inf, 0)
        yield Claim("any two inputs differ by 1 or more (shortfall)", too_near(inputs), 1e-9)
        simultaneous, blocks = left(published, inputs, alpha), left(pair_of(), inputs, alpha)
        yield Claim("block steps leave at most 0.01 (excess)", beyond(blocks - 0.01), 0, "choose a smaller α")
        yield Claim("simultaneous steps leave at least 0.5 (shortfall)", beyond(0.5 - simultaneous), 0,
                    "W and b must be able to explain the same thing")

    def mistakes(answer):
        inputs, alpha = parts(answer)
        yield not alpha > 0, "α is the weight of a prox term, positive"
        yield not inputs.any(), "inputs of zeros: W has nothing to say, and b alone solves it"
        simultaneous, blocks = left(published, inputs, alpha), left(pair_of(), inputs, alpha)
        shared = abs(inputs.mean()) / np.sqrt(np.mean(inputs**2))  # cosine of the inputs to the ones of the bias
        yield shared < 1e-6, "these inputs have mean 0: W and b do not meet, both kinds of step are the same"
        yield (blocks > 0.01 and simultaneous > 0.5,
               "α is so large that block steps are held back as well: choose a smaller one")
        yield (simultaneous < 0.5 and shared > 0.99,
               "α is too large: the prox term damps the overshoot away; choose a smaller one")
        yield (simultaneous < 0.5, f"simultaneous steps leave {simultaneous:.2g}: W and b explain different things "
                                   "here, so that little is removed twice")
        yield too_near(inputs) > 1e-9, "two of these inputs are nearer than 1 to each other"

    return check("14.4", answer, claims, mistakes)


# ---- 14.5

def step_with(lam_in=-1.0, weight=2.0, below=None, rate=1.0, keep=1.0, gap=lambda Y, phi, z: z - phi, target=1.0):
    """Return an answer to 14.5 with a slip in it: the multiplier in z, the weight of φ, the step of λ, its gap."""
    def output_step(Y, phi, lam, beta):
        z = (target * Y + lam_in * lam + weight * beta * phi) / (target + (weight if below is None else below) * beta)
        return z, keep * lam + rate * beta * gap(Y, phi, z)
    return output_step


def with_gap(z, phi, lam, beta):
    """Return z and the right step of λ."""
    return z, lam + beta * (z - phi)


WRONG_STEPS = {
    "z is solved for a second time, with the new λ; one step of each is asked for": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, step_with()(Y, phi, lam, beta)[1], beta)[0], step_with()(Y, phi, lam, beta)[1]),
    "the sign of λ in z: the slope of ⟨z, λ⟩ is +λ, so that z has −λ": step_with(lam_in=1.0),
    "the slope of ⟨z, λ⟩ in z is λ alone, without φ": lambda Y, phi, lam, beta: with_gap(
        (Y - lam * phi + 2 * beta * phi) / (1 + 2 * beta), phi, lam, beta),
    "λ stands below the line here; the slope of ⟨z, λ⟩ is λ, without z": lambda Y, phi, lam, beta: with_gap(
        (Y + 2 * beta * phi) / (1 + lam + 2 * beta), phi, lam, beta),
    "λ is missing in z: the multiplier has a slope too": step_with(lam_in=0.0),
    "the penalty is β‖z − φ‖², without ½: its slope is 2β(z − φ)": step_with(weight=1.0),
    "the loss is missing in the denominator of z": lambda Y, phi, lam, beta: with_gap(
        (Y - lam + 2 * beta * phi) / (2 * beta), phi, lam, beta),
    "β in the denominator: the penalty has no ½, there as above": step_with(below=1.0),
    "φ counts with 2β above as well: the mean is weighted": step_with(weight=1.0, below=2.0),
    "a factor in z: the loss is ½‖z − Y‖², with ½": step_with(target=2.0),
    "the loss is missing in z": lambda Y, phi, lam, beta: with_gap(phi - lam / (2 * beta), phi, lam, beta),
    "this is a full dual step, 2β: sensible for this penalty, but (14.8) takes β": step_with(rate=2.0),
    "β is missing in the step of λ": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], lam + step_with()(Y, phi, lam, beta)[0] - phi),
    "λ steps first here; z comes first, with the old λ": lambda Y, phi, lam, beta: (
        (Y - lam - beta * (Y - phi) + 2 * beta * phi) / (1 + 2 * beta), lam + beta * (Y - phi)),
    "one number for all entries: λ steps entry by entry": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], lam + np.linalg.norm(beta * (step_with()(Y, phi, lam, beta)[0] - phi))),
    "β divides in the step of λ; it multiplies": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], lam + (step_with()(Y, phi, lam, beta)[0] - phi) / beta),
    "the sign of the step: λ must ascend, along z − φ": step_with(rate=-1.0),
    "the old λ is lost: the multiplier adds up what has been missing": step_with(keep=0.0),
    "λ stays as it was: the second half of (14.8)": step_with(rate=0.0),
    "the multiplier sees the gap z − φ, not z − Y": step_with(gap=lambda Y, phi, z: z - Y),
    "the multiplier sees the gap z − φ, not z itself": step_with(gap=lambda Y, phi, z: z),
    "the multiplier sees the gap of the new z, not Y − φ": step_with(gap=lambda Y, phi, z: Y - phi),
    "the gap comes back instead of z": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0] - phi, step_with()(Y, phi, lam, beta)[1]),
    "this is the scaled multiplier λ/(2β); (14.8) has λ itself": lambda Y, phi, lam, beta: (
        (Y + 2 * beta * (phi - lam)) / (1 + 2 * beta), lam + (Y + 2 * beta * (phi - lam)) / (1 + 2 * beta) - phi),
    "λ steps by the gap, not by its square": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], lam + beta * (step_with()(Y, phi, lam, beta)[0] - phi) ** 2),
    "one sum for all entries: each entry of λ has its own gap": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], lam + beta * np.sum((step_with()(Y, phi, lam, beta)[0] - phi) ** 2)),
    "the constraint is an equation: λ may have either sign": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], np.maximum(step_with()(Y, phi, lam, beta)[1], 0)),
    "a factor ½ in the step of λ: its rate is β": step_with(rate=0.5),
    "in z, λ counts more than Y: it is divided as Y is, and it is no part of the penalty":
        lambda Y, phi, lam, beta: with_gap((Y + 2 * beta * phi) / (1 + 2 * beta) - lam, phi, lam, beta),
    "parentheses: 2βφ is divided as Y and λ are": lambda Y, phi, lam, beta: with_gap(
        (Y - lam) / (1 + 2 * beta) + 2 * beta * phi, phi, lam, beta),
    "parentheses: the whole sum is divided, not its last term": lambda Y, phi, lam, beta: with_gap(
        Y - lam + 2 * beta * phi / (1 + 2 * beta), phi, lam, beta),
    "the sign of φ: the penalty pulls towards it": step_with(weight=-2.0, below=2.0),
    "this λ is the limit; (14.8) takes one step from the old λ": lambda Y, phi, lam, beta: (
        step_with()(Y, phi, lam, beta)[0], Y - phi),
    "this is a gradient step from Y; z can be solved for": lambda Y, phi, lam, beta: with_gap(
        Y - (lam + 2 * beta * (Y - phi)), phi, lam, beta),
    "the loss is a sum over the samples, not a mean": lambda Y, phi, lam, beta: with_gap(
        (Y / len(Y) - lam + 2 * beta * phi) / (1 / len(Y) + 2 * beta), phi, lam, beta),
    "Y and φ are exchanged in z": lambda Y, phi, lam, beta: with_gap(
        (phi - lam + 2 * beta * Y) / (1 + 2 * beta), phi, lam, beta),
    "λ has no weight in (14.8): it is not divided by 2β": lambda Y, phi, lam, beta: with_gap(
        (Y - lam / (2 * beta) + 2 * beta * phi) / (1 + 2 * beta), phi, lam, beta),
    "z and λ come back in the other order": lambda *question: step_with()(*question)[::-1],
    "z is the plain mean of Y and φ": lambda Y, phi, lam, beta: with_gap((Y + phi) / 2, phi, lam, beta),
    "z is a gradient step from φ; it can be solved": lambda Y, phi, lam, beta: with_gap(Y - lam, phi, lam, beta),
    "the denominator of z is missing": lambda Y, phi, lam, beta: with_gap(
        Y - lam + 2 * beta * phi, phi, lam, beta),
}


def output_step(answer, seed):
    """Exercise 14.5: z minimises ½‖z − Y‖² + ⟨z, λ⟩ + β‖z − φ‖², then λ ← λ + β(z − φ)."""
    rng = np.random.default_rng(seed)
    Y, phi, lam, tangent = rng.normal(size=(4, 6, 3))

    def lagrangian(beta, z):
        return np.sum((z - Y) ** 2) / 2 + np.sum(z * lam) + beta * np.sum((z - phi) ** 2)

    def claims(step):
        for beta in (0.4, 3.0):
            z, new = two(step(Y, phi, lam, beta), "z and λ")
            yield claim(f"β = {beta:g}: shapes", [*z.shape, *new.shape], [6, 3, 6, 3])
            yield claim("    the slope of L in z", slope(partial(lagrangian, beta), z, tangent), 0.0,
                        SOLVED, "three terms hold z: what are their slopes?")
            yield claim("    the step of λ", new - lam, beta * (z - phi), SOLVED,
                        "z is right: λ + β(z − φ), with the new z")
        at = np.zeros_like(lam)
        for _ in range(200):
            z, at = step(Y, phi, at, 1.0)
        yield claim("after 200 steps with φ held: z = φ", z, phi, SOLVED)

    def mistakes(step):
        two(step(Y, phi, lam, 0.4), "z and λ")  # else there is nothing to compare
        yield from slips(step, [(Y, phi, lam, 0.4), (phi, lam, Y, 3.0)], WRONG_STEPS)
        yield (not same(step(0 * Y, 0 * phi, 0 * lam, 0.4)[0], 0 * Y),
               "where Y, φ and λ are zero, so is z; yours is not: is 1 + 2β all below the line?")
        target, phi_share, u_share = shares(lambda *values: step(*values, 0.4)[0], 3)
        yield target == 0, "Y does not count in z: the loss pulls towards it"
        yield (not same(u_share / target, -1.0),
               f"in z, λ counts {u_share / target:.3g} times as much as Y; the slopes in (14.8) are z − Y and λ")
        yield (not same(phi_share / target, 0.8), f"in z, φ counts {phi_share / target:.3g} times as much as Y, at β = "
                                                  "0.4; the slope of the penalty is 2β(z − φ)")
        yield (not same(target + phi_share, 1.0), "above the line z is right; where Y = φ and λ = 0, z must be Y: what "
                                                  "stands below?")
        z, new = step(Y, phi, lam, 0.4)
        rate = times(new - lam, 0.4 * (z - phi))
        yield rate == rate and not same(rate, 1.0), f"z is right, and λ moves by {rate:.3g} times β(z − φ)"
        yield not same(new, lam + 0.4 * (z - phi)), "z is right, λ is not: it moves by β(z − φ), with the new z"

    return check("14.5", answer, claims, mistakes, fallback=step_with())


close_to_answers(globals())
