"""Sentences say what the numbers say, and turn around when these do."""

import numpy as np

from phutils import artifacts, verdicts


def errors(random, held):
    return {"random": np.add(random, [0.0, 1.0, -1.0]), "by trajectory": np.array(held, float)}


def test_both_kinds_of_split_stand_side_by_side():
    assert verdicts.both(errors(50, [60, 60, 60])) == "50.0 ± 1.0 / 60.0 ± 0.0"
    assert verdicts.change([66.0], [60.0]) == "10 % more"
    assert verdicts.change([54.0, 54.0], 60.0) == "10 % less"
    assert verdicts.means({(8.0, 16): errors(50, [60, 63])}) == {
        "(8.0, 16)": {"random": 50.0, "by trajectory": 61.5}
    }


def test_leakage_flatters_whom_it_helps_beyond_the_spread():
    copied = {"1": [39.0, 41.0], "trajectory": [110.0, 130.0]}
    ridge = {"1": [50.0, 50.0], "trajectory": [54.0, 58.0], "density": [75.0]}
    text = verdicts.leakage(ridge, copied)
    assert "copying the nearest frame errs by 40.0 ± 1.4 / 120.0 ± 14.1 meV/atom, 200 %" in text
    assert "(by density 50 % more)" in text
    assert text.endswith("flatters copying the nearest frame and Ridge.")
    ridge = {"1": [50.0, 50.0], "trajectory": [45.0, 59.0]}
    text = verdicts.leakage(ridge, copied)
    assert "by density" not in text and text.endswith("flatters copying the nearest frame.")
    assert verdicts.leakage(ridge, ridge).endswith("neither beyond the spread of the splits.")


def test_boundaries_count_what_lies_inside():
    data = np.array([0.2, 0.4]), np.array([0.6]), np.array([3.0, -4.0])
    text = verdicts.boundaries(*data, larger=[0.0, 5.0, 40.0], runs=[-10.0, 0.0, 10.0])
    assert "0.30 % of the degree-1 pairs of 2 frames (0.40 % at most" in text
    assert (
        "-0.5 meV/atom on average, 3.5 root mean square" in text
        and "Of 3 runs of larger cells 2 err" in text
    )
    assert "20 meV/atom)" in text
    assert "larger" not in verdicts.boundaries(*data)


def test_a_cut_helps_only_if_clearly_better():
    above = {0.0: errors(50, [60, 61, 62]), 0.1: errors(50, [55, 56.1, 57])}
    text = verdicts.diagonal(above, {0.1: errors(90, [90, 90, 90])}, 40.0)
    assert text.endswith("a cut at 0.1 Å² is better.") and "the 40 % that live less" in text
    above[0.1] = errors(50, [50, 61, 65])
    assert verdicts.diagonal(above, {}, 40.0).endswith("no cut is better than none.")


def test_mesh_and_degrees_turn_around():
    usual, other = errors(50, [60, 61, 62]), errors(50, [55, 56.1, 57])
    sizes = {(8.0, 128): usual, (4.0, 32): other}
    assert "the best mesh, 32 bins up to 4 Å²" in verdicts.mesh(sizes, (8.0, 128))
    assert verdicts.mesh(sizes, (8.0, 128)).endswith("are hyperparameters after all.")
    assert verdicts.mesh(sizes, (4.0, 32)).endswith("hardly matter.")
    found = {"H1": usual, "H0": usual, "H2": usual, "H0 + H1 + H2": other}
    assert verdicts.degrees(found).endswith("H0 + H1 + H2 is better than rings alone.")
    found["H0 + H1 + H2"] = errors(50, [70, 71, 72])
    assert verdicts.degrees(found).endswith("Nothing is better than rings alone.")


def test_transfer_leaves_out_what_was_not_tested():
    ours = np.array([[10.0, 100.0, np.nan], [300.0, 12.0, np.nan], [50.0, 60.0, np.nan]])
    trivial = np.where(np.isfinite(ours), 99.0, np.nan)
    text = verdicts.transfer({"stage": (ours, trivial)})
    assert "goes from 11 to 80 meV/atom" in text and "50 % of the cases" in text
    assert verdicts.transfer({}).startswith("Skipped")
    nothing = {"density": (np.full((2, 2), np.nan), np.full((2, 2), np.nan))}
    assert verdicts.transfer(nothing).startswith("Skipped")
    assert verdicts.transfer(nothing | {"stage": (ours, trivial)}) == text


def test_potentials_are_beaten_or_not():
    classical = {"A": errors(300, [300, 310, 290]), "B": errors(150, [160, 150, 155])}
    models = {"Ridge": errors(70, [80, 82, 81]), "worse": errors(200, [200, 200, 200])}
    text = verdicts.empirical(classical, models, "Ridge")
    assert text.startswith("The best empirical potential, B, is off by 150.0 ± 1.0 / 155.0 ± 5.0")
    assert "of 2 models 1 beat it (Ridge)" in text and "diamond" not in text
    classical["B"]["diamond"], models["worse"]["diamond"] = [25.0], [400.0]
    text = verdicts.empirical(classical, models, "Ridge")
    assert "off by 25, the best model, worse, by 400." in text
    assert verdicts.empirical({}, models, "Ridge").startswith("Skipped")


def test_published_errors_are_found_as_far_as_there_are_any(tmp_path):
    assert verdicts.published_errors(tmp_path, "quick") == {}
    rmse = {"CNN, random": [60.0], "CNN, by trajectory": [65.0, 66.0], "Ridge, random": [1.0]}
    systems = {"CNN, random: diamond": {"rmse": 500.0}, "Ridge, random: diamond": {"rmse": 1.0}}
    artifacts.publish(tmp_path, "quick", "cnn", {"rmse": rmse, "systems": systems})
    artifacts.publish(tmp_path, "quick", "soap", {"rmse": {"SOAP, network, random": [1.0]}})
    ridge = {f"Ridge on diagrams, {kind}": [7.0] for kind in verdicts.KINDS}
    artifacts.publish(tmp_path, "quick", "ridge_gfn1", {"rmse": ridge})
    found = verdicts.published_errors(tmp_path, "quick")
    assert list(found) == ["CNN"] and found["CNN"]["diamond"] == [500.0]
    assert found["CNN"]["by trajectory"].tolist() == [65.0, 66.0]
    assert list(verdicts.published_errors(tmp_path, "quick", "_gfn1")) == ["Ridge on diagrams"]
