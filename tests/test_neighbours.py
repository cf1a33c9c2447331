from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.neighborlist import neighbor_list

from phutils import neighbours
from phutils.frames import FrameError
from phutils.neighbours import find_neighbours, frame_pairs, join

CUBE = np.eye(3) * 9.0
TRICLINIC = np.array([[7.0, 0, 0], [2.5, 8, 0], [1, -3, 7.5]])
SLANTED = np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]]) @ TRICLINIC


def gas(n=40, cell=CUBE, pbc=True, seed=0, outside=0.0):
    """Random atoms, no two nearer than 0.3 Å to each other, some of them outside the cell."""
    generator = np.random.default_rng(seed)
    positions = generator.random((n, 3)) @ cell + outside * generator.integers(-2, 3, (n, 1))
    return Atoms(f"C{n}", positions=positions, cell=cell, pbc=pbc)


def both_ways(pairs):
    """Every pair from both sides, as ASE lists them: {(i, j, distance): how often}."""
    sides = [(pairs["first"], pairs["second"]), (pairs["second"], pairs["first"])]
    listed = [zip(i, j, pairs["distance"].round(3), strict=True) for i, j in sides]
    return Counter((int(i), int(j), float(d)) for side in listed for i, j, d in side)


def expected(atoms, cutoff):
    i, j, d = neighbor_list("ijd", atoms, cutoff)
    d = d.astype(np.float32).round(3)
    return Counter(zip(i.tolist(), j.tolist(), d.astype(float).tolist(), strict=True))


@pytest.mark.parametrize(
    "atoms",
    [
        gas(),
        gas(outside=9.0),
        gas(cell=TRICLINIC),
        gas(cell=SLANTED),
        gas(cell=SLANTED, outside=5.0),
        gas(3, np.eye(3) * 3.1),  # far smaller than the cutoff: images, and images of oneself
        gas(1, np.eye(3) * 2.2),
        gas(12, np.diag([2.5, 9, 30])),
        gas(pbc=False),
        gas(pbc=[True, True, False]),
        gas(pbc=[False, True, False], cell=TRICLINIC),
    ],
    ids=str,
)
def test_same_as_ase(atoms):
    found = frame_pairs(atoms, 5.0)
    assert both_ways(found) == expected(atoms, 5.0) and len(found)
    assert (np.diff(found["distance"]) >= 0).all()


def test_no_cell_at_all():
    dimer = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.4]])
    (pair,) = frame_pairs(dimer, 5.0)
    assert pair["distance"] == pytest.approx(1.4)


def test_neighbours_of_diamond():
    """86 within 5 Å: the shells of 4, 12, 12, 6, 12, 24 and 16; the next one is at 5.04 Å."""
    primitive = bulk("C", "diamond", 3.567)
    large = make_supercell(primitive, [[2, 0, 0], [3, 2, 0], [0, 1, 3]])
    for atoms in (primitive, large):
        assert len(frame_pairs(atoms, 5.0)) == 86 / 2 * len(atoms)
    shells = Counter(frame_pairs(primitive, 5.0)["distance"].round(2).tolist())
    assert [shells[d] for d in sorted(shells)] == [4, 12, 12, 6, 12, 24, 16]


def test_atoms_without_neighbours():
    lonely = Atoms("C2", positions=[[0, 0, 0], [6, 6, 6]], cell=CUBE * 2, pbc=True)
    found = find_neighbours([lonely, gas(), lonely], progress=False)
    assert len(found[0]) == len(found[2]) == 0 and len(found[1])
    numbers, frame, first, second, distance = found.batch([0, 2])
    assert frame.tolist() == [0, 0, 1, 1] and len(first) == len(second) == len(distance) == 0
    assert numbers.tolist() == [6] * 4


def test_batch_joins_frames():
    frames = [gas(5, seed=1), gas(9, seed=2), gas(4, seed=3)]
    frames[1].numbers[3] = 14
    found = find_neighbours(frames, progress=False)
    numbers, frame, first, second, distance = found.batch([2, 1])
    assert numbers.tolist() == [6] * 4 + frames[1].numbers.tolist()
    assert frame.tolist() == [0] * 4 + [1] * 9
    k = found.n_pairs[2]
    pairs = found[1]
    np.testing.assert_array_equal(first[k:], pairs["first"] + 4)
    np.testing.assert_array_equal(second[k:], pairs["second"] + 4)
    np.testing.assert_array_equal(distance[k:], pairs["distance"])
    np.testing.assert_array_equal(first[:k], found[2]["first"])
    assert (frame[first] == frame[second]).all()


def test_frames_are_asked_for_by_number():
    found = find_neighbours([gas(), gas(7)], progress=False)
    assert len(found) == 2 and len(found[-1]) == len(found[1])
    with pytest.raises(IndexError, match="frame 2 of 2"):
        found[2]


def test_joined():
    parts = [[gas(5), gas(9)], [gas(20)]]
    found = [find_neighbours(part, progress=False) for part in parts]
    joined, at_once = join(found), find_neighbours(parts[0] + parts[1], progress=False)
    for one, other in zip(joined.batch([2, 0, 1]), at_once.batch([2, 0, 1]), strict=True):
        np.testing.assert_array_equal(one, other)
    assert joined.fingerprint not in (found[0].fingerprint, found[1].fingerprint)
    with pytest.raises(ValueError, match=r"\[4.0, 5.0\]"):
        join([found[0], find_neighbours([gas()], 4.0, progress=False)])


# --- on disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(neighbours, "SHARD", 3)
    monkeypatch.setattr(neighbours, "FEW", 0)


