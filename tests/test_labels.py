import json
import os
import subprocess
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from filelock import FileLock

from phutils import dataset, labels, simulate
from phutils.store import (
    LABEL_DTYPE,
    cell_length,
    frame_dtype,
    list_files,
    pack_frame,
    read_records,
    unpack_atoms,
    write_checksums,
)

DATA = Path(dataset.__file__).parents[1] / "data"
STAGES = {"buffer_high": 30, "quench1": 100, "buffer_low": 25, "quench2": 100}


# --- which frames --------------------------------------------------------------------------------


def protocol(density, run):
    """Records of a melt-quench run as they are stored, without positions."""
    records = np.zeros(sum(STAGES.values()), frame_dtype(0))
    records["stage"] = np.repeat(list(STAGES), list(STAGES.values()))
    records["density"], records["run"] = density, run
    return records


def test_every_density_run_and_stage_is_labelled():
    chosen = {}
    for density in simulate.DENSITIES:
        for run in range(1, simulate.RUNS + 1):
            records = protocol(density, run)
            rows = labels.choose_gfn1(records)
            expected = {"buffer_high": 4, "quench1": 4, "buffer_low": 4, "quench2": 5}
            assert Counter(records["stage"][rows].tolist()) == expected
            assert rows[-1] == len(records) - 1  # the quenched structure
            assert (np.diff(rows) > 0).all()
            chosen[density, run] = rows
    assert sum(map(len, chosen.values())) >= 1100


def test_the_chosen_frames_are_evenly_spaced():
    records = protocol(2.0, 1)
    runs = []
    for run in range(1, simulate.RUNS + 1):
        records["run"] = run
        runs.append(labels.choose_gfn1(records)[:-1])
        start = 0
        for stage, length in STAGES.items():
            rows = runs[-1][records["stage"][runs[-1]] == stage] - start
            assert np.ptp(np.diff(rows)) <= 1
            assert rows[0] < length / 4
            assert rows[-1] >= length * 3 / 4
            start += length
    together = np.unique(runs)
    assert len(together) == 4 * 4 * simulate.RUNS  # no instant twice
    quench = together[(together >= 30) & (together < 130)]
    assert np.diff(quench).max() <= 5


def test_the_anchor_covers_densities_and_stages():
    stages, n = Counter(), 0
    for density in simulate.DENSITIES:
        records = protocol(density, 1)
        (row,) = labels.choose_lda(records)
        assert row in labels.choose_gfn1(records)
        stages[records["stage"][row].item()] += 1
        assert not len(labels.choose_lda(protocol(density, 2)))
        n += 1
    assert n >= 10
    assert set(stages) == set(STAGES)
    assert max(stages.values()) - min(stages.values()) <= 1


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """Two small trajectories as `phutils.simulate` would write them."""
    root = tmp_path / "data"
    (root / labels.FOLDER).mkdir(parents=True)
    for density in (2.4, 1.5):
        frames = []
        length = cell_length(8, density)
        for k in range(12):
            rng = np.random.default_rng([round(10 * density), k])
            atoms = Atoms("C8", rng.uniform(0, length, (8, 3)), cell=[length] * 3, pbc=True)
            stage = "buffer_high" if k < 6 else "quench2"
            values = dict(density=density, run=1, stage=stage, time=k / 10, temperature=300)
            frames.append(pack_frame(atoms, **values, energy=-60 - k))
        np.save(root / labels.FOLDER / f"{density}_run1.npy", np.stack(frames))
    write_checksums(root)
    return root


@pytest.fixture
def energies(monkeypatch):
    """`gfn1` replaced by something quick; the list of the structures it was asked for."""
    asked = []

    def quick(atoms):
        asked.append(atoms)
        return atoms.positions.sum(), atoms.positions.sum() - 1

    monkeypatch.setitem(labels.METHODS, "gfn1", (quick, labels.choose_gfn1))
    return asked


