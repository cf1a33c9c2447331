import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import diagrams, homcloud_worker
from phutils.dataset import load


@pytest.fixture(scope="module")
def frames():
    structures = load("embedded")
    spread = np.linspace(0, len(structures) - 1, 12).astype(int)
    return [structures[int(i)] for i in spread]


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(0)
    return [
        Atoms("C60", positions=rng.random((60, 3)) * 7.5, cell=[7.5] * 3, pbc=True)
        for _ in range(5)
    ]


def test_fast_equals_homcloud(frames):
    for i, atoms in enumerate(frames):
        fast = diagrams.persistence_diagram(atoms, backend="fast")
        reference = diagrams.persistence_diagram(atoms, backend="homcloud")
        for degree in (0, 1, 2):
            assert fast[degree].shape == reference[degree].shape, f"frame {i}, degree {degree}"
            np.testing.assert_allclose(fast[degree], reference[degree], atol=1e-9)


def test_perfect_diamond_has_one_kind_of_ring():
    crystal = bulk("C", "diamond", a=3.57, cubic=True).repeat(3)
    found = diagrams.persistence_diagram(crystal)
    bond = 3.57 * np.sqrt(3) / 4
    np.testing.assert_allclose(found[0][:, 1], bond**2 / 4, atol=1e-6)
    # 432 bonds and 216 atoms leave 217 independent cycles; three go around the box and never die
    assert len(found[1]) == 432 - 216 + 1 - 3
    np.testing.assert_allclose(found[1], [[bond**2 / 4, 2.12415]] * 214, atol=1e-5)
    moved = crystal.copy()
    moved.positions += 0.3  # HomCloud needs atoms off the faces of the box to get this right
    reference = diagrams.persistence_diagram(moved, backend="homcloud")
    np.testing.assert_allclose(found[1], reference[1], atol=1e-6)


def test_primitive_and_slanted_cells():
    primitive = bulk("C", "diamond", a=3.57)
    assert len(diagrams.persistence_diagram(primitive)[0]) == 1
    with pytest.raises(diagrams.FrameError, match="HomCloud needs an orthorhombic cell"):
        diagrams.persistence_diagram(primitive, backend="homcloud")


def test_many_frames_equal_one_by_one(small, tmp_path, monkeypatch):
    monkeypatch.setattr(diagrams, "SHARD", 2)
    found = diagrams.persistence_diagrams(small, n_jobs=2, progress=False, folder=tmp_path)
    assert len(found) == 5
    for atoms, frame in zip(small, found, strict=True):
        alone = diagrams.persistence_diagram(atoms)
        for degree in found.degrees:
            np.testing.assert_array_equal(frame[degree], alone[degree])
    assert len(list((tmp_path / "cache").glob("diagram_shard-*.npz"))) == 3


def test_finished_shards_are_not_computed_again(small, tmp_path, monkeypatch):
    monkeypatch.setattr(diagrams, "SHARD", 2)
    first = diagrams.persistence_diagrams(small[:4], n_jobs=1, progress=False, folder=tmp_path)
    stamps = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "cache").glob("*.npz")}
    calls = []
    compute = diagrams._diagram
    monkeypatch.setattr(diagrams, "_diagram", lambda *a: calls.append(1) or compute(*a))
    again = diagrams.persistence_diagrams(small, n_jobs=1, progress=False, folder=tmp_path)
    assert len(calls) == 1  # only the fifth frame
    assert all((tmp_path / "cache" / n).stat().st_mtime_ns == t for n, t in stamps.items())
    np.testing.assert_array_equal(again[:4].pairs[1], first.pairs[1])


def test_diagrams_can_be_sliced(small):
    found = diagrams.persistence_diagrams(small, n_jobs=1, progress=False, degrees=(1,))
    assert found.degrees == (1,)
    np.testing.assert_array_equal(found[[3, 0]][0][1], found[3][1])
    np.testing.assert_array_equal(found[-1][1], found[4][1])
    np.testing.assert_array_equal(found[1:3].counts(), found.counts()[1:3])
    assert len(found[np.array([False, True, False, False, True])]) == 2
    assert len(diagrams.persistence_diagrams([], n_jobs=1, progress=False)) == 0
    with pytest.raises(IndexError, match="frame 5 of 5"):
        found[5]


def change(atoms, **fields):
    changed = atoms.copy()
    for name, value in fields.items():
        if name == "position":
            changed.positions[3] = value
        elif name == "cell":
            changed.set_cell(value)
        else:
            changed.pbc = value
    return changed


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"position": [np.nan, 0, 0]}, "position of atom 3 is"),
        ({"position": [np.inf, 0, 0]}, "position of atom 3 is"),
        ({"cell": [7.5, 7.5, 0]}, "has no volume"),
        ({"cell": [[7.5, 0, 0], [7.5, 1e-4, 0], [0, 0, 7.5]]}, "has no volume"),
        ({"cell": [[7.5, 0, 0], [0, np.nan, 0], [0, 0, 7.5]]}, "the cell is"),
        ({"pbc": [True, True, False]}, "not periodic"),
    ],
)
def test_bad_frame_is_named(small, fields, message):
    frames = [*small[:2], change(small[2], **fields)]
    with pytest.raises(diagrams.FrameError, match=f"^frame 2: .*{message}"):
        diagrams.persistence_diagrams(frames, n_jobs=1, progress=False)


def test_duplicate_atoms_are_refused(small):
    atoms = small[0].copy()
    atoms.positions[7] = atoms.positions[2] + atoms.cell.lengths()  # the same place, one box away
    with pytest.raises(diagrams.FrameError, match="atoms 2 and 7 are at the same place"):
        diagrams.persistence_diagram(atoms)


def test_homcloud_refuses_few_atoms_and_the_fast_back_end_does_not(small):
    with pytest.raises(diagrams.FrameError, match="too few"):
        diagrams.persistence_diagram(small[0][:6], backend="homcloud")
    assert len(diagrams.persistence_diagram(small[0][:6])[0]) == 5
    with pytest.raises(diagrams.FrameError, match="no atoms"):
        diagrams.persistence_diagram(small[0][:0])


def test_unknown_settings(small):
    with pytest.raises(ValueError, match="unknown backend 'gudhi'"):
        diagrams.persistence_diagram(small[0], backend="gudhi")
    with pytest.raises(ValueError, match="degrees"):
        diagrams.persistence_diagrams(small, degrees=(1, 3))


def test_homcloud_abort_becomes_an_error_and_the_next_frame_works(small):
    rng = np.random.default_rng(0)
    vacuum = rng.random((200, 3)) * [10, 10, 6]  # half of the box is empty
    with pytest.raises(homcloud_worker.FrameError, match="HomCloud"):
        homcloud_worker.homcloud_diagrams(vacuum, np.array([10.0, 10.0, 30.0]), limit=20)
    assert len(diagrams.persistence_diagram(small[0], backend="homcloud")[1]) > 10


def test_homcloud_hang_becomes_an_error(frames):
    atoms = frames[0]
    diagrams.persistence_diagram(atoms, backend="homcloud")  # the worker is up
    with pytest.raises(homcloud_worker.FrameError, match="longer than 0.001 s"):
        homcloud_worker.homcloud_diagrams(atoms.positions, atoms.cell.lengths(), limit=0.001)
    assert len(diagrams.persistence_diagram(atoms, backend="homcloud")[1]) > 10
