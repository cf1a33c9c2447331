"""Periodic alpha filtration of one frame, in milliseconds, in any cell.

Geometry
--------
The alpha filtration orders the simplices of the Delaunay triangulation by the squared radius at
which growing balls, each cut to its Voronoi cell, cover them. In a periodic box the triangulation
lives on a torus. We get it from the plain one: pad the home cell with every image closer than a
few atomic spacings, triangulate that with Qhull, and keep one copy of each periodic tetrahedron,
the one whose first corner (lowest atom index, then lowest image) lies in the home cell. The copies
kept fill the torus once, so that their volumes must add up to that of the cell: if they do not,
the padding was too thin and is widened.

Two corners of a simplex may be images of one atom, and two edges may join the same two atoms
through different images: a simplex is known by its atoms *and* by the lattice vectors between them.
Nothing is therefore asked of the size of the cell, and nothing has to be replicated.

A tetrahedron enters at its squared circumradius. A triangle or edge enters at its own squared
circumradius if no vertex of a simplex around it lies inside its smallest circumsphere (a Gabriel
simplex), and otherwise together with the first simplex around it (an attached simplex).

Births and deaths then come from reducing the boundary matrix over Z2 with PHAT, as HomCloud does.
"""

import itertools

import numpy as np
from homcloud.phat_ext import Matrix
from scipy.spatial import Delaunay, QhullError

from phutils.frames import FrameError, cell_matrix

PADDING = 2.2  # atomic spacings, (volume / atoms)^(1/3): where the first try succeeds most often
WIDEN = 1.35
JITTER = 1e-8  # Å
TIE = 1e-12  # relative; a vertex this close to the sphere counts as on it, not inside


class DegenerateError(FrameError):
    """The points have no unique periodic Delaunay triangulation within rounding error."""


def periodic_delaunay(positions, cell):
    """Tetrahedra of the Delaunay triangulation on the torus.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å, inside the cell.
    cell : ndarray [3, 3]
        Lattice vectors as rows, in Å.

    Returns
    -------
    vertices : ndarray [m, 4]
        Atom indices of every tetrahedron, not decreasing along each row.
    shifts : ndarray [m, 4, 3]
        Which image each corner is, in lattice vectors; the first corner is at home, (0, 0, 0).
    corners : ndarray [m, 4, 3]
        Coordinates of the corners in Å.

    Raises
    ------
    DegenerateError
        If the tetrahedra do not fill the cell once: positions of too high symmetry.
    """
    volume = abs(np.linalg.det(cell))
    padding = PADDING * (volume / len(positions)) ** (1 / 3)
    longest = np.linalg.norm(cell, axis=1).max()
    complete = False
    while True:
        points, atoms, shifts = _padded(positions, cell, padding)
        try:
            vertices = Delaunay(points).simplices
        except QhullError as error:
            raise DegenerateError(f"Qhull: {str(error).splitlines()[0]}") from None
        reach = 2 * int(np.abs(shifts).max()) + 1
        label = ((atoms * reach + shifts[:, 0]) * reach + shifts[:, 1]) * reach + shifts[:, 2]
        order = np.argsort(label[vertices], axis=1)
        vertices = np.take_along_axis(vertices, order, axis=1)
        vertices = vertices[(shifts[vertices[:, 0]] == 0).all(axis=1)]
        corners = points[vertices]
        filled = np.abs(_triple(corners)).sum() / 6
        if abs(filled / volume - 1) < 1e-9:
            return atoms[vertices], shifts[vertices], corners
        # a sphere that reaches beyond the padding may not be empty; once none does, twice, what
        # is missing or doubled is degenerate
        full = corners[np.abs(_triple(corners)) > 1e-6 * volume / len(positions)]
        within = (np.linalg.norm(_circumcentre(full), axis=1) < padding).all()
        if (complete and within) or padding > 2 * longest:
            break
        complete = within
        padding *= WIDEN
    raise DegenerateError(f"the tetrahedra fill {filled / volume:.6f} of the cell")


