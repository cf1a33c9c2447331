"""Periodic alpha filtration of one frame, in milliseconds.

Geometry
--------
The alpha filtration orders the simplices of the Delaunay triangulation by the squared radius at
which growing balls, each cut to its Voronoi cell, cover them. In a periodic box the triangulation
lives on a torus. We get it from the plain one: pad the home box with every image closer than a
few atomic spacings, triangulate that with Qhull, and keep one copy of each periodic tetrahedron,
the one whose vertex of lowest index lies in the home box. The copies kept fill the torus once, so
that their volumes must add up to that of the box: if they do not, the padding was too thin and is
widened.

A tetrahedron enters at its squared circumradius. A triangle or edge enters at its own squared
circumradius if no vertex of a simplex around it lies inside its smallest circumsphere (a Gabriel
simplex), and otherwise together with the first simplex around it (an attached simplex).

Births and deaths then come from reducing the boundary matrix over Z2 with PHAT, as HomCloud does.
"""

import itertools

import numpy as np
from homcloud.phat_ext import Matrix
from scipy.spatial import Delaunay, QhullError

PADDING = 2.2  # atomic spacings, (volume / atoms)^(1/3): where the first try succeeds most often
WIDEN = 1.35
SAME = 1e-6  # Å; copies of a simplex in different images differ by rounding alone
TIE = 1e-12  # relative; a vertex this close to the sphere counts as on it, not inside


class DegenerateError(ValueError):
    """The points have no unique periodic Delaunay triangulation within rounding error."""


def periodic_delaunay(positions, cell):
    """Tetrahedra of the Delaunay triangulation on the torus.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å, inside the box.
    cell : ndarray [3]
        Edge lengths of the orthorhombic box in Å.

    Returns
    -------
    vertices : ndarray [m, 4]
        Atom indices of every tetrahedron, increasing along each row.
    corners : ndarray [m, 4, 3]
        Their coordinates in Å, unwrapped.

    Raises
    ------
    DegenerateError
        If the tetrahedra do not fill the box once, or an atom meets its own image: too few
        atoms for the box, or positions of too high symmetry.
    """
    n, volume = len(positions), np.prod(cell)
    padding = PADDING * (volume / n) ** (1 / 3)
    while True:
        points, atoms, home = _padded(positions, cell, padding)
        try:
            vertices = Delaunay(points).simplices
        except QhullError as error:
            raise DegenerateError(f"Qhull: {str(error).splitlines()[0]}") from None
        order = np.argsort(atoms[vertices], axis=1)
        vertices = np.take_along_axis(vertices, order, axis=1)
        vertices = vertices[home[vertices[:, 0]]]
        corners = points[vertices]
        filled = np.abs(_triple(corners)).sum() / 6
        if abs(filled / volume - 1) < 1e-9:
            break
        padding *= WIDEN
        if padding > cell.max():
            raise DegenerateError(f"the tetrahedra fill {filled / volume:.6f} of the box")
    vertices = atoms[vertices]
    keys = _keys(vertices, n)
    if (vertices[:, 1:] == vertices[:, :-1]).any() or len(np.unique(keys)) < len(keys):
        raise DegenerateError("an atom meets its own periodic image: too few atoms in the box")
    return vertices, corners


def _padded(positions, cell, padding):
    """The home box and every image within `padding` of it: points, atom indices, home mask."""
    points, atoms = positions, np.arange(len(positions))
    home = np.ones(len(positions), bool)
    for axis in range(3):
        near = [points], [atoms], [home]
        reach = int(np.ceil(padding / cell[axis]))
        for shift in (s for s in range(-reach, reach + 1) if s):
            x = points[:, axis] + shift * cell[axis]
            take = (x > -padding) & (x < cell[axis] + padding)
            image = points[take].copy()
            image[:, axis] = x[take]
            new = image, atoms[take], np.zeros(len(image), bool)
            for part, values in zip(near, new, strict=True):
                part.append(values)
        points, atoms, home = (np.concatenate(part) for part in near)
    return points, atoms, home


def _triple(corners):
    a, b, c = (corners[:, k] - corners[:, 0] for k in (1, 2, 3))
    return np.einsum("ij,ij->i", a, np.cross(b, c))


def _keys(vertices, n):
    key = vertices[:, 0].astype(np.int64)
    for column in vertices.T[1:]:
        key = key * n + column
    return key


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


