r"""What `verify` reports: claims, the numbers measured for them, and the `Report` that shows them."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import json
import math
import re
import shutil
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from minilift.support.spellings import guided

CLAIMS: list[Claim] = []
EXPLAINED = 3  # failing problems for which mistakes are looked for
LEFT_CHANGED = "it leaves the parameters of the network changed"
NO_REASON = "none of the usual mistakes fits"
VAGUE = (NO_REASON, "the step of map", "what is wrong depends on")  # beginnings of texts compatible with any reason
# Beginnings of reasons that say where numbers are wrong, or what they look like, but not why: reported as seen.
SEEN = ("it is wrong", "it is right", "it is nearly", "it is zero", "it is not finite", "its entries are",
        "some entries", "the sign of some", "each row is", "each column is", "each sample is", "only the",
        "all entries are", "what is wrong", "the step of map", "it is the gradient of no function", "it rests where",
        "a sweep increases", "it leads up", "of its")
MOST = 0.6  # share of these problems that a mistake must explain to be named; a `Guess` is tested on as many again
DECIDED = 1 / 4  # share of the problems that must be decided
SINGLE = "it is right to the digits of float32 alone: something is computed in single precision, or nearly right"
ONE_SAMPLE = r"N = 1\b"
SOME = {ONE_SAMPLE: "for a batch of one sample", r"\b1 outputs": "where there is one output",  # by labels of problems
        "another size": "for samples of another size", "^a graph of": "on a network that is no chain"}
RUNS = "it runs on a random problem"
MUST_NOT_RAISE = "it must not raise"
EXPLICIT = "it is explicit, not implicit"
MARKS = {True: "ok", False: "FAIL", None: "–"}
MEND_WIDTH = 100  # a longer edit is shown as two lines, with marks where they differ
MENDED = "With this edit all claims hold:"
MENDED_EACH = "With any one of these edits all claims hold:"
MENDED_SOME = "With this edit fewer claims fail:"
OF_REST = ", which are about where sweeps rest, not about how they get there:"
OF_SHAPES = "could not be broadcast together"  # in NumPy's error for arrays that do not fit
LONG = 12  # rows of a report after which its failures are listed again, with their reasons
NOT_MENDED = "None of the small edits of your code that were tried makes a claim hold that fails."
POSITIVE = "> 0"  # in the equation of a claim: the number must be so
HEADS = ("", "claim", "equation", "source", "number", "allowed")
LEFT = "style='text-align:left'"
FAILED = "style='background:#fbe3e0;color:#000'"  # legible on light and dark pages


class NotClaimed(Exception):  # noqa: N818  (not an error: the thing does not make this claim)
    """The thing makes no such claim; the message says why."""


def only_if(holds, why):
    """Raise `NotClaimed` with a reason unless a condition holds."""
    if not holds:
        raise NotClaimed(why)


@dataclass(frozen=True)
class Claim:
    """One thing that should hold, in words and as an equation, and the function that measures it."""

    kind: str
    words: str
    equation: str
    source: str
    measure: Callable
    once: bool = False
    main: bool = False


def claim(kinds, words, equation, source, once=False, main=False):
    """Register the decorated ``measure(thing, case) -> Finding`` as a claim about things of one kind, or of several.

    It raises `NotClaimed` if the thing does not claim this, or the case does not suit it. `once` says that the first
    case is enough: the problem is the same for all, or no planted mistake showed only in another case. `main` says that
    it is the main claim of the thing, without which the other claims do not show whether the thing is right.
    """

    def register(measure):
        CLAIMS.extend(Claim(kind, words, equation, source, measure, once, main) for kind in kinds.split())
        measure.__doc__ = f"Measure the claim: {words}, {equation} ({source})."
        return measure

    return register


class Guess(str):
    """A reason that may fit a few problems by chance, and is therefore tested in further ones too."""

    __slots__ = ()


class Finding(NamedTuple):
    """The outcome of one claim in one random problem.

    Attributes
    ----------
    number, tolerance : float
        The claim holds if number <= tolerance (for NaN it does not).
    why : str
        Where the tolerance comes from.
    reasons : tuple of str, or callable
        The common mistakes that fit, if any, the likeliest first, or a function that looks for them. They are read only
        if the claim does not hold.
    undecided : bool
        Whether a failure in this problem is inconclusive: it is left out if enough other problems are decided.
    """

    number: float
    tolerance: float
    why: str
    reasons: tuple = ()
    undecided: bool = False

    @property
    def holds(self):
        """Whether the number is within its tolerance."""
        return bool(self.number <= self.tolerance)

    def mistakes(self):
        """Return the common mistakes that fit; looking for them may take a while."""
        return tuple(self.reasons() if callable(self.reasons) else self.reasons)

    def because(self, *reasons):
        """Return the finding with other reasons."""
        return self._replace(reasons=reasons)

    def retold(self, change):
        """Return the finding with its reasons transformed by `change`."""
        return self._replace(reasons=lambda: change(self.mistakes()))


def nothing_of(reasons, why):
    """Return the finding of a search for mistakes, given those found: it holds if there are none."""
    return Finding(float(len(reasons)), 0.0, why, tuple(reasons))


@dataclass(frozen=True)
class Check:
    """One row of a `Report`: a claim about one subject, over all random problems tried.

    Attributes
    ----------
    kind, subject : str
        What was checked: "map" and "Linear(3, 2)", for example.
    claim, equation, source : str
        The claim in words and as an equation, and where the equation is printed.
    number, tolerance : float
        The worst number measured, and the largest that is allowed; NaN if the check was skipped.
    why : str
        Where the tolerance comes from; for a skipped check, why it was skipped.
    passed : bool or None
        None for a check that was skipped.
    reason : str
        For a failure: "likely: …" a common mistake that gives the same wrong numbers, "seen: …" where or how they are
        wrong, or that no common mistake fits.
    problems : int
        How many random problems were tried.
    worst : str
        The problem with the worst number.

    Examples
    --------
    >>> check = ml.verify(ml.Linear(3, 2)).checks[0]
    >>> check.kind, check.subject, check.passed, check.number <= check.tolerance
    ('map', 'Linear(3, 2)', True, True)
    """

    kind: str
    subject: str
    claim: str
    equation: str
    source: str
    number: float = math.nan
    tolerance: float = math.nan
    why: str = ""
    passed: bool | None = None
    reason: str = ""
    problems: int = 0
    worst: str = ""


@dataclass(frozen=True)
class Mend:
    """An edit of the user's code that makes failed claims hold, all of them or some.

    Attributes
    ----------
    file, line, function : str, int, str
        Where the edit is made.
    old, new : str
        The source there, and what replaces it.
    left : int
        How many claims still fail, as before, for another reason.

    Examples
    --------
    >>> print(ml.Mend("mine.py", 7, "my_step", "y - x", "x - y"))
    mine.py, line 7, in my_step: `x - y` for `y - x`
    """

    file: str
    line: int
    function: str
    old: str
    new: str
    left: int = 0

    def __str__(self):
        where = f"{self.file}, line {self.line}, in {self.function}"
        if self.new == "pass":
            return f"{where}: without `{self.old}`"
        line = f"{where}: `{self.new}` for `{self.old}`"
        if len(line) <= MEND_WIDTH:
            return line
        begin = common_length(self.old, self.new)
        end = common_length(self.old[begin:][::-1], self.new[begin:][::-1])
        lines = [f"- {self.old}", f"+ {self.new}"]
        k = len(self.new) > begin + end  # the marks stand below what is new, or what is gone
        lines.insert(1 + k, "  " + " " * begin + "^" * (len((self.old, self.new)[k]) - begin - end))
        return "\n    ".join([f"{where}:", *lines])


def told_of(mends, checks):
    """Return the line above some edits."""
    line = MENDED_SOME if mends[0].left else MENDED if len(mends) == 1 else MENDED_EACH
    need_not_descend = any(check.kind == "decreases" and check.why == "it is not claimed" for check in checks)
    return line.replace(":", OF_REST) if need_not_descend else line


def common_length(some, others):
    """Return how many characters two texts have in common from their beginning."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(some, others)))


