"""What a row of the scoreboard is: a claim of the paper, and the rule it is judged by.

Source of every row: Minamitani, Obayashi, Shimizu & Watanabe, J. Chem. Phys. 159, 084101 (2023),
doi:10.1063/5.0159349, and its supplementary material. The paper's values stand once, in the rows of
`phutils.claims_rings`, `phutils.claims_models` and `phutils.claims_maps` (errors:
`phutils.scores.PAPER_RMSE`). Ours come from what the chapters have published, never from here.

A row is a function below `claim`: it takes the published results that it needs and returns a
`Found`. It says what holds; `phutils.scoreboard` says what that is called. A row that does not hold
says in `Found.why` in what, and where a difference is smaller than two errors (`compare`) nothing
can be said.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Found(NamedTuple):
    """What a chapter found for one row."""

    ours: str
    holds: bool | None  # by the rule of the row; None: cannot be said
    ratio: float = math.nan  # ours over the paper's, where both are numbers
    on: str = ""  # what it was measured on, beyond the dataset
    why: str = ""
    on_data: bool = True  # False: on an example of the paper, not on the dataset


class Claim(NamedTuple):
    """One row of the scoreboard."""

    item: str  # of the paper
    chapter: str  # of this book
    paper: str  # its value or claim
    rule: str  # when it counts as reproduced
    needs: tuple[str, ...]  # names of published results
    judge: Callable  # of these results: a Found
    carbon: bool = False  # whether it states values measured on carbon


class Missing(LookupError):
    """A published result lacks what a row needs; the message says what."""


def claim(table, item, chapter, paper, rule, *needs, carbon=False):
    """Decorator: put a row into a table, judged by the function below.

    Parameters
    ----------
    table : list of Claim
    item, chapter, paper, rule : str
        See `Claim`.
    *needs : str
        Names of published results, in the order of the function's arguments.
    carbon : bool
        Whether the row states values measured on carbon, which say nothing of another material.
    """

    def add(judge):
        table.append(Claim(item, chapter, paper, rule, needs, judge, carbon))
        return judge

    return add


def get(found, *keys, what=None):
    """What a nested dict holds.

    Parameters
    ----------
    found : dict
    *keys : str
    what : str, optional
        What is missing, in words.

    Raises
    ------
    Missing
        If it is not there, or is not a finite number.
    """
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise Missing(what or f"no result {key!r} has been handed on")
        found = found[key]
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        raise Missing(what or f"{keys[-1]} is unknown")
    return found


def spread(values):
    """Mean and standard deviation over splits; the latter is NaN for a single one."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan


def compare(one, other):
    """Whether one quantity is below or above another by more than two errors.

    Parameters
    ----------
    one, other : (float, float)
        Value and error; an error that is not known is NaN.

    Returns
    -------
    int
        -1 below, 1 above, 0 where it cannot be told.
    """
    gap, error = one[0] - other[0], math.hypot(one[1], other[1])
    if not abs(gap) > 2 * error:  # nor with an error that is not known
        return 0
    return 1 if gap > 0 else -1


PROPOSED = []  # conclusions: what the paper leaves to others
for _k, _text in enumerate(
    (
        "PH and conventional descriptors together",
        "forces, from derivatives of diagrams",
        "local PH descriptors of atom environments",
        "several elements: radii by species, partial diagrams as channels",
    ),
    1,
):
    claim(PROPOSED, f"Sec. IV: {_k}", "10_beyond", _text, "none: the paper shows no result")(
        lambda: Found("–", None, why="proposed by the paper, not done here")
    )
