import shutil
import warnings

import numpy as np
import pytest
from ase.io import read
from fake_zenodo import paper_archive, xyz_frame, zenodo, zip_folder

from phutils import dataset, download
from phutils.zenodo import RECORD, convert


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The archive's folders, small."""
    return paper_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def zipped(layout):
    return zip_folder(layout, layout.parent / "dataset.zip", "carbon data/v1/").read_bytes()


@pytest.fixture(scope="module")
def loaded(zipped, tmp_path_factory):
    """(cache folder, what the first call gave, its warnings); the server is gone afterwards."""
    with pytest.MonkeyPatch.context() as patch, zenodo({"dataset.zip": zipped}) as server:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("PHUTILS_DATA", str(cache))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            structures = dataset.load("zenodo", zenodo_url=server.url)
    return cache, structures, [str(warning.message) for warning in caught]


@pytest.fixture
def cache(loaded, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(loaded[0]))
    return loaded[0] / f"zenodo-{RECORD}"


def test_labels_of_the_frames(loaded, cache):
    structures = loaded[1]
    assert (structures.source, structures.labels) == ("zenodo", "VASP-LDA")
    assert len(structures) == 6 * 11 * 3 + 2
    assert set(structures.run) == set(range(1, 7))
    assert len(np.unique(structures.trajectory)) == 66
    assert set(structures.stage) == {"buffer_high", "buffer_low", "quench2"}
    assert np.isnan(structures.time).all()
    assert (np.diff(structures.density) >= 0).all()
    assert len(dataset.load("zenodo", "crystal")) == 11
    large = dataset.load("zenodo", "large")
    assert set(large.n_atoms) == {512}
    everything = dataset.load("zenodo", "all")
    assert everything.with_forces.tolist() == list(range(len(everything)))
    assert len(everything) == 200 + 22
    assert len(np.unique(everything.trajectory)) == 66 + 22


def test_frames_equal_what_ase_reads(loaded, layout):
    structures = loaded[1][loaded[1].run == 4]
    for density in (1.5, 3.5):
        expected = [
            atoms
            for atoms in read(layout / "216atom_amorphous" / "run_4.xyz", index=":")
            if atoms.info["density"] == density
        ]
        found = list(structures[structures.density == density])
        assert len(found) == len(expected) == 3
        forces = structures[structures.density == density].forces
        np.testing.assert_allclose(forces, [a.get_forces() for a in expected], atol=1e-6)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one.positions, other.positions)
            np.testing.assert_array_equal(one.cell, other.cell)
            assert one.info["energy"] == other.get_potential_energy()
            assert one.info["stage"] == other.info["process"]


def test_published_split_is_the_archives_own(loaded, layout):
    structures = loaded[1]
    train, test = dataset.published_split(structures)
    assert (len(train), len(test)) == (40, 160)
    assert not set(train) & set(test)
    for side, name in ((train, "train.xyz"), (test, "test.xyz")):
        published = read(layout / "dataset_train_test_split" / name, index=":")
        energies = sorted(atoms.get_potential_energy() for atoms in published)
        np.testing.assert_allclose(
            np.sort(structures[side].energy_per_atom * 216), energies, rtol=0, atol=1e-9
        )
    view = structures[test[:50]]
    with pytest.raises(ValueError, match="no published split"):
        dataset.published_split(view)


def test_unexpected_counts_are_said(loaded):
    assert len(loaded[2]) == 3
    assert "216atom_amorphous: frames per file [33, 33, 33, 33, 33, 35]" in loaded[2][0]


def test_later_calls_need_no_network_and_no_conversion(loaded, cache):
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    again = dataset.load("zenodo", zenodo_url="http://127.0.0.1:9")
    assert again.fingerprint == loaded[1].fingerprint
    assert before == {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    assert not list(cache.glob("unpacked-*"))
    assert not list(cache.rglob("*.part"))


def test_a_damaged_store_is_made_again_from_the_download(loaded, cache):
    path = next(cache.glob("*/216atom_amorphous/run3.npy"))
    path.write_bytes(path.read_bytes()[:-100])
    (cache / "unpacked-killed").mkdir()
    with pytest.warns(UserWarning, match="frames per file"):
        again = dataset.load("zenodo", zenodo_url="http://127.0.0.1:9")
    assert again.fingerprint == loaded[1].fingerprint
    assert not list(cache.glob("unpacked-*"))


def test_nothing_is_loaded_from_a_bad_archive(zipped, tmp_path, monkeypatch):
    """A truncated zip with the right checksum, end to end; then the right one is served."""
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path))
    with (
        zenodo({"dataset.zip": zipped[:-1000]}) as server,
        pytest.raises(ValueError, match=r"dataset\.zip is damaged or truncated"),
    ):
        dataset.load("zenodo", zenodo_url=server.url)
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.xyz"))


def test_interrupted_download_then_resume(zipped, tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path))
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    half = len(zipped) // 2 // download.CHUNK * download.CHUNK
    with zenodo({"dataset.zip": zipped}, cuts=[half]) as server:
        with pytest.raises(ConnectionError, match="calling again continues"):
            dataset.load("zenodo", "crystal", zenodo_url=server.url)
        assert not list(tmp_path.rglob("*.npy"))
        with pytest.warns(UserWarning, match="frames per file"):
            assert len(dataset.load("zenodo", "crystal", zenodo_url=server.url)) == 11
    assert server.ranges == [None, f"bytes={half}-"]


