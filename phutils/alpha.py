"""Periodic alpha filtration of one frame, in milliseconds, in any cell.

Geometry
--------
The alpha filtration orders the simplices of the Delaunay triangulation by the squared radius at
which growing balls, each cut to its Voronoi cell, cover them. In a periodic box the triangulation
lives on a torus. We get it from the plain one: pad the home cell with every image closer than
about one and a half atomic spacings, triangulate that with Qhull, and keep one copy of each
periodic tetrahedron, the one whose circumcentre lies in the home cell. Its sphere then reaches out
of the cell by no more than its radius, so that a thin padding is enough: half the points, and half
the time, of a rule that goes by a corner. The copies kept fill the torus once, so that their
volumes must add up to that of the cell and each triangle must have two of them: if not, the
padding was too thin and is widened.

Two corners of a simplex may be images of one atom, and two edges may join the same two atoms
through different images: a simplex is known by its atoms *and* by the lattice vectors between them.
Nothing is therefore asked of the size of the cell, and nothing has to be replicated.

A tetrahedron enters at its squared circumradius. A triangle or edge enters at its own squared
circumradius if no vertex of a simplex around it lies inside its smallest circumsphere (a Gabriel
simplex), and otherwise together with the first simplex around it (an attached simplex).

Births and deaths then come from `phutils.reduction`.
"""

import itertools

import numpy as np
from scipy.spatial import Delaunay, QhullError

from phutils.frames import FrameError, cell_matrix

PADDING = 1.2  # atomic spacings, (volume / atoms)^(1/3): where the first try costs least on average
WIDEN = 1.25
JITTER = 1e-8  # Å
TIE = 1e-12  # relative; a vertex this close to the sphere counts as on it, not inside
BORDER = 1e-6  # of the cell; circumcentres this close to a face may have two copies kept, or none


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
    centre : ndarray [m, 3]
        Circumcentres relative to the first corner, in Å.

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
        found = _one_copy(vertices, points, atoms, shifts, cell)
        filled = np.abs(_triple(found[2])).sum() / 6
        if abs(filled / volume - 1) < 1e-9:
            return found
        # a sphere that reaches beyond the padding may not be empty; once none does, twice, what
        # is missing or doubled is degenerate
        full = np.abs(_triple(found[2])) > 1e-6 * volume / len(positions)
        within = (np.linalg.norm(found[3][full], axis=1) < padding).all()
        if (complete and within) or padding > 2 * longest:
            break
        complete = within
        padding *= WIDEN
    raise DegenerateError(f"the tetrahedra fill {filled / volume:.6f} of the cell")


def _one_copy(vertices, points, atoms, shifts, cell):
    """Of a padded triangulation the tetrahedra centred in the home cell, moved to start in it."""
    # sort the corners by atom, and images of one atom in an order that a translation keeps
    reach = 2 * int(np.abs(shifts).max()) + 1
    label = ((atoms * reach + shifts[:, 0]) * reach + shifts[:, 1]) * reach + shifts[:, 2]
    corners = points[vertices]
    centre = corners[:, 0] + _circumcentre(corners)
    with np.errstate(invalid="ignore"):
        scaled = centre @ np.linalg.inv(cell)
        home = ((scaled >= -BORDER) & (scaled < 1 + BORDER)).all(axis=1)
    vertices, scaled = vertices[home], scaled[home]
    vertices = np.take_along_axis(vertices, np.argsort(label[vertices], axis=1), axis=1)
    images = shifts[vertices]
    images = images - images[:, :1]
    vertices = atoms[vertices]
    if ((scaled < BORDER) | (scaled > 1 - BORDER)).any():
        order, is_first = _order(vertices, images, len(atoms))
        kept = np.sort(order[is_first])
        vertices, images = vertices[kept], images[kept]
    corners = points[vertices] + images @ cell  # the home cell comes first among the points
    return vertices, images, corners, _circumcentre(corners)


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
    kept = np.array(list(itertools.combinations(range(k), k - 1)))  # leaves out the last, ...
    all_vertices = vertices[:, kept].reshape(m * k, k - 1)
    all_shifts = shifts[:, kept].reshape(m * k, k - 1, 3)
    order, is_first = _order(all_vertices, all_shifts, n)
    start, face = np.flatnonzero(is_first), np.cumsum(is_first) - 1
    simplex, missing = np.divmod(order, k)
    first = order[start]

    face_corners = corners[simplex[start][:, None], kept[missing[start]]]
    centre = _circumcentre(face_corners)
    radius2 = np.einsum("ij,ij->i", centre, centre)
    # from the same corner in the simplex's own copy
    apart = corners[simplex, k - 1 - missing] - corners[simplex, kept[missing, 0]]
    apart -= centre[face]
    inside = np.einsum("ij,ij->i", apart, apart) < radius2[face] * (1 - TIE)
    attached = np.logical_or.reduceat(inside, start)
    around = np.minimum.reduceat(values[simplex], start)
    alpha = np.where(attached, around, np.minimum(radius2, around))
    boundary = np.empty(m * k, np.int64)
    boundary[order] = face
    faces = all_vertices[first], all_shifts[first], face_corners, alpha
    return *faces, boundary.reshape(m, k)


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
    *tetrahedra, corners, centre = periodic_delaunay(positions, cell)
    values = np.einsum("ij,ij->i", centre, centre)
    if not np.isfinite(values).all():
        raise DegenerateError("a tetrahedron is flat")
    *triangles, triangle_values, b3 = _faces(*tetrahedra, corners, values, n)
    if not (np.bincount(b3.ravel()) == 2).all():
        raise DegenerateError("the tetrahedra do not meet face to face")
    edge_vertices, _, _, edge_values, b2 = _faces(*triangles, triangle_values, n)
    return [np.zeros(n), edge_values, triangle_values, values], [edge_vertices, b2, b3]
