"""Errors of what was measured on trajectories, by leaving some of these out in turn.

Frames of one trajectory are near copies of each other, so that the error of a mean over frames
says little. A quantity is therefore an array [1 + parts]: its value for all frames, and without
each part of the trajectories.
"""

import re

import numpy as np


def parts_of(groups, parts, seed=0):
    """Divide trajectories into parts at random.

    Parameters
    ----------
    groups : array [n] of int
        Trajectory of each frame, numbered from 0.
    parts : int
    seed : int

    Returns
    -------
    part : ndarray [n] of int
        Of each frame, from 1; whole trajectories together.
    number : int
        Of parts: `parts`, or as many as there are trajectories.
    """
    everyone = groups.max() + 1
    number = min(parts, everyone)
    order = np.random.default_rng(seed).permutation(everyone)
    return 1 + (order % max(number, 1))[groups], number


def error(values):
    """Standard error by the delete-a-group jackknife.

    Parameters
    ----------
    values : array [1 + parts]
        A quantity of all frames, and with each part of the trajectories left out.

    Returns
    -------
    float
        What the choice of trajectories is worth; NaN without parts.
    """
    rest = np.asarray(values, float)[1:]
    if len(rest) < 2:
        return np.nan
    return float(np.sqrt((len(rest) - 1) * np.mean((rest - rest.mean()) ** 2)))


def above(one, other):
    """Whether one quantity is larger than another by more than two errors of the difference.

    Parameters
    ----------
    one, other : array [1 + parts], or float
        As for `error`; without parts nothing is above anything.
    """
    gain = np.asarray(one, float) - np.asarray(other, float)
    return bool(gain[0] > 2 * error(gain))


def plus_minus(values, digits=2):
    """Value and error as text: ``0.81 ± 0.02``; without ± where the error is not known.

    Parameters
    ----------
    values : array [1 + parts]
    digits : int
        After the point.

    Returns
    -------
    str
        ``–`` for a value that is not known.
    """
    text = f"{values[0]:.{digits}f} ± {error(values):.{digits}f}"
    return re.sub("^nan.*", "–", text.removesuffix(" ± nan"))


def with_errors(found):
    """{name: array [1 + parts]} as {name: [value, error]}, for a file of results."""
    return {name: [float(values[0]), error(values)] for name, values in found.items()}
