"""Trainings side by side: order, progress, live curves, failures."""

import json
import os
import re
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from matplotlib.figure import Figure

from phutils import progress
from phutils.progress import train_all

HISTORY = {"rmse": [0.5, 0.3], "watched_epoch": [2], "watched_rmse": [0.4]}


def die(report):
    os._exit(1)


def calls(count=3):
    # `dict` can be sent to a process and takes the report as a keyword
    return [(dict, ([("number", i)],)) for i in range(count)]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_come_in_order_and_the_bar_ends_full(capfd, n_jobs):
    found = train_all(calls(), epochs=4, label="tiny", n_jobs=n_jobs)
    assert [f["number"] for f in found] == [0, 1, 2]
    assert all(callable(f["report"]) for f in found)
    assert "tiny" in (text := capfd.readouterr().err) and "12/12" in text


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(ValueError, match="dictionary update sequence"):
        train_all([(dict, ("x",)), *calls(1)], epochs=1, n_jobs=2)


def test_nothing_to_train():
    assert train_all([], epochs=3) == []


def test_reports_move_the_bar(capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)

    def training(report):
        report(HISTORY)
        report({**HISTORY, "rmse": [0.5, 0.3, 0.2]})
        return "done"

    assert train_all([(training, ())], epochs=5, n_jobs=1, label="one") == ["done"]
    text = capfd.readouterr().err
    assert "5/5" in text and "training RMSE 200 meV/atom" in text


def test_reports_are_whole_and_not_too_many(tmp_path):
    file, seen = tmp_path / "0.json", []
    report = progress._Report(file, lambda: seen.append(json.loads(file.read_text())))
    for _ in range(50):
        report(HISTORY)
    assert seen == [HISTORY] and progress._read(file) == HISTORY
    assert progress._read(tmp_path / "none.json")["rmse"] == []


def test_live_curves_are_drawn_in_one_place(monkeypatch):
    shown = []

    class Place:
        def update(self, figure):
            shown.append(figure)

    monkeypatch.setattr("IPython.display.display", lambda *a, **k: Place())
    monkeypatch.setattr(progress, "EVERY", 0.0)

    def training(report):
        report(HISTORY)

    train_all([(training, ())], epochs=2, n_jobs=1, live=True)
    assert len(shown) == 2 and all(isinstance(figure, Figure) for figure in shown)
    thin, thick = shown[0].axes[0].lines
    np.testing.assert_allclose(thin.get_ydata(), [500, 300])
    assert (thick.get_xdata(), thick.get_ydata()) == ([2], [400])
    assert re.search("meV", shown[0].axes[0].get_ylabel())


def test_only_a_kernel_of_a_server_is_watched(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not progress.in_jupyter()
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    monkeypatch.setitem(progress.sys.modules, "ipykernel", progress)
    assert progress.in_jupyter()


def test_after_a_process_died_the_next_call_works():
    with pytest.raises(BrokenProcessPool):
        train_all([(die, ()), (die, ())], epochs=1, n_jobs=2)
    assert len(train_all(calls(2), epochs=1, n_jobs=2)) == 2
