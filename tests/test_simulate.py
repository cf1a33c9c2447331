import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from phutils import dataset, potential, simulate
from phutils.store import list_files, read_records, unpack_atoms
from phutils.structure import coordination

DATA = Path(dataset.__file__).parents[1] / "data"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(DATA.parent)}


# --- protocol ------------------------------------------------------------------------------------


def test_protocol_is_the_papers():
    targets, snapshots = simulate.schedule(simulate.MELT_QUENCH)
    assert len(targets) == len(snapshots) == 11_000  # steps of 1 fs
    expected = {"buffer_high": 30, "quench1": 100, "buffer_low": 25, "quench2": 100}
    assert Counter(snapshots) - Counter({None: 11_000}) == expected
    ends = np.cumsum([0, 2000, 3000, 2000, 2000, 2000])
    for (start, stop), first, last in zip(
        zip(ends[:-1], ends[1:], strict=True),
        (300, 9000, 9000, 5000, 5000),
        (9000, 9000, 5000, 5000, 300),
        strict=True,
    ):
        leg = targets[start:stop]
        assert leg[-1] == last
        assert np.ptp(np.diff(leg)) < 1e-9
        assert abs(leg[0] - first) <= abs(first - last) / 2000 + 1e-9
    taken = [step for step, name in enumerate(snapshots, start=1) if name == "quench2"]
    assert taken == list(range(9020, 11_001, 20))


def test_crystal_protocol():
    targets, snapshots = simulate.schedule(simulate.CRYSTAL)
    assert set(targets) == {300}
    assert snapshots.count("crystal") == 80
    assert len(snapshots) - snapshots.index("crystal") < 2000  # ps of the paper: 2, after 1


def test_the_whole_dataset():
    trajectories = simulate.trajectories()
    assert len({t.path for t in trajectories}) == len(trajectories) == 66 + 7 + 11 + 64
    assert (
        len({tuple(t.seed) for t in trajectories if t.stages != simulate.CRYSTAL}) == 66 + 11 + 64
    )
    frames, kinds = Counter(), Counter()
    for trajectory in trajectories:
        frames[trajectory.folder] += sum(stage.snapshots for stage in trajectory.stages)
        kinds[trajectory.folder, trajectory.n_atoms] += 1
    assert frames == {
        "216atom_amorphous": 16_830,
        "512atom_amorphous": 2_805,
        "216atom_crystal": 560,
        "216atom_continuous": 1_280,
    }
    assert kinds == {
        ("216atom_amorphous", 216): 66,
        ("512atom_amorphous", 512): 11,
        ("216atom_crystal", 216): 7,
        ("216atom_continuous", 216): 64,
    }
    small = {(t.density, t.run) for t in trajectories if t.folder == "216atom_amorphous"}
    assert small == {(density, run) for density in simulate.DENSITIES for run in range(1, 7)}
    drawn = np.sort([t.density for t in trajectories if t.folder == "216atom_continuous"])
    assert drawn.min() >= 1.5 and drawn.max() <= 3.5 and np.diff(drawn).max() < 4 / 64
    assert {t.path.name for t in trajectories} >= {f"{drawn[0]:.3f}_run1.npy", "1.5_run1.npy"}


def test_a_worker_process_starts_from_the_same_structures():
    """A trajectory that was sent to another process is equal to the one here, not the same."""
    for trajectory in simulate.trajectories():
        sent = pickle.loads(pickle.dumps(trajectory))
        here, there = (simulate.initial_structure(t) for t in (trajectory, sent))
        np.testing.assert_array_equal(here.positions, there.positions)


def test_stored_crystals_are_diamond_where_diamond_is_stable():
    structures = dataset.load("embedded", "all")
    crystals = structures[(structures.stage == "crystal") & (structures.density > 3.1)]
    if not len(crystals):
        pytest.skip("data/ holds no crystals")
    for atoms in crystals[::20]:
        assert (coordination(atoms) == 4).mean() > 0.95


