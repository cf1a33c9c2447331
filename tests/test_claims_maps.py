import math

import pytest

from phutils import claims_maps as maps
from phutils.claims import Missing

CLAIMS = [
    ["SOAP's map is islands by density (Fig. 5a)", "holds", "gap 1.4 ± 0.1"],
    ["PH resembles SchNet, not SOAP", "does not hold", "votes: 3 of 9"],
    ["... and SOAP's islands stay when scaled by feature", "does not hold", "gap 0.9 ± 0.1"],
    ["... and PH stays as continuous without noise", "holds", "purity 0.2"],
]


def results(**gaps):
    gaps = {"SOAP": [1.5, 0.1], "SchNet": [1.0, 0.1], "PH": [0.9, math.nan]} | gaps
    measures = {f"{kind}, bare, PCA": {"gap": gap} for kind, gap in gaps.items()}
    return {"n_frames": 500, "claims": CLAIMS, "measures": measures, "left_out": []}


def row(item):
    return {row.item: row for row in maps.ROWS}[item]


def test_verdicts_of_the_chapter_are_taken_over():
    found = row("Fig. 5a, d").judge(results())
    assert found.holds and found.ours == "gap 1.4 ± 0.1" and "500 frames" in found.on
    with pytest.raises(Missing, match="does not judge it"):
        row("Fig. S13").judge(results())
    with pytest.raises(Missing, match="SchNet: not run"):
        row("Fig. 5b, e").judge(results() | {"left_out": ["SchNet: not run"]})


def test_the_conclusion_names_what_its_explanation_lacks():
    found = row("Fig. 5: conclusion").judge(results())
    assert not found.holds
    assert found.why == "and this does not hold: SOAP's islands stay when scaled by feature"


def test_components_are_judged_by_two_errors():
    judge = row("Fig. 6a-f").judge
    assert judge(results()).holds
    assert not judge(results(SOAP=[1.15, 0.1])).holds
    assert not judge(results(SchNet=[1.3, 0.1])).holds
    assert judge(results(SchNet=[1.15, 0.1])).holds
    assert not judge(results(PH=[1.2, math.nan])).holds  # no error is known: the value counts


def test_other_perplexities():
    judge = row("Fig. S11").judge
    with pytest.raises(Missing, match="hands on no number"):
        judge(results())
    other = {
        f"{k}, 10, 0": {"purity": [p, 0.1], "gap": [1.5, 0.1]}
        for k, p in (("SOAP", 0.9), ("SchNet", 0.8), ("PH", 0.4))
    }
    assert judge(results() | {"other_maps": other}).holds
    other["PH, 10, 0"]["purity"][0] = 0.85
    assert not judge(results() | {"other_maps": other}).holds