@guided
class Report:
    """The result of `verify`: a list of `Check`, shown as a table by print and in a notebook.

    Parameters
    ----------
    checks : list of Check
    seed : int
        The seed of the random problems.
    unverified : str, default ""
        Why the checks do not show whether the thing is right, if they do not.
    look : callable, optional
        Called to look for `mends`, the first time that they are asked for; returns None if no code can be edited.
    sizes : str, default ""
        How large the problems were, such as "N ≤ 40": larger ones may be treated otherwise by the thing.

    Examples
    --------
    >>> report = ml.verify(ml.Tanh())
    >>> report.passed, len(report.failures), len(report.checks) > 5
    (True, 0, True)
    """

    def __init__(self, checks: Sequence[Check], seed: int, unverified: str = "",
                 look: Callable[[], Sequence[Mend] | None] | None = None, sizes: str = "") -> None:
        self.checks, self.seed, self.unverified, self.look, self.sizes = list(checks), seed, unverified, look, sizes

    @property
    def passed(self) -> bool:
        """Whether no check failed, at least one was made, and the checks show whether the thing is right."""
        return not self.failures and any(check.passed for check in self.checks) and not self.unverified

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.passed is False]

    @property
    def skipped(self) -> list[Check]:
        """The checks that do not apply, each with its reason in `why`."""
        return [check for check in self.checks if check.passed is None]

    @property
    def mends(self) -> list[Mend]:
        """Small edits of your code, each a `Mend` that makes all claims hold; failing that, one that mends some claims.

        They are looked for when first asked for, by print for example, which takes some seconds of processor time: in
        copies of the functions that failed, signs, operators, operands, factors, transposes and statements are changed
        one at a time. The copies are run, but write to no files and start no processes: a function that does so is not
        mended.
        """
        return list(self._found or [])

    @functools.cached_property
    def _found(self):
        """The edits that mend something, None where there is no code of the user's to be edited."""
        if self.look is None or not self.failures:
            return None
        try:
            return self.look()
        except Exception as error:  # the report is shown whatever happens in copies of the user's objects
            warnings.warn(f"looking for an edit that mends raised {type(error).__name__}: {error}", stacklevel=3)
            return None

    def raise_for_failures(self) -> None:
        """Raise an `AssertionError` with the failures, or why nothing was verified, unless it `passed`; for tests."""
        if not self.passed:
            raise AssertionError(str(Report(self.failures or self.checks, self.seed, self.unverified,
                                            lambda: self._found, self.sizes)))

    def to_json(self) -> str:
        """Return the report as JSON text; numbers that are not finite are given as strings."""

        def plain(value):
            return value if not isinstance(value, float) or math.isfinite(value) else str(value)

        rows = [{name: plain(value) for name, value in asdict(check).items()} for check in self.checks]
        report = {"passed": self.passed, "unverified": self.unverified, "seed": self.seed, "sizes": self.sizes,
                  "checks": rows, "mends": [vars(mend) for mend in self.mends]}
        return json.dumps(report, ensure_ascii=False, indent=2)

    def __repr__(self):
        return "\n\n".join(self.parts())

    def parts(self) -> Iterator[str]:
        """Yield the report in parts: the table at once, then the edits, as soon as they are found, and the summary."""
        yield "\n".join(self._table())
        if self.mends:
            edits = [textwrap.indent(str(mend), "  ") for mend in self.mends]
            yield "\n".join([told_of(self.mends, self.checks), *edits])
        elif self._found is not None:
            yield NOT_MENDED
        yield self.summary()

    def _table(self):
        """Return the lines of the table, with the reasons of failures."""
        widths = column_widths(self.checks, shutil.get_terminal_size((120, 24)).columns)
        lines, subject, is_told = table_row(HEADS, widths), None, False
        for check in self.checks:
            if check.subject != subject:
                subject, is_told = check.subject, False
                lines += ["", f"{check.kind} {subject}"]
            if check.passed is None:
                lines += textwrap.wrap(f"{check.claim}; does not apply: {check.why}", width=sum(widths),
                                       initial_indent="–     ", subsequent_indent="      ")
                continue
            lines += table_row(row_of(check), widths)
            if check.passed is False:
                where = f"worst on {check.worst}; allowed because {check.why}"
                is_said = check.reason != NO_REASON or not is_told  # that nothing fits, only where nothing else is said
                lines += textwrap.wrap(f"{check.reason} ({where})" if is_said else where, width=sum(widths),
                                       initial_indent="      -> ", subsequent_indent="         ")
                is_told = True
        if self.failures and len(self.checks) > LONG:
            lines += ["", "Failed:"]
            for check in self.failures:
                lines.append(f"  {check.kind} {check.subject}: {check.claim}")
                lines += textwrap.wrap("" if check.reason == NO_REASON else check.reason, width=sum(widths),
                                       initial_indent="      -> ", subsequent_indent="         ")
        return lines

    def summary(self) -> str:
        """Return one line: what was not verified, how many checks hold, fail and do not apply, and on what sizes."""
        count = Counter(check.passed for check in self.checks)
        return (f"{self.unverified}{'; ' if self.unverified else ''}{count[True]} claims hold, {count[False]} fail, "
                f"{count[None]} do not apply (float64, seed {self.seed}{', ' * bool(self.sizes)}{self.sizes})")

    def _repr_html_(self):
        from html import escape

        rows = [f"<tr>{''.join(f'<th>{head}</th>' for head in HEADS)}</tr>"]
        subject = None
        for check in self.checks:
            if check.subject != subject:
                subject = check.subject
                rows.append(f"<tr><th {LEFT} colspan='6'>{check.kind} <code>{escape(subject)}</code></th></tr>")
            cells = "".join(f"<td {LEFT}>{escape(cell)}</td>" for cell in row_of(check))
            style = FAILED if check.passed is False else ""
            rows.append(f'<tr {style} title="{escape(check.why)}">{cells}</tr>')
            if check.passed is False:
                reason = escape(f"→ {check.reason} (worst on {check.worst})")
                rows.append(f"<tr {style}><td></td><td {LEFT} colspan='5'>{reason}</td></tr>")
        mends = "".join(f"<li><pre style='margin:0'>{escape(str(mend))}</pre></li>" for mend in self.mends)
        told = f"<p>{told_of(self.mends, self.checks)}</p><ul>{mends}</ul>" if mends else (
            f"<p>{NOT_MENDED}</p>" * (self._found is not None))
        return f"<table>{''.join(rows)}</table>{told}<p>{escape(self.summary())}</p>"


