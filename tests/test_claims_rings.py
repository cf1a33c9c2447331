import numpy as np
import pytest
from claim_results import DATA, R, curve, inverse, persistence

from phutils import claims_rings as rings
from phutils.claims import Missing
from phutils.inverse import BIN


def judge(name, results):
    return getattr(rings, name)(results)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("five_points", {"fig_1_A": [0.97, 1.02]}),
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
    missed = judge(name, persistence(**change))
    assert not missed.holds and missed.why


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
    assert rings.diverse(DATA | {"coordination": {"2": 30, "3": 50, "4": 15, "5+": 5}}).holds
    few = rings.diverse(DATA | {"coordination": {"3": 96, "4": 4}})
    assert not few.holds and "1 of these numbers" in few.why


def test_inverse_analysis_is_held_to_its_numbers():
    assert rings.broader_peak(inverse()).holds
    narrow = rings.broader_peak(inverse(**{"high width": 0.36}))
    assert not narrow.holds and "1.20 times as wide" in narrow.why
    assert rings.small_angles(inverse()).holds
    few = rings.small_angles(inverse(**{"small angles": 12.0}))  # births alone do more
    assert not few.holds and "no more than chance" in few.why


@pytest.mark.parametrize(
    ("peak", "runs", "holds"),
    [
        (1.5, (1.48, 1.52), True),
        (1.47, (1.455, 1.485), None),  # 1.445 with a bin
        (1.465, (1.425, 1.485), None),  # as the quick profile finds it
        (1.415, (1.405, 1.415), False),
        (1.455, (1.445, 1.455), None),
        (1.445, (1.435, 1.445), None),  # one bin less than before: the verdict does not flip
        (1.58, (1.57, 1.59), False),
    ],
)
def test_the_peak_is_judged_by_its_range_and_not_by_a_bin(peak, runs, holds):
    found = rings.low_energy_peak(inverse(runs, (peak,), **{"low peak": peak}))
    assert found.holds is holds and found.ratio == pytest.approx(peak / 1.5)
    assert f"from {min(runs):.3f} to {max(runs):.3f} Å" in found.ours
    assert bool(found.why) is (holds is not True)
    assert ("graphite" in found.why) is (peak < 1.45)


def test_without_a_range_the_peak_cannot_be_judged():
    assert rings.STEP == BIN
    with pytest.raises(Missing, match="single trajectory"):
        rings.low_energy_peak(inverse((1.5,), ()))
    nothing = inverse((np.nan, 1.5), (None,))
    with pytest.raises(Missing, match="single trajectory"):
        rings.low_energy_peak(nothing)


def test_regions_lie_where_the_paper_has_them():
    found = inverse()
    assert rings.where_regions_lie(found).holds and rings.coefficients(found).holds
    found["regions"]["quantiles, low"]["median birth / Å²"] = 0.8
    found["regions"]["thresholds, high"]["% of all"] = 0.4
    assert "low-energy pairs lie outside" in rings.where_regions_lie(found).why
    assert not rings.where_regions_lie(found).holds
    assert not rings.coefficients(found).holds and "quantiles" in rings.coefficients(found).why


def test_without_large_cells_the_sample_is_missing():
    assert rings.large_sample(inverse()).holds
    with pytest.raises(Missing, match="no such cell of 512 atoms"):
        rings.large_sample(inverse() | {"512 atoms": {}})
