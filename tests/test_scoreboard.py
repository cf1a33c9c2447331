import csv
import io
import json
import math
import re

import numpy as np
import pytest
from ase import Atoms
from claim_results import bad, good

from phutils import predictions, scoreboard
from phutils.claims import Claim, Found, Missing

N = 60
# Every row of the list of the paper's figures that the book keeps.
FIGURES = (
    *(
        "Fig. 1",
        "Fig. 2a, d",
        "Fig. 2b, e",
        "Fig. 2c, f",
        "Fig. 3a",
        "Fig. 3b",
        "Fig. 3c",
        "Fig. 3d",
    ),
    *("Fig. 4a", "Fig. 4b", "Fig. 5a", "Fig. 5b", "Fig. 5c", "Fig. 6a-f", "Fig. 7a", "Fig. 7b"),
    *("Fig. 7c, d", "Fig. 7e", "Fig. 7f", "Fig. S1", "Fig. S2", "Sec. S3", "Figs S4-S6", "Fig. S7"),
    *("Fig. S8", "Fig. S9", "Fig. S10", "Fig. S11", "Fig. S12", "Fig. S13"),
    *("Sec. IV: 1", "Sec. IV: 2", "Sec. IV: 3", "Sec. IV: 4"),
)


class Structures:
    fingerprint = "of these"
    stage = np.repeat(["hot", "cold"], N // 2)
    density = np.tile([2.0, 3.0], N // 2)
    energy_per_atom = np.linspace(-8, -7, N)

    def __len__(self):
        return N


FRAMES = Structures()
ORDER = np.random.default_rng(0).permutation(N)
SPLITS = {
    "random": [(ORDER[:45], ORDER[45:]), (ORDER[15:], ORDER[:15])],
    "by trajectory": [(np.arange(40), np.arange(40, N)), (np.arange(20, N), np.arange(20))],
}


def leave(folder, chapter, rows, n_train, **off):
    """Predictions that are wrong by `off` meV/atom in every frame."""
    models = {
        (model.replace("_", ", "), kind): (
            np.tile(FRAMES.energy_per_atom[rows] + error / 1000, (2, 1)),
            n_train,
        )
        for model, error in off.items()
        for kind in SPLITS
    }
    predictions.publish(folder, "quick", chapter, FRAMES, rows, models)


def test_every_figure_of_the_paper_has_a_row_in_the_order_of_the_paper():
    items = [row.item for row in scoreboard.all_claims()]
    places = [next(k for k, item in enumerate(items) if item.startswith(f)) for f in FIGURES]
    assert places == sorted(places)
    assert len(set(items)) == len(items)


def test_without_results_every_row_is_open_and_says_why(tmp_path):
    rows = scoreboard.scoreboard(tmp_path, "quick")
    assert {row["verdict"] for row in rows} == {"open"}
    assert all(row["why"] and row["ratio"] is None and row["paper"] for row in rows)
    assert "ridge" in next(row["why"] for row in rows if row["item"] == "Fig. 3a")
    assert all("not done here" in row["why"] for row in rows if row["item"].startswith("Sec. IV"))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(Found("1", True, 1.1, "here"), "reproduced"), (Found("1", np.False_), "differs")],
)
def test_a_verdict_follows_from_the_rule_alone(answer, verdict):
    row = Claim("Fig. 1", "03_ridge", "one", "always", ("ridge",), lambda ridge: answer)
    result = {"labels": "NEP89", "dataset": "/somewhere/mine.extxyz", "n_frames": 1200}
    told = scoreboard.judge(row, {"ridge": result})
    assert told["verdict"] == verdict and set(told) == set(scoreboard.COLUMNS)
    assert told["on"].endswith("NEP89 labels, mine.extxyz data, 1,200 frames")
    assert told["ratio"] == (1.1 if verdict == "reproduced" else None)
    json.dumps(told)


@pytest.mark.parametrize("error", [Missing("no diamond"), KeyError("rmse")])
def test_a_result_that_lacks_something_opens_the_row(error):
    def judge(ridge):
        raise error

    row = Claim("Fig. 1", "03_ridge", "one", "always", ("ridge",), judge)
    told = scoreboard.judge(row, {"ridge": {}})
    assert told["verdict"] == "open" and ("no diamond" in told["why"] or "rmse" in told["why"])


def test_each_row_can_be_met_and_one_that_differs_says_in_what():
    met, missed = good(), bad()
    for row in scoreboard.all_claims():
        told, lost = scoreboard.judge(row, met), scoreboard.judge(row, missed)
        proposed = row.item.startswith("Sec. IV")
        assert told["verdict"] == ("open" if proposed else "reproduced"), told
        assert lost["verdict"] == ("open" if proposed else "differs"), lost
        assert lost["why"], row.item
        assert proposed or lost["why"] != told["why"], row.item  # not what is said of any result


