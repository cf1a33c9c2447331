import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from map_spaces import GENERATOR, ISLANDS, ONE, measured

from phutils import artifacts, maps


@pytest.mark.parametrize("short", [2, 512], ids=["arpack", "diagonalised"])
def test_components_are_numpys(monkeypatch, short):
    monkeypatch.setattr(maps, "SHORT", short)
    wide = GENERATOR.normal(size=(240, 9)) * np.arange(1, 10)
    found = maps.principal_components(wide, 3)
    centred = wide - wide.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.abs(centred @ axes[:3].T)
    np.testing.assert_allclose(np.abs(found["components"]), expected, atol=1e-8)
    np.testing.assert_allclose(found["shares"], (values**2 / (values**2).sum())[:3])
    mirrored = maps.principal_components(-wide, 3)["components"]
    assert (np.abs(mirrored).max(axis=0) == mirrored.max(axis=0)).all()  # one sign by rule


def test_components_of_one_feature_lie_on_a_line():
    found = maps.principal_components(np.arange(5.0)[:, None])
    assert found["components"].shape == (5, 2) and not found["components"][:, 1].any()
    assert found["shares"].tolist() == [1, 0]
    assert maps.embed(np.arange(50.0)[:, None], 5)["map"].shape == (50, 2)


def test_tsne_keeps_islands_and_repeats_itself(tmp_path):
    wide = np.c_[ISLANDS, np.random.default_rng(1).normal(size=(240, 80)) * 0.01]
    first, again = maps.embed_each(tmp_path, [(wide, 20, 3)] * 2, 1, False)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, maps.embed(wide, 20, 3)["map"])
    assert measured(first)["purity"] == 1


def test_maps_that_are_done_survive_a_kill(tmp_path):
    code = (
        "import numpy as np; from phutils import maps\n"
        "x = np.random.default_rng(0).normal(size=(400, 3))\n"
        f"maps.embed_each({str(tmp_path)!r}, [(x, 10 + i, 0) for i in range(40)], 1)"
    )
    command = [sys.executable, "-c", code]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("cache/embed-*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/embed-*.npz")}
    assert 2 <= len(done) < 40
    x = np.random.default_rng(0).normal(size=(400, 3))
    found = maps.embed_each(tmp_path, [(x, 10 + i, 0) for i in range(len(done) + 1)], 1, False)
    assert {path: path.stat().st_mtime_ns for path in done} == done  # read, not made again
    assert len(list(tmp_path.glob("cache/embed-*.npz"))) == len(done) + 1
    np.testing.assert_array_equal(found[0], maps.embed(x, 10, 0)["map"])
    assert artifacts.cached(tmp_path, maps.embed, x, 10.0, 0)["map"].shape == (400, 2)


@pytest.mark.parametrize(
    "space, message",
    [
        (ONE[:20], "perplexity 30 needs more frames than that, and there are 20"),
        (np.ones((50, 4)), "the descriptors of all frames are the same"),
        (np.where(np.arange(240)[:, None] == 7, np.nan, ONE), "descriptor of frame 7"),
        (ONE[:, 0], r"shape \(240,\), not \(frames, features\)"),
        (ONE[:0], r"shape \(0, 3\), not"),
    ],
)
def test_bad_input(space, message):
    with pytest.raises(ValueError, match=message):
        maps.embed(space)
