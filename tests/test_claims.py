import math

import pytest

from phutils.claims import PROPOSED, Found, Missing, claim, compare, get, spread


def test_a_row_enters_its_table_with_what_it_needs():
    table = []

    @claim(table, "Fig. 9", "03_ridge", "it holds", "always", "ridge", "cnn")
    def judge(ridge, cnn):
        return Found(f"{ridge} {cnn}", True)

    (row,) = table
    assert (row.item, row.chapter, row.needs) == ("Fig. 9", "03_ridge", ("ridge", "cnn"))
    assert row.judge(1, 2).ours == "1 2" and judge(1, 2).holds and math.isnan(judge(1, 2).ratio)


def test_what_is_not_there_is_named():
    found = {"rmse": {"a": 1.0, "b": math.nan, "c": None}}
    assert get(found, "rmse", "a") == 1.0
    with pytest.raises(Missing, match="no result 'x' has been handed on"):
        get(found, "rmse", "x")
    with pytest.raises(Missing, match="b is unknown"):
        get(found, "rmse", "b")
    with pytest.raises(Missing, match="in words"):
        get(found, "rmse", "c", what="in words")
    with pytest.raises(Missing):
        get({"rmse": [1]}, "rmse", "a")


def test_what_the_paper_only_proposes_is_open():
    assert len(PROPOSED) == 4
    assert all(row.judge().holds is None and "not done here" in row.judge().why for row in PROPOSED)


def test_a_difference_counts_beyond_two_errors():
    assert compare((1.0, 0.3), (2.0, 0.3)) == -1 and compare((2.0, 0.3), (1.0, 0.3)) == 1
    assert compare((1.0, 0.4), (2.0, 0.4)) == 0  # the error of the difference is 0.57
    assert compare((1.0, 0.0), (1.0, 0.0)) == 0
    assert compare((1.0, math.nan), (9.0, 0.1)) == 0
    assert spread([1.0, 3.0]) == pytest.approx((2, math.sqrt(2)))
    assert spread([1.0])[0] == 1 and math.isnan(spread([1.0])[1])
