import math

import pytest
from claim_results import CLAIMS, maps

from phutils import claims_maps
from phutils.claims import Missing


def row(item):
    return {row.item: row for row in claims_maps.ROWS}[item]


def test_verdicts_of_the_chapter_are_taken_over():
    found = row("Fig. 5a, d").judge(maps())
    assert found.holds and "1000" not in found.on and "1,000 frames" in found.on and not found.why
    assert (
        found.ours == "a frame of another density is 1.4 ± 0.1 times as far away as one of the same"
    )
    missed = maps() | {"claims": [[text, "not seen", by] for text, _, by in CLAIMS]}
    found = row("Fig. 5a, d").judge(missed)
    assert not found.holds and found.why == "not so by two errors"
    without = maps() | {"claims": CLAIMS[:3]}
    with pytest.raises(Missing, match="does not judge it"):
        row("Fig. S13").judge(without)
    with pytest.raises(Missing, match="SchNet: not run"):
        row("Fig. S13").judge(without | {"left_out": ["SchNet: not run"]})


def test_the_conclusion_is_told_in_sentences():
    found = row("Fig. 5: conclusion").judge(maps())
    assert found.holds
    assert found.ours == (
        "of 8 comparisons, PH is nearer to SchNet in 6, to SOAP in 1 and to neither in 1"
    )
    assert found.why == (
        "what its explanation needs is not seen: that PH still resembles SchNet when all are "
        "scaled by feature; that SOAP's islands stay when it is scaled by feature"
    )
    claims = [[text, "holds", by] for text, _, by in CLAIMS]
    assert row("Fig. 5: conclusion").judge(maps() | {"claims": claims}).why == ""
    claims[4] = [claims[4][0], "not seen", "SchNet 2, SOAP 6"]
    lost = row("Fig. 5: conclusion").judge(maps() | {"claims": claims})
    assert not lost.holds and lost.why == "no majority for SchNet"
    assert lost.ours.endswith("nearer to SchNet in 2, to SOAP in 6 and to neither in 0")


def test_components_are_judged_by_two_errors():
    def judge(soap=(1.5, 0.1), schnet=(1.0, 0.1), ph=(0.9, 0.1)):
        return row("Fig. 6a-f").judge(maps((soap, schnet, ph)))

    assert judge().holds and "SOAP 1.5 ± 0.1" in judge().ours
    assert judge(soap=(1.15, 0.1)).holds is False
    assert "none" in judge(soap=(1.15, 0.1)).why
    assert judge(schnet=(1.3, 0.1)).holds is False
    assert judge(schnet=(1.3, 0.1)).why.endswith("SOAP and SchNet")
    assert judge(schnet=(1.15, 0.1)).holds
    unknown = judge(ph=(1.2, None))
    assert unknown.holds is None and unknown.why == "the error is not known: PH"
    assert judge(ph=(1.2, math.nan)).holds is None


@pytest.mark.parametrize("item", ["Fig. S11", "Fig. S12"])
def test_other_perplexities_have_the_rule_of_the_paper_s(item):
    def judge(*gaps):
        return row(item).judge(maps(other=gaps))

    assert judge((9.0, 0.5), (3.0, 0.5), (1.2, 0.1)).holds
    near = judge((9.0, 0.5), (3.0, 0.5), (2.1, 0.1))  # lower, but not by two errors
    assert near.holds is False and near.why == "PH is not below SchNet by two errors"
    assert "SOAP is not above 1" in judge((1.2, 0.2), (0.5, 0.1), (0.2, 0.1)).why
    assert "SchNet is not above 1" in judge((9.0, 0.5), (0.5, 0.1), (0.2, 0.1)).why
    assert "SchNet is not below SOAP" in judge((3.0, 0.5), (3.0, 0.5), (1.2, 0.1)).why
    with pytest.raises(Missing, match="hands on no number"):
        row(item).judge(maps() | {"other_maps": {}})
