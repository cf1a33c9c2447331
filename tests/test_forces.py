import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from phutils import dataset, forces, potential
from phutils.dataset import load
from phutils.labels import choose_gfn1
from phutils.store import LABEL_DTYPE, list_files, pack_frame, read_records, write_checksums

DATA = Path(dataset.__file__).parents[1] / "data"
MIDDLE = np.array([4.0, 4.5, 5.0])


class Springs(Calculator):
    """Every atom is tied to the middle of the cell; the calls are counted."""

    implemented_properties = ["energy", "forces"]
    calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        apart = self.atoms.positions - MIDDLE
        self.results = {"energy": (apart**2).sum() / 2, "forces": -apart}


def spring_energy(frame):
    positions = frame["scaled_positions"] * (frame["cell"] / 2**16)
    return ((positions - MIDDLE) ** 2).sum() / 2


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two short melt-quench runs and one of diamond as `phutils.simulate` would write them."""
    monkeypatch.setattr(potential, "calculator", Springs)
    monkeypatch.setattr(Springs, "calls", 0)
    for name, run in (("216atom_amorphous", 1), ("216atom_amorphous", 2), ("216atom_crystal", 1)):
        frames = []
        for k in range(12):
            rng = np.random.default_rng([run, k])
            atoms = Atoms("C6", rng.uniform(0, 8, (6, 3)), cell=[8.0, 9.0, 10.0], pbc=True)
            values = dict(density=2.4, run=run, stage="quench2", time=k / 10, temperature=300)
            frame = pack_frame(atoms, **values)
            frame["energy"] = spring_energy(frame)
            frames.append(frame)
        path = tmp_path / name / f"2.4_run{run}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.stack(frames))
    write_checksums(tmp_path)
    return tmp_path


def run(root):
    forces.main(["--out", str(root)])


def test_forces_are_stored_and_found_again(root):
    plain = load(str(root))
    assert plain.forces is None and plain.with_forces.tolist() == []
    run(root)
    structures = load(str(root))
    assert structures.fingerprint == plain.fingerprint
    expected = [i + 12 * k for k in (0, 1) for i in choose_gfn1(
        read_records(list_files(root)[k])).tolist()]  # fmt: skip
    assert structures.with_forces.tolist() == expected and 4 < len(expected) < 24
    found = structures.forces
    assert found.shape == (24, 6, 3) and found.dtype == np.float32
    for i in range(24):
        if i in expected:
            np.testing.assert_allclose(found[i], MIDDLE - structures[i].positions, atol=2e-3)
        else:
            assert np.isnan(found[i]).all()
    assert [f.folder for f in list_files(root / "forces")] == [forces.FOLDER] * 2
    assert not list(root.rglob("*.tmp"))


def test_forces_go_with_the_frames_of_a_view(root):
    run(root)
    structures = load(str(root))
    some = structures[structures.with_forces]
    assert np.isfinite(some.forces).all()
    assert some.with_forces.tolist() == list(range(len(some)))
    order = np.r_[len(some) - 1, 0, 0]  # backwards, and one of them twice
    np.testing.assert_array_equal(some[order].forces, some.forces[order])
    without = np.setdiff1d(np.arange(24), structures.with_forces)
    assert structures[without].forces is None and structures[:0].forces is None
    assert load(str(root), "crystal").forces is None


def test_other_labels_have_no_forces(root):
    """Forces of NEP89 are no derivative of an energy by another method."""
    run(root)
    file = list_files(root)[0]
    labels = np.zeros(2, LABEL_DTYPE)
    labels["row"], labels["trajectory"] = choose_gfn1(read_records(file))[:2], file.digest
    (root / "labels" / "gfn1").mkdir(parents=True)
    np.save(root / "labels" / "gfn1" / file.path.name, labels)
    write_checksums(root / "labels")
    structures = load(str(root), labels="gfn1")
    assert len(structures) == 2 and structures.forces is None and not len(structures.with_forces)


def test_nothing_is_computed_twice_and_a_changed_trajectory_again(root, capsys):
    run(root)
    calls = Springs.calls
    run(root)
    assert Springs.calls == calls > 0 and "nothing to do" in capsys.readouterr().out
    path = root / "216atom_amorphous" / "2.4_run2.npy"
    records = np.load(path)
    records["time"] += 1
    np.save(path, records)
    write_checksums(root)
    for name in ("forces", "with_forces"):
        with pytest.raises(ValueError, match=r"2\.4_run2\.npy belongs to another version of"):
            getattr(load(str(root)), name)
    run(root)
    assert Springs.calls == calls * 3 // 2
    assert load(str(root)).forces is not None


def test_forces_of_another_potential_are_refused(root, capsys):
    path = root / "216atom_amorphous" / "2.4_run1.npy"
    records = np.load(path)
    records["energy"] -= 0.01
    np.save(path, records)
    write_checksums(root)
    with pytest.raises(SystemExit):
        run(root)
    error = capsys.readouterr().err
    assert "2.4_run1.npy" in error and "frame 0" in error and "another potential" in error


def test_forces_beyond_half_precision_are_refused(root):
    file = list_files(root)[0]
    frames = read_records(file)[:1]
    frames["cell"] *= 1e6
    frames["energy"] = spring_energy(frames[0])
    with pytest.raises(ValueError, match=r"frame 0: force on atom 0 is -?\d+"):
        forces.compute_forces(frames, Springs())


def test_damage_is_noticed(root):
    run(root)
    path = root / "forces" / forces.FOLDER / "2.4_run1.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    structures = load(str(root))
    with pytest.raises(ValueError, match="corrupt"):
        forces.read_forces(structures)


# --- a reader's own file -------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Six frames of two sizes; the third one has no forces."""
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "cache"))
    rng, frames = np.random.default_rng(0), []
    for k in range(6):
        atoms = bulk("C", cubic=True).repeat((1, 1, 1 + k % 2))
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
        given = {} if k == 2 else {"forces": rng.normal(0, 1e4, atoms.positions.shape)}
        atoms.calc = SinglePointCalculator(atoms, energy=-9.0 * len(atoms), **given)
        frames.append(atoms)
    return tmp_path / "own.extxyz", frames