def count_searches(monkeypatch, fail_at=None):
    searched, search = [], frame_pairs

    def counted(atoms, cutoff):
        searched.append(atoms)
        if len(searched) == fail_at:
            raise KeyboardInterrupt
        return search(atoms, cutoff)

    monkeypatch.setattr(neighbours, "frame_pairs", counted)
    return searched


FRAMES = [gas(4 + i, seed=i) for i in range(8)]
EVERY = list(range(8))


def same(one, other):
    assert one.fingerprint == other.fingerprint
    for a, b in zip(one.batch(EVERY), other.batch(EVERY), strict=True):
        np.testing.assert_array_equal(a, b)


def test_found_once(tmp_path, small_shards, monkeypatch):
    in_memory = find_neighbours(FRAMES, progress=False)
    searched = count_searches(monkeypatch)
    stored = find_neighbours(FRAMES, folder=tmp_path, n_jobs=1, progress=False)
    assert len(searched) == 8
    same(stored, in_memory)
    same(find_neighbours(FRAMES, folder=tmp_path, n_jobs=1, progress=False), stored)
    assert len(searched) == 8
    moved = [*FRAMES[:-1], FRAMES[-1].copy()]
    moved[-1].positions[0] += 0.01
    again = find_neighbours(moved, folder=tmp_path, n_jobs=1, progress=False)
    assert len(searched) == 10  # the last shard alone
    assert again.fingerprint != stored.fingerprint
    find_neighbours(FRAMES, 4.0, folder=tmp_path, n_jobs=1, progress=False)
    assert len(searched) == 18


def test_memory_maps(tmp_path, small_shards):
    stored = find_neighbours(FRAMES, folder=tmp_path, progress=False)
    base = stored[0]
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    size = sum(file.stat().st_size for file in (tmp_path / "cache").glob("*.npy"))
    assert size < 8 * stored.n_pairs.sum() + 3 * 256


def test_killed_search_continues(tmp_path, small_shards, monkeypatch):
    count_searches(monkeypatch, fail_at=6)
    with pytest.raises(KeyboardInterrupt):
        find_neighbours(FRAMES, folder=tmp_path, n_jobs=1, progress=False)
    monkeypatch.undo()
    monkeypatch.setattr(neighbours, "SHARD", 3)
    searched = count_searches(monkeypatch)
    stored = find_neighbours(FRAMES, folder=tmp_path, n_jobs=1, progress=False)
    assert len(searched) == 5
    same(stored, find_neighbours(FRAMES, progress=False))
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("damage", ["cut", "missing", "nonsense"])
def test_damaged_files_are_made_anew(tmp_path, small_shards, suffix, damage):
    stored = find_neighbours(FRAMES, folder=tmp_path, progress=False)
    before = [x.copy() for x in stored.batch(EVERY)]
    for file in (tmp_path / "cache").glob(f"*{suffix}"):
        content = file.read_bytes()
        file.unlink()
        if damage != "missing":
            file.write_bytes(content[:-40] if damage == "cut" else b"nonsense")
    neighbours._map.cache_clear()
    again = find_neighbours(FRAMES, folder=tmp_path, progress=False)
    for a, b in zip(before, again.batch(EVERY), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_processes(tmp_path, small_shards):
    same(
        find_neighbours(FRAMES, folder=tmp_path, n_jobs=2, progress=False),
        find_neighbours(FRAMES, n_jobs=1, progress=False),
    )


def test_embedded_frames(tmp_path):
    from phutils.dataset import load

    structures = load("embedded")[::400]
    found = find_neighbours(structures, folder=tmp_path, progress=False)
    assert (found.n_atoms == 216).all() and set(found.numbers) == {6}
    assert both_ways(found[2]) == expected(structures[2], 5.0)


# --- bad input -----------------------------------------------------------------------------------


def broken(**changed):
    atoms = gas()
    for name, value in changed.items():
        if name == "cell":
            atoms.set_cell(value)
        else:
            atoms.positions[int(name == "far")] = value
    return atoms


@pytest.mark.parametrize(
    "atoms, message",
    [
        (broken(first=np.nan), r"frame 1: position of atom 0 is \[nan, nan, nan\]"),
        (broken(far=np.inf), "frame 1: position of atom 1 is"),
        (broken(first=gas().positions[7] + [9, 0, 0]), "frame 1: atoms 0 and 7 are at the same"),
        (broken(cell=np.zeros((3, 3))), "frame 1: the cell .* has no volume"),
        (broken(cell=np.diag([1, 1, 0])), "frame 1: the cell .* has no volume"),
        (broken(cell=np.diag([1, np.nan, 1])), "frame 1: the cell is"),
        (broken(cell=np.eye(3) * 0.01), r"frame 1: 40 atoms in 1e-06 Å³ have .* pairs within 5.0"),
        (Atoms(), "frame 1: no atoms"),
    ],
)
def test_bad_frames(atoms, message):
    with pytest.raises(FrameError, match=message):
        find_neighbours([gas(), atoms], progress=False)


def test_a_bad_frame_of_a_later_shard(small_shards):
    with pytest.raises(FrameError, match="frame 4: no atoms"):
        find_neighbours([*FRAMES[:4], Atoms()], n_jobs=2, progress=False)


@pytest.mark.parametrize("cutoff", [0, -1, np.nan, np.inf])
def test_bad_cutoffs(cutoff):
    with pytest.raises(ValueError, match="not a positive length"):
        find_neighbours([gas()], cutoff, progress=False)


def test_no_frames():
    with pytest.raises(ValueError, match="no frames"):
        find_neighbours([], progress=False)
