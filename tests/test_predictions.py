import numpy as np
import pytest

from phutils import predictions
from phutils.scores import rmse


class Structures:
    fingerprint = "of these"
    energy_per_atom = np.linspace(-8, -7, 40)

    def __len__(self):
        return 40


FRAMES = Structures()
ENERGY = FRAMES.energy_per_atom
ORDER = np.random.default_rng(0).permutation(40)
SPLITS = {
    "random": [(ORDER[:30], ORDER[30:]), (ORDER[10:], ORDER[:10])],
    "by trajectory": [(np.arange(30), np.arange(30, 40))],
}


def leave(folder, chapter, model, rows, off, splits=2, structures=FRAMES):
    """Predictions that are wrong by `off` (eV/atom) in every frame, another sign by split."""
    y = np.array([ENERGY[rows] + off * (-1) ** k for k in range(splits)])
    models = {(model, "random"): (y, 30), (model, "by trajectory"): (y[:1], 20)}
    predictions.publish(folder, "quick", chapter, structures, rows, models)


def test_errors_on_the_frames_that_all_have(tmp_path):
    leave(tmp_path, "one", "A", np.arange(40), 0.01)
    rows = np.arange(0, 40, 2)
    leave(tmp_path, "two", "B, small", rows, 0.05, splits=1)
    found = predictions.compare(tmp_path, "quick", ["one", "two"], FRAMES, SPLITS)
    errors, n_train, n_test = found
    assert set(errors) == {(m, k) for m in ("A", "B, small") for k in SPLITS}
    np.testing.assert_allclose(errors["A", "random"], [10], rtol=1e-3)  # one split is common
    np.testing.assert_allclose(errors["B, small", "by trajectory"], [50], rtol=1e-3)
    assert n_test == {"random": [np.isin(ORDER[30:], rows).sum()], "by trajectory": [5]}
    assert n_train["A", "random"] == 30 and n_train["A", "by trajectory"] == 20


def test_each_frame_has_its_own_prediction(tmp_path):
    """Errors that differ from frame to frame, rows in another order: the right ones are taken."""
    rows = np.array([35, 3, 31, 38])
    off = np.array([0.04, 9, 0.02, 0.01])
    models = {("A", "by trajectory"): ([ENERGY[rows] + off], 4)}
    predictions.publish(tmp_path, "quick", "one", FRAMES, rows, models)
    splits = {"by trajectory": SPLITS["by trajectory"]}
    errors, _, n_test = predictions.compare(tmp_path, "quick", ["one"], FRAMES, splits)
    expected = rmse(off[[0, 2, 3]], np.zeros(3))
    np.testing.assert_allclose(errors["A", "by trajectory"], [expected], rtol=1e-4)
    assert n_test == {"by trajectory": [3]}


def test_bad_input(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="predictions_one.npz is missing for profile"):
        predictions.compare(tmp_path, "quick", ["one"], FRAMES, SPLITS)
    with pytest.raises(ValueError, match=r"A, random: \(1, 39\) predictions, 40 frames"):
        models = {("A", "random"): (np.zeros((1, 39)), 30)}
        predictions.publish(tmp_path, "quick", "one", FRAMES, np.arange(40), models)
    leave(tmp_path, "one", "A", np.arange(3), 0.01)
    with pytest.raises(ValueError, match="split 0 by trajectory has no test frame that all"):
        splits = {"by trajectory": SPLITS["by trajectory"]}
        predictions.compare(tmp_path, "quick", ["one"], FRAMES, splits)
    other = Structures()
    other.fingerprint = "of others"
    with pytest.raises(ValueError, match="one was run on other frames: run it again"):
        predictions.compare(tmp_path, "quick", ["one"], other, SPLITS)
    monkeypatch.setenv("PHUTILS_PUBLISH", "no")  # a run beside the book leaves nothing
    leave(tmp_path, "two", "A", np.arange(40), 0.01)
    assert not list(tmp_path.rglob("*two*"))