def test_own_file_of_mixed_sizes(own):
    path, frames = own
    write(path, frames)
    structures = load(path)
    assert structures.with_forces.tolist() == [0, 1, 3, 4, 5]
    found = structures.forces
    assert found.shape == (6, 16, 3)
    for i, atoms in enumerate(frames):
        n = len(atoms)
        assert np.isnan(found[i, n:]).all()
        if i != 2:
            np.testing.assert_allclose(found[i, :n], atoms.get_forces(), rtol=1e-6)
    assert np.isnan(found[2]).all() and structures[2:3].forces is None
    small = structures[structures.n_atoms == 8]
    assert small.forces.shape == (3, 8, 3) and small.with_forces.tolist() == [0, 2]


def test_own_file_without_forces(own):
    path, frames = own
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, energy=-9.0 * len(atoms))
    write(path, frames)
    structures = load(path)
    assert structures.forces is None and not len(structures.with_forces)


def test_a_force_that_is_not_finite_is_named(own):
    path, frames = own
    frames[4].calc.results["forces"][3, 1] = np.inf
    write(path, frames)
    with pytest.raises(ValueError, match=r"own\.extxyz, frame 4: forces of atom 3 is \[.*inf"):
        load(path)


# --- stored forces -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    home = DATA / forces.NAME
    if not (home / "SHA256SUMS").exists():
        pytest.skip("data/ holds no forces")
    return list_files(home)


def test_stored_forces_belong_to_the_trajectories(stored):
    trajectories = {f.path.name: f for f in list_files(DATA) if f.folder == forces.FOLDER}
    assert {file.path.name for file in stored} <= set(trajectories)
    for file in stored:
        records, trajectory = read_records(file), trajectories[file.path.name]
        assert set(records["trajectory"].tolist()) == {trajectory.digest.encode()}
        np.testing.assert_array_equal(records["row"], choose_gfn1(read_records(trajectory)))
        found = records["forces"].astype(float)
        assert np.abs(found.sum(axis=1)).max() < 0.2  # eV/Å: they add up to zero, but for rounding
        assert 1 < found.std() < 10


def test_stored_forces_are_those_of_the_potential(stored):
    """One random frame of each of two files, computed again."""
    pytest.importorskip("calorine", reason="the extra `simulate` is not installed")
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    trajectories = {f.path.name: f for f in list_files(DATA) if f.folder == forces.FOLDER}
    for k in rng.permutation(len(stored))[:2]:
        record = rng.choice(read_records(stored[k]))
        frame = read_records(trajectories[stored[k].path.name])[record["row"]]
        exact = forces.compute_forces([frame], potential.calculator())[0]
        np.testing.assert_allclose(record["forces"], exact, rtol=2**-10, atol=1e-4)


def test_stored_forces_are_found():
    structures = load("embedded")
    chosen = structures[structures.with_forces]
    if not len(chosen):
        pytest.skip("data/ holds no forces")
    assert np.isfinite(chosen.forces).all() and len(chosen) == 17 * len(
        np.unique(chosen.trajectory)
    )