def check_claim(claim, thing, subject, cases):
    """Return the `Check` of one claim over all cases."""
    findings, skips = [], []
    for case in cases[:1] if claim.once else cases:
        try:
            findings.append((case, measured(claim.measure, thing, case)))
        except NotClaimed as why:
            skips.append(str(why))
    decided = [(case, finding) for case, finding in findings if not finding.undecided]
    findings = decided if len(decided) >= DECIDED * len(findings) else findings
    names = (claim.kind, subject, claim.words, claim.equation, claim.source)
    if not findings:  # the rarest reason is the most informative: others apply to every case of a kind
        return Check(*names, why=min(skips, key=skips.count, default="no problem suits it"))
    holding, failing, raising = apart(findings)
    case, worst = max(failing or findings, key=lambda item: severity(item[1]))
    told = [finding for _, finding in failing]
    if len(told) == 1 and hasattr(case, "alike"):  # a single problem is little to base a guess on
        with contextlib.suppress(NotClaimed):
            told += [other for other in [measured(claim.measure, thing, case.alike())] if not other.holds]
    reason = common_reason(told, len(findings) > 1) if failing else ""
    if SINGLE in reason and worst.number > 1e-4:
        reason = NO_REASON  # it fits some problems by chance
    if reason == NO_REASON and claim.kind in ("loss", "transfer"):
        reason = setting_reason(claim, thing, [case for case, _ in failing]) or reason
    if failing and holding:
        reason = placed(claim, thing, reason, failing, holding)
    if raising and OF_SHAPES in raising[0][1].reasons[0]:  # an array of another batch, say: no other guess fits it
        reason = f"likely: {error_of(raising).strip()}: the wrong axis, or an array kept from another batch"
    elif raising:
        reason += f"; besides, {error_of(raising)}"
    return Check(*names, float(worst.number), worst.tolerance, worst.why, not failing, reason, len(findings),
                 case.label)