def change(path):
    records = np.load(path)
    records["scaled_positions"][0, 0, 0] ^= 1
    np.save(path, records)
    write_checksums(path.parents[1])


def test_labels_belong_to_the_stored_positions(root, energies):
    file = list_files(root)[1]
    frames = read_records(file)
    path = labels.label_trajectory(file, root, "gfn1")
    assert path == root / "labels" / "gfn1" / "2.4_run1.npy"
    records = np.load(path, allow_pickle=False)
    assert records.dtype == LABEL_DTYPE
    np.testing.assert_array_equal(records["row"], labels.choose_gfn1(frames))
    for record in records:
        stored = unpack_atoms(frames[record["row"]])
        assert record["energy"] == stored.positions.sum()
        assert record["free_energy"] == record["energy"] - 1
    assert set(records["trajectory"].tolist()) == {file.digest.encode()}
    assert not list(root.rglob("*.tmp"))


def test_a_changed_trajectory_is_labelled_again(root, energies):
    for _ in range(2):  # the second time, all is known
        for file in list_files(root):
            labels.label_trajectory(file, root, "gfn1")
    assert len(energies) == 18
    change(root / labels.FOLDER / "1.5_run1.npy")
    changed, kept = list_files(root)
    assert not labels.known_labels(changed, root, "gfn1")
    assert len(labels.known_labels(kept, root, "gfn1")) == 9
    labels.label_trajectory(changed, root, "gfn1")
    records = np.load(root / "labels" / "gfn1" / "1.5_run1.npy")
    assert set(records["trajectory"].tolist()) == {changed.digest.encode()}
    assert len(energies) == 27


def test_a_frame_that_fails_is_named_and_the_others_are_kept(root, monkeypatch):
    def failing(atoms):
        if abs(atoms.positions - third.positions).max() < 1e-9:
            raise RuntimeError("SCF not converged in 200 cycles")
        return 0.0, 0.0

    file = list_files(root)[0]
    frames = read_records(file)
    rows = labels.choose_gfn1(frames)
    third = unpack_atoms(frames[rows[2]])
    monkeypatch.setitem(labels.METHODS, "gfn1", (failing, labels.choose_gfn1))
    message = rf"1\.5_run1\.npy, row {rows[2]}: gfn1 failed: SCF not converged in 200 cycles"
    with pytest.raises(RuntimeError, match=message):
        labels.label_trajectory(file, root, "gfn1")
    assert list(labels.known_labels(file, root, "gfn1")) == rows[:2].tolist()
    assert not (root / "labels").exists()


# --- command line, with a quick library in place of tblite ---------------------------------------

LIBRARY = """
import os, time
import numpy as np

class Calculator:
    def __init__(self, method, numbers, positions, lattice):
        assert method == "GFN1-xTB"
        self.energy, self.settings = positions.sum() / 100, {}

    def set(self, name, value):
        self.settings[name] = value

    def singlepoint(self):
        time.sleep(float(os.environ.get("PAUSE", 0)))
        if self.settings["mixer-damping"] > float(os.environ.get("NEEDED", 1)):
            raise RuntimeError("SCF not converged")
        with open("calls", "a") as file:
            file.write(f"{self.energy}\\n")
        return self

    def get(self, name):
        return {"energy": self.energy, "orbital-occupations": np.ones(32)}[name]
"""


