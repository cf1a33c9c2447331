"""Hard and bad cells, each with its known answer or its error, for both back ends."""

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, make_supercell
from periodic_checks import assert_covers, assert_same, box, spread
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from phutils import homcloud_worker
from phutils.cycles import EPSILON, stable_volumes
from phutils.diagrams import persistence_diagram
from phutils.frames import FrameError, check_frame

SKEW = np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]])
TRICLINIC = np.array([[10, 0, 0], [3, 10, 0], [1, 4, 9.5]])
GOLDEN = (1 + 5**0.5) / 2
CORNER = 1 + GOLDEN**2  # of an icosahedron of edge 2: squared distance from its centre
FEW = " are too few for HomCloud; backend=.fast. can do it"
TOO_LONG = r"HomCloud fails in boxes more than 1\.5 times as long as wide, and this one is {} times"
SLANTED = "HomCloud needs an orthorhombic cell, not angles of "


@pytest.fixture(scope="module", autouse=True)
def short_limit():
    """No frame may hold up HomCloud for longer; it starts now, because that takes its time."""
    homcloud_worker.homcloud_diagrams(
        *check_frame(spread(100, (9.4, 9.4, 9.4)).positions, [9.4] * 3)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(homcloud_worker, "LIMIT", 10.0)
        yield


# --- cells ---------------------------------------------------------------------------------------


def elongated(ratio, n=100):
    """A box at 0.12 atoms per Å³, `ratio` times as long as wide; flat if it is below 1."""
    edge = (n / 0.12 / ratio) ** (1 / 3)
    return spread(n, (edge, edge, edge * ratio))


def changed(atoms, cell=None, **fields):
    """Other atoms, cell, or boundaries; `at` is (atom, position)."""
    atoms = atoms.copy()
    if cell is not None:
        atoms.set_cell(cell)
    if "at" in fields:
        atoms.positions[fields["at"][0]] = fields["at"][1]
    if "positions" in fields:
        atoms.positions = fields["positions"]
    atoms.pbc = fields.get("pbc", True)
    return atoms


def moved(atoms, by):
    atoms.positions += by
    return atoms


def cube():
    return spread(100, (9.4, 9.4, 9.4))


def cluster(scaled, edge=30.0):
    return box(np.array(scaled, float) + edge / 2, [edge] * 3)


def whole_numbers():
    """Positions given as integers: many points on one sphere, and edges of one length."""
    places = np.random.default_rng(0).permutation(9**3)[:200]
    return box(np.stack(np.unravel_index(places, (9, 9, 9)), axis=1), [9, 9, 9])


def icosahedron():
    corners = np.array([[0, s, t * GOLDEN] for s in (1, -1) for t in (1, -1)])
    turned = [corners[:, axes] for axes in ([0, 1, 2], [1, 2, 0], [2, 0, 1])]
    return cluster(np.concatenate([[[0, 0, 0]], *turned]))


def hexagon():
    angle = np.pi * np.arange(6) / 3
    return cluster(1.4 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1))


def a15():
    chains = [[1, 2, 0], [3, 2, 0], [0, 1, 2], [0, 3, 2], [2, 0, 1], [2, 0, 3]]
    scaled = np.concatenate([[[0, 0, 0], [0.5] * 3], np.array(chains) / 4])
    return Atoms("C8", scaled_positions=scaled, cell=[4.0] * 3, pbc=True).repeat(3)