def apart(findings):
    """Return the problems in which a claim holds, those in which it fails, and those in which it also raises.

    Where it raises, a mistake that it has everywhere would not be seen.
    """
    holding, failing, raising = [], [], []
    for case, finding in findings:
        if finding.holds:
            holding.append(case)
        else:
            (raising if finding.why == MUST_NOT_RAISE else failing).append((case, finding))
    return (holding, failing, raising) if failing else (holding, raising, [])


def placed(claim, thing, reason, failing, holding):
    """Return the reason for which a claim fails in some problems, and holds in others, with what tells them apart."""
    if EXPLICIT in reason:  # it would be so in the others, too
        reason = NO_REASON
    if all(is_of_long_steps(claim, thing, case) for case, _ in failing):
        return f"{reason}; for long steps τ alone"
    reason += "".join(f"; {where} alone" for where in where_all(failing))
    if reason == NO_REASON and all(re.search(ONE_SAMPLE, case.label) for case in holding):
        reason += f"; it is right {SOME[ONE_SAMPLE]} alone"
    return reason


def where_all(failing):
    """Return what all problems in which a claim fails have in common."""
    return [where for label, where in SOME.items() if all(re.search(label, case.label) for case, _ in failing)]


def error_of(raising):
    """Return which error a thing raises in some problems, and in which."""
    return " ".join([*where_all(raising), raising[0][1].reasons[0]])


