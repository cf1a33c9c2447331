import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from periodic_checks import spread

from phutils import diagrams, homcloud_worker
from phutils.dataset import load

ROOT = Path(__file__).resolve().parents[1]


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
    reference = diagrams.persistence_diagram(crystal, backend="homcloud")
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
    message = r"^6 atoms in a box of 7\.5 x 7\.5 x 7\.5 Å are too few .*; backend='fast' can do it$"
    with pytest.raises(diagrams.FrameError, match=message):
        diagrams.persistence_diagram(small[0][:6], backend="homcloud")
    assert len(diagrams.persistence_diagram(small[0][:6])[0]) == 5


def test_unknown_settings(small):
    with pytest.raises(ValueError, match="unknown backend 'gudhi'"):
        diagrams.persistence_diagram(small[0], backend="gudhi")
    with pytest.raises(ValueError, match="degrees"):
        diagrams.persistence_diagrams(small, degrees=(1, 3))


def test_homcloud_abort_and_hang_become_errors_and_the_next_frame_works(small, monkeypatch):
    monkeypatch.setattr(homcloud_worker, "LONGEST", np.inf)
    monkeypatch.setattr(homcloud_worker, "LIMIT", 4.0)
    aborts, hangs = spread(120, (8.0, 8.0, 16.0)), spread(120, (4.6, 4.6, 46.0))
    run = [small[0], aborts, hangs, small[1]]
    settings = {"backend": "homcloud", "n_jobs": 1, "progress": False}
    found = diagrams.persistence_diagrams(run, errors="skip", **settings)
    assert found.valid.tolist() == [True, False, False, True]
    assert found.failed == {
        1: "HomCloud's process died (exit code -6) from 120 atoms in a box of 8 x 8 x 16 Å; "
        "backend='fast' can do it",
        2: "HomCloud took longer than 4 s for 120 atoms in a box of 4.6 x 4.6 x 46 Å; "
        "backend='fast' can do it",
    }
    for i, atoms in ((0, small[0]), (3, small[1])):
        np.testing.assert_allclose(found[i][1], diagrams.persistence_diagram(atoms)[1], atol=1e-9)


