import multiprocessing
import subprocess
import sys
import time

import numpy as np
import pytest
from ase import Atoms
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from phutils import artifacts, scores, structure


def test_result_is_the_same_computed_and_read(tmp_path):
    errors = artifacts.cached(tmp_path, scores.rmse, np.array([0.1, 0.2]), np.array([0.1, 0.3]))
    (file,) = (tmp_path / "cache").glob("*.json")
    assert artifacts.cached(tmp_path, scores.rmse, np.array([0.1, 0.2]), np.array([0.1, 0.3])) == (
        errors
    )
    file.write_text("12.5")  # what is on disk is what is served: nothing is computed again
    assert artifacts.cached(tmp_path, scores.rmse, np.array([0.1, 0.2]), np.array([0.1, 0.3])) == (
        12.5
    )
    assert artifacts.cached(tmp_path, scores.rmse, np.array([0.1, 0.2]), np.array([0.1, 0.4])) > 100


def test_arrays_survive_exactly(tmp_path):
    atoms = [Atoms("C8", positions=np.random.default_rng(0).random((8, 3)) * 9, cell=[9] * 3)]
    first = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
    again = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
    assert first["g"].dtype == again["g"].dtype == float
    np.testing.assert_array_equal(first["g"], again["g"])
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.4)
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


def test_damaged_file_is_computed_again(tmp_path):
    atoms = [Atoms("C8", positions=np.random.default_rng(0).random((8, 3)) * 9, cell=[9] * 3)]
    good = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
    (file,) = (tmp_path / "cache").glob("*.npz")
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", whole[:200] + b"x" * 300 + whole[500:]):
        file.write_bytes(broken)
        found = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
        np.testing.assert_array_equal(found["g"], good["g"])


def test_pickled_content_is_never_loaded(tmp_path):
    atoms = [Atoms("C8", positions=np.random.default_rng(0).random((8, 3)) * 9, cell=[9] * 3)]
    good = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
    (file,) = (tmp_path / "cache").glob("*.npz")
    np.savez(file, g=np.array([{"an": "object"}], dtype=object))
    found = artifacts.cached(tmp_path, structure.radial_distribution, atoms, r_max=4.0)
    np.testing.assert_array_equal(found["g"], good["g"])


def test_code_key_follows_code_but_not_prose(tmp_path, monkeypatch):
    package = tmp_path / "phutils_copy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "low.py").write_text("def f():\n    return 1\n")
    (package / "high.py").write_text('"""Doc."""\nfrom phutils_copy.low import f\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(artifacts, "__package__", "phutils_copy")
    monkeypatch.setattr(artifacts.package_files, "__defaults__", ("phutils_copy",))

    def key():
        artifacts.code_key.cache_clear()
        return artifacts.code_key("phutils_copy.high")

    try:
        before = key()
        (package / "high.py").write_text(
            '"""Other words."""\n# a comment\nfrom phutils_copy.low import f\n'
        )
        assert key() == before
        (package / "low.py").write_text("def f():\n    return 2\n")
        assert key() != before
    finally:
        artifacts.code_key.cache_clear()


def test_fingerprints_tell_values_apart():
    values = [
        1, 1.0, True, "1", None, (1,), [1], {"a": 1}, {"a": 2}, np.array([1]), np.array([1.0]),
        np.array([[1]]), np.float64(1), Ridge(), Ridge(alpha=2), scores.rmse, scores.mae,
        Atoms("C", cell=[3] * 3), Atoms("N", cell=[3] * 3), ("a", "bc"), ("ab", "c"),
        csr_array(np.eye(2)), csr_array(np.ones((2, 2))), np.eye(2),
    ]  # fmt: skip
    prints = [artifacts.fingerprint(v) for v in values]
    assert len(set(prints)) == len(values)
    assert prints == [artifacts.fingerprint(v) for v in values]
    assert artifacts.fingerprint({"a": 1, "b": 2}) == artifacts.fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "value", [object(), lambda x: x, np.array([None]), {1, 2}], ids=["object", "lambda", "o", "set"]
)
def test_no_fingerprint_is_guessed(value):
    with pytest.raises(TypeError, match="fingerprint"):
        artifacts.fingerprint(value)


def test_functions_of_a_notebook_are_refused(tmp_path):
    space = {"__name__": "__main__"}
    exec("def f():\n    return {'a': 1}", space)
    with pytest.raises(TypeError, match="only functions of phutils"):
        artifacts.cached(tmp_path, space["f"])


def test_arguments_without_effect_do_not_enter_the_key(tmp_path):
    numbers = np.array([1.0])
    assert {"n_jobs", "progress"} <= artifacts.WITHOUT_EFFECT
    artifacts.cached(tmp_path, np.mean, numbers)
    with pytest.raises(TypeError):  # n_jobs does reach the function, but only if it has to run
        artifacts.cached(tmp_path, np.mean, numbers + 1, n_jobs=2)
    assert artifacts.cached(tmp_path, np.mean, numbers, n_jobs=2) == 1.0


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "sub" / "file.txt"
    with artifacts.atomic_write(path, "w") as file:
        file.write("old")
    with pytest.raises(RuntimeError), artifacts.atomic_write(path, "w") as file:
        file.write("new, but cut off")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def _compute(folder, queue):
    queue.put(artifacts.cached(folder, structure.radial_distribution, [Atoms("C", cell=[20] * 3)]))


def test_two_processes_share_a_cache(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_compute, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = queue.get(timeout=60), queue.get(timeout=60)
    for process in processes:
        process.join()
    np.testing.assert_array_equal(first["g"], second["g"])
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1


def test_killed_computation_frees_its_lock(tmp_path):
    script = (
        "import os, time, numpy as np\nfrom phutils import artifacts, scores\n"
        "def rmse(a, b):\n    print('started', flush=True)\n    time.sleep(60)\n"
        "rmse.__module__, rmse.__qualname__ = 'phutils.scores', 'rmse'\n"
        f"artifacts.cached({str(tmp_path)!r}, rmse, np.zeros(1), np.ones(1))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"started"
    process.kill()
    process.wait()
    start = time.monotonic()
    assert artifacts.cached(tmp_path, scores.rmse, np.zeros(1), np.ones(1)) == 1000.0
    assert time.monotonic() - start < 5


def test_a_run_beside_the_book_publishes_nothing(tmp_path, monkeypatch):
    artifacts.publish(tmp_path, "quick", "ridge", {"rmse": 1})
    monkeypatch.setenv("PHUTILS_PUBLISH", "no")
    artifacts.publish(tmp_path, "quick", "ridge", {"rmse": 2})
    assert artifacts.published(tmp_path, "quick", "ridge") == {"rmse": 1}


def test_published_results(tmp_path):
    artifacts.publish(tmp_path, "quick", "ridge", {"rmse": np.array([1.5]), "n": np.int64(3)})
    assert artifacts.published(tmp_path, "quick", "ridge") == {"rmse": [1.5], "n": 3}
    with pytest.raises(FileNotFoundError, match="run cnn"):
        artifacts.published(tmp_path, "quick", "cnn")


def test_folder_of_a_users_file(tmp_path):
    one, two = tmp_path / "a" / "x y.xyz", tmp_path / "b" / "x y.xyz"
    names = [artifacts.folder(str(path)).name for path in (one, two)]
    assert names[0] != names[1] and all(name.startswith("x-y.xyz-") for name in names)
    assert artifacts.folder().parts[-3:] == ("_build", "artifacts", "embedded")


def test_json_result_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(TypeError, match="cannot be stored"):
        artifacts._write(tmp_path / "x", {"a": object()})
    assert not list(tmp_path.iterdir())