@pytest.mark.parametrize("trajectory", [simulate.trajectories()[k] for k in (0, 11, -1)])
def test_initial_structures(trajectory):
    atoms = simulate.initial_structure(trajectory)
    assert len(atoms) == trajectory.n_atoms
    assert set(atoms.symbols) == {"C"}
    length = dataset.cell_length(trajectory.n_atoms, trajectory.density)
    np.testing.assert_allclose(atoms.cell.array, np.eye(3) * length)
    nearest = np.sort(atoms.get_all_distances(mic=True)[0])[1:7]
    if trajectory.folder == "216atom_crystal":
        assert np.ptp(nearest[:4]) < 1e-9 < nearest[4] - nearest[3]
    else:
        assert np.ptp(nearest) < 1e-9


# --- resuming ------------------------------------------------------------------------------------

# One process loads the libraries, then every run is a child of its own that can be killed.
SHORT = """
import os, sys
from phutils import fast_nep, potential, simulate

stages = (
    simulate.Stage("heat", 300, 3000, 100, 0),
    simulate.Stage("buffer_high", 3000, 3000, 100, 4),
    simulate.Stage("quench2", 3000, 300, 100, 5),
)
trajectory = simulate.Trajectory("216atom_amorphous", 64, 0.7, 1, stages)
potential.calculator(), fast_nep.calculator()

def run(folder, killed_at):
    calls = []

    def advance(n):
        calls.append(n)
        if len(calls) == killed_at:
            os.kill(os.getpid(), 9)

    simulate.run_trajectory(trajectory, folder, advance, checkpoint_every=0)

for argument in sys.argv[1:]:
    folder, killed_at = argument.split(":")
    if not (child := os.fork()):
        run(folder, int(killed_at))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finished = os.path.exists(os.path.join(folder, trajectory.path))
    print(status, finished, os.listdir(os.path.join(folder, ".partial", trajectory.folder)))
"""


def test_a_killed_run_ends_in_the_same_frames(nep89, tmp_path):
    """kill -9 twice, at different steps; every bit of the file is as in the unbroken run."""
    # Calls come every 100 steps and, when resumed, once for the steps of the checkpoint.
    runs = ["unbroken:0", "broken:2", "broken:3", "broken:0"]
    command = [sys.executable, "-c", SHORT, *runs]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines() == [
        "0 True []",
        "-9 False ['0.7_run1.npz']",
        "-9 False ['0.7_run1.npz']",
        "0 True []",
    ], done.stderr
    (one,) = (tmp_path / "unbroken").glob("*/*.npy")
    (other,) = (tmp_path / "broken").glob("*/*.npy")
    assert one.read_bytes() == other.read_bytes()
    frames = np.load(one)
    assert len(frames) == 9
    assert len(np.unique(frames["energy"])) == 9
    np.testing.assert_allclose(frames["time"][[0, 3, 4, 8]], [0.125, 0.2, 0.22, 0.3], atol=1e-6)
    assert not list(tmp_path.rglob("*.tmp"))


PARENT = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from phutils import simulate

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    start = simulate._start_worker, (context.Value("q", 0),)
    pool = ProcessPoolExecutor(1, context, *start)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 60)
    os.kill(os.getpid(), 9)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    found = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, timeout=120)
    worker = int(found.stdout)
    for _ in range(100):
        status = Path(f"/proc/{worker}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    pytest.fail("the worker outlived its parent")


def test_a_finished_trajectory_is_left_alone(tmp_path):
    trajectory = simulate.trajectories()[0]
    path = tmp_path / trajectory.path
    path.parent.mkdir()
    path.write_bytes(b"finished")
    assert simulate.run_trajectory(trajectory, tmp_path) == path
    assert path.read_bytes() == b"finished"


# --- stored data ---------------------------------------------------------------------------------


def test_stored_energies_are_those_of_the_potential(nep89):
    """A random sample of every folder, recomputed with the cut potential to 1 meV/atom."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    files = list_files(DATA)
    checked = 0
    for folder in {file.folder for file in files}:
        of_folder = [file for file in files if file.folder == folder]
        for k in rng.choice(len(of_folder), min(6, len(of_folder)), replace=False):
            records = read_records(of_folder[k])
            frame = records[rng.integers(len(records))]
            atoms = unpack_atoms(frame)
            atoms.calc = potential.calculator()
            difference = (atoms.get_potential_energy() - frame["energy"]) / len(atoms)
            where = f"{of_folder[k].path.name} {frame['stage']} {frame['time']:.3f} ps"
            assert abs(difference) < 1e-3, where
            checked += 1
    assert checked >= min(6, len(files))