def test_rows_that_state_values_of_carbon_are_open_for_another_material():
    met, items = good(), {}
    for row in scoreboard.all_claims():
        told = scoreboard.judge(row, met, carbon=False)
        items[row.item] = told["why"].startswith("not carbon")
        assert (told["verdict"] == "open") == (items[row.item] or row.item.startswith("Sec. IV"))
        numbers = r"meV/atom|g/cm³|eV|\d Å|r_cut|degrees"  # of carbon
        assert items[row.item] or not re.search(numbers, row.paper), row.item
    stated = ("Fig. 3a", "Fig. 7e: peak", "Fig. 2a, d", "Fig. 2b, e: line", "Fig. S1: search")
    general = ("Fig. 1", "Fig. 5a, d", "Fig. 3c", "Figs 3, 4: order", "Sec. S3", "Figs S4-S6")
    assert all(items[item] for item in stated) and not any(items[item] for item in general)


def test_carbon_is_known_by_its_atoms():
    carbon, silicon = Atoms("C2"), Atoms("Si2")
    assert scoreboard.holds_carbon_alone([carbon, carbon])
    assert not scoreboard.holds_carbon_alone([carbon, silicon])
    FRAMES.source = "embedded"
    assert scoreboard.holds_carbon_alone(FRAMES)  # it is not read for this


def test_other_labels_have_results_of_their_own(tmp_path):
    (tmp_path / "quick").mkdir()
    for name in ("ridge", "ridge_gfn1", "persistence"):
        (tmp_path / "quick" / f"{name}.json").write_text(json.dumps({"is": name}))
    names = ["ridge", "persistence", "cnn"]
    found = scoreboard.read_results(tmp_path, "quick", names, "gfn1")
    assert found == {"ridge": {"is": "ridge_gfn1"}, "persistence": {"is": "persistence"}}
    assert scoreboard.read_results(tmp_path, "quick", names)["ridge"] == {"is": "ridge"}


def test_csv_is_read_back(tmp_path):
    rows = scoreboard.scoreboard(tmp_path, "quick")
    rows[0] |= {"ratio": 1.25, "ours": 'a "quoted", text'}
    back = list(csv.DictReader(io.StringIO(scoreboard.as_csv(rows))))
    assert len(back) == len(rows) and back[0]["ratio"] == "1.250" and back[1]["ratio"] == ""
    assert back[0]["ours"] == 'a "quoted", text' and back[0]["rule"] == rows[0]["rule"]


def test_ladder_has_all_models_on_the_frames_that_all_have_predicted(tmp_path):
    few = np.arange(0, N, 2)
    leave(tmp_path, "cnn", np.arange(N), 45, **{"diagrams_Ridge": 80, "diagrams_CNN": 40})
    soap = {"SOAP_network": 30, "diagrams_Ridge (fewer frames)": 120}
    leave(tmp_path, "soap", few, 22, **soap)
    leave(tmp_path, "schnet", few, 22, SchNet=60)
    rows, missing = scoreboard.ladder(tmp_path, "quick", FRAMES, SPLITS)
    assert missing == {}
    random = {row["model"]: row for row in rows if row["split"] == "random"}
    known = [model for model in scoreboard.MODELS if model in random]
    assert list(random) == known and len(random) == 6  # with density and stage
    tested = np.mean([np.isin(test, few).sum() for _, test in SPLITS["random"]])
    assert all(row["n_test"] == int(tested) for row in random.values())
    assert random["SOAP, network"]["rmse"] == pytest.approx([30, 30], rel=1e-3)
    # each over the Ridge regression of the same training frames
    assert random["SOAP, network"]["ratio"] == pytest.approx([0.25, 0.25], rel=1e-3)
    assert random["SchNet"]["ratio"] == pytest.approx([0.5, 0.5], rel=1e-3)
    assert random["diagrams, CNN"]["ratio"] == pytest.approx([0.5, 0.5], rel=1e-3)
    assert random["SchNet"]["paper"] == 30.5
    assert random["SchNet"]["paper_ratio"] == pytest.approx(30.5 / 59.2)
    silicon, _ = scoreboard.ladder(tmp_path, "quick", FRAMES, SPLITS, carbon=False)
    assert {row["paper"] for row in silicon} == {row["paper_ratio"] for row in silicon} == {None}
    baseline = random["density and stage only"]
    assert baseline["paper"] is None and baseline["n_train"] == 45
    assert all(math.isfinite(error) and error > 100 for error in baseline["rmse"])


def test_no_ratio_where_the_training_frames_differ(tmp_path):
    leave(tmp_path, "soap", np.arange(N), 30, **{"diagrams_Ridge (fewer frames)": 120})
    leave(tmp_path, "schnet", np.arange(N), 22, SchNet=60)
    rows, missing = scoreboard.ladder(tmp_path, "quick", FRAMES, SPLITS)
    assert list(missing) == ["cnn"] and "predictions_cnn" in missing["cnn"]
    assert {row["model"]: row["ratio"] for row in rows}["SchNet"] == []


def test_a_chapter_run_on_other_frames_is_left_out(tmp_path):
    leave(tmp_path, "cnn", np.arange(N), 45, **{"diagrams_Ridge": 80})
    path = tmp_path / "quick" / "predictions_cnn.npz"
    arrays = dict(np.load(path)) | {"fingerprint": np.array("of others")}
    np.savez(path, **arrays)
    rows, missing = scoreboard.ladder(tmp_path, "quick", FRAMES, SPLITS)
    assert rows == [] and "other frames" in missing["cnn"] and len(missing) == 3
