"""Inverse analysis: which rings does the linear model reward, which does it punish, and why?

Every birth-death pair falls into a bin of the histogram and so has a coefficient. Bins below one
threshold are the low-energy region, bins above another the high-energy one (paper, Sec. III). The
rings of their pairs are stable volumes (`phutils.cycles`); here they are measured and counted bin
by bin. All that is asked of a region is then a sum over its bins, which makes it cheap to ask the
same of regions from other fits, or of hundreds of random ones (`phutils.region_checks`).

Sources: paper, Sec. III and Fig. 7, doi:10.1063/5.0159349. Halves of the data in place of a
bootstrap: Shao & Wu, Ann. Stat. 17, 1176 (1989), doi:10.1214/aos/1176347263.
"""

import numpy as np
from ase.geometry import find_mic
from scipy.ndimage import gaussian_filter1d
from scipy.signal import peak_widths

from phutils.regression import ridge_path

STAGE = "buffer_low"  # of the paper's protocol: 5000 K
SAME_DENSITY = 0.05  # g/cm3
BIN, SMOOTHING = 0.01, 0.02  # Å: of bond-length histograms, and of the curve whose peak is taken
SMALL_ANGLES = (50, 80)  # degrees: where the paper sees its two regions differ


# --- which frames, which coefficients ------------------------------------------------------------


