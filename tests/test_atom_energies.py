import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from phutils import atom_energies, dataset, potential
from phutils.dataset import load
from phutils.store import (
    LABEL_DTYPE,
    list_files,
    pack_frame,
    read_records,
    unpack_atoms,
    write_checksums,
)

DATA = Path(dataset.__file__).parents[1] / "data"


class Quick(Calculator):
    """One atom's energy is its height; the calls are counted."""

    implemented_properties = ["energy", "energies"]
    calls = 0

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        energies = -self.atoms.positions[:, 2]
        self.results = {"energy": energies.sum(), "energies": energies}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Two small trajectories of 2.4 and 1.5 g/cm3 as `phutils.simulate` would write them."""
    monkeypatch.setattr(potential, "calculator", Quick)
    monkeypatch.setattr(Quick, "calls", 0)
    for density in (2.4, 1.5):
        frames = []
        for k in range(8):
            rng = np.random.default_rng([round(10 * density), k])
            atoms = Atoms("C6", rng.uniform(0, 8, (6, 3)), cell=[8.0, 9.0, 10.0], pbc=True)
            stage = "buffer_low" if k % 2 else "quench2"
            values = dict(density=density, run=1, stage=stage, time=k / 10, temperature=300)
            frame = pack_frame(atoms, **values)
            frame["energy"] = -unpack_atoms(frame).positions[:, 2].sum()
            frames.append(frame)
        path = tmp_path / "216atom_amorphous" / f"{density}_run1.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.stack(frames))
    write_checksums(tmp_path)
    return tmp_path


def run(root):
    atom_energies.main(["--out", str(root)])


def test_energies_are_stored_and_found_again(root):
    run(root)
    structures = load(str(root))[::-1]  # in any order
    found = atom_energies.atom_energies(structures)
    for atoms, energies, stage, density in zip(
        structures, found, structures.stage, structures.density, strict=True
    ):
        if stage == "buffer_low" and density == 2.4:
            np.testing.assert_allclose(energies, -atoms.positions[:, 2], atol=1e-6)
            assert energies.dtype == float
        else:
            assert energies is None
    assert sum(e is not None for e in found) == 4
    assert [f.path.name for f in list_files(root / "atom_energies")] == ["2.4_run1.npy"]
    assert not list(root.rglob("*.tmp"))


def test_nothing_is_computed_twice_and_a_changed_trajectory_again(root, capsys):
    run(root)
    assert Quick.calls == 4
    run(root)
    assert Quick.calls == 4 and "nothing to do" in capsys.readouterr().out
    path = root / "216atom_amorphous" / "2.4_run1.npy"
    records = np.load(path)
    records["time"] += 1
    np.save(path, records)
    write_checksums(root)
    with pytest.raises(ValueError, match=r"2\.4_run1\.npy belongs to another version"):
        atom_energies.atom_energies(load(str(root)))
    run(root)
    assert Quick.calls == 8
    assert sum(e is not None for e in atom_energies.atom_energies(load(str(root)))) == 4


def test_energies_of_another_potential_are_refused(root, capsys):
    path = root / "216atom_amorphous" / "2.4_run1.npy"
    records = np.load(path)
    records["energy"][3] -= 0.01
    np.save(path, records)
    write_checksums(root)
    with pytest.raises(SystemExit):
        run(root)
    error = capsys.readouterr().err
    assert "2.4_run1.npy" in error and "frame 1" in error and "another potential" in error
    assert not (root / "atom_energies").exists()


def test_frames_with_other_labels_have_the_shares_of_nep89(root):
    """They add up to the energy of the frame by NEP89, not to its label."""
    run(root)
    file = list_files(root)[1]  # 2.4 g/cm3
    records = np.zeros(3, LABEL_DTYPE)
    records["row"], records["trajectory"] = [1, 4, 7], file.digest.encode()
    path = root / "labels" / "gfn1" / file.path.name
    path.parent.mkdir(parents=True)
    np.save(path, records)
    write_checksums(root / "labels")
    labelled = load(str(root), labels="gfn1")
    first, none, last = atom_energies.atom_energies(labelled)
    assert none is None  # no frame of the stage
    for shares, atoms in ((first, labelled[0]), (last, labelled[2])):
        np.testing.assert_allclose(shares, -atoms.positions[:, 2], atol=1e-6)


# --- stored energies -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored():
    home = DATA / atom_energies.NAME
    if not (home / "SHA256SUMS").exists():
        pytest.skip("data/ holds no energies of atoms")
    return list_files(home)


def test_atoms_add_up_to_the_stored_energies(stored):
    trajectories = {(f.folder, f.path.name): f for f in list_files(DATA)}
    for file in stored:
        records = read_records(file)
        trajectory = trajectories[file.folder, file.path.name]
        frames = read_records(trajectory)
        assert set(records["trajectory"].tolist()) == {trajectory.digest.encode()}
        rows = np.flatnonzero(frames["stage"] == "buffer_low")
        np.testing.assert_array_equal(records["row"], rows)
        sums = records["energies"].sum(axis=1, dtype=float)
        np.testing.assert_allclose(sums, frames["energy"][rows], atol=atom_energies.TOLERANCE)
        assert records["energies"].std(axis=1).min() > 0.1  # eV: not the mean, shared out


def test_stored_energies_are_those_of_the_potential(stored):
    """One random frame of each of two files, computed again."""
    pytest.importorskip("calorine", reason="the extra `simulate` is not installed")
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    trajectories = {(f.folder, f.path.name): f for f in list_files(DATA)}
    for file in rng.permutation(len(stored))[:2]:
        records = read_records(stored[file])
        record = records[rng.integers(len(records))]
        folder, name = stored[file].folder, stored[file].path.name
        frame = read_records(trajectories[folder, name])[record["row"]]
        energies = atom_energies.energies_of([frame], potential.calculator())[0]
        np.testing.assert_allclose(record["energies"], energies, atol=2e-6)
