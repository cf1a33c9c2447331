import numpy as np
import pytest
from ase import Atoms

from phutils import frames
from phutils.frames import FrameError


def weigh(shard, power, first=0):
    """A stand-in for a long computation: one number a frame, and an error for heavy frames."""
    for i, (positions, _) in enumerate(shard, first):
        if len(positions) > 5:
            raise FrameError(f"frame {i}: {len(positions)} atoms")
    return {"n": np.array([len(positions) ** power for positions, _ in shard])}


def boxes(*sizes):
    rng = np.random.default_rng(0)
    return [Atoms(f"C{n}", rng.random((n, 3)) * 9, cell=[9] * 3, pbc=True) for n in sizes]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_shards_come_back_in_order(tmp_path, n_jobs):
    options = dict(size=2, label="x", n_jobs=n_jobs, progress=False)
    found = list(frames.run_shards(weigh, boxes(1, 2, 3, 4, 5), (2,), **options))
    assert [shard["n"].tolist() for shard in found] == [[1, 4], [9, 16], [25]]
    assert list(frames.run_shards(weigh, [], (2,), **options)) == []


@pytest.mark.parametrize("on_disk", [False, True])
def test_an_error_names_the_frame_of_the_whole_run(tmp_path, on_disk, monkeypatch):
    monkeypatch.setattr(weigh, "__module__", "numpy")  # a function that may be cached
    folder = tmp_path if on_disk else None
    options = dict(size=2, label="x", n_jobs=1, progress=False, folder=folder)
    with pytest.raises(FrameError, match="^frame 3: 6 atoms"):
        list(frames.run_shards(weigh, boxes(1, 2, 3, 6), (1,), **options))
    if on_disk:
        assert len(list((tmp_path / "cache").glob("*.npz"))) == 1  # the first shard is kept


def test_bad_frame_is_named_before_anything_is_computed():
    bad = boxes(1, 2, 3)
    bad[2].positions[1] = np.nan
    with pytest.raises(FrameError, match="^frame 2: position of atom 1"):
        list(frames.run_shards(weigh, bad, (1,), size=9, label="x", n_jobs=1, progress=False))


def test_check_frame_wraps_and_keeps_places():
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0, 1.0, 6.0]])
    inside = np.array([[0.1, 0.2, 0.3], [0.9, 0.5, 0.0]])
    outside = (inside + [[3, -2, 1], [0, 1, -4]]) @ cell
    positions, matrix = frames.check_frame(outside, cell)
    np.testing.assert_allclose(positions, inside @ cell, atol=1e-12)
    np.testing.assert_array_equal(matrix, cell)
    np.testing.assert_array_equal(frames.cell_matrix([1.0, 2, 3]), np.diag([1.0, 2, 3]))


def test_atoms_at_one_place_are_found_in_a_slanted_cell():
    cell = np.array([[4.0, 0, 0], [3.9, 5.0, 0], [0, 1.0, 6.0]])
    positions = np.array([[1.0, 1, 1], [2.0, 2, 2], [1.0, 1, 1] + 2 * cell[0] - cell[2]])
    with pytest.raises(FrameError, match="atoms 0 and 2 are at the same place"):
        frames.check_frame(positions, cell)
    positions[2] += 0.01
    frames.check_frame(positions, cell)