def _faces(vertices, corners, values, n):
    """Faces of simplices: their vertices, corners, alpha values, and which faces each one has.

    Parameters
    ----------
    vertices, corners, values : ndarray [m, k], [m, k, 3], [m]
        Simplices with k corners and their alpha values.
    n : int
        Number of atoms.

    Returns
    -------
    tuple of ndarray
        Face vertices [f, k - 1], corners [f, k - 1, 3], alpha values [f], and boundary [m, k].
    """
    m, k = vertices.shape
    kept = list(itertools.combinations(range(k), k - 1))  # leaves out corner k-1, k-2, ..., 0
    all_vertices = np.concatenate([vertices[:, c] for c in kept])
    all_corners = np.concatenate([corners[:, c] for c in kept])
    opposite = np.concatenate([corners[:, k - 1 - j] for j in range(k)])
    keys = _keys(all_vertices, n)
    order = np.argsort(keys, kind="stable")
    is_first = np.r_[True, np.diff(keys[order]) > 0]
    start, face = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    first = order[start]

    face_corners = all_corners[first]
    shape, known = all_corners[order, 1:] - all_corners[order, :1], face_corners[:, 1:]
    if np.abs(shape - (known - face_corners[:, :1])[face]).max() > SAME:
        raise DegenerateError("two atoms meet through two images: too few atoms in the box")
    centre = _circumcentre(face_corners)
    radius2 = np.einsum("ij,ij->i", centre, centre)
    offset = opposite[order] - all_corners[order, 0] - centre[face]
    inside = np.einsum("ij,ij->i", offset, offset) < radius2[face] * (1 - TIE)
    attached = np.logical_or.reduceat(inside, start)
    around = np.minimum.reduceat(np.tile(values, k)[order], start)
    alpha = np.where(attached, around, np.minimum(radius2, around))
    boundary = np.empty(m * k, np.int64)
    boundary[order] = face
    return all_vertices[first], face_corners, alpha, boundary.reshape(k, m).T


def alpha_filtration(positions, cell):
    """Simplices of the periodic alpha complex with the squared radii at which they enter.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å; wrapped into the box.
    cell : ndarray [3]
        Edge lengths of the orthorhombic box in Å.

    Returns
    -------
    values : list of ndarray
        Alpha values in Å² of atoms (zeros), edges, triangles and tetrahedra.
    boundaries : list of ndarray
        For each dimension from 1 to 3 the indices of the faces of every simplex, [count, dim + 1].

    Raises
    ------
    DegenerateError
        See `periodic_delaunay`; also if a tetrahedron is flat.
    """
    cell = np.asarray(cell, float)
    positions = np.asarray(positions, float)
    positions = positions - np.floor(positions / cell) * cell
    n = len(positions)
    vertices, corners = periodic_delaunay(positions, cell)
    centre = _circumcentre(corners)
    tetrahedra = np.einsum("ij,ij->i", centre, centre)
    if not np.isfinite(tetrahedra).all():
        raise DegenerateError("a tetrahedron is flat")
    triangle_vertices, triangle_corners, triangles, b3 = _faces(vertices, corners, tetrahedra, n)
    edge_vertices, _, edges, b2 = _faces(triangle_vertices, triangle_corners, triangles, n)
    return [np.zeros(n), edges, triangles, tetrahedra], [edge_vertices, b2, b3]


def reduce_filtration(values, boundaries):
    """Birth-death pairs of a filtration by column reduction over Z2 (PHAT, twist algorithm).

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
    dimension = np.repeat(np.arange(len(values)), [len(v) for v in values])
    order = np.lexsort((dimension, value))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    columns, start = [[]] * len(values[0]), 0
    for faces, boundary in zip(values[:-1], boundaries, strict=True):
        columns += np.sort(rank[start + boundary], axis=1).tolist()
        start += len(faces)
    matrix = Matrix(len(order))
    dimensions = dimension.tolist()
    for i, k in enumerate(order.tolist()):
        matrix.set_dim_col(i, dimensions[k], columns[k])
    matrix.reduce_twist()
    pairs = np.array([p for p in matrix.birth_death_pairs() if p[2] is not None], np.int64)
    value = value[order]
    births, deaths = value[pairs[:, 1]], value[pairs[:, 2]]
    diagrams = {}
    for degree in range(len(values) - 1):
        take = (pairs[:, 0] == degree) & (deaths > births)
        points = np.stack([births[take], deaths[take]], axis=1)
        diagrams[degree] = points[np.lexsort(points.T[::-1])]
    return diagrams
