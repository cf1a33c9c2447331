"""Claims say what the measures say, and turn around when these do."""

import numpy as np
import pytest

from phutils import map_verdicts

WOBBLE = np.array([0.0, 0.01, -0.01, 0.02])  # without each of three parts; an error of 0.018


def measure(gap, purity=0.5):
    return {"gap": gap + WOBBLE, "purity": purity + WOBBLE / 10}


PLACES = [(name, at) for name in ("bare", "by feature") for at in ("t-SNE", "PCA")]
NAMES = ("neighbours", "ranks", "purity", "gap")


def measured(soap=9.0, schnet=4.0, ph=0.9, smoothed=0.8):
    gaps = {"SOAP": soap, "SchNet": schnet, "PH": ph, "PH, smoothed": smoothed}
    return {(kind, *at): measure(gap) for kind, gap in gaps.items() for at in PLACES}


def votes(bare="SchNet", scaled="SchNet"):
    return {(n, *at): bare if at[0] == "bare" else scaled for at in PLACES for n in NAMES}


SOAPS = {"small": measure(3.0, 0.9), "large": measure(5.0)}
CONTROLS = {("grid", "SOAP", "t-SNE"): measure(9.0), ("continuous", "SOAP", "t-SNE"): measure(0.9)}


def judged(*arguments):
    """{first word that tells the claims apart: (holds, numbers)}"""
    claims = map_verdicts.claims(*arguments)
    assert {here for _, here, _ in claims} <= {"holds", "not seen"}
    return {claim: (here == "holds", by) for claim, here, by in claims}


def test_all_of_the_paper_can_hold():
    found = judged(measured(), votes(), SOAPS, {})
    assert list(found) == [
        "SOAP's map is islands by density (Fig. 5a)",
        "SchNet's islands are broader (Fig. 5b)",
        "PH is the most continuous (Fig. 5c)",
        "other SOAPs are no different (Fig. S13)",
        "PH resembles SchNet, not SOAP, on these maps",
        "... PH still resembles SchNet, all scaled by feature",
        "... SOAP's islands stay, scaled by feature",
        "... PH is as continuous without counting noise",
    ]
    assert all(holds for holds, _ in found.values())
    assert found["SOAP's map is islands by density (Fig. 5a)"][1] == "gap 9.00 ± 0.02"
    soaps = "small: purity 0.90 ± 0.00, gap 3.00 ± 0.02; large: purity 0.50 ± 0.00, gap 5.00 ± 0.02"
    assert found["other SOAPs are no different (Fig. S13)"][1] == soaps
    assert found["PH resembles SchNet, not SOAP, on these maps"][1] == "SchNet 8"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"soap": 1.01}, ["SOAP's map is", "SchNet's islands", "... SOAP's islands stay, scaled"]),
        ({"schnet": 1.01}, ["SchNet's islands are broader"]),
        ({"schnet": 9.01}, ["SchNet's islands are broader"]),  # no broader than SOAP's
        ({"schnet": 0.8}, ["SchNet's islands are broader", "PH is the most continuous"]),
        ({"ph": 4.0}, ["PH is the most continuous"]),
        ({"smoothed": 1.5}, ["... PH is as continuous"]),
    ],
)
def test_each_claim_can_fail(change, words):
    # a difference of two that wobble alike has no error: let PH and the smoothed one be noisier
    spaces = measured(**change)
    found = judged(spaces, votes(), SOAPS, {})
    missing = [claim for claim, (holds, _) in found.items() if not holds]
    assert len(missing) >= len(words)
    for word in words:
        assert any(claim.startswith(word) for claim in missing), (word, missing)


def test_other_soaps_and_densities_in_between():
    found = judged(measured(), votes(), SOAPS | {"third": measure(1.0)}, CONTROLS)
    assert not found["other SOAPs are no different (Fig. S13)"][0]
    holds, by = found["... SOAP's islands stay at continuous densities"]
    assert not holds and by == "gap 9.00 ± 0.02 on the grid, 0.90 ± 0.02 between"
    same = CONTROLS | {("continuous", "SOAP", "t-SNE"): measure(8.99)}
    assert judged(measured(), votes(), SOAPS, same)[
        "... SOAP's islands stay at continuous densities"
    ][0]


def test_without_soap_or_schnet_only_what_can_be_asked_is():
    spaces = measured()
    without = {key: m for key, m in spaces.items() if key[0] != "SchNet"}
    assert list(judged(without, {}, SOAPS, {})) == [
        "... SOAP's islands stay, scaled by feature",
        "... PH is as continuous without counting noise",
    ]
    without = {key: m for key, m in without.items() if key[0] != "SOAP"}
    found = map_verdicts.claims(without, {}, {}, {})
    assert [claim for claim, *_ in found] == ["... PH is as continuous without counting noise"]
    assert "cannot be tested" in map_verdicts.answer(found)
    assert map_verdicts.broken(found) == map_verdicts.told({}) == "none"


def test_answer_follows_the_votes():
    def answer(*names):
        return map_verdicts.answer(map_verdicts.claims(measured(), votes(*names), SOAPS, {}))

    assert answer() == "is borne out, by the maps and in every scaling"
    assert "but not when all are scaled alike" in answer("SchNet", "neither")
    assert answer("SOAP", "SchNet") == answer("neither") == "is not borne out by the maps"
    claims = map_verdicts.claims(measured(smoothed=1.5), votes("SchNet", "SOAP"), SOAPS, {})
    assert map_verdicts.broken(claims) == (
        "PH still resembles SchNet, all scaled by feature; "
        "PH is as continuous without counting noise"
    )


def test_half_of_the_votes_is_no_majority():
    split = {0: "SchNet", 1: "SchNet", 2: "SOAP", 3: "neither"}
    assert map_verdicts.won(split) == "neither"
    assert map_verdicts.won(split | {4: "SchNet"}) == "SchNet"
    assert map_verdicts.told(split) == "SchNet 2, SOAP 1, neither 1"


def test_ballot_asks_for_the_nearer_one():
    """Purity and gap: by their difference, that of gaps in logarithms."""
    found = {
        "PH": measure(2.0, 0.5),
        "SchNet": measure(4.5, 0.9),  # 2.5 away, a factor of 2.2
        "SOAP": measure(0.5, 0.4),  # 1.5 away, a factor of 4
    }
    common = {("PH", "SchNet"): 0.1 + WOBBLE, ("PH", "SOAP"): 0.3 + WOBBLE}
    ranks = {("PH", "SchNet"): 0.5 + WOBBLE, ("PH", "SOAP"): 0.5 - WOBBLE}
    assert map_verdicts.ballot(found, common, ranks) == {
        "neighbours": "SOAP",
        "ranks": "neither",
        "purity": "SOAP",
        "gap": "SchNet",
    }


def test_best_pair_and_the_odd_one():
    kinds = ["SOAP", "SchNet", "PH"]
    shared = {"PH and SchNet": [0.1], "PH and SOAP": [0.3], "SOAP and SchNet": [0.2]}
    assert map_verdicts.best_pair(shared, kinds) == ("PH and SOAP", "SchNet")
    assert map_verdicts.best_pair({"PH and SOAP": [0.3]}, ["PH", "SOAP"]) == ("PH and SOAP", "none")
    assert map_verdicts.best_pair({}, ["PH"]) == ("none", "PH")
