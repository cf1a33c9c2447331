import os
import signal
import subprocess
import sys
import time
import weakref
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

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


def outcome(shard, first=0):
    """A stand-in that notes what it is given: the number of atoms, or the message."""
    said = [frame if isinstance(frame, str) else f"{len(frame[0])} atoms" for frame in shard]
    return {"said": np.array(said), "first": np.array(-1 if first is None else first)}


def die(shard, first=0):
    os._exit(3)


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


@pytest.mark.parametrize(
    "slant", [[[1, 0, 0], [40, 1, 0], [-7, 30, 1]], [[1, 0, 0], [0, -1, 0], [1, 0, 1]]]
)
def test_a_slanted_cell_is_given_by_its_shortest_vectors(slant):
    box = np.diag([4.0, 5.0, 6.0])
    positions, cell = frames.check_frame([[1.0, 1, 1], [3.5, 9, -8]], np.array(slant) @ box)
    np.testing.assert_allclose(np.abs(cell), box, atol=1e-12)
    shifts = (positions - [[1.0, 1, 1], [3.5, 9, -8]]) @ np.linalg.inv(box)
    np.testing.assert_allclose(shifts, shifts.round(), atol=1e-12)


def test_something_else_than_a_frame_is_named():
    options = dict(size=2, label="x", n_jobs=1, progress=False)
    with pytest.raises(FrameError, match="^frame 1: an object of type NoneType is no ase.Atoms"):
        list(frames.run_shards(weigh, [*boxes(1), None], (1,), **options))
    with pytest.raises(FrameError, match="^frame 0: an object of type Atom is no ase.Atoms"):
        list(frames.run_shards(weigh, boxes(3)[0], (1,), **options))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_run_can_go_on_with_the_other_frames(n_jobs):
    structures = boxes(1, 2, 3)
    structures[1].positions[1] = np.nan
    options = dict(size=2, label="x", n_jobs=n_jobs, progress=False)
    one, two = frames.run_shards(outcome, structures, (), errors="skip", **options)
    assert one["said"].tolist() == ["1 atoms", "position of atom 1 is [nan, nan, nan] Å"]
    assert two["said"].tolist() == ["3 atoms"] and one["first"] == two["first"] == -1
    one, two = frames.run_shards(outcome, boxes(1, 2, 3), (), **options)
    assert (one["first"], two["first"]) == (0, 2)
    with pytest.raises(ValueError, match="unknown errors 'ignore'"):
        list(frames.run_shards(outcome, structures, (), errors="ignore", **options))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_frames_are_read_when_their_turn_comes_and_results_are_let_go(n_jobs):
    read = []

    def stream():
        for i in range(200):
            read.append(i)
            yield boxes(3)[0]

    options = dict(size=2, label="x", n_jobs=n_jobs, progress=False)
    shards, kept = frames.run_shards(weigh, stream(), (1,), **options), []
    assert not read
    for k in range(20):
        kept.append(weakref.ref(next(shards)["n"]))
        time.sleep(0.02)  # a slow reader
        assert len(read) <= 2 * (k + 1) + (4 * n_jobs if n_jobs > 1 else 0)
    assert [ref() is None for ref in kept[:-1]] == [True] * 19
    shards.close()
    time.sleep(0.1)
    before = len(read)
    assert len(list(frames.run_shards(weigh, boxes(1, 2, 3), (1,), **options))) == 2
    assert len(read) == before  # nothing goes on behind our back


def test_a_dead_process_ends_the_run_but_not_the_next_one():
    options = dict(size=1, label="x", n_jobs=2, progress=False)
    with pytest.raises(BrokenProcessPool):
        list(frames.run_shards(die, boxes(1, 2, 3), (), **options))
    assert len(list(frames.run_shards(weigh, boxes(1, 2, 3), (1,), **options))) == 3


KILLED = """
import os, sys
sys.path.insert(0, "tests")
from phutils import frames
from test_frames import boxes, bulky, pids

options = dict(size=1, label="x", n_jobs=2, progress=False)
print(*{int(shard["pid"]) for shard in frames.run_shards(pids, boxes(*[1] * 8), (), **options)})
sys.stdout.flush()
next(frames.run_shards(bulky, boxes(*[1] * 9), (), **options))
os.kill(os.getpid(), 9)
"""


def pids(shard, first=0):
    time.sleep(0.2)
    return {"pid": np.array(os.getpid())}


def bulky(shard, first=0):
    """More than a pipe holds: whoever sends it waits for a reader."""
    return {"n": np.zeros(10**6)}


def test_processes_end_with_the_one_that_started_them(tmp_path):
    root = Path(__file__).resolve().parents[1]
    with (tmp_path / "out").open("w") as out:  # not a pipe, which they would keep open
        subprocess.run([sys.executable, "-c", KILLED], stdout=out, stderr=out, cwd=root)
    workers = {int(pid) for pid in (tmp_path / "out").read_text().split("\n")[0].split()}
    assert len(workers) == 2
    end = time.monotonic() + 15
    while (left := set(filter(runs, workers))) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def runs(pid):
    try:
        state = (Path("/proc") / str(pid) / "stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