def graphite(n=4):
    layer = graphene("C2", a=1.42 * 3**0.5, vacuum=1.0)
    layer = make_supercell(layer, [[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    layer.cell[2] = [0, 0, 3.35]
    moved = layer.copy()
    moved.positions += layer.cell[1] / 3 + layer.cell[2]
    both = box(np.concatenate([layer.positions, moved.positions]), layer.cell.array)
    both.cell[2] *= 2
    return both.repeat((n, 2, 1))


def interpenetrating():
    """Two diamond lattices, half a cell edge apart: together body-centred cubic."""
    one = bulk("C", "diamond", a=6.0, cubic=True)
    return box(np.concatenate([one.positions, one.positions + [3.0, 0, 0]]), one.cell.array)


# --- answers -------------------------------------------------------------------------------------


def tree_deaths(atoms):
    """Deaths of degree 0 from the shortest tree through the atoms, over all distances."""
    distances = atoms.get_all_distances(mic=True)
    return np.sort(minimum_spanning_tree(coo_array(np.triu(distances, 1))).data) ** 2 / 4


def known(expected, below=np.inf, atol=1e-6):
    """Pairs that die below a bound are exactly these: {degree: [(birth, death, count), ...]}."""

    def check(atoms, found):
        for degree, kinds in expected.items():
            pairs = found[degree][found[degree][:, 1] < below]
            for birth, death, count in kinds:
                assert (np.abs(pairs - [birth, death]) < atol).all(axis=1).sum() == count
            assert len(pairs) == sum(kind[2] for kind in kinds)

    return check


def includes(expected):
    """Among the pairs are these: {degree: [(birth, death, count), ...]}."""

    def check(atoms, found):
        for degree, kinds in expected.items():
            for birth, death, count in kinds:
                near = (np.abs(found[degree] - [birth, death]) < 1e-6).all(axis=1)
                assert near.sum() == count

    return check


def same_as(other, **settings):
    """The diagram of another cell, whose births are `scale` times smaller."""
    return lambda atoms, found: assert_same(found, persistence_diagram(other()), **settings)


def covered(matrix, unique=True):
    """That of a supercell which HomCloud can do, as far as `assert_covers` says."""

    def check(atoms, found):
        large = make_supercell(atoms, np.diag(matrix) if np.ndim(matrix) == 1 else matrix)
        reference = persistence_diagram(large, backend="homcloud")
        assert_same(persistence_diagram(large), reference, atol=1e-9 if unique else 2e-7)
        assert assert_covers(atoms, found, large, reference, unique) > 0

    return check


def cubic(births, edges, faces, n, a):
    """A monatomic crystal with one kind of bond: its numbers of pairs follow from Euler's."""
    return known({0: [(0, births * a**2, n - 1)], 1: edges, 2: faces})


def sc(n, a):
    return cubic(1 / 4, [(a**2 / 4, a**2 / 2, 2 * n - 2)], [(a**2 / 2, 3 * a**2 / 4, n - 1)], n, a)


def bcc(n, a):
    bonds = [(3 * a**2 / 16, 9 * a**2 / 32, 3 * n - 2), (a**2 / 4, 9 * a**2 / 32, 3 * n)]
    return cubic(3 / 16, bonds, [(9 * a**2 / 32, 5 * a**2 / 16, 6 * n - 1)], n, a)


def fcc(n, a):
    holes = [(a**2 / 6, 3 * a**2 / 16, 2 * n), (a**2 / 6, a**2 / 4, n - 1)]
    return cubic(1 / 8, [(a**2 / 8, a**2 / 6, 5 * n - 2)], holes, n, a)


def diamond(n, a):
    holes = [(a**2 / 6, 11 * a**2 / 64, 2 * n), (a**2 / 6, 3 * a**2 / 16, n - 1)]
    return cubic(3 / 64, [(3 * a**2 / 64, a**2 / 6, n - 2)], holes, n, a)


A15 = {
    0: [(0, 1, 27 * 5), (0, 1.25, 80)],
    1: [(1, 25 / 14, 24), (1.25, 25 / 16, 324), (1.25, 25 / 14, 244), (1.5, 25 / 14, 648)],
    2: [(25 / 14, 2, 162), (25 / 14, 25 / 12, 215), (1.8, 125 / 64, 648), (2, 25 / 12, 216)],
}
TWIN = 2 * np.eye(3, dtype=int)
LAYERS = {0: [(0, 1.42**2 / 4, 62), (0, 3.35**2 / 4, 1)], 1: [(1.42**2 / 4, 1.42**2, 2 * 15)]}


SAME = None  # HomCloud gives the same as the fast back end
CELLS = {
    # long and flat boxes
    "1.5 times as long": (lambda: elongated(1.5), same_as(lambda: moved(elongated(1.5), 3)), SAME),
    "flat, 1 to 1.5": (
        lambda: elongated(1 / 1.5, 160),
        same_as(lambda: moved(elongated(1 / 1.5, 160), 3)),
        SAME,
    ),
    "1.7 times as long": (lambda: elongated(1.7), covered((2, 2, 1)), TOO_LONG.format("1.7")),
    "twice as long": (lambda: elongated(2.0, 50), covered((2, 2, 1)), TOO_LONG.format("2")),
    "flat, 1 to 2": (lambda: elongated(0.5, 70), covered((1, 1, 2)), TOO_LONG.format("2")),
    "3 times as long": (lambda: elongated(3, 50), covered((2, 2, 1)), TOO_LONG.format("3")),
    "10 times as long": (
        lambda: elongated(10, 8),
        covered((7, 7, 1), unique=False),
        TOO_LONG.format("10"),
    ),
    "flat, 1 to 10": (lambda: elongated(0.1, 40), covered((1, 1, 7)), TOO_LONG.format("10")),
    # few atoms
    "1 atom": (
        lambda: spread(1, (3.0, 3.3, 3.7)),
        known({0: [], 1: [], 2: []}),
        r"1 atoms in a box of 3 x 3\.3 x 3\.7 Å" + FEW,
    ),
    "2 atoms": (lambda: elongated(1, 2), covered((5, 5, 5)), r"^2 atoms .*" + FEW),
    "4 atoms": (lambda: elongated(1, 4), covered((4, 4, 4)), r"^4 atoms .*" + FEW),
    "8 atoms": (lambda: elongated(1, 8), covered((3, 3, 3)), r"^8 atoms .*" + FEW),
    "1 atom, slanted": (
        lambda: bulk("C", "fcc", a=3.6),
        known({0: [], 1: [(1.62, 2.16, 3)], 2: [(2.16, 2.43, 2)]}),
        SLANTED + r"60, 60, 60°",
    ),
    # vacuum
    "slab": (
        lambda: box(spread(60, (9.0, 9.0, 6.0)).positions, (9.0, 9.0, 25.0)),
        same_as(lambda: box(spread(60, (9.0, 9.0, 6.0)).positions + 7, (9.0, 9.0, 40.0)), below=36),
        TOO_LONG.format("2.78"),
    ),
    "slab in a cube": (
        lambda: box(spread(80, (12.0, 12.0, 5.0)).positions, (12.0, 12.0, 12.0)),
        same_as(lambda: box(spread(80, (12.0, 12.0, 5.0)).positions, (12.0, 12.0, 30.0)), below=12),
        "80 atoms in a box of 12 x 12 x 12 Å" + FEW,
    ),
    "wire": (
        lambda: box(spread(60, (6.0, 6.0, 12.0)).positions, (20.0, 20.0, 12.0)),
        same_as(lambda: box(spread(60, (6.0, 6.0, 12.0)).positions, (50.0, 45.0, 12.0)), below=36),
        TOO_LONG.format("1.67"),
    ),
    "cluster": (
        lambda: box(spread(60, (7.0, 7.0, 7.0)).positions, (25.0, 25.0, 25.0)),
        same_as(lambda: box(spread(60, (7.0, 7.0, 7.0)).positions, (900, 50, 1e4)), below=60),
        "60 atoms in a box of 25 x 25 x 25 Å" + FEW,
    ),
    "tetrahedron": (
        lambda: cluster(np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 2**0.5),
        known({0: [(0, 1, 3)], 1: [(1, 4 / 3, 3)], 2: [(4 / 3, 3 / 2, 1)]}, below=100),
        "^4 atoms .*" + FEW,
    ),
    "hexagon": (
        hexagon,
        known({0: [(0, 0.49, 5)], 1: [(0.49, 1.96, 1)], 2: []}, below=100),
        "^6 atoms .*" + FEW,
    ),
    "icosahedron with its centre": (
        icosahedron,
        known(
            {
                0: [(0, CORNER / 4, 12)],
                1: [(1, 1.25, 30)],
                2: [(4 / 3, CORNER**2 / (4 * CORNER - 16 / 3), 20)],
            },
            below=100,
        ),
        "^13 atoms .*" + FEW,
    ),
    "atoms on a line": (
        lambda: cluster(np.arange(5)[:, None] * [1.4, 0, 0], 20.0),
        known({0: [(0, 0.49, 4)], 1: [(100, 100.49, 8)], 2: [(200, 200.49, 4)]}, atol=1e-5),
        "^5 atoms .*" + FEW,
    ),
    "a line through the box": (
        lambda: box(np.arange(5)[:, None] * [1.4, 0, 0], [7.0] * 3),
        known({0: [(0, 0.49, 4)], 1: [(12.25, 12.74, 8)], 2: [(24.5, 24.99, 4)]}),
        "^5 atoms .*" + FEW,
    ),
    "atoms in a plane": (
        lambda: box(spread(20, (8.0, 8.0, 1.0)).positions * [1, 1, 0] + 4, [8.0] * 3),
        same_as(
            lambda: box(spread(20, (8.0, 8.0, 1.0)).positions * [1, 1, 0], [8, 8, 20]), below=4
        ),
        "20 atoms .*" + FEW,
    ),
    # other bases of a lattice
    "monoclinic": (
        lambda: spread(36, [[6, 0, 0], [3, 5, 0], [0, 0, 10]]),
        covered([[2, 0, 0], [-1, 2, 0], [0, 0, 1]]),
        SLANTED,
    ),
    "triclinic": (
        lambda: spread(110, TRICLINIC),
        same_as(lambda: changed(spread(110, TRICLINIC), SKEW @ TRICLINIC)),
        SLANTED,
    ),
    "cube by slanted vectors": (lambda: changed(cube(), SKEW * 9.4), same_as(cube), SAME),
    "cube by strongly slanted vectors": (
        lambda: changed(cube(), np.array([[1, 0, 0], [100, 1, 0], [-100, 99, 1]]) * 9.4),
        same_as(cube, atol=1e-8),
        SAME,
    ),
    "left-handed": (
        lambda: changed(elongated(1.2), elongated(1.2).cell.array[[1, 0, 2]]),
        same_as(lambda: elongated(1.2)),
        SAME,
    ),
    "negative vectors": (lambda: changed(cube(), -9.4 * np.eye(3)), same_as(cube), SAME),
    "vectors along other axes": (
        lambda: box(
            elongated(1.4).positions[:, [2, 0, 1]], elongated(1.4).cell.array[:, [2, 0, 1]]
        ),
        same_as(lambda: elongated(1.4)),
        SAME,
    ),
    "turned": (
        lambda: box(*(x @ np.linalg.qr(SKEW)[0] for x in (cube().positions, cube().cell.array))),
        same_as(cube),
        SAME,
    ),
    # where the atoms are given
    "outside the box": (
        lambda: changed(cube(), positions=cube().positions + 9.4 * np.array([1e4, -3e4, 7])),
        same_as(cube, atol=1e-8),
        SAME,
    ),
    "negative coordinates": (
        lambda: changed(cube(), positions=-cube().positions),
        same_as(cube),
        SAME,
    ),
    "an atom at the origin": (
        lambda: moved(cube(), -cube().positions[7]),
        same_as(cube),
        SAME,
    ),
    "atoms at the far faces": (
        lambda: moved(cube(), 9.4 - np.diag(cube().positions[:3])),
        same_as(cube),
        SAME,
    ),
    "whole numbers": (
        whole_numbers,
        same_as(lambda: moved(whole_numbers(), 0.37), atol=1e-6),
        SAME,
    ),
    "single precision": (
        lambda: box(cube().positions.astype(np.float32), np.float32(9.4) * np.eye(3, dtype="f4")),
        same_as(cube, atol=1e-4),
        SAME,
    ),
    "in millionths": (
        lambda: box(cube().positions * 1e6, cube().cell.array * 1e6),
        same_as(cube, scale=1e12, atol=2e-6),
        SAME,
    ),
    "two atoms 0.003 Å apart": (
        lambda: changed(cube(), at=(5, cube().positions[6] + [0.003, 0, 0])),
        includes({0: [(0, 2.25e-6, 1)]}),
        SAME,
    ),
    # crystals
    "simple cubic, 1 atom": (lambda: bulk("Po", "sc", a=3.0), sc(1, 3.0), FEW),
    "simple cubic": (lambda: bulk("Po", "sc", a=3.0).repeat(4), sc(64, 3.0), SAME),
    "simple cubic off the faces": (
        lambda: moved(bulk("Po", "sc", a=3.0).repeat(4), 0.7),
        sc(64, 3.0),
        SAME,
    ),
    "body-centred cubic, 2 atoms": (
        lambda: bulk("Fe", "bcc", a=3.0, cubic=True),
        bcc(2, 3.0),
        FEW,
    ),
    "body-centred cubic": (
        lambda: bulk("Fe", "bcc", a=3.0, cubic=True).repeat(4),
        bcc(128, 3.0),
        SAME,
    ),
    "two diamond lattices in one another": (interpenetrating, bcc(16, 3.0), FEW),
    "face-centred cubic": (
        lambda: bulk("Cu", "fcc", a=3.6, cubic=True).repeat(3),
        fcc(108, 3.6),
        SAME,
    ),
    "diamond, primitive": (lambda: bulk("C", "diamond", a=3.57), diamond(2, 3.57), SLANTED),
    "diamond, 8 atoms": (
        lambda: bulk("C", "diamond", a=3.57, cubic=True),
        diamond(8, 3.57),
        "^8 atoms .*" + FEW,
    ),
    "diamond": (
        lambda: bulk("C", "diamond", a=3.57, cubic=True).repeat(3),
        diamond(216, 3.57),
        SAME,
    ),
    "diamond almost on the faces": (
        lambda: moved(bulk("C", "diamond", a=3.57, cubic=True).repeat(3), 1e-9),
        diamond(216, 3.57),
        SAME,
    ),
    "diamond anywhere": (
        lambda: moved(bulk("C", "diamond", a=3.57, cubic=True).repeat(3), [1.3, 2.1, 0.27]),
        diamond(216, 3.57),
        SAME,
    ),
    "A15": (a15, known(A15), SAME),
    "graphite": (
        graphite,
        includes(LAYERS),
        r"HomCloud's process died \(exit code -6\) from 64 atoms in a box of 6\.7 x ",
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_fast_answer_is_the_known_one(name):
    build, check, _ = CELLS[name]
    atoms, start = build(), time.process_time()
    found = persistence_diagram(atoms)
    assert time.process_time() - start < 2
    np.testing.assert_allclose(found[0][:, 1], tree_deaths(atoms), rtol=1e-7, atol=2e-7)
    assert (found[0][:, 0] == 0).all()
    check(atoms, found)


@pytest.mark.parametrize("name", CELLS)
def test_homcloud_gives_the_same_or_says_why_not(name):
    build, _, message = CELLS[name]
    atoms = build()
    if message is None:
        reference = persistence_diagram(atoms, backend="homcloud")
        assert_same(persistence_diagram(atoms), reference, atol=2e-7)
    else:
        with pytest.raises(FrameError, match=message):
            persistence_diagram(atoms, backend="homcloud")


@pytest.mark.parametrize("name", CELLS)
def test_rings_are_those_of_the_diagram_or_need_a_larger_cell(name):
    build, _, homcloud = CELLS[name]
    atoms = build()
    if homcloud is not SAME and name not in ("1.7 times as long", "triclinic"):
        with pytest.raises(FrameError, match="^two atoms meet through two images: rings need a la"):
            stable_volumes(atoms)
        return
    found = stable_volumes(atoms)
    points = np.array([[cycle.birth, cycle.death] for cycle in found])
    np.testing.assert_array_equal(points, persistence_diagram(atoms)[1])
    lengths = atoms.get_all_distances(mic=True)
    for cycle in found:  # no edge of a ring may enter later than the noise allows
        if cycle.closed and cycle.size == len(cycle.triangles):
            longest = lengths[cycle.ring, np.roll(cycle.ring, 1)].max()
            assert longest**2 / 4 <= (cycle.birth + EPSILON) * (1 + 1e-9)


# --- bad cells -----------------------------------------------------------------------------------

BAD = {
    "nan": ({"at": (3, [np.nan, 0, 0])}, r"position of atom 3 is \[nan, 0\.0, 0\.0\] Å"),
    "inf": ({"at": (4, [0, np.inf, 0])}, r"position of atom 4 is \[0\.0, inf, 0\.0\] Å"),
    "minus inf": ({"at": (4, [0, 0, -np.inf])}, r"position of atom 4 is \[0\.0, 0\.0, -inf\] Å"),
    "out of reach": ({"at": (9, [1e17, 0, 0])}, r"position of atom 9 is \[1e\+17, 0\.0, 0\.0\]"),
    "out of range": ({"at": (9, [1e308, 0, 0])}, r"position of atom 9 is \[1e\+308, 0\.0, 0\.0\]"),
    "nan cell": ({"cell": np.diag([np.nan, 9, 9])}, r"the cell is \[\[nan, 0\.0, 0\.0\]"),
    "inf cell": ({"cell": np.diag([9, np.inf, 9])}, r"the cell is \[\[9.* \[0\.0, inf, 0\.0\]"),
    "no cell": ({"cell": np.zeros((3, 3))}, r"0\.0\]\] Å has no volume: it repeats every 0 Å"),
    "flat cell": ({"cell": np.diag([9.4, 9.4, 0])}, r"9\.4, 0\.0\], .* has no volume"),
    "vectors in a plane": (
        {"cell": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]},
        r"the cell \[\[1\.0, 2\.0, 3\.0\], .* has no volume",
    ),
    "almost in a plane": (
        {"cell": [[9.4, 0, 0], [9.4, 1e-4, 0], [0, 0, 9.4]]},
        r"has no volume: it repeats every 0\.0001 Å",
    ),
    "not periodic": ({"pbc": False}, r"not periodic \(pbc = \[False, False, False\]\)"),
    "periodic in two directions": (
        {"pbc": [True, True, False]},
        r"not periodic \(pbc = \[True, True, False\]\)",
    ),
    "two atoms in one": (
        {"at": (8, cube().positions[2])},
        r"atoms 2 and 8 are at the same place \(0\.0e\+00 Å\)",
    ),
    "two atoms in one, a box apart": (
        {"at": (8, cube().positions[2] + [9.4, -18.8, 0])},
        r"atoms 2 and 8 are at the same place \(\d\.\de-\d\d Å\)",
    ),
    "two atoms in one, on the boundary": (
        {"positions": np.vstack([[[0, 1, 1], [9.4, 1, 1]], cube().positions[2:]])},
        "atoms 0 and 1 are at the same place",
    ),
    "two atoms 1e-4 Å apart": (
        {"at": (8, cube().positions[2] + [0, 1e-4, 0])},
        r"atoms 2 and 8 are at the same place \(1\.0e-04 Å\)",
    ),
    "on both sides of the boundary": (
        {"positions": np.vstack([[[5e-5, 1, 1], [-5e-5, 1, 1]], cube().positions[2:]])},
        r"atoms 0 and 1 are at the same place \(1\.0e-04 Å\)",
    ),
    "in a slanted cell": (
        {"cell": SKEW * 9.4, "at": (8, cube().positions[2] + 9.4 * SKEW[2])},
        "atoms 2 and 8 are at the same place",
    ),
    "in metres": (
        {"cell": 9.4e-10 * np.eye(3), "positions": cube().positions * 1e-10},
        r"has no volume: it repeats every 9\.4e-10 Å",
    ),
    "in thousandths": (
        {"cell": 9.4e-3 * np.eye(3), "positions": cube().positions * 1e-3},
        r"atoms \d+ and \d+ are at the same place \(9\.\de-04 Å\)",
    ),
}


@pytest.mark.parametrize("backend", ["fast", "homcloud"])
@pytest.mark.parametrize("name", BAD)
def test_bad_cell_is_refused_with_the_value(name, backend):
    fields, message = BAD[name]
    with pytest.raises(FrameError, match=message):
        persistence_diagram(changed(cube(), **fields), backend=backend)


@pytest.mark.parametrize("backend", ["fast", "homcloud"])
def test_no_atoms(backend):
    with pytest.raises(FrameError, match="there are no atoms"):
        persistence_diagram(cube()[:0], backend=backend)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 3, 3), (0,), ()])
def test_positions_of_another_shape(shape):
    with pytest.raises(FrameError, match=rf"positions have shape \({', '.join(map(str, shape))}"):
        check_frame(np.zeros(shape), [9.4] * 3)


@pytest.mark.parametrize("cell", [[9.4, 9.4], np.eye(2), np.ones((3, 2)), 9.4])
def test_cell_of_another_shape(cell):
    with pytest.raises(FrameError, match="^the cell is "):
        check_frame(cube().positions, cell)


def test_more_atoms_than_there_is_room_for():
    positions = np.random.default_rng(0).random((40_000, 3)) * 0.011
    with pytest.raises(FrameError, match=r"40000 atoms in 1\.33e-06 Å³ cannot be 0\.001 Å apart"):
        check_frame(positions, [0.011] * 3)
