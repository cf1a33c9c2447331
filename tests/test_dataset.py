import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from phutils import artifacts, dataset
from phutils.splits import hot_and_cold
from phutils.store import (
    LABEL_DTYPE,
    frame_dtype,
    list_files,
    pack_frame,
    read_records,
    write_checksums,
)

DATA = Path(dataset.__file__).parents[1] / "data"
PARTS = {
    "amorphous": ("216atom_amorphous", 216, 255),
    "crystal": ("216atom_crystal", 216, 80),
    "large": ("512atom_amorphous", 512, 255),
}
RUNS = {"amorphous": 66, "crystal": 7, "large": 11}  # 16,830, 560 and 2,805 frames


def carbon(density, run, stage, time, n=8, seed=0):
    length = dataset.cell_length(n, density)
    rng = np.random.default_rng([seed, run, int(1000 * time)])
    atoms = Atoms(f"C{n}", rng.uniform(0, length, (n, 3)), cell=[length] * 3, pbc=True)
    labels = dict(density=density, run=run, stage=stage, time=time, temperature=300 + time)
    return pack_frame(atoms, **labels, energy=-8.0 * n - density + time)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder as `phutils.simulate` makes it: two densities, two runs, three frames each."""
    root = tmp_path_factory.mktemp("data")
    for folder, n, stage in (
        ("216atom_amorphous", 8, "quench2"),
        ("216atom_crystal", 8, "crystal"),
        ("512atom_amorphous", 27, "quench2"),
    ):
        (root / folder).mkdir()
        for density in (3.5, 2.0):
            for run in (1, 2):
                frames = [carbon(density, run, stage, t, n) for t in (0.5, 1.0, 1.5)]
                np.save(root / folder / f"{density}_run{run}.npy", np.stack(frames))
    write_checksums(root)
    return root


@pytest.fixture
def structures(root):
    return dataset.load(root)


def test_frames_come_by_density_run_and_time(structures):
    assert len(structures) == 12
    np.testing.assert_array_equal(structures.density, np.repeat([2.0, 3.5], 6))
    np.testing.assert_array_equal(structures.run, np.tile(np.repeat([1, 2], 3), 2))
    np.testing.assert_allclose(structures.time, np.tile([0.5, 1.0, 1.5], 4))
    np.testing.assert_allclose(structures.temperature, 300 + structures.time)
    np.testing.assert_allclose(
        structures.energy_per_atom, -8 + (structures.time - structures.density) / 8
    )
    assert len(np.unique(structures.trajectory)) == 4
    assert (structures.n_atoms == 8).all()
    assert set(structures.stage) == {"quench2"}
    assert structures.cell.shape == (12, 3)
    assert (structures.source, structures.labels) == (structures.source, "NEP89")


def test_parts(root):
    assert set(dataset.load(root, "crystal").stage) == {"crystal"}
    assert set(dataset.load(root, "large").n_atoms) == {27}
    everything = dataset.load(root, "all")
    assert len(everything) == 36
    assert everything.n_atoms.tolist() == [8] * 24 + [27] * 12
    assert len(np.unique(everything.trajectory)) == 12


def test_a_structure_is_what_was_stored(structures):
    atoms = structures[4]
    expected = carbon(2.0, 2, "quench2", 1.0)
    positions = expected["scaled_positions"] * (expected["cell"] / 2**16)
    np.testing.assert_array_equal(atoms.positions, positions)
    assert atoms.pbc.all()
    assert atoms.info == {
        "energy": float(expected["energy"]),
        "density": 2.0,
        "stage": "quench2",
        "run": 2,
    }
    assert structures[-1].info["energy"] == list(structures)[11].info["energy"]


def test_views(structures):
    assert structures[np.int64(3)] == structures[3]
    energy = structures.energy_per_atom
    for key in (
        slice(2, 9, 3),
        slice(None, None, -1),
        [3, 1, 1],
        np.array([], int),
        [],
        energy > energy.mean(),
        (energy > energy.mean()).tolist(),
    ):
        view = structures[key]
        expected = energy[key] if len(np.shape(key)) == 0 or len(key) else []
        np.testing.assert_array_equal(view.energy_per_atom, expected)
        assert type(view) is dataset.Structures
        for k, atoms in enumerate(view):
            assert atoms.info["energy"] / 8 == pytest.approx(view.energy_per_atom[k])
    assert structures[2:][::2][1] == structures[4]


@pytest.mark.parametrize("key", [12, -13, [12], np.ones(5, bool), np.zeros((2, 2), int), [0.5]])
def test_wrong_indices(structures, key):
    with pytest.raises(IndexError):
        structures[key]


@pytest.mark.parametrize("key", ["density", 1.5, None])
def test_indices_of_wrong_type(structures, key):
    with pytest.raises(TypeError):
        structures[key]


def test_nothing_can_be_changed(structures):
    for name in ("density", "cell", "stage", "run", "trajectory", "n_atoms", "time"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(structures, name)[0] = 0
    with pytest.raises(AttributeError):
        structures.source = "elsewhere"
    atoms = structures[0]
    atoms.positions += 1.0
    assert structures[0] != atoms


def test_positions_stay_on_disk(root):
    """A view of a large file costs the table, not the positions; so does sending it away."""
    structures = dataset.load(root, "large")
    assert len(pickle.dumps(structures)) < 12_000
    again = pickle.loads(pickle.dumps(structures[::-1]))
    assert again[0] == structures[-1]
    assert again.fingerprint == structures[::-1].fingerprint
    with pytest.raises(ValueError, match="read-only"):
        again.density[0] = 0


def test_fingerprint_is_a_key_of_the_frames_in_their_order(root, structures):
    everything = dataset.load(root, "all")
    same = everything[everything.stage == "quench2"]
    same = same[same.n_atoms == 8]
    assert same.fingerprint == structures.fingerprint == dataset.load(root).fingerprint
    others = [structures[key] for key in ([0], [1], [0, 0], [0, 1], slice(1, None), slice(0))]
    others += [everything, structures[::-1], structures]
    assert len({view.fingerprint for view in others}) == len(others)
    int(structures.fingerprint, 16)


def test_fingerprint_follows_the_content(root, tmp_path, structures):
    (tmp_path / "216atom_amorphous").mkdir()
    for path in (root / "216atom_amorphous").iterdir():
        records = np.load(path)
        if path.name == "2.0_run1.npy":
            records["energy"][1] += 1e-9
        np.save(tmp_path / "216atom_amorphous" / path.name, records)
    write_checksums(tmp_path)
    changed = dataset.load(tmp_path)
    assert changed.fingerprint != structures.fingerprint
    assert changed[3:].fingerprint == structures[3:].fingerprint


def test_summary(structures):
    text = str(structures)
    assert "12 of 8 atoms" in text
    assert "NEP89" in text
    assert "2 to 3.5 g/cm3, 2 values" in text
    assert "quench2 12" in text
    assert "elements      C\n" in text
    assert "unknown" not in text
    assert "no frames" in str(structures[:0])


def test_damage_is_named(root, tmp_path):
    (tmp_path / "216atom_amorphous").mkdir()
    for name in ("2.0_run1.npy", "3.5_run1.npy"):
        content = (root / "216atom_amorphous" / name).read_bytes()
        (tmp_path / "216atom_amorphous" / name).write_bytes(content)
    write_checksums(tmp_path)
    with pytest.raises(ValueError, match="has no part 'crystal'"):
        dataset.load(tmp_path, "crystal")
    (tmp_path / "216atom_amorphous" / "9.9_run1.npy").write_bytes(b"unfinished")  # not listed
    assert len(dataset.load(tmp_path)) == 6
    path = tmp_path / "216atom_amorphous" / "3.5_run1.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"3\.5_run1\.npy is corrupt"):
        dataset.load(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"3\.5_run1\.npy is missing"):
        dataset.load(tmp_path)


def test_wrong_arguments(tmp_path, root):
    with pytest.raises(ValueError, match="part is 'glass', expected one of amorphous, crystal"):
        dataset.load(root, "glass")
    with pytest.raises(FileNotFoundError, match=r"gone\.xyz does not exist"):
        dataset.load(tmp_path / "gone.xyz")
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing"):
        dataset.load(tmp_path)


# --- other labels --------------------------------------------------------------------------------


@pytest.fixture
def labelled(root, tmp_path):
    """A copy of `root` where two of the four amorphous trajectories have labels of two frames."""
    folder = tmp_path / "labelled"
    shutil.copytree(root, folder)
    (folder / "labels" / "gfn1").mkdir(parents=True)
    for file in list_files(folder):
        if file.folder == "216atom_amorphous" and file.path.name in (
            "2.0_run2.npy",
            "3.5_run1.npy",
        ):
            records = np.zeros(2, LABEL_DTYPE)
            records["row"], records["trajectory"] = [0, 2], file.digest
            records["energy"] = [-400 - read_records(file)["density"][0], -500]
            np.save(folder / "labels" / "gfn1" / file.path.name, records)
    write_checksums(folder / "labels")
    return folder


def test_other_labels_come_with_their_frames(root, labelled):
    everything = dataset.load(labelled)
    for structures in (everything, dataset.load(labelled, labels="nep89")):
        assert structures.labels == "NEP89"
        assert structures.fingerprint == dataset.load(root).fingerprint
    structures = dataset.load(labelled, labels="gfn1")
    assert structures.labels == "GFN1-xTB"
    assert "labels        GFN1-xTB" in str(structures)
    np.testing.assert_allclose(structures.energy_per_atom * 8, [-402, -500, -403.5, -500])
    np.testing.assert_array_equal(structures.density, [2.0, 2.0, 3.5, 3.5])
    np.testing.assert_array_equal(structures.run, [2, 2, 1, 1])
    np.testing.assert_allclose(structures.time, [0.5, 1.5, 0.5, 1.5])
    assert structures[2].info["energy"] == -403.5
    same = everything[[3, 5, 6, 8]]
    np.testing.assert_array_equal(structures.trajectory, same.trajectory)
    for ours, theirs in zip(structures, same, strict=True):
        assert ours == theirs
    assert len(dataset.load(labelled, "all", labels="gfn1")) == 4


def test_results_from_energies_are_not_shared_between_labels(labelled, tmp_path):
    """`artifacts.cached` must not serve what was computed from other energies of these frames."""
    ours = dataset.load(labelled, labels="gfn1")
    theirs = dataset.load(labelled)[[3, 5, 6, 8]]
    assert ours.fingerprint != theirs.fingerprint
    found = [
        artifacts.cached(tmp_path, hot_and_cold, structures)["high energy"].tolist()
        for structures in (ours, theirs, ours)
    ]
    assert found[0] == found[2] == [True, False, False, False]
    assert found[1] == hot_and_cold(theirs)["high energy"].tolist() != found[0]

    path = labelled / "labels" / "gfn1" / "2.0_run2.npy"
    records = np.load(path)
    records["energy"][1] += 1e-9
    np.save(path, records)
    write_checksums(labelled / "labels")
    again = dataset.load(labelled, labels="gfn1")
    assert again.fingerprint != ours.fingerprint
    assert again[2:].fingerprint == ours[2:].fingerprint


def test_labels_of_other_frames_are_refused(labelled):
    path = labelled / "216atom_amorphous" / "3.5_run1.npy"
    records = np.load(path)
    records["scaled_positions"][0, 0, 0] += 1
    np.save(path, records)
    write_checksums(labelled)
    message = r"gfn1/3\.5_run1\.npy belongs to another version of .*3\.5_run1\.npy: label it again"
    with pytest.raises(ValueError, match=message):
        dataset.load(labelled, labels="gfn1")
    assert len(dataset.load(labelled)) == 12
    (labelled / "labels" / "gfn1" / "2.0_run2.npy").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"gfn1/2\.0_run2\.npy is corrupt"):
        dataset.load(labelled, labels="gfn1")


def test_missing_labels_are_said(root, labelled, own_file):
    for folder, part, labels in (
        (root, "amorphous", "gfn1"),
        (labelled, "crystal", "gfn1"),
        (labelled, "amorphous", "lda"),
    ):
        with pytest.raises(ValueError, match=f"holds no '{labels}' labels of these frames"):
            dataset.load(folder, part, labels=labels)
    with pytest.raises(ValueError, match="labels is 'dft', expected one of nep89, gfn1, lda"):
        dataset.load(labelled, labels="dft")
    for source in ("zenodo", own_file[0]):
        with pytest.raises(ValueError, match="'gfn1' exist for the embedded data, not for"):
            dataset.load(source, labels="gfn1")
    assert dataset.load(own_file[0], labels="nep89").labels == "user"  # the default of chapters


# --- a reader's own file -------------------------------------------------------------------------


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    frames = []
    carbon, carbide = bulk("C", cubic=True), bulk("SiC", "zincblende", 4.36, cubic=True)
    for k in range(6):
        atoms = (carbide if k % 2 else carbon).repeat((1, 1, 1 + k % 3))
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        atoms.info = {"process": "relaxed"}
        atoms.calc = SinglePointCalculator(atoms, energy=-9.0 * len(atoms) - k)
        frames.append(atoms)
    write(tmp_path / "own.xyz", frames, format="extxyz")
    return tmp_path / "own.xyz", frames


def test_own_file(own_file):
    path, frames = own_file
    structures = dataset.load(path)
    assert (structures.source, structures.labels) == (str(path), "user")
    assert structures.n_atoms.tolist() == [len(atoms) for atoms in frames] == [8, 16, 24] * 2
    for found, atoms in zip(structures, frames, strict=True):
        np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-8)
        assert found.get_chemical_formula() == atoms.get_chemical_formula()
        assert found.info["energy"] == pytest.approx(atoms.get_potential_energy())
    text = str(structures)
    assert "6 of 8, 16, 24 atoms" in text
    assert "elements      C Si" in text
    assert "unknown       time, temperature" in text
    carbon_only = structures[structures.trajectory == structures.trajectory[0]]
    assert "elements      C\n" in str(carbon_only)
    assert dataset.load(str(path), "all").fingerprint == structures.fingerprint
    with pytest.raises(ValueError, match="is a single file, it has no part 'large'"):
        dataset.load(path, "large")


def test_own_file_is_read_again_only_when_it_changes(own_file, monkeypatch):
    path, frames = own_file
    first = dataset.load(path)
    from phutils import readers

    calls = []
    real = readers.read_records
    monkeypatch.setattr(readers, "read_records", lambda *args: calls.append(args) or real(*args))
    assert dataset.load(path).fingerprint == first.fingerprint
    assert not calls
    write(path, frames[:3], format="extxyz")
    assert len(dataset.load(path)) == 3
    with pytest.raises(ValueError, match="no energy under 'other'"):
        dataset.load(path, energy_key="other")
    assert len(calls) == 2


def test_a_refused_file_leaves_nothing_behind(own_file, tmp_path):
    path, frames = own_file
    frames[4].calc = SinglePointCalculator(frames[4], energy=np.nan)
    write(path, frames, format="extxyz")
    with pytest.raises(ValueError, match=r"own\.xyz, frame 4: energy is nan"):
        dataset.load(path)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_nothing_is_printed(own_file, capfd):
    dataset.load(own_file[0])
    assert capfd.readouterr() == ("", "")


# --- the embedded data ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_embedded_frames(part):
    _, n_atoms, per_file = PARTS[part]
    structures = dataset.load("embedded", part)
    assert len(structures) == RUNS[part] * per_file
    assert len(np.unique(structures.trajectory)) == RUNS[part]
    assert (structures.n_atoms == n_atoms).all()
    assert np.isfinite(structures.energy_per_atom).all()
    stages, counts = np.unique(structures.stage, return_counts=True)
    expected = {"buffer_high": 30, "quench1": 100, "buffer_low": 25, "quench2": 100}
    expected = {"crystal": 80} if part == "crystal" else expected
    per_run = dict(zip(stages.tolist(), (counts / RUNS[part]).tolist(), strict=True))
    assert per_run == expected
    length = np.array([dataset.cell_length(n_atoms, d) for d in structures.density])
    np.testing.assert_allclose(structures.cell, length[:, None] * np.ones(3), rtol=1e-12)
    assert all(set(atoms.numbers) == {6} for atoms in structures[::97])
    if part != "crystal":
        hot, energy = structures.stage == "buffer_high", structures.energy_per_atom
        assert 8000 < structures.temperature[hot].mean() < 10_000
        assert energy[hot].mean() > energy[~hot].mean() + 0.3


@pytest.mark.parametrize("labels", dataset.LABELS)
def test_embedded_labels(labels):
    sums = DATA / "labels" / "SHA256SUMS"
    listed = (
        [line for line in sums.read_text().splitlines() if labels in line] if sums.exists() else []
    )
    if not listed:  # not computed yet
        with pytest.raises(ValueError, match=f"holds no '{labels}' labels"):
            dataset.load("embedded", labels=labels)
        return
    structures = dataset.load("embedded", labels=labels)
    assert len(np.unique(structures.trajectory)) == len(listed)
    assert (structures.n_atoms == 216).all()
    hot, cold = structures.stage == "buffer_high", structures.stage == "quench2"
    if hot.any() and cold.any():
        energy = structures.energy_per_atom
        assert 0.5 < energy[hot].mean() - energy[cold].mean() < 2.5


def test_embedded_atoms_keep_their_distance():
    structures = dataset.load("embedded")
    sample = np.random.default_rng(0).choice(len(structures), 20, replace=False)
    for atoms in structures[sample]:
        distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
        assert 0.8 < distances.min() < 1.6  # Å


def test_embedded_data_is_loaded_fast_and_lean():
    code = (
        "import json, re, time; from pathlib import Path; from phutils import dataset\n"
        "start = time.perf_counter(); s = dataset.load('embedded', 'all')\n"
        "seconds = time.perf_counter() - start; s[0]; s[len(s) - 1]\n"
        # the peak of this process alone: getrusage's also holds that of the one it was forked from
        "status = Path('/proc/self/status')\n"
        "text = status.read_text() if status.exists() else 'VmHWM: 0'\n"
        "kib = int(re.search(r'VmHWM:\\s+(\\d+)', text)[1])\n"
        "print(json.dumps([seconds, kib / 1024, len(s)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, mebibytes, n = json.loads(done.stdout)
    assert n >= 255
    assert seconds < 2
    assert mebibytes < 300


def test_embedded_store_is_small_and_documented():
    files = [path for path in DATA.rglob("*.npy") if ".partial" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 40e6
    readme = (DATA / "README.md").read_text()
    for name in (*frame_dtype(216).names, *LABEL_DTYPE.names, *dataset.LABELS):
        assert f"`{name}`" in readme
    assert "sha256sum -c SHA256SUMS" in readme
    assert "CC BY 4.0" in readme


def test_missing_data_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(dataset, "__file__", str(tmp_path / "phutils" / "dataset.py"))
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing"):
        dataset.load("embedded")