def _padded(positions, cell, padding):
    """The home cell and every image within `padding` of it: points, atom indices, shifts."""
    margin = padding * np.linalg.norm(np.linalg.inv(cell), axis=0)  # over the height of the cell
    scaled, atoms = positions @ np.linalg.inv(cell), np.arange(len(positions))
    shifts = np.zeros((len(positions), 3), np.int64)
    for axis in range(3):
        near = [scaled], [atoms], [shifts]
        reach = int(np.ceil(margin[axis]))
        for shift in (s for s in range(-reach, reach + 1) if s):
            x = scaled[:, axis] + shift
            take = (x > -margin[axis]) & (x < 1 + margin[axis])
            image, moved = scaled[take], shifts[take]
            image[:, axis], moved[:, axis] = x[take], shift
            for part, values in zip(near, (image, atoms[take], moved), strict=True):
                part.append(values)
        scaled, atoms, shifts = (np.concatenate(part) for part in near)
    return positions[atoms] + shifts @ cell, atoms, shifts


def _triple(corners):
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c))


def _order(vertices, shifts, n):
    """An order that brings equal simplices together, and where each new one begins."""
    atoms = vertices[:, 0].astype(np.int64)
    for column in vertices.T[1:]:
        atoms = atoms * n + column
    apart = (shifts[:, 1:] - shifts[:, :1]).reshape(len(shifts), -1)
    base = 2 * int(np.abs(apart).max()) + 1
    images = apart @ base ** np.arange(apart.shape[1])
    images -= images.min()
    span = int(images.max()) + 1
    if n ** vertices.shape[1] * span < 2**62:
        keys = atoms * span + images
        order = np.argsort(keys, kind="stable")
        return order, np.r_[True, np.diff(keys[order]) > 0]
    order = np.lexsort((images, atoms))
    return order, np.r_[True, (np.diff(atoms[order]) != 0) | (np.diff(images[order]) != 0)]


def _circumcentre(corners):
    """Circumcentre of edges, triangles or tetrahedra, relative to their first corner."""
    a = corners[:, 1] - corners[:, 0]
    if corners.shape[1] == 2:
        return a / 2
    b = corners[:, 2] - corners[:, 0]
    aa, bb, ab = (np.einsum("ij,ij->i", *pair) for pair in ((a, a), (b, b), (a, b)))
    with np.errstate(divide="ignore", invalid="ignore"):
        if corners.shape[1] == 3:
            scale = 0.5 / (aa * bb - ab**2)
            return (bb * (aa - ab) * scale)[:, None] * a + (aa * (bb - ab) * scale)[:, None] * b
        c = corners[:, 3] - corners[:, 0]
        bc, ca, ab = np.cross(b, c), np.cross(c, a), np.cross(a, b)
        cc = np.einsum("ij,ij->i", c, c)
        scale = 0.5 / np.einsum("ij,ij->i", a, bc)
        return (aa[:, None] * bc + bb[:, None] * ca + cc[:, None] * ab) * scale[:, None]


def _faces(vertices, shifts, corners, values, n):
    """Faces of simplices: their vertices, corners, alpha values, and which faces each one has.

    Parameters
    ----------
    vertices, shifts, corners, values : ndarray [m, k], [m, k, 3], [m, k, 3], [m]
        Simplices with k corners and their alpha values.
    n : int
        Number of atoms.

    Returns
    -------
    tuple of ndarray
        Face vertices [f, k - 1], shifts and corners [f, k - 1, 3], alpha values [f], and
        boundary [m, k].
    """
    m, k = vertices.shape
    kept = list(itertools.combinations(range(k), k - 1))  # leaves out corner k-1, k-2, ..., 0
    all_vertices = np.concatenate([vertices[:, c] for c in kept])
    all_shifts = np.concatenate([shifts[:, c] for c in kept])
    all_corners = np.concatenate([corners[:, c] for c in kept])
    opposite = np.concatenate([corners[:, k - 1 - j] for j in range(k)])
    order, is_first = _order(all_vertices, all_shifts, n)
    start, face = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    first = order[start]

    face_corners = all_corners[first]
    centre = _circumcentre(face_corners)
    radius2 = np.einsum("ij,ij->i", centre, centre)
    offset = opposite[order] - all_corners[order, 0] - centre[face]
    inside = np.einsum("ij,ij->i", offset, offset) < radius2[face] * (1 - TIE)
    attached = np.logical_or.reduceat(inside, start)
    around = np.minimum.reduceat(np.tile(values, k)[order], start)
    alpha = np.where(attached, around, np.minimum(radius2, around))
    boundary = np.empty(m * k, np.int64)
    boundary[order] = face
    faces = all_vertices[first], all_shifts[first], face_corners, alpha
    return *faces, boundary.reshape(k, m).T


