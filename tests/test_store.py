import hashlib
import multiprocessing
import subprocess

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from phutils import store


def packed(n=8, density=2.0, seed=0, **fields):
    rng = np.random.default_rng(seed)
    length = store.cell_length(n, density)
    atoms = Atoms(f"C{n}", rng.uniform(-length, 2 * length, (n, 3)), cell=[length] * 3, pbc=True)
    labels = dict(density=density, run=1, stage="quench2", time=1.5, temperature=300.0)
    return atoms, store.pack_frame(atoms, **(labels | fields))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), density=st.floats(1.5, 3.5))
def test_compact_positions_are_wrapped_and_accurate(seed, density):
    atoms, frame = packed(216, density, seed)
    stored = store.unpack_atoms(frame)
    apart = atoms.positions - stored.positions
    length = atoms.cell.lengths()[0]
    apart -= length * np.rint(apart / length)
    assert np.abs(apart).max() <= length / 2**17 * (1 + 1e-9) < 1.5e-4
    assert stored.positions.min() >= 0
    assert stored.positions.max() < length
    assert stored.pbc.all()


def test_packing_a_stored_frame_again_changes_nothing():
    _, frame = packed(216, energy=-1500.25)
    labels = {name: frame[name] for name in ("density", "run", "stage", "time", "temperature")}
    again = store.pack_frame(store.unpack_atoms(frame), energy=frame["energy"], **labels)
    assert again.tobytes() == frame.tobytes()


def test_compact_record_is_as_published():
    dtype = store.frame_dtype(216)
    names = ["energy", "density", "cell", "time", "temperature", "run", "stage", "scaled_positions"]
    assert list(dtype.names) == names
    assert dtype.itemsize == 8 + 8 + 24 + 4 + 4 + 2 + 44 + 216 * 3 * 2


def test_exact_record_keeps_elements_and_positions():
    frame = np.zeros((), store.exact_dtype(2))
    frame["numbers"], frame["positions"] = [6, 14], [[0.1, 0.2, 0.3], [1 / 3, 2, 3]]
    frame["cell"] = [4, 5, 6]
    atoms = store.unpack_atoms(frame)
    assert atoms.get_chemical_formula() == "CSi"
    np.testing.assert_array_equal(atoms.positions, frame["positions"])
    np.testing.assert_array_equal(atoms.cell.lengths(), [4, 5, 6])
    atoms.positions[:] = 0  # the structure is the caller's own
    assert frame["positions"][1, 0] == 1 / 3


def test_cell_length_of_diamond():
    a = bulk("C", "diamond", a=3.567, cubic=True)
    assert store.cell_length(len(a), 3.5156) == pytest.approx(3.567, abs=1e-3)
    assert store.cell_length(216, 3.5) == pytest.approx(10.717036443, abs=2e-3)


@pytest.fixture
def root(tmp_path):
    for folder, name, n in (("a", "x", 3), ("b", "y", 5)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / f"{name}.npy", np.stack([packed(n)[1]] * 4))
    store.write_checksums(tmp_path)
    return tmp_path


def test_checksums_are_those_of_sha256sum(root):
    files = store.list_files(root)
    assert [file.path.name for file in files] == ["x.npy", "y.npy"]
    assert files[0].digest == hashlib.sha256(files[0].path.read_bytes()).hexdigest()
    assert files[1].folder == "b"
    subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=root, check=True)
    assert not list(root.glob("*.tmp"))


def test_records_are_read_and_mapped(root):
    file = store.list_files(root)[0]
    records, mapped = store.read_records(file), store.map_records(file)
    assert isinstance(mapped.base, np.memmap)
    assert not mapped.flags.writeable
    assert records.tobytes() == mapped.tobytes()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_file_is_named(root, damage):
    path = root / "b" / "y.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if damage != "remove":
        path.write_bytes(content if damage == "flip" else content[:-1])
    expected = FileNotFoundError if damage == "remove" else ValueError
    with pytest.raises(expected, match=r"b/y\.npy is (missing|corrupt)"):
        store.read_records(store.list_files(root)[1])
    store.read_records(store.list_files(root)[0])


def test_pickled_records_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "x.npy", np.array([{"a": 1}], dtype=object))
    store.write_checksums(tmp_path)
    with pytest.raises(ValueError, match="allow_pickle"):
        store.read_records(store.list_files(tmp_path)[0])


@pytest.mark.parametrize(
    "line", ["", "abc  a/x.npy", "0" * 64 + "  ../x.npy", "0" * 64 + "  /x.npy", "0" * 64 + " a/x"]
)
def test_a_broken_checksum_file_is_refused(tmp_path, line):
    (tmp_path / "SHA256SUMS").write_text(line)
    with pytest.raises(ValueError, match="SHA256SUMS"):
        store.list_files(tmp_path)


def test_a_folder_without_checksums_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing"):
        store.list_files(tmp_path)


def test_cache_is_built_once_and_again_when_damaged(tmp_path):
    calls = []

    def build():
        calls.append(1)
        return {"a/x.npy": np.arange(100)}

    folder = tmp_path / "deep" / "key"
    for _ in range(2):
        assert store.cached_store(folder, build) == folder
    assert len(calls) == 1
    (folder / "a" / "x.npy").write_bytes(b"half")
    store.cached_store(folder, build)
    assert len(calls) == 2
    np.testing.assert_array_equal(np.load(folder / "a" / "x.npy"), np.arange(100))


def test_an_interrupted_build_leaves_nothing_to_load(tmp_path):
    folder = tmp_path / "key"
    (tmp_path / "key.tmp" / "a").mkdir(parents=True)  # as a killed process leaves it
    (tmp_path / "key.tmp" / "a" / "old.npy").write_bytes(b"half")

    def failing():
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        store.cached_store(folder, failing)
    assert not folder.exists()
    store.cached_store(folder, lambda: {"a/x.npy": np.arange(3)})
    assert [file.path.name for file in store.list_files(folder)] == ["x.npy"]
    assert sorted(path.name for path in (folder / "a").iterdir()) == ["x.npy"]


def _build_slowly(folder, counter):
    def build():
        with counter.get_lock():
            counter.value += 1
        return {"a/x.npy": np.arange(200_000)}

    store.cached_store(folder, build)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_build_once(tmp_path):
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    workers = [
        context.Process(target=_build_slowly, args=(tmp_path / "key", counter)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert counter.value == 1


def test_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path))
    assert store.cache_folder() == tmp_path
    monkeypatch.delenv("PHUTILS_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.cache_folder().name == "phutils"
