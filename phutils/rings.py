"""Rings under periodic boundaries: coordinates, planes, bonds, angles, restricted g(r).

Also which few rings may stand for a frame (`typical_rings`), and rings of the network of bonds,
which know nothing of persistence (`bond_network`).
"""

import numpy as np
from ase.geometry import find_mic

from phutils.frames import cell_matrix, check_frame
from phutils.structure import bonds, radial_distribution

LARGEST_RING = 8  # atoms; from here on, and for bonds in no ring, one class
SHORTEST_EDGE = 8.0  # Å: smaller cells are repeated before rings of bonds are sought


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


def placed(atoms, cycle):
    """Coordinates of a cycle's ring with its centre in the cell, for drawing.

    Parameters
    ----------
    atoms : ase.Atoms
    cycle : phutils.cycles.Cycle
        Of this frame.

    Returns
    -------
    ndarray [n, 3] or None
        Å, in ring order; None if the boundary is not one closed loop or does not unwrap (see
        `unwrap`), so that there is no ring to draw.
    """
    if not cycle.closed:
        return None
    try:
        points = unwrap(atoms, cycle.vertices)
    except ValueError:
        return None
    cell = cell_matrix(atoms.cell.array)
    return points - np.floor(points.mean(axis=0) @ np.linalg.inv(cell)) @ cell


def plane_of(points):
    """Best-fit plane of a ring.

    Parameters
    ----------
    points : ndarray [n, 3]
        Å; three or more.

    Returns
    -------
    centre : ndarray [3]
        Mean of the points.
    axes : ndarray [3, 3]
        Rows are orthonormal and right-handed: the ring's longest direction, the one across it,
        the normal. ``(points - centre) @ axes.T`` are coordinates in the plane and heights over
        it. Signs are fixed by the largest component of the first two.
    """
    centre = points.mean(axis=0)
    axes = np.linalg.svd(points - centre)[2]
    largest = axes[[0, 1], np.abs(axes[:2]).argmax(axis=1)]
    axes[:2] *= np.sign(largest)[:, None]
    axes[2] = np.cross(axes[0], axes[1])
    return centre, axes


def typical_rings(atoms, cycles, sizes=(5, 6, 7), min_lifetime=0.3):
    """A few rings that stand for a frame, as in the insets of the paper's Fig. 2.

    Parameters
    ----------
    atoms : ase.Atoms
    cycles : list of phutils.cycles.Cycle
        Of this frame.
    sizes : sequence of int
        Numbers of atoms.
    min_lifetime : float
        Å²; for the rings of these sizes, which otherwise crowd at the diagonal.

    Returns
    -------
    dict
        {name: Cycle}; what the frame lacks, or what cannot be drawn (see `placed`), is left out.
        ``"6 atoms"`` and so on: of the rings of that size and lifetime the one nearest to their
        median birth and death. ``"3 atoms, longest life"`` and ``"largest birth"``: what they
        say.
    """
    chosen = {}
    for size in sizes:
        found = [
            cycle
            for cycle in cycles
            if cycle.n_vertices == size
            and cycle.lifetime >= min_lifetime
            and placed(atoms, cycle) is not None
        ]
        if found:
            pairs = np.array([(cycle.birth, cycle.death) for cycle in found])
            off = np.linalg.norm(pairs - np.median(pairs, axis=0), axis=1)
            chosen[f"{size} atoms"] = found[off.argmin()]
    extremes = {
        "3 atoms, longest life": max(
            (cycle for cycle in cycles if cycle.n_vertices == 3),
            key=lambda cycle: cycle.lifetime,
            default=None,
        ),
        "largest birth": max(cycles, key=lambda cycle: cycle.birth, default=None),
    }
    for name, cycle in extremes.items():
        if cycle is not None and placed(atoms, cycle) is not None:
            chosen[name] = cycle
    return chosen


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


def bond_network(structures, cutoff=None):
    """Bond lengths, bond angles and the smallest ring of every bond.

    The ring of a bond is the shortest closed path through it (a criterion of Guttman's kind): it
    depends on no order of the atoms, and all bonds are counted once. Rings are looked for in the
    cell's graph of bonds, so that a path around the cell counts as one. Cells with an edge below
    8 Å are repeated for that, in which such paths would be too short.

    Parameters
    ----------
    structures : sequence of ase.Atoms
        Orthorhombic and periodic.
    cutoff : float, optional
        Longest bond in Å; default: as for `phutils.structure.bonds`.

    Returns
    -------
    dict
        ``rings``: ndarray [n, 6], shares of the bonds whose smallest ring has 3, 4, 5, 6 and 7
        atoms, and of those with a larger one or none; ``length_mean``, ``length_std``: ndarray
        [n], Å; ``angle_mean``, ``angle_std``: ndarray [n], degrees, of all pairs of bonds at one
        atom. NaN without any.

    References
    ----------
    Guttman, J. Non-Cryst. Solids 116, 145 (1990), doi:10.1016/0022-3093(90)90686-G.
    """
    found = {"rings": np.full((len(structures), LARGEST_RING - 2), np.nan)}
    names = ("length_mean", "length_std", "angle_mean", "angle_std")
    found |= {name: np.full(len(structures), np.nan) for name in names}
    for n, atoms in enumerate(structures):
        atoms = atoms.repeat(np.ceil(SHORTEST_EDGE / atoms.cell.lengths()).astype(int))
        pairs, vectors = bonds(atoms, cutoff)
        if not len(pairs):
            continue
        size = smallest_rings(pairs, len(atoms))
        found["rings"][n] = np.bincount(size - 3, minlength=LARGEST_RING - 2) / len(size)
        lengths = np.linalg.norm(vectors, axis=1)
        found["length_mean"][n], found["length_std"][n] = lengths.mean(), lengths.std()
        angles = _bond_angles(pairs, vectors / lengths[:, None])
        if len(angles):
            found["angle_mean"][n], found["angle_std"][n] = angles.mean(), angles.std()
    return found


def smallest_rings(pairs, n_atoms):
    """Number of atoms in the smallest ring through each bond.

    Parameters
    ----------
    pairs : ndarray [n_bonds, 2] of int
        Atoms of each bond.
    n_atoms : int

    Returns
    -------
    ndarray [n_bonds] of int
        3 to 7, or 8 for a larger ring or none.
    """
    linked = np.zeros((n_atoms, n_atoms), np.float32)
    linked[pairs[:, 0], pairs[:, 1]] = linked[pairs[:, 1], pairs[:, 0]] = 1
    bond, (start, end) = np.arange(len(pairs)), pairs.T
    size = np.full(len(pairs), LARGEST_RING)
    front = linked[start]  # one search in breadth for each bond, that may not use it
    front[bond, end] = 0
    seen = front.copy()
    seen[bond, start] = 1
    for atoms in range(3, LARGEST_RING):
        front = ((front @ linked > 0) & (seen == 0)).astype(np.float32)
        seen += front
        size[(front[bond, end] > 0) & (size == LARGEST_RING)] = atoms
    return size


def _bond_angles(pairs, directions):
    """Angles in degrees between all bonds at one atom; `directions` are unit vectors."""
    at = pairs.ravel(order="F")
    directions = np.concatenate([directions, -directions])[np.argsort(at, kind="stable")]
    ends = np.cumsum(np.bincount(at))[:-1]
    cosines = [(d @ d.T)[np.triu_indices(len(d), 1)] for d in np.split(directions, ends)]
    return np.degrees(np.arccos(np.clip(np.concatenate(cosines), -1, 1)))