def alpha_filtration(positions, cell, jitter=JITTER):
    """Simplices of the periodic alpha complex with the squared radii at which they enter.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å; wrapped into the cell.
    cell : ndarray [3] or [3, 3]
        Edge lengths of a box, or lattice vectors as rows, in Å.
    jitter : float
        Where the triangulation is not unique (a perfect crystal), every coordinate is moved by up
        to this many Å and the cell strained by as much per Å, always by the same random numbers.
        Births and deaths move by about as much. 0 refuses such frames.

    Returns
    -------
    values : list of ndarray
        Alpha values in Å² of atoms (zeros), edges, triangles and tetrahedra.
    boundaries : list of ndarray
        For each dimension from 1 to 3 the indices of the faces of every simplex, [count, dim + 1].

    Raises
    ------
    DegenerateError
        If the triangulation is not unique, and is not made so by `jitter`.
    """
    cell = cell_matrix(cell)
    scaled = np.asarray(positions, float) @ np.linalg.inv(cell)
    positions = (scaled - np.floor(scaled)) @ cell
    try:
        return _filtration(positions, cell)
    except DegenerateError:
        if not jitter:
            raise
    rng = np.random.default_rng(0)
    strain = np.eye(3) + rng.uniform(-jitter, jitter, (3, 3))
    moved = positions + rng.uniform(-jitter, jitter, positions.shape)
    return _filtration(moved @ strain, cell @ strain)


def _filtration(positions, cell):
    n = len(positions)
    *tetrahedra, corners = periodic_delaunay(positions, cell)
    centre = _circumcentre(corners)
    values = np.einsum("ij,ij->i", centre, centre)
    if not np.isfinite(values).all():
        raise DegenerateError("a tetrahedron is flat")
    *triangles, triangle_values, b3 = _faces(*tetrahedra, corners, values, n)
    edge_vertices, _, _, edge_values, b2 = _faces(*triangles, triangle_values, n)
    return [np.zeros(n), edge_values, triangle_values, values], [edge_vertices, b2, b3]


def _columns(boundary):
    """Rows of sorted face indices as lists; a face met twice cancels over Z2."""
    columns = boundary.tolist()
    for i in np.flatnonzero((boundary[:, 1:] == boundary[:, :-1]).any(axis=1)):
        face, times = np.unique(boundary[i], return_counts=True)
        columns[i] = face[times % 2 == 1].tolist()
    return columns


def reduce_pairs(values, boundaries):
    """Pairs of simplices that begin and end a class: column reduction over Z2 (PHAT, twist).

    Parameters
    ----------
    values, boundaries : list
        As given by `alpha_filtration`.

    Returns
    -------
    ndarray [n_pairs, 3]
        Degree, birth simplex, death simplex; simplices are counted through all dimensions. Classes
        that never die are left out.
    """
    value = np.concatenate(values)
    dimension = np.repeat(np.arange(len(values)), [len(v) for v in values])
    order = np.lexsort((dimension, value))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    columns, start = [[]] * len(values[0]), 0
    for faces, boundary in zip(values[:-1], boundaries, strict=True):
        columns += _columns(np.sort(rank[start + boundary], axis=1))
        start += len(faces)
    matrix = Matrix(len(order))
    dimensions = dimension.tolist()
    for i, k in enumerate(order.tolist()):
        matrix.set_dim_col(i, dimensions[k], columns[k])
    matrix.reduce_twist()
    pairs = [p for p in matrix.birth_death_pairs() if p[2] is not None]
    pairs = np.array(pairs, np.int64).reshape(-1, 3)
    pairs[:, 1:] = order[pairs[:, 1:]]
    return pairs


def reduce_filtration(values, boundaries):
    """Birth-death pairs of a filtration.

    Parameters
    ----------
    values, boundaries : list
        As given by `alpha_filtration`.

    Returns
    -------
    dict
        {degree: ndarray [n_pairs, 2]}: births and deaths in Å², pairs of zero lifetime and
        classes that never die left out, sorted.
    """
    value = np.concatenate(values)
    degrees, births, deaths = reduce_pairs(values, boundaries).T
    births, deaths = value[births], value[deaths]
    diagrams = {}
    for degree in range(len(values) - 1):
        take = (degrees == degree) & (deaths > births)
        points = np.stack([births[take], deaths[take]], axis=1)
        diagrams[degree] = points[np.lexsort(points.T[::-1])]
    return diagrams