# --- archives that are not what they should be ---------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A layout to spoil: three densities only."""
    return paper_archive(tmp_path / "data", densities=(1.5, 2.6, 3.5), n_test=20)


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def frames_of(path, n_atoms=216):
    lines = path.read_text().splitlines(keepends=True)
    return ["".join(lines[k : k + n_atoms + 2]) for k in range(0, len(lines), n_atoms + 2)]


@pytest.fixture
def refused(folder):
    def check(message):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=message):
                convert(folder)

    return check


def test_the_small_layout_is_fine(folder):
    with pytest.warns(UserWarning, match="expected"):
        store = convert(folder)
    assert sum(len(records) for records in store.values()) == 6 * 9 + 2 + 3 + 3


@pytest.mark.parametrize(
    "name",
    ["216atom_amorphous", "216atom_crystal", "512atom_amorphous", "dataset_train_test_split"],
)
def test_missing_folder(folder, refused, name):
    shutil.rmtree(folder / name)
    refused(f"no folders {name}")


def test_missing_split_file(folder, refused):
    (folder / "dataset_train_test_split" / "test.xyz").unlink()
    refused(r"no test\.xyz")


def test_folder_found_twice(folder, refused):
    shutil.copytree(folder / "216atom_crystal", folder / "copy" / "216atom_crystal")
    refused("2 folders 216atom_crystal")


def test_leftovers_of_other_systems_do_not_count(folder):
    (folder / "__MACOSX" / "216atom_crystal").mkdir(parents=True)
    (folder / "__MACOSX" / "216atom_crystal" / "._diamond.xyz").write_bytes(b"\0\1")
    (folder / "216atom_crystal" / "._diamond.xyz").write_bytes(b"\0\1")
    with pytest.warns(UserWarning, match="expected"):
        assert len(convert(folder)["216atom_crystal/run1.npy"]) == 3


def test_runs_are_numbered_as_people_count(folder):
    amorphous = folder / "216atom_amorphous"
    (amorphous / "run_2.xyz").rename(amorphous / "run_10.xyz")
    with pytest.warns(UserWarning, match="expected"):
        store = convert(folder)
    last = frames_of(amorphous / "run_10.xyz")[0].splitlines()[1]
    assert f"energy={store['216atom_amorphous/run6.npy']['energy'][0]:.8f}" in last


def test_missing_key_in_one_frame_among_many(folder, refused):
    path = folder / "216atom_amorphous" / "run_3.xyz"
    frames = frames_of(path)
    frames[7] = frames[7].replace(" energy=", " energie=")
    path.write_text("".join(frames))
    refused(r"run_3\.xyz, frame 7: no energy under 'energy'")


def test_one_bad_frame_among_many(folder, refused):
    path = folder / "216atom_amorphous" / "run_5.xyz"
    frames = frames_of(path)
    lines = frames[4].splitlines(keepends=True)
    lines[12] = lines[12].replace(lines[12].split()[2], "nan", 1)
    frames[4] = "".join(lines)
    path.write_text("".join(frames))
    refused(r"run_5\.xyz, frame 4: position of atom 10 is \[.*nan")


def test_mixed_sizes(folder, refused):
    path = folder / "512atom_amorphous" / "large.xyz"
    small = xyz_frame(216, 2.0, "quench2", -1900, np.random.default_rng(0))
    path.write_text(path.read_text() + small)
    refused(r"large\.xyz, frame 3: 216 atoms, expected 512")


def test_text_broken_off(folder, refused):
    path = folder / "216atom_crystal" / "diamond.xyz"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-50]))
    refused(r"diamond\.xyz, frame 2: the file ends within the frame")


def test_split_frame_that_is_nowhere_else(folder, refused):
    path = folder / "dataset_train_test_split" / "train.xyz"
    stranger = xyz_frame(216, 2.6, "quench2", -1812.5, np.random.default_rng(1))
    path.write_text(path.read_text() + stranger)
    refused(r"train\.xyz, frame 36: its energy -1812\.5 eV and positions are in no other file")


def test_same_energy_is_not_the_same_frame(folder, refused):
    path = folder / "dataset_train_test_split" / "train.xyz"
    frames = frames_of(path)
    lines = frames[5].splitlines(keepends=True)
    lines[2], lines[3] = lines[3], lines[2]
    path.write_text("".join([*frames[:5], "".join(lines), *frames[6:]]))
    refused(r"train\.xyz, frame 5: its energy .* in no other file")


def test_frame_on_both_sides_of_the_split(folder, refused):
    split = folder / "dataset_train_test_split"
    shared = frames_of(split / "train.xyz")[3]
    (split / "test.xyz").write_text((split / "test.xyz").read_text() + shared)
    refused(r"test\.xyz, frame 20: the frame is in train\.xyz and in test\.xyz")


def test_known_frame_with_another_energy(folder, refused):
    for name in ("216atom_amorphous/run_6.xyz", "dataset_train_test_split/test.xyz"):
        edit(folder / name, "energy=-1970.32638997", "energy=-1970.32738997")
    refused(r"test\.xyz, frame 0: energy, density, process are \(-1970\.32738997, 3\.5")
