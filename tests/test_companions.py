import numpy as np
import pytest
from ase import Atoms

from phutils import companions
from phutils.dataset import load
from phutils.store import LABEL_DTYPE, list_files, pack_frame, read_records, write_checksums

FOLDERS = ("216atom_amorphous",)
DTYPE = companions.record_dtype([("value", "<f8")])


@pytest.fixture
def root(tmp_path):
    """Two trajectories of five frames; the density and the time tell them apart."""
    for folder, densities in ((FOLDERS[0], (1.5, 2.4)), ("216atom_crystal", (3.5,))):
        (tmp_path / folder).mkdir()
        for density in densities:
            atoms = Atoms("C2", [[0, 0, 0], [1, 1, 1]], cell=[8.0, 9.0, 10.0], pbc=True)
            values = dict(density=density, run=1, stage="quench2", temperature=300, energy=-1.0)
            frames = [pack_frame(atoms, time=k, **values) for k in range(5)]
            np.save(tmp_path / folder / f"{density}_run1.npy", np.stack(frames))
    write_checksums(tmp_path)
    return tmp_path


def compute(file):
    """Density and time of the frames of odd rows; the densest trajectory is not wanted."""
    frames = read_records(file)
    if frames["density"][0] > 3:
        return None
    records = np.zeros(2, DTYPE)
    records["row"] = [3, 1]  # in any order
    records["value"] = 100 * frames["density"][[3, 1]] + frames["time"][[3, 1]]
    return records


def complete(root, dtype=DTYPE, folders=FOLDERS):
    return companions.complete(root, "twice", folders, compute, dtype)


def found(structures, dtype=DTYPE):
    values = np.full(len(structures), np.nan)
    for at, records in companions.aligned(structures, "twice", "phutils.twice", dtype):
        values[at] = records["value"]
    return values


def expected(structures):
    odd = structures.time % 2 == 1
    return np.where(odd, 100 * structures.density + structures.time, np.nan)


def test_every_frame_gets_its_own_record(root):
    assert complete(root) == 2 and complete(root) == 0
    structures = load(str(root))
    for view in (structures, structures[::-1], structures[[7, 1, 1]], structures[:1]):
        np.testing.assert_allclose(found(view), expected(view))
    assert np.isnan(found(load(str(root), "crystal"))).all()
    assert not list(root.rglob("*.tmp"))


def test_what_is_not_wanted_leaves_no_file(root):
    assert complete(root, folders=("216atom_crystal",)) == 0
    assert not (root / "twice").exists()


def test_other_labels_change_nothing(root):
    complete(root)
    labels = root / "labels" / "gfn1"
    labels.mkdir(parents=True)
    for file in list_files(root)[:2]:
        records = np.zeros(3, LABEL_DTYPE)
        records["row"], records["trajectory"] = [1, 2, 3], file.digest.encode()
        np.save(labels / file.path.name, records)
    write_checksums(root / "labels")
    labelled = load(str(root), labels="gfn1")[::-1]
    assert len(labelled) == 6 and np.isfinite(found(labelled)).sum() == 4
    np.testing.assert_allclose(found(labelled), expected(labelled))


def test_another_version_of_a_trajectory_is_noticed_and_made_again(root):
    complete(root)
    path = root / FOLDERS[0] / "2.4_run1.npy"
    frames = np.load(path)
    frames["time"] += 2
    np.save(path, frames)
    write_checksums(root)
    words = r"twice/.*2\.4_run1\.npy belongs to another version of .*: .*`python -m phutils\.twice`"
    with pytest.raises(ValueError, match=words):
        found(load(str(root)))
    assert complete(root) == 1
    np.testing.assert_allclose(found(load(str(root))), expected(load(str(root))))


def test_records_of_another_type_are_another_version(root):
    complete(root)
    other = companions.record_dtype([("value", "<f8"), ("new", "<f8")])
    with pytest.raises(ValueError, match="another version"):
        found(load(str(root)), other)
    assert complete(root, other) == 2


def test_a_killed_run_is_taken_up(root):
    """Killed between the records and their checksums: the next run only lists them."""
    complete(root)
    (root / "twice" / "SHA256SUMS").unlink()
    assert np.isnan(found(load(str(root)))).all()
    assert complete(root) == 0
    np.testing.assert_allclose(found(load(str(root))), expected(load(str(root))))


def test_damage_is_noticed(root):
    complete(root)
    path = root / "twice" / FOLDERS[0] / "2.4_run1.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="corrupt"):
        found(load(str(root)))