def setting_reason(claim, thing, cases):
    """Return which of a thing's own numbers, if it were 1, would make a claim hold in all the cases; or ""."""
    for name, value in getattr(thing, "__dict__", {}).items():
        if type(value) is float and value not in (0.0, 1.0):
            other = copy.copy(thing)
            object.__setattr__(other, name, 1.0)
            if all(holds_in(claim, other, case) for case in cases):
                return (f"seen: it would be right if {name} were 1: a factor {name}, or a power of it, is amiss, or "
                        f"what {name} − 1 multiplies")
    return ""


def broken(kind, subject, error):
    """Return the check of a thing that cannot even be run on a random problem."""
    return Check(kind, subject, RUNS, "", "definition", math.inf, 0.0, MUST_NOT_RAISE,
                 False, f"likely: {error_text(error)}", 1, "the first")


def unmeasured(checks):
    """Return a text saying that none of the main claims among some checks was measured, and why; "" if one was."""
    main = [check for check in checks if any(check.claim == claim.words for claim in CLAIMS if claim.main)]
    if not main or any(check.passed is not None for check in main):
        return ""
    return f"not verified: no problem suits the claim “{main[-1].claim}”, {main[-1].why}"


def is_of_long_steps(claim, thing, case):
    """Whether a claim that fails in a problem with a step size τ holds with a hundredth of it."""
    return hasattr(case, "tau") and holds_in(claim, thing, replace(case, tau=case.tau / 100))


def holds_in(claim, thing, case):
    """Whether a claim is made of a thing in a further problem, and holds."""
    with contextlib.suppress(NotClaimed):
        return measured(claim.measure, thing, case).holds
    return False


def measured(measure, thing, case):
    """Return the finding of a claim's measure; an error raised by the thing is a finding too."""
    try:
        return measure(case.met(thing), case)
    except NotClaimed:
        raise
    except (Exception, SystemExit) as error:
        return Finding(math.inf, 0.0, MUST_NOT_RAISE, (error_text(error), f"it raises {type(error).__name__}"))


