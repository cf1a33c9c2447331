"""Geometry of rings under periodic boundaries: coordinates, bonds, angles, restricted g(r)."""

import numpy as np
from ase.geometry import find_mic

from phutils.frames import check_frame
from phutils.structure import radial_distribution


def unwrap(atoms, ring):
    """Coordinates of a ring's atoms without jumps at the boundary of the box.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic.
    ring : sequence of int
        Three or more different atoms in ring order.

    Returns
    -------
    ndarray [n, 3]
        Å; the first atom lies in the cell, every other at the image nearest to the one before.

    Raises
    ------
    ValueError
        If `ring` is no such sequence, or does not return to where it started: it winds around
        the cell, or one of its edges is longer than half of it.
    """
    ring = np.asarray([] if ring is None else ring)
    if ring.ndim != 1 or len(ring) < 3 or not np.issubdtype(ring.dtype, np.integer):
        raise ValueError(f"a ring is three or more atom indices, not {ring.tolist()}")
    if len(np.unique(ring)) < len(ring) or ring.min() < 0 or ring.max() >= len(atoms):
        raise ValueError(f"ring {ring.tolist()} repeats atoms or names some beyond {len(atoms)}")
    positions, cell = check_frame(atoms.positions, atoms.cell.array, atoms.pbc)
    steps = find_mic(np.roll(positions[ring], -1, axis=0) - positions[ring], cell)[0]
    if np.abs(steps.sum(axis=0)).max() > 1e-6:
        raise ValueError(f"ring {ring.tolist()} does not close: it winds around the cell")
    return positions[ring[0]] + np.cumsum([np.zeros(3), *steps[:-1]], axis=0)


def ring_geometry(atoms, ring):
    """Bond lengths and angles around a ring, by minimum image.

    Parameters
    ----------
    atoms, ring
        As for `unwrap`.

    Returns
    -------
    lengths : ndarray [n]
        Å; from each atom to the next, the last one back to the first.
    angles : ndarray [n]
        Degrees; at each atom, between its two neighbours in the ring.
    """
    points = unwrap(atoms, ring)
    ahead = np.roll(points, -1, axis=0) - points
    lengths = np.linalg.norm(ahead, axis=1)
    back, before = -np.roll(ahead, 1, axis=0), np.roll(lengths, 1)
    cosines = np.einsum("ij,ij->i", ahead, back) / (lengths * before)
    return lengths, np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def restricted_rdf(frames, cycles, sizes=(5, 6), r_max=5.0, bins=200):
    """Radial distribution among the atoms of cycles of given sizes (paper, Fig. 2c and f).

    In each frame only the atoms that belong to some such cycle are kept. Distances are counted
    among these, and compared with a gas of their own number density, as in
    `phutils.structure.radial_distribution`.

    Parameters
    ----------
    frames : ase.Atoms or sequence of ase.Atoms
    cycles : list of Cycle, or Cycles or sequence of such lists
        Of the same frames.
    sizes : sequence of int
        Numbers of boundary atoms.
    r_max : float
        Å; at most half the shortest edge of any box.
    bins : int

    Returns
    -------
    dict
        ``r``: ndarray [bins], bin centres in Å; ``g``: ndarray [bins], mean over the frames that
        hold two or more such atoms; ``n_atoms``: ndarray [n_frames], number of such atoms.

    Raises
    ------
    ValueError
        If frames and cycles differ in number, or no frame holds two such atoms.
    """
    if hasattr(frames, "positions"):
        frames, cycles = [frames], [cycles]
    if len(frames) != len(cycles):
        raise ValueError(f"{len(frames)} frames but cycles of {len(cycles)}")
    chosen, count = [], []
    for atoms, found in zip(frames, cycles, strict=True):
        members = [cycle.vertices for cycle in found if cycle.n_vertices in sizes]
        members = np.unique(np.concatenate([np.empty(0, int), *members]))
        count.append(len(members))
        if len(members) > 1:
            chosen.append(atoms[members])
    if not chosen:
        raise ValueError(f"no frame has two atoms in cycles of {tuple(sizes)} vertices")
    return radial_distribution(chosen, r_max, bins) | {"n_atoms": np.array(count)}
