"""Drops of several measures: simultaneous bounds and adjusted p-values of a family of tests.

Each member tests if the mean of paired differences drops by more than an allowance. Two corrections
bound the probability that any member of the family is wrongly found to do so by `level`, whatever
the size of the family:

* `holm`: sign-flip tests, adjusted by Holm's method; bounds at `level` / number of members.
* `max-t`: within a group that shares its queries, the largest t of joint sign flips (Westfall and
  Young, Resampling-Based Multiple Testing, 1993; Boytsov, Belova, Westfall, Deciding on an
  Adjustment for Multiplicity in IR Experiments, SIGIR 2013), which exploits that methods succeed
  and fail on the same queries; p is multiplied by the number of groups. The number of flips grows
  with the number of groups, so that the smallest possible p stays below a fifth of `level`. As in
  any sign-flip test, p is at least 2^-n for n queries that differ.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from rankstone.arrays import Floats
from rankstone.evaluation.intervals import SEED
from rankstone.evaluation.power import detectable, queries_needed
from rankstone.evaluation.sign_flips import TIE, bounds, least_moved, p_above

Correction = Literal["holm", "max-t"]
FLIPS_PER_GROUP = 5
"""Number of random flips = this times the number of groups / level."""
BATCH_VALUES = 2**24
"""Number of signs drawn at once, which bounds the working memory at 64 MB."""


class Member(NamedTuple):
    """Paired differences, and the allowed drop of their mean."""

    differences: Floats
    """(n,) candidate minus baseline, by query."""
    allowance: float = 0.0
    weights: Floats | None = None
    """(n,) weights of the mean; their sum is n."""
    group: Hashable = None
    """Members of the same group have the same queries in the same order."""

    @property
    def drop(self) -> float:
        return -float(np.average(self.differences, weights=self.weights))

    @property
    def deviation(self) -> float:
        """Weighted standard deviation of the differences."""
        weights = 1.0 if self.weights is None else self.weights
        spread = (self.differences + self.drop) * weights
        return float(np.sqrt((spread**2).sum() / max(len(spread) - 1, 1)))

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.deviation / float(np.sqrt(len(self.differences)))


class Drop(NamedTuple):
    """Inference about one member within its family."""

    drop: float
    low: float
    """Lower end of the simultaneous confidence interval of the drop; -inf if n is too small."""
    high: float
    p: float
    """Unadjusted p-value of the hypothesis that the drop is at most the allowance."""
    adjusted: float
    """Adjusted p-value: at most `level` exactly if a drop above the allowance is shown."""
    detectable: float
    """Smallest drop that is shown with 80% power with as many queries; inf if none can be."""
    needed: float
    """Number of queries with which a drop of this size would be decided with 80% power."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method (Scandinavian J. of Statistics 6, 1979).

    The i-th smallest of m values is multiplied by m - i + 1, raised to at least the previous
    adjusted value, and capped at 1.
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(order) - np.arange(len(order))
    raised = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(raised, 1.0)
    return adjusted.tolist()


def drops(family: Sequence[Member], level: float, correction: Correction = "holm") -> list[Drop]:
    """Return the inference about every member of a family."""
    if not family:
        return []
    found = [_clean(member) for member in family]
    p_values = [p_above(-one.differences, one.allowance, one.weights) for one in found]
    if correction == "holm":
        adjusted, share = holm(p_values), level / len(found)
        ends = [_ends(one, share) for one in found]
    else:
        adjusted, ends = _max_t(found, level)
        share = level / len({one.group for one in found})
    return [
        Drop(one.drop, low, high, p, q, _detectable(one, share), _needed(one, share))
        for one, (low, high), p, q in zip(found, ends, p_values, adjusted, strict=True)
    ]


def _ends(member: Member, level: float) -> tuple[float, float]:
    low, high = bounds(-member.differences, level, member.weights)
    return low, high


def _clean(member: Member) -> Member:
    differences = np.array(member.differences, dtype=np.float64)
    differences[np.abs(differences) <= TIE] = 0.0
    return member._replace(differences=differences)


def _detectable(member: Member, level: float) -> float:
    """Return the minimum detectable drop of a one-sided test, given the spread of the
    differences."""
    return member.allowance + detectable(member.deviation, len(member.differences), level)


def _needed(member: Member, level: float) -> float:
    """Return the number of queries that would decide the test, on either side of the allowance."""
    gap = abs(member.drop - member.allowance)
    return queries_needed(gap, member.deviation, level) if gap > TIE else float("inf")


def _max_t(family: Sequence[Member], level: float) -> tuple[list[float], list[tuple[float, float]]]:
    groups: dict[Hashable, list[int]] = {}
    for number, member in enumerate(family):
        groups.setdefault(member.group, []).append(number)
    share = level / len(groups)
    adjusted, ends = [1.0] * len(family), [(-np.inf, np.inf)] * len(family)
    for numbers in groups.values():
        members = [family[number] for number in numbers]
        largest = _largest_t(members, int(np.ceil(FLIPS_PER_GROUP / share)))
        reach = float(np.quantile(largest, 1 - share, method="higher"))
        for number, member in zip(numbers, members, strict=True):
            t = _t(member.drop - member.allowance, member.error)
            p = (1 + int((largest >= t - TIE).sum())) / (1 + len(largest))
            adjusted[number] = min(1.0, max(p, _smallest_p(member)) * len(groups))
            if len(member.differences) >= least_moved(share):
                width = reach * member.error
                ends[number] = (member.drop - width, member.drop + width)
    return adjusted, ends


def _smallest_p(member: Member) -> float:
    """Return p if all queries that differ have the same sign, which no spread can make smaller."""
    moved = np.abs(member.differences + member.allowance) > TIE
    return float(2.0 ** -int(moved.sum()))


def _t(excess: float, error: float) -> float:
    if error <= TIE:
        return float(np.copysign(np.inf, excess)) if abs(excess) > TIE else 0.0
    return excess / error


def _largest_t(members: Sequence[Member], flips: int) -> Floats:
    """Return the (flips,) largest t of all members under random signs of whole queries."""
    columns = np.stack(
        [(m.differences + m.drop) * (1 if m.weights is None else m.weights) for m in members],
        axis=1,
    )  # (n, members), each centred at its mean
    n = len(columns)
    squares = (columns**2).sum(axis=0)
    columns = columns[:, squares > TIE**2]
    squares = squares[squares > TIE**2]
    if not len(squares) or n < 2:
        return np.zeros(flips)
    rng, found = np.random.default_rng(SEED), []
    rows = max(1, BATCH_VALUES // n)
    for start in range(0, flips, rows):
        size = min(rows, flips - start)
        bits = np.unpackbits(rng.integers(256, size=(size, -(-n // 8)), dtype=np.uint8), axis=1)
        means = (bits[:, :n].astype(np.float32) * 2 - 1) @ columns.astype(np.float32) / n
        variances = np.maximum(squares - n * means.astype(np.float64) ** 2, 0) / (n - 1) / n
        with np.errstate(divide="ignore"):
            found.append((means / np.sqrt(variances)).max(axis=1))
    return np.concatenate(found).astype(np.float64)
