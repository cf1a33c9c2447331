import pytest

from phutils import claims_models as models
from phutils.claims import Missing
from phutils.scores import PAPER_RMSE


def rows(name):
    return {row.item: row for row in models.ROWS}[name]


def ridge(random=60.0, trajectory=64.0, stage=230.0, labels="NEP89"):
    rmse = {"Ridge on diagrams, random": [random] * 2}
    rmse |= {"Ridge on diagrams, by trajectory": [trajectory] * 2}
    rmse |= {f"density and stage only, {kind}": [stage] * 2 for kind in ("random", "by trajectory")}
    systems = {
        "random: 216 atoms": {"rmse": 60.0},
        "random: 512 atoms": {"rmse": 50.0, "bias": 3.0},
    }
    systems |= {"random, with diamond: 216 atoms": {"rmse": 61.0}}
    systems |= {"random, with diamond: diamond": {"rmse": 20.0}}
    return {"labels": labels, "rmse": rmse, "systems": systems, "n_frames": 1000}


def test_ridge_is_judged_by_its_baseline_and_by_its_value_on_the_papers_data_only():
    found = models.ridge_value(ridge())
    assert found.holds and found.ratio == pytest.approx(60 / PAPER_RMSE["ridge"])
    assert "64.0" in found.why and "230.0" in found.why and "no proof" in found.why
    assert models.ridge_value(ridge(random=90)).holds
    assert not models.ridge_value(ridge(random=90, labels="VASP-LDA")).holds
    assert models.ridge_value(ridge(labels="VASP-LDA")).holds
    assert not models.ridge_value(ridge(trajectory=130)).holds


def network(name, ratio):
    results = {"rmse": {f"{name}, random": [30.0, 32.0]}, "n_frames": 500}
    return results | {"ratio": {"random": [ratio] * 2, "by trajectory": [ratio + 0.1] * 2}}


@pytest.mark.parametrize(
    ("ratio", "holds"), [(0.69, True), (0.82, True), (0.84, False), (0.5, False)]
)
def test_a_ratio_is_held_to_that_of_the_paper(ratio, holds):
    found = models.cnn_ratio(network("CNN", ratio))
    assert bool(found.holds) is holds and found.ratio == pytest.approx(ratio / (40.7 / 59.2))
    assert found.ours == f"{ratio:.2f} ± 0.00 of Ridge (31.0 ± 1.4 meV/atom)"
    assert f"{ratio + 0.1:.2f}" in found.why  # by trajectory
    assert ("gains" in found.why) is not holds


def test_larger_cells_and_diamond():
    assert rows("Fig. 3c").judge(ridge()).holds and rows("Fig. S7: Ridge").judge(ridge()).holds
    worse = ridge()
    worse["systems"]["random: 512 atoms"]["rmse"] = 80.0
    worse["systems"]["random, with diamond: diamond"]["rmse"] = 70.0
    assert not rows("Fig. 3c").judge(worse).holds and not rows("Fig. S7: Ridge").judge(worse).holds
    small = ridge() | {"systems": {"random: 216 atoms": {"rmse": 60.0}}}
    with pytest.raises(Missing, match="no cells of 512 atoms"):
        rows("Fig. 3c").judge(small)
    with pytest.raises(Missing, match="no diamond"):
        rows("Fig. S7: Ridge").judge(small)


def soap(**tested):
    found = {"this page": 30.0, "best of the search": 29.0, "short cutoff": 40.0}
    found |= {"few functions": 60.0} | tested
    return {
        "rmse": {"SOAP, network, random": [30.0], "averaged SOAP, network, random": [33.0]},
        "ratio": {"SOAP, network, random": [0.3]},
        "soap": models.PAPER_SOAP | {"rbf": "gto"},
        "n_features": 360,
        "hyperparameters": {"network": found},
        "search": {"trials": 6, "best": {"r_cut": 3.9, "rbf": "gto"}},
    }


def test_the_order_is_that_of_errors_over_ridge():
    order = [soap(), network("SchNet", 0.5), network("CNN", 0.7)]
    found = models.order_of_models(order[2], order[0], order[1])
    assert found.holds and found.ours == "SOAP 0.30, SchNet 0.50, CNN 0.70, Ridge 1.00"
    worse = models.order_of_models(order[2], order[0], network("SchNet", 1.1))
    assert not worse.holds and worse.ours.endswith("Ridge 1.00, SchNet 1.10")


def test_hyperparameters_of_soap():
    assert models.soap_search(soap()).holds and models.soap_size(soap()).holds
    assert not models.soap_search(soap(**{"best of the search": 20.0})).holds
    assert models.other_hyperparameters(soap()).holds
    assert not models.other_hyperparameters(soap(**{"short cutoff": 30.0})).holds
    other = soap() | {"soap": models.PAPER_SOAP | {"r_cut": 5.0}}
    with pytest.raises(Missing, match="another setting"):
        models.soap_search(other)


def test_averages_keep_the_energy():
    row = rows("Fig. S10: SOAP")
    assert row.judge(soap()).holds and "1.10 times" in row.judge(soap()).ours
    worse = soap()
    worse["rmse"]["averaged SOAP, network, random"] = [40.0]
    assert not row.judge(worse).holds


def test_periodic_images_change_next_to_nothing():
    def judge(share, shift):
        sections = {"boundaries": {"share": share, "shift": shift}}
        return models.periodic_images({"sections": sections}, ridge())

    assert judge(0.2, 3.0).holds and "60.0" in judge(0.2, 3.0).why
    assert not judge(2.0, 3.0).holds and not judge(0.2, 7.0).holds


def test_every_model_has_to_beat_every_potential():
    def judge(potential, schnet=70.0):
        rmse = {"Tersoff": potential, "GFN1-xTB": 10.0, "Ridge, same frames": 80.0}
        rmse = {name: {"by trajectory": error} for name, error in rmse.items()}
        others = {"CNN": 50.0, "SOAP, network": 20.0, "SchNet": schnet}
        others = [{"rmse": {f"{k}, by trajectory": [v]}} for k, v in others.items()]
        return models.empirical_potentials({"sections": {"empirical": {"rmse": rmse}}}, *others)

    assert judge(200.0).holds and judge(200.0).ours == "Tersoff 200, Ridge, same frames 80 meV/atom"
    assert not judge(75.0).holds
    assert not judge(200.0, schnet=210.0).holds  # one model is not enough
    with pytest.raises(Missing, match="no energies of empirical potentials"):
        models.empirical_potentials({"sections": {"empirical": {}}}, {}, {}, {})