def error_text(error):
    """Return the text of an exception raised by the thing under test."""
    if LEFT_CHANGED in str(error):
        return LEFT_CHANGED
    if "read-only" in str(error):
        return "it writes into an array that was given to it"
    return f"it raises {type(error).__name__}: {error}"


def severity(finding):
    """Return a number by which findings are ordered from best to worst."""
    if math.isnan(finding.number):
        return math.inf
    return finding.number / (finding.tolerance or 1.0)


def worst_of(findings):
    """Return the worst of several findings."""
    return max(findings, key=severity)


def common_reason(findings, others=False):
    """Return the reason that fits most failing findings; among equals, the one named first.

    If only one fails and `others` do not, no guess is made.
    """
    explained = [reasons_of(finding) for finding in findings[:EXPLAINED]]
    if others and len(findings) == 1:
        explained = [[reason for reason in explained[0] if not isinstance(reason, Guess)]]
    best = likeliest(explained)
    guessed = Counter(reason for reasons in explained for reason in reasons if isinstance(reason, Guess))
    if isinstance(best, Guess) or (best is None and max(guessed.values(), default=0) > 1):  # more problems may decide
        explained += map(reasons_of, findings[EXPLAINED : 2 * EXPLAINED])
        best = likeliest(explained)
    if best is None or best.startswith(NO_REASON):
        return best or NO_REASON
    return f"{'seen' if best.startswith(SEEN) else 'likely'}: {best}"


def reasons_of(finding):
    """Return the reasons of a finding, the likeliest first."""
    try:
        return list(dict.fromkeys(finding.mistakes()))
    except Exception as error:  # testing a guess, a wrong thing may raise anything: that is reported with the failure
        return [f"{NO_REASON}, and looking for them raises {type(error).__name__}: {error}"]


def likeliest(explained):
    """Return the reason that is in most of several lists, if it is in enough; among equals, the one named first."""
    count, rank, guesses = Counter(itertools.chain(*explained)), Counter(), set()
    for reasons in explained:
        rank.update({reason: k for k, reason in enumerate(reasons)})
        guesses.update(reason for reason in reasons if isinstance(reason, Guess))
    least, for_guess = MOST * len(explained), min(3, len(explained))

    def is_enough(reason):
        if reason not in guesses:
            return count[reason] >= least
        # an observation in a problem that the reason does not fit is evidence against it
        against = [other for reasons in explained if reason not in reasons for other in reasons
                   if not isinstance(other, Guess)]
        return count[reason] >= max(least, for_guess) and all(other.startswith(VAGUE) for other in against)

    enough = [reason for reason in count if is_enough(reason)]
    best = min(enough, key=lambda reason: (-count[reason], rank[reason]), default=None)
    return Guess(best) if best in guesses else best


def number_text(number):
    """Return a number as text for the table, or "" for the NaN of a skipped check."""
    return "" if math.isnan(number) else f"{number:.1e}"


def row_of(check):
    """Return the cells of one check, including the reason if it does not apply."""
    says = check.equation if check.passed is not None else f"does not apply: {check.why}"
    numbers = number_text(check.number), number_text(check.tolerance)
    if POSITIVE in says:  # measured by minus the number, which may be 0 at most
        numbers = number_text(-check.number), POSITIVE
    return MARKS[check.passed], check.claim, says, check.source, *numbers


def column_widths(checks, columns):
    """Return the widths of a table's columns: claims and equations share the space that the others leave."""
    source = max((len(check.source) for check in checks), default=0)
    fixed = [4, 0, 0, min(max(source, len(HEADS[3])), 18), 8, 8]
    shared = min(max(columns, 100), 160) - sum(fixed) - 2 * (len(fixed) - 1)
    fixed[1], fixed[2] = shared // 2, shared - shared // 2
    return fixed


def table_row(cells, widths):
    """Return the lines of one row, with long cells wrapped."""
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths)).rstrip()
            for row in itertools.zip_longest(*columns, fillvalue="")]
