import pytest
from claim_results import network, ridge, scrutiny, soap

from phutils import claims_models as models
from phutils.claims import Missing
from phutils.scores import PAPER_RMSE


def rows(name):
    return {row.item: row for row in models.ROWS}[name]


def test_ridge_is_judged_by_its_baseline_and_by_its_value_on_the_papers_data_only():
    found = models.ridge_value(ridge())
    assert found.holds and found.ratio == pytest.approx(60 / PAPER_RMSE["ridge"])
    assert "64.0" in found.why and "230.0" in found.why and "no proof" in found.why
    assert models.ridge_value(ridge(random=90)).holds
    far = models.ridge_value(ridge(random=90, labels="VASP-LDA"))
    assert not far.holds and far.why.startswith("1.52 times the paper's error on the same data")
    assert models.ridge_value(ridge(labels="VASP-LDA")).holds
    weak = models.ridge_value(ridge(trajectory=130))
    assert not weak.holds and "more than half" in weak.why


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
    large, diamond = rows("Fig. 3c").judge(worse), rows("Fig. S7: Ridge").judge(worse)
    assert not large.holds and "1.33 times the error of smaller ones" in large.why
    assert not diamond.holds and "diamond errs more" in diamond.why
    small = ridge() | {"systems": {"random: 216 atoms": {"rmse": 60.0}}}
    with pytest.raises(Missing, match="no cells of 512 atoms"):
        rows("Fig. 3c").judge(small)
    with pytest.raises(Missing, match="no diamond"):
        rows("Fig. S7: Ridge").judge(small)


def order(soap_ratio=0.3, schnet=(0.5, 0.0), cnn=(0.7, 0.0), cut=None):
    results = [network("CNN", *cnn), soap(soap_ratio), network("SchNet", *schnet)]
    for name, kind in (cut or {}).items():
        ratio = results[["cnn", "soap", "schnet"].index(name)]["ratio"]
        ratio[kind] = ratio[kind][:1]
    return models.order_of_models(*results)


def test_the_order_is_that_of_errors_over_ridge():
    found = order()
    told = "errors over that of Ridge: SOAP 0.30, SchNet 0.50, CNN 0.70, Ridge 1.00"
    assert found.holds is True and found.ours.replace("0.31", "0.30") == told
    worse = order(schnet=(1.1, 0.01))
    assert worse.holds is False and worse.ours.endswith("Ridge 1.00, SchNet 1.10")
    assert worse.why == "CNN errs less than SchNet; Ridge errs less than SchNet"


def test_an_order_counts_only_beyond_two_errors_of_several_splits():
    near = order(schnet=(0.69, 0.02))
    assert near.holds is None and "SchNet and CNN" in near.why and "Ridge" not in near.why
    turned = order(schnet=(0.88, 0.02), cnn=(0.81, 0.005))  # as the default profile finds it
    assert turned.holds is False and turned.why == "CNN errs less than SchNet"
    single = order(schnet=(0.95, 0.0), cnn=(0.97, 0.0), cut={"cnn": "random", "schnet": "random"})
    assert single.holds is None  # as the quick profile finds it
    assert "one split of SchNet and CNN, so no error is known" in single.why
    assert order(cut={"cnn": "random"}).holds is None  # however far apart


@pytest.mark.parametrize(
    ("best", "scatter", "holds", "told"),
    [
        (30.0, 0.5, True, "ended with r_cut 3.9"),
        (20.0, 0.5, False, "which is better"),
        (40.0, 0.5, None, "too short"),
        (29.0, 4.0, None, "cannot be told apart"),
        (20.0, 4.0, None, "cannot be told apart"),
    ],
)
def test_a_search_is_judged_by_the_scatter_over_splits(best, scatter, holds, told):
    found = models.soap_search(soap(scatter=scatter, **{"best of the search": best}))
    assert found.holds is holds and told in found.why
    assert f"errs by 30.0, the best of our search by {best:.1f}" in found.ours


def test_one_split_tells_no_settings_apart():
    one = soap()
    one["rmse"]["SOAP, network, by trajectory"] = [16.0]
    for judge in (models.soap_search, models.other_hyperparameters):
        assert judge(one).holds is None and "no error is known" in judge(one).why


def test_hyperparameters_of_soap():
    assert models.soap_size(soap()).holds
    size = models.soap_size(soap() | {"n_features": 252})
    assert not size.holds and size.why
    assert models.other_hyperparameters(soap()).holds is True
    better = models.other_hyperparameters(soap(**{"short cutoff": 25.0}))
    assert better.holds is False and "better than the paper's setting: short cutoff" in better.why
    tied = models.other_hyperparameters(soap(**{"short cutoff": 30.5}))
    assert tied.holds is None and "as good within two errors: short cutoff" in tied.why
    other = soap() | {"soap": soap()["soap"] | {"r_cut": 5.0}}
    for judge in (models.soap_search, models.other_hyperparameters):
        with pytest.raises(Missing, match="another setting"):
            judge(other)


@pytest.mark.parametrize(
    ("item", "results", "mean"),
    [
        ("Fig. S10: SOAP", soap, "averaged SOAP, network, random"),
        (
            "Fig. S10: SchNet",
            lambda: network("SchNet", 0.5),
            "averaged vectors, small network, random",
        ),
    ],
)
def test_averages_are_accurate_if_they_beat_ridge(item, results, mean):
    found = rows(item).judge(results())
    assert found.holds is True and "of Ridge" in found.ours and "before averaging" in found.why
    worse, near, single = results(), results(), results()
    worse["rmse"][mean] = [90.0, 91.0]
    near["rmse"][mean] = [59.0, 60.0]
    single["rmse"][mean] = [20.0]
    worse, near, single = (rows(item).judge(one) for one in (worse, near, single))
    assert worse.holds is False and "errs more than Ridge" in worse.why
    assert near.holds is None and "cannot be told from Ridge;" in near.why
    assert single.holds is None and "by one split" in single.why


def test_periodic_images_change_next_to_nothing():
    def judge(share, shift):
        return models.periodic_images(scrutiny(share, shift), ridge())

    assert judge(0.2, 3.0).holds and "60.0" in judge(0.2, 3.0).why
    assert not judge(2.0, 3.0).holds and "1 % of the pairs" in judge(2.0, 3.0).why
    assert not judge(0.2, 7.0).holds and "more than a tenth" in judge(0.2, 7.0).why


def test_every_model_has_to_beat_every_potential():
    def judge(potential, schnet=70.0):
        others = {"CNN": 50.0, "SOAP, network": 20.0, "SchNet": schnet}
        others = [{"rmse": {f"{k}, by trajectory": [v]}} for k, v in others.items()]
        return models.empirical_potentials(scrutiny(potential=potential), *others)

    assert judge(200.0).holds and judge(200.0).ours == "Tersoff 200, Ridge, same frames 80 meV/atom"
    assert not judge(75.0).holds
    lost = judge(200.0, schnet=210.0)  # one model is not enough
    assert not lost.holds and lost.why.endswith("not better than this potential: SchNet")
    with pytest.raises(Missing, match="no energies of empirical potentials"):
        models.empirical_potentials({"sections": {"empirical": {}}}, {}, {}, {})