def test_a_worker_without_its_parent_ends_by_itself(tmp_path):
    """The parent is killed while HomCloud hangs: the alarm must end what nobody waits for."""
    code = (
        "import os, sys, threading; sys.path.insert(0, 'tests')\n"
        "from phutils import homcloud_worker as w; from periodic_checks import spread\n"
        "w.LONGEST = float('inf'); atoms = spread(120, (4.6, 4.6, 46.0)); w._running_worker()\n"
        "print(w._worker[0].pid, flush=True)\n"
        "threading.Timer(1, os._exit, [1]).start()\n"
        "w.homcloud_diagrams(atoms.positions, atoms.cell.array, limit=1.5)\n"
    )
    with (tmp_path / "out").open("w") as out:  # not a pipe, which the worker would keep open
        subprocess.run([sys.executable, "-c", code], stdout=out, stderr=out, cwd=ROOT)
    pid = int((tmp_path / "out").read_text().split()[0])
    assert running(pid)
    end = time.monotonic() + 20
    while running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    left = running(pid)
    if left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def running(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- runs that go on, streams, and two runs at once ----------------------------------------------


@pytest.fixture
def mixed(small):
    """Six frames of 60, 60, 6, 5, 60 and 60 atoms; the fourth has a hole in it."""
    frames = [*small[:2], small[2][:6], small[2][:5], small[1], small[0]]
    frames[3].positions[4, 2] = np.nan
    return frames


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_run_can_go_on_with_the_other_frames(mixed, n_jobs, monkeypatch):
    monkeypatch.setattr(diagrams, "SHARD", 2)
    settings = {"n_jobs": n_jobs, "progress": False}
    found = diagrams.persistence_diagrams(iter(mixed), errors="skip", **settings)
    assert found.n_atoms.tolist() == [60, 60, 6, 0, 60, 60]
    assert list(found.failed) == [3] and found.failed[3].startswith("position of atom 4 is [")
    assert found.valid.tolist() == [True, True, True, False, True, True]
    assert [len(found[3][k]) for k in (0, 1, 2)] == [0, 0, 0]
    alone = diagrams.persistence_diagrams([mixed[i] for i in (0, 1, 2, 4, 5)], **settings)
    for k in (0, 1, 2):
        np.testing.assert_array_equal(found[found.valid].pairs[k], alone.pairs[k])
        np.testing.assert_array_equal(found[found.valid].offsets[k], alone.offsets[k])
    assert alone.failed == found[found.valid].failed == {}
    assert found[2:5].failed == {1: found.failed[3]} and found[[3, 0, 3]].valid.tolist() == [
        0,
        1,
        0,
    ]
    with pytest.raises(diagrams.FrameError, match="^frame 3: position of atom 4 is"):
        diagrams.persistence_diagrams(mixed, **settings)


def test_failures_are_kept_on_disk_and_good_shards_are_shared(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(diagrams, "SHARD", 2)
    settings = {"n_jobs": 1, "progress": False, "folder": tmp_path, "backend": "homcloud"}
    calls, compute = [], diagrams._diagram
    monkeypatch.setattr(diagrams, "_diagram", lambda *a: calls.append(1) or compute(*a))
    with pytest.raises(diagrams.FrameError, match="^frame 2: 6 atoms .* too few"):
        diagrams.persistence_diagrams(mixed[:3], **settings)
    assert len(calls) == 3 and len(list((tmp_path / "cache").glob("*.npz"))) == 1
    first = diagrams.persistence_diagrams(mixed, errors="skip", **settings)
    assert len(calls) == 6  # not again frames 0 and 1, never frame 3
    again = diagrams.persistence_diagrams(mixed, errors="skip", **settings)
    assert len(calls) == 6
    assert first.failed == again.failed and list(again.failed) == [2, 3]
    for k in (0, 1, 2):
        np.testing.assert_array_equal(first.pairs[k], again.pairs[k])
    shifted = diagrams.persistence_diagrams(mixed[2:], errors="skip", **settings)
    assert shifted.failed == {i - 2: message for i, message in again.failed.items()}


def test_a_noted_failure_stops_a_run_that_is_to_stop(small, tmp_path):
    frames = [*small[:2], small[2][:6]]
    settings = {"n_jobs": 1, "progress": False, "folder": tmp_path, "backend": "homcloud"}
    assert list(diagrams.persistence_diagrams(frames, errors="skip", **settings).failed) == [2]
    (file,) = (tmp_path / "cache").glob("*.npz")
    stamp = file.stat().st_mtime_ns
    with pytest.raises(diagrams.FrameError, match="^frame 2: 6 atoms .* too few"):
        diagrams.persistence_diagrams(frames, **settings)
    assert file.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_blocks_are_the_whole(small, mixed, n_jobs):
    whole = diagrams.persistence_diagrams(mixed, n_jobs=1, progress=False, errors="skip")
    settings = {"n_jobs": n_jobs, "progress": False, "errors": "skip"}
    blocks = list(diagrams.iter_diagrams(iter(mixed), size=4, **settings))
    assert [len(block) for block in blocks] == [4, 2] and list(blocks[0].failed) == [3]
    joined = diagrams.Diagrams.concatenate(blocks, (0, 1, 2))
    for k in (0, 1, 2):
        np.testing.assert_array_equal(joined.pairs[k], whole.pairs[k])
        np.testing.assert_array_equal(joined.offsets[k], whole.offsets[k])
    assert joined.failed == whole.failed and joined.n_atoms.tolist() == whole.n_atoms.tolist()
    assert list(diagrams.iter_diagrams([], **settings)) == []
    with pytest.raises(ValueError, match="a block of 0 frames"):
        next(diagrams.iter_diagrams(small, size=0))


def test_a_stream_needs_little_memory(small):
    """A hundred times more frames than fit into the blocks that may wait."""
    read, peak = [0], [0]

    def stream():
        for _ in range(300):
            read[0] += 1
            yield small[0][:8]

    blocks = diagrams.iter_diagrams(stream(), size=3, n_jobs=1, progress=False)
    for k, _ in enumerate(blocks, 1):
        peak[0] = max(peak[0], read[0] - 3 * k)
    assert k == 100 and peak[0] == 0


def test_two_runs_at_once_fill_one_folder(small, tmp_path):
    code = (
        "import sys, time, hashlib, numpy as np; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path; from phutils import artifacts, diagrams; from ase import Atoms\n"
        "rng = np.random.default_rng(0)\n"
        "frames = [Atoms('C60', rng.random((60, 3)) * 7.5, cell=[7.5] * 3, pbc=True)"
        " for _ in range(30)]\n"
        "folder = Path(sys.argv[1]); (folder / sys.argv[2]).touch()\n"
        "while len(list(folder.glob('ready*'))) < 2: time.sleep(0.01)\n"
        "blocks = diagrams.iter_diagrams(frames, n_jobs=1, folder=folder, size=2, progress=False)\n"
        "found = diagrams.Diagrams.concatenate(list(blocks), (0, 1, 2))\n"
        "print(artifacts.fingerprint([found.pairs, found.offsets]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    runs = [
        subprocess.Popen([*command, f"ready{i}"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for i in range(2)
    ]
    one, two = (run.communicate(timeout=240)[0] for run in runs)
    assert one == two and len(one.strip()) == 64
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 15 and {f.suffix for f in files} == {".npz"}  # no lock, nothing half-made
    for file in files:
        with np.load(file, allow_pickle=False) as shard:
            assert shard["offsets1"][-1] == len(shard["pairs1"]) > 100
    stamps = [f.stat().st_mtime_ns for f in files]
    rng = np.random.default_rng(0)
    frames = [Atoms("C60", rng.random((60, 3)) * 7.5, cell=[7.5] * 3, pbc=True) for _ in range(30)]
    settings = {"n_jobs": 1, "folder": tmp_path, "size": 2, "progress": False}
    blocks = list(diagrams.iter_diagrams(frames, **settings))
    assert [f.stat().st_mtime_ns for f in files] == stamps
    alone = diagrams.persistence_diagram(frames[-1])
    np.testing.assert_array_equal(blocks[-1][1][1], alone[1])