@pytest.fixture
def command(root, tmp_path):
    """Starts ``python -m phutils.labels`` in ``tmp_path``."""
    (tmp_path / "lib" / "tblite").mkdir(parents=True)
    (tmp_path / "lib" / "tblite" / "__init__.py").touch()
    (tmp_path / "lib" / "tblite" / "interface.py").write_text(LIBRARY)
    info = tmp_path / "lib" / "tblite-0.8.0.dist-info" / "METADATA"
    info.parent.mkdir()
    info.write_text("Metadata-Version: 2.1\nName: tblite\nVersion: 0.8.0\n")
    path = os.pathsep.join([str(tmp_path / "lib"), str(DATA.parent)])

    def start(*arguments, **variables):
        return subprocess.Popen(
            [sys.executable, "-m", "phutils.labels", "--out", str(root), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def calls(tmp_path):
    path = tmp_path / "calls"
    return path.read_text().split() if path.exists() else []


def test_a_killed_run_loses_only_the_frame_it_was_at(root, tmp_path, command):
    run = command("-n", "1", PAUSE="0.2")
    while len(calls(tmp_path)) < 11 and run.poll() is None:  # 9 of the first file, 2 of the second
        time.sleep(0.01)
    run.kill()
    run.communicate()
    time.sleep(1)
    before = calls(tmp_path)
    time.sleep(0.5)
    assert calls(tmp_path) == before, "a worker outlived its parent"
    assert 11 <= len(before) < 18
    done = np.load(root / "labels" / "gfn1" / "1.5_run1.npy")
    out, error = command("-n", "1").communicate()
    assert (root / "labels" / "gfn1" / "2.4_run1.npy").exists(), error
    assert len(calls(tmp_path)) <= 18 + 1
    assert len(set(calls(tmp_path))) == 18
    assert not list((root / ".partial").rglob("*.npy"))
    assert np.load(root / "labels" / "gfn1" / "1.5_run1.npy").tobytes() == done.tobytes()
    listed = [file.path.name for file in list_files(root / "labels")]
    assert listed == ["1.5_run1.npy", "2.4_run1.npy"]
    assert [file.folder for file in list_files(root)] == [labels.FOLDER] * 2
    settings = json.loads((root / "labels" / "gfn1" / "settings.json").read_text())
    assert settings == labels.SETTINGS["gfn1"] | {"version": "0.8.0"}

    out, error = command("-n", "1").communicate()
    assert "nothing to do" in out
    assert len(set(calls(tmp_path))) == 18


def test_settings_do_not_mix(root, monkeypatch):
    monkeypatch.setattr(labels.metadata, "version", lambda name: "0.8.0")
    path = root / "labels" / "gfn1" / "settings.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(labels.SETTINGS["gfn1"] | {"version": "0.7.0"}))
    with pytest.raises(ValueError, match="labels of two kinds do not mix"):
        labels.main(["--out", str(root)])


def test_a_missing_library_is_said(root, monkeypatch):
    monkeypatch.setitem(labels.SETTINGS["gfn1"], "distribution", "no-such-library")
    with pytest.raises(ModuleNotFoundError, match=r"no-such-library is missing: see data/README"):
        labels.main(["--out", str(root)])
    assert not (root / "labels").exists()


def test_two_runs_at_a_time_are_refused(root, capsys):
    (root / ".partial").mkdir()
    with (
        FileLock(root / ".partial" / "labels-gfn1.lock"),
        pytest.raises(SystemExit, match="1"),
    ):
        labels.main(["--out", str(root)])
    assert "another run writes gfn1 labels" in capsys.readouterr().err


def test_charges_that_do_not_converge_are_tried_again_and_then_said(root, tmp_path, command):
    run = command(NEEDED="0.001")
    out, error = run.communicate()
    assert run.returncode == 1
    for name in ("1.5_run1.npy", "2.4_run1.npy"):
        assert f"{name}, row 0: gfn1 failed: SCF not converged" in error
    assert not list((root / "labels").rglob("*.npy"))
    run = command(NEEDED="0.02")
    run.communicate()
    assert run.returncode == 0
    assert len(calls(tmp_path)) == 18


# --- the real libraries --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tblite():
    labels.fast_blas()  # has to come before tblite
    pytest.importorskip(
        "tblite.interface", reason="the extra `labels` is not installed (uv sync --extra labels)"
    )


@pytest.fixture
def liquid():
    atoms = bulk("C", cubic=True)
    atoms.set_cell(atoms.cell * 1.15, scale_atoms=True)
    atoms.rattle(0.3, seed=1)
    return atoms


def test_gfn1_is_extrapolated_to_cold_electrons(tblite, liquid, monkeypatch):
    """-dF/dT is the entropy, and the extrapolated energy hardly depends on the temperature."""
    from tblite.ase import TBLite

    found = {}
    for temperature in (2000, 4900, 5000, 5100):
        monkeypatch.setitem(labels.SETTINGS["gfn1"], "electronic temperature / K", temperature)
        monkeypatch.setitem(labels.SETTINGS["gfn1"], "accuracy", 0.1)
        found[temperature] = labels.gfn1(liquid)
    energy, free_energy = found[5000]
    settings = dict(electronic_temperature=5000, accuracy=0.1, mixer_damping=0.1, verbosity=0)
    liquid.calc = TBLite(method="GFN1-xTB", **settings)
    assert free_energy == pytest.approx(liquid.get_potential_energy(), abs=1e-4)  # eV
    entropy = (found[4900][1] - found[5100][1]) / 200
    assert 2 * (energy - free_energy) == pytest.approx(5000 * entropy, rel=1e-3)
    cold = found[2000][0]
    assert abs(energy - cold) < 0.25 * abs(free_energy - cold)


def test_gfn1_is_periodic_and_converged(tblite, liquid, monkeypatch):
    energy = labels.gfn1(liquid)[0]
    moved = liquid.copy()
    moved.positions += [1.1, 2.2, 3.3]
    moved.wrap()
    monkeypatch.setattr(labels, "DAMPINGS", (0.2,))
    monkeypatch.setitem(labels.SETTINGS["gfn1"], "accuracy", 0.1)
    assert abs(labels.gfn1(moved)[0] - energy) / len(liquid) < 2e-4  # eV/atom
    diamond, stretched = bulk("C", cubic=True), bulk("C", cubic=True, a=4.2)
    assert labels.gfn1(diamond)[0] < labels.gfn1(stretched)[0] - 8 * 0.5


def test_stored_labels_are_those_of_tblite(tblite):
    """One random frame, computed again."""
    path = DATA / "labels" / "gfn1" / "settings.json"
    if not (DATA / "labels" / "SHA256SUMS").exists():
        pytest.skip("data/ holds no labels")
    assert json.loads(path.read_text())["version"] == metadata.version("tblite")
    structures = dataset.load("embedded", labels="gfn1")
    k = np.random.default_rng(int.from_bytes(os.urandom(4))).integers(len(structures))
    energy = labels.gfn1(structures[k])[0] / 216
    assert abs(energy - structures.energy_per_atom[k]) < 2e-4, f"frame {k}"


# --- stored labels -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", labels.METHODS)
def test_stored_labels(method):
    sums = DATA / "labels" / "SHA256SUMS"
    files = [f for f in list_files(DATA / "labels") if f.folder == method] if sums.exists() else []
    if not files:
        pytest.skip(f"data/ holds no {method} labels")
    settings = json.loads((DATA / "labels" / method / "settings.json").read_text())
    assert settings | {"version": ""} == labels.SETTINGS[method] | {"version": ""}
    trajectories = {f.path.name: f for f in list_files(DATA) if f.folder == labels.FOLDER}
    ours, theirs = [], []
    for file in files:
        records, frames = read_records(file), read_records(trajectories[file.path.name])
        np.testing.assert_array_equal(records["row"], labels.METHODS[method][1](frames))
        entropy = (records["energy"] - records["free_energy"]) / 216
        assert (entropy > 0).all()
        assert (entropy < 0.3).all()  # eV/atom
        ours.append(records["energy"] / 216)
        theirs.append(frames["energy"][records["row"]] / 216)
    ours, theirs = np.concatenate(ours), np.concatenate(theirs)
    difference = ours - theirs - (ours - theirs).mean()
    assert np.abs(difference).max() < 1  # eV/atom: no label of another frame
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
