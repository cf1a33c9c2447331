import numpy as np
import pytest

from phutils import baselines, label_sets, predictions
from phutils.dataset import load
from phutils.label_sets import DIAGRAMS, LOCAL

EVERY = 9


@pytest.fixture(scope="module")
def both():
    return label_sets.same_frames("embedded", "gfn1", EVERY)


def test_the_same_frames_have_both_labels(both):
    usual, other, chosen = both
    assert (usual.labels, other.labels) == ("NEP89", "GFN1-xTB")
    assert len(usual) == len(other) == len(chosen) >= 10
    for name in ("trajectory", "time", "density", "stage"):
        np.testing.assert_array_equal(getattr(usual, name), getattr(other, name))
    np.testing.assert_array_equal(usual[3].positions, other[3].positions)
    assert np.ptp(usual.energy_per_atom - other.energy_per_atom) > 0.01
    _, _, some = label_sets.same_frames("embedded", "gfn1", EVERY, most=5)
    assert some[0] == 0 and some[-1] == len(usual) - 1 and len(set(some.tolist())) == 5
    _, _, some = label_sets.same_frames("embedded", "gfn1", EVERY, most=10**6)
    assert some.tolist() == chosen.tolist() == list(range(len(usual)))


def test_without_other_labels_there_are_no_frames(tmp_path):
    path = tmp_path / "own.extxyz"
    path.write_text('1\nLattice="9 0 0 0 9 0 0 0 9" energy=-9\nC 0 0 0\n')
    assert label_sets.same_frames(str(path))[:2] == (None, None)
    assert label_sets.same_frames("embedded", "gfn1", 10**6)[:2] == (None, None)  # too few


def test_descriptors_are_those_of_each_frame(both, tmp_path):
    usual = both[0]
    three = label_sets.descriptors(usual[:3], tmp_path, n_jobs=1)
    assert three[DIAGRAMS].shape == (3, 128 * 128) and three[LOCAL].shape == (3, 360)
    assert len(three[baselines.BY_STAGE]) == 3
    one = label_sets.descriptors(usual[2:3], n_jobs=1)
    np.testing.assert_array_equal(one[DIAGRAMS].toarray(), three[DIAGRAMS][[2]].toarray())
    np.testing.assert_array_equal(one[LOCAL], three[LOCAL][2:])


def test_models_are_scored_on_the_same_splits_with_both_labels():
    rng = np.random.default_rng(0)
    stage, atoms = rng.normal(size=(90, 2)), rng.normal(size=(90, 3))
    counts = np.abs(rng.normal(size=(90, 5)))
    local, other = atoms @ [1.0, 2.0, 3.0], counts @ np.arange(5.0)
    features = {baselines.BY_STAGE: stage, DIAGRAMS: counts, LOCAL: atoms}
    pairs = [(np.arange(60), np.arange(60, 90)), (np.arange(30, 90), np.arange(30))]
    found = label_sets.errors(features, {"A": local, "B": other}, {"random": pairs})
    assert len(found) == 6 and all(len(e) == 2 for e in found.values())
    assert (found[LOCAL, "A", "random"] < 1).all() and (found[LOCAL, "B", "random"] > 500).all()
    assert (found[DIAGRAMS, "B", "random"] < 1).all()
    assert (found[baselines.BY_STAGE, "A", "random"] > 500).all()
    shuffled = label_sets.errors(features, {"A": local[::-1]}, {"random": pairs})
    assert (shuffled[LOCAL, "A", "random"] > 500).all()


def test_networks_are_taken_from_chapters_that_ran_on_these_frames(both, tmp_path):
    _, other, _ = both
    n = len(other)
    rows, energy = np.arange(n), other.energy_per_atom
    splits = {"random": [(rows[n // 2 :], rows[: n // 2])]}
    off = {"diagrams, CNN": 0.02, "diagrams, Ridge": 0.05}
    models = {(model, "random"): ((energy + e)[None], n // 2) for model, e in off.items()}
    predictions.publish(tmp_path, "quick", "cnn_gfn1", other, rows, models)
    found = label_sets.of_networks(tmp_path, "quick", other, splits, "_gfn1")
    assert list(found) == [("diagrams, CNN", "random")]
    assert found["diagrams, CNN", "random"] == pytest.approx([20], rel=1e-3)
    assert label_sets.of_networks(tmp_path, "quick", other[1:], splits, "_gfn1") == {}
    some = rows[: n // 2 : 2]  # of the test frames, the wrong ones are left out
    wrong = np.where(np.isin(rows, some), 0.02, 9.0)
    models = {("diagrams, CNN", "random"): ((energy + wrong)[None], n // 2)}
    predictions.publish(tmp_path, "quick", "cnn_gfn1", other, rows, models)
    found = label_sets.of_networks(tmp_path, "quick", other, splits, "_gfn1", some)
    assert found["diagrams, CNN", "random"] == pytest.approx([20], rel=1e-3)
    assert label_sets.of_networks(tmp_path, "quick", other, splits, "_lda") == {}


def results(usual, other, kind="by trajectory"):
    """Errors of diagrams over those of the local model: these leads."""
    found = {(LOCAL, name, kind): np.array([10.0, 10.0]) for name in ("A", "B")}
    found |= {
        (DIAGRAMS, name, kind): 10 * np.array(x)
        for name, x in zip("AB", (usual, other), strict=True)
    }
    return found


@pytest.mark.parametrize(
    ("usual", "other", "words"),
    [
        ([4.0, 4.2], [2.0, 2.2], "so the lead of the local model shrinks"),
        ([2.0, 2.2], [4.0, 4.2], "so the lead of the local model grows"),
        ([4.0, 4.2], [3.0, 5.0], "it cannot be told whether"),
        ([4.0, 8.0], [3.0, 6.2], "shrinks"),  # split by split, however much these differ
    ],
)
def test_the_verdict_follows_from_two_errors(usual, other, words):
    told = label_sets.verdict(results(usual, other), ("A", "B"))
    assert words in told and told.endswith(".") and "by trajectory" in told
    assert f"is {np.mean(usual):.1f} ± " in told and "with A and" in told and "B labels" in told
    single = {key: e[:1] for key, e in results(usual, other).items()}
    told = label_sets.verdict(single, ("A", "B"))
    assert "cannot be told" in told and "one split: no error is known" in told


def test_table_has_a_dash_for_what_is_not_known():
    found = results([4.0, 4.2], [2.0, 2.2]) | {("SchNet", "B", "random"): np.array([30.0])}
    head, *lines = label_sets.table(found, ("A", "B"))
    assert head[1:] == ["A, random", "A, by trajectory", "B, random", "B, by trajectory"]
    by_model = {line[0]: line[1:] for line in lines}
    assert by_model["SchNet"] == ["–", "–", "30.0", "–"]
    assert by_model[DIAGRAMS] == ["–", "41.0 ± 1.4", "–", "21.0 ± 1.4"]


def test_the_embedded_labels_are_of_the_usual_frames():
    frames = set(label_sets.identity(load("embedded")))
    assert set(label_sets.identity(load("embedded", labels="gfn1"))) <= frames
