import numpy as np
import pytest

from phutils import claims_rings as rings
from phutils.claims import Missing

R = np.linspace(0.05, 5, 100)


def curve(trough):
    """g(r) with a peak at 1.5, a minimum of this height at 2.1 and a second peak of 2 at 2.7."""
    return np.interp(R, [1.2, 1.5, 2.1, 2.7, 3.3], [0, 5, trough, 2, 1])


def persistence(**changes):
    one = {"density": 2.2, "frames": 3, "band": 10.0, "three": 0.2, "sides": 1.6}
    one |= {"rdf": {"r": R, "g": curve(1.0)}}
    one |= {"trend": {"density": [1.5, 3.5], "median": [2.0, 1.0], "largest": [8.0, 3.0]}}
    other = one | {"band": 80.0, "three": 0.7, "sides": 1.2, "rdf": {"r": R, "g": curve(0.2)}}
    found = {"fig_1": {"A": [0.96, 1.02], "B": [1.05, 1.30]}, "liquid": one, "glass": other}
    for key, value in changes.items():
        side, name = key.split("_", 1)
        found[side] = found[side] | {name: value}
    return found


def judge(name, results):
    return getattr(rings, name)(results)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("five_points", {"fig_1": [0]}),
        ("drawn", {"glass_density": 2.4}),
        ("vertical_line", {"liquid_band": 41.0}),
        ("three_vertex_ring", {"liquid_three": 0.36}),
        ("distorted_rings", {"liquid_sides": 1.3}),
        ("order_beyond_the_bond", {"liquid_rdf": {"r": R, "g": curve(0.25)}}),
        (
            "moves_with_density",
            {"glass_trend": {"density": [1.5, 3.5], "median": [2.0, 1.9], "largest": [8.0, 3.0]}},
        ),
    ],
)
def test_each_rule_can_be_met_and_missed(name, change):
    assert judge(name, persistence()).holds
    if name == "five_points":
        missed = persistence() | {"fig_1": {"A": [0.97, 1.02], "B": [1.05, 1.30]}}
    else:
        missed = persistence(**change)
    assert not judge(name, missed).holds


def test_a_contradicted_claim_says_where_the_pores_are():
    found = rings.three_vertex_ring(persistence(liquid_three=0.6))
    assert found.ours == "liquid 0.60 Å², amorphous 0.70 Å²" and "in both" in found.why
    assert "liquid only" in rings.three_vertex_ring(persistence(liquid_three=2.0)).why


def test_second_peak_is_over_the_minimum_before_it():
    assert rings.second_peak(R, curve(0.5)) == pytest.approx(4, rel=0.1)
    assert rings.second_peak(R, curve(0.0)) < 21  # a minimum of nothing is no infinite order


def test_one_density_cannot_move():
    one = {"density": [2.2], "median": [1.0], "largest": [3.0]}
    with pytest.raises(Missing, match="one density only"):
        rings.moves_with_density(persistence(liquid_trend=one, glass_trend=one))


def test_three_coordination_numbers_are_diverse():
    assert rings.diverse({"coordination": {"2": 30, "3": 50, "4": 15, "5+": 5}}).holds
    assert not rings.diverse({"coordination": {"3": 96, "4": 4}}).holds


def inverse(**changes):
    one = {"low peak": 1.42, "low width": 0.3, "low spread": 0.2}
    one |= {"high width": 0.4, "high spread": 0.5, "small angles": 30.0} | changes
    regions = {
        f"{cut}, {region}": {"% of all": 2.0, "median birth / Å²": birth}
        for cut in ("thresholds", "quantiles")
        for region, birth in (("low", 0.6), ("high", 1.4))
    }
    return {
        "labels": "NEP89",
        "shown": "quantiles",
        "n_snapshots": 25,
        "snapshots": "stage buffer_low",
        "measured": {"quantiles": {"all": [one]}},
        "null": {
            "any bins": {"small angles": [0, 5, 10]},
            "same births": {"small angles": [0, 9, 15]},
        },
        "512 atoms": {"low pairs": 10, "high pairs": 20},
        "regions": regions,
    }


def test_inverse_analysis_is_held_to_its_numbers():
    peak = rings.low_energy_peak(inverse())
    assert not peak.holds and peak.ratio == pytest.approx(1.42 / 1.5) and "graphite" in peak.why
    assert rings.low_energy_peak(inverse(**{"low peak": 1.52})).holds
    assert rings.broader_peak(inverse()).holds
    assert not rings.broader_peak(inverse(**{"high width": 0.36})).holds
    assert rings.small_angles(inverse()).holds
    assert not rings.small_angles(inverse(**{"small angles": 12.0})).holds  # births alone do more


def test_regions_lie_where_the_paper_has_them():
    found = inverse()
    assert rings.where_regions_lie(found).holds and rings.coefficients(found).holds
    found["regions"]["quantiles, low"]["median birth / Å²"] = 0.8
    found["regions"]["thresholds, high"]["% of all"] = 0.4
    assert not rings.where_regions_lie(found).holds
    assert not rings.coefficients(found).holds and "quantiles" in rings.coefficients(found).why


def test_without_large_cells_the_sample_is_missing():
    assert rings.large_sample(inverse()).holds
    with pytest.raises(Missing, match="no such cell of 512 atoms"):
        rings.large_sample(inverse() | {"512 atoms": {}})