def choose_frames(structures, stage=STAGE, density=2.4, per_trajectory=25, at_most=300):
    """The snapshots whose rings are analysed.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    stage : str
        Of the protocol. Where the data do not follow the paper's, so that `STAGE` is not among
        theirs, the frames in the middle fifth of the energies are taken.
    density : float
        g/cm3; the nearest one there is.
    per_trajectory : int
        Evenly spaced in time.
    at_most : int
        In all; of more, every k-th is taken.

    Returns
    -------
    frames : ndarray of int
        Indices, trajectory by trajectory.
    words : str
        What they are.

    Raises
    ------
    ValueError
        If there are no frames, no such stage, or the density is no positive number.
    """
    if not len(structures):
        raise ValueError("there are no structures to choose frames from")
    if not (np.isfinite(density) and density > 0) or per_trajectory < 1:
        raise ValueError(f"no {per_trajectory} snapshots at a density of {density} g/cm3")
    known = sorted(set(structures.stage.tolist()))
    if stage not in known and stage != STAGE:
        raise ValueError(f"no frame has the stage {stage!r}; there are {known}")
    nearest = structures.density[np.abs(structures.density - density).argmin()]
    chosen = np.abs(structures.density - nearest) <= SAME_DENSITY
    words = f"stage {stage}"
    if stage in known:
        at_stage = structures.stage == stage
        nearest = structures.density[at_stage]
        nearest = nearest[np.abs(nearest - density).argmin()]
        chosen = at_stage & (np.abs(structures.density - nearest) <= SAME_DENSITY)
    else:
        energy = structures.energy_per_atom
        low, high = np.quantile(energy[chosen], [0.4, 0.6])
        chosen &= (energy >= low) & (energy <= high)
        words = "the middle fifth of the energies"
    words += f" at {nearest:.1f} g/cm3"
    if abs(nearest - density) > SAME_DENSITY:
        words += f", the density nearest to {density:g}"
    picked = []
    for trajectory in np.unique(structures.trajectory[chosen]):
        at = np.flatnonzero(chosen & (structures.trajectory == trajectory))
        n = min(per_trajectory, len(at))
        picked.append(at[np.linspace(0, len(at) - 1, n).round().astype(int)])
    picked = np.concatenate(picked)
    return picked[:: -(-len(picked) // at_most)], words


def coefficients(histograms, energy_per_atom, groups, alphas, reading="global", halves=8, seed=0):
    """Ridge coefficients of all frames and of random halves of the trajectories.

    An estimate from half of the independent groups scatters about that from all of them as much
    as the latter does about the truth, so that halves serve as a bootstrap without repeated
    frames. The penalty a frame is kept: alpha counts by the number of frames.

    Parameters
    ----------
    histograms, energy_per_atom, reading
        As for `phutils.regression.ridge_path`.
    groups : ndarray [n]
        A label of each frame; see `phutils.splits.independent_groups`.
    alphas : sequence of float
        The first one is that of the halves, too.
    halves : int
    seed : int

    Returns
    -------
    dict
        ``all``: ndarray [n_alphas, pixels], ``halves``: [halves, pixels], in eV/atom per unit of
        a standardised pixel; NaN where no frame fills a pixel.

    Raises
    ------
    ValueError
        If there are fewer than two groups.
    """
    labels, group = np.unique(groups, return_inverse=True)
    if len(labels) < 2:
        raise ValueError("one group of frames: it has no halves")
    n, rng = len(group), np.random.default_rng(seed)
    tasks = [(np.arange(n), list(alphas))]
    for _ in range(halves):
        half = np.flatnonzero(np.isin(group, rng.permutation(len(labels))[: len(labels) // 2]))
        tasks.append((half, [alphas[0] * len(half) / n]))
    fits = ridge_path(histograms, energy_per_atom, tasks, reading)
    found = [fit.coefficients for fit in fits]
    scattered = np.concatenate([found[0][:0], *found[1:]])
    return {"all": found[0], "halves": scattered}


def pixel_of(births, deaths, edges):
    """Flat pixel of each pair on the mesh of a histogram, -1 outside; see `histograms`."""
    place = np.stack([births, deaths])
    inside = ((place >= edges[0]) & (place <= edges[-1])).all(axis=0)
    place = np.searchsorted(edges, place, side="right") - 1
    birth, death = np.minimum(place, len(edges) - 2)
    return np.where(inside, birth * (len(edges) - 1) + death, -1)


# --- rings, measured and counted bin by bin ------------------------------------------------------


def ring_geometries(structures, cycles):
    """Bond lengths and angles around all rings of many frames, by minimum image.

    Parameters
    ----------
    structures : sequence of ase.Atoms
    cycles : phutils.cycles.Cycles
        Of the same frames.

    Returns
    -------
    lengths, angles : ndarray [total]
        Parallel to ``cycles.vertices``: from that atom to the next of its ring, in Å, and at that
        atom, in degrees (see `phutils.rings.ring_geometry`); NaN where the boundary is not one
        closed loop.
    """
    at, total = cycles.vertices_at, len(cycles.vertices)
    ahead, steps = np.arange(1, total + 1), np.empty((total, 3))
    filled = np.diff(at) > 0  # without any volume there are no vertices either
    ahead[at[1:][filled] - 1] = at[:-1][filled]
    behind = np.empty(total, int)
    behind[ahead] = np.arange(total)
    for i, atoms in enumerate(structures):
        here = np.arange(at[cycles.pairs_at[i]], at[cycles.pairs_at[i + 1]])
        apart = atoms.positions[cycles.vertices[ahead[here]]]
        apart -= atoms.positions[cycles.vertices[here]]
        steps[here] = find_mic(apart, atoms.cell)[0]
    lengths = np.linalg.norm(steps, axis=1)
    lengths[np.repeat(~cycles.closed, np.diff(at))] = np.nan
    cosines = -np.einsum("ij,ij->i", steps, steps[behind]) / (lengths * lengths[behind])
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def tabulate(structures, cycles, edges, groups, energies=None):
    """Count pairs, bond lengths and angles of rings in every bin, and add up their energies.

    Parameters
    ----------
    structures, cycles
        As for `ring_geometries`.
    edges : ndarray [bins + 1]
        Of the histogram, in Å².
    groups : ndarray [n_frames]
        Label of each frame, for example its trajectory.
    energies : list, optional
        Of each frame's atoms in eV, ndarray [n_atoms] or None.

    Returns
    -------
    dict
        ``pixel`` [k]: the bins that are hit; ``pairs`` [groups, k]; ``lengths`` [groups, k, n]
        with bins of 0.01 Å from 0; ``angles`` [groups, k, 180], bins of 1 degree; ``known``
        [groups, k]: pairs of frames with energies; ``energy`` [groups, k]: sum over these of
        the mean energy of the ring's atoms, less that of the frame's, in eV; ``place``
        [n_pairs]: each pair's row among the k, -1 outside the mesh.
    """
    flat = pixel_of(cycles.birth, cycles.death, edges)
    pixel, inside = np.unique(flat[flat >= 0], return_inverse=True)
    place = np.full(len(flat), -1)
    place[flat >= 0] = inside
    labels, group = np.unique(groups, return_inverse=True)
    row = np.where(place >= 0, group[cycles.frame] * len(pixel) + place, -1)
    shape = len(labels), len(pixel)

    def count(values, size, step):
        rows = np.repeat(row, cycles.n_vertices)
        kept = (rows >= 0) & np.isfinite(values)
        bins = np.minimum((values[kept] / step).astype(int), size - 1)
        flat = np.bincount(rows[kept] * size + bins, minlength=shape[0] * shape[1] * size)
        return flat.reshape(*shape, size)

    excess = np.full(len(place), np.nan)  # of the atoms of each ring over the frame's
    per_vertex = np.full(len(cycles.vertices), np.nan)
    for i, known in enumerate(energies or []):
        if known is not None:
            here = slice(*cycles.vertices_at[cycles.pairs_at[[i, i + 1]]])
            per_vertex[here] = known[cycles.vertices[here]] - np.mean(known)
    filled = cycles.n_vertices > 0
    starts = cycles.vertices_at[:-1][filled]
    if len(starts):
        excess[filled] = np.add.reduceat(per_vertex, starts) / cycles.n_vertices[filled]
    inside, known = row >= 0, (row >= 0) & np.isfinite(excess)
    size = shape[0] * shape[1]
    lengths, angles = ring_geometries(structures, cycles)
    return {
        "pixel": pixel,
        "place": place,
        "pairs": np.bincount(row[inside], minlength=size).reshape(shape),
        "lengths": count(lengths, int(2 * edges[-1] ** 0.5 / BIN) + 1, BIN),
        "angles": count(angles, 180, 1.0),
        "known": np.bincount(row[known], minlength=size).reshape(shape),
        "energy": np.bincount(row[known], excess[known], size).reshape(shape),
    }


# --- regions -------------------------------------------------------------------------------------


def measure(table, low, high, group=None):
    """What the rings of two regions look like.

    Parameters
    ----------
    table : dict
        Made by `tabulate`.
    low, high : ndarray [k]
        Which of the bins that are hit belong to each region: truth values, or fractions.
    group : int, optional
        Only this one; default: all together.

    Returns
    -------
    dict
        ``low pairs``, ``high pairs``: numbers of pairs; ``low peak``, ``low width`` and ``low
        spread``: most common bond length, full width of its peak at half maximum, and range of
        the middle half of all bond lengths, Å; the same of ``high``; ``small angles``: share of
        angles between 50 and 80 degrees, high less low, in percentage points; ``lengths apart``,
        ``angles apart``: Wasserstein distance of the two distributions, Å and degrees; ``atoms
        apart``: mean energy of the atoms of high rings less that of low ones, eV. NaN where a
        region is empty.
    """
    chosen = slice(None) if group is None else slice(group, group + 1)
    keys = "pairs", "lengths", "angles", "known", "energy"
    sums = {k: table[k][chosen].sum(axis=0) for k in keys}
    found, apart = {}, {}
    for name, region in (("low", low), ("high", high)):
        of = {key: np.asarray(region, float) @ values for key, values in sums.items()}
        found[f"{name} pairs"] = float(of["pairs"])
        found |= {f"{name} {k}": v for k, v in _peak(of["lengths"]).items()}
        with np.errstate(invalid="ignore"):
            apart[name] = [
                np.cumsum(of["lengths"]) / of["lengths"].sum(),
                np.cumsum(of["angles"]) / of["angles"].sum(),
                of["energy"] / of["known"],
            ]
    before, after = SMALL_ANGLES[0] - 1, SMALL_ANGLES[1] - 1
    low, high = apart["low"], apart["high"]
    share = [100 * (side[1][after] - side[1][before]) for side in (low, high)]
    return found | {
        "small angles": share[1] - share[0],
        "lengths apart": BIN * np.abs(low[0] - high[0]).sum(),
        "angles apart": np.abs(low[1] - high[1]).sum(),
        "atoms apart": high[2] - low[2],
    }


def _peak(counts):
    """Place and full width at half maximum of the highest peak, and quartile range, in Å."""
    if not counts.sum():
        return dict.fromkeys(("peak", "width", "spread"), np.nan)
    smooth = gaussian_filter1d(counts.astype(float), SMOOTHING / BIN)
    top = int(smooth.argmax())
    half = np.array([smooth[top]]), np.array([0]), np.array([len(smooth) - 1])
    width = peak_widths(smooth, [top], 0.5, prominence_data=half)[0][0]
    cumulative = np.cumsum(counts) / counts.sum()
    low, high = np.interp([0.25, 0.75], cumulative, np.arange(1, len(counts) + 1))
    return {"peak": (top + 0.5) * BIN, "width": width * BIN, "spread": (high - low) * BIN}
