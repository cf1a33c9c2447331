"""How long an energy remembers: changes and correlations along trajectories."""

import numpy as np

TREND = 2  # degree of the polynomial in time that is taken off
LEVEL = float(np.exp(-1))


def legs(structures, stage):
    """Energies along each leg of a protocol, one series for each trajectory.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    stage : str

    Returns
    -------
    series : list of ndarray
        eV/atom, in the order of the frames.
    step : float
        Median time from one frame to the next in fs, or 1 where times are not known.
    unit : str
        "fs", or "frames" where times are not known.
    """
    at = structures.stage == stage
    each = [at & (structures.trajectory == t) for t in np.unique(structures.trajectory[at])]
    series = [structures.energy_per_atom[leg] for leg in each]
    gaps = np.concatenate([np.empty(0), *(np.diff(structures.time[leg]) for leg in each)])
    if not len(gaps) or not np.isfinite(gaps).all():
        return series, 1.0, "frames"
    return series, 1000 * float(np.median(gaps)), "fs"


def rms_change(series, lags):
    """Root mean square change of a quantity after some steps.

    Parameters
    ----------
    series : sequence of ndarray
        One for each trajectory, in order of time.
    lags : sequence of int
        Numbers of steps.

    Returns
    -------
    ndarray [n_lags]
        In the unit of the series; every pair of frames counts alike. NaN where no series is that
        long.
    """
    found = []
    for k in lags:
        squares = np.concatenate([np.empty(0), *((s[k:] - s[: s[k:].size]) ** 2 for s in series)])
        found.append(np.sqrt(squares.mean()) if len(squares) else np.nan)
    return np.array(found)


def autocorrelation(series, lags, trend=TREND):
    """Autocorrelation of what is left of a quantity after its trend.

    Parameters
    ----------
    series : sequence of ndarray
        One for each trajectory, in order of time; those with fewer than four values for each
        coefficient of the trend are left out.
    lags : sequence of int
        Numbers of steps, 0 among them or not.
    trend : int
        Degree of the polynomial in time that is fitted to each series and taken off. What
        changes as slowly as that does not count as memory.

    Returns
    -------
    ndarray [n_lags]
        1 at lag 0; NaN where no series is that long, or nothing varies.
    """
    left = []
    for values in series:
        if len(values) >= 4 * (trend + 1):
            place = np.linspace(-1, 1, len(values))
            left.append(values - np.polyval(np.polyfit(place, values, trend), place))
    variance = np.mean(np.concatenate(left) ** 2) if left else 0.0
    varies = left and variance > 1e-24 * max(np.mean(values**2) for values in series)
    found = []
    for k in lags:
        products = np.concatenate([np.empty(0), *(r[k:] * r[: r[k:].size] for r in left)])
        found.append(products.mean() / variance if len(products) and varies else np.nan)
    return np.array(found)


def correlation_time(lags, curve, level=LEVEL):
    """Lag at which an autocorrelation first falls to 1/e, by linear interpolation.

    Parameters
    ----------
    lags : ndarray [n]
        Increasing from 0; in steps or in a unit of time.
    curve : ndarray [n]
        As `autocorrelation` gives it; 1 at lag 0.
    level : float

    Returns
    -------
    float
        In the unit of the lags; NaN if the curve does not come down to the level.
    """
    below = np.flatnonzero(curve <= level)
    if not len(below) or not np.isfinite(curve[: below[0]]).all():
        return float("nan")
    k = below[0]
    part = (curve[k - 1] - level) / (curve[k - 1] - curve[k])
    return float(lags[k - 1] + part * (lags[k] - lags[k - 1]))
