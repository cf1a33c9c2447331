import os
import signal
import time

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_soap import CRYSTALS, QUIET, SMALL, ended, fork

from phutils import soap_search
from phutils.soap import PAPER, soap_features

ENERGY = np.array([0.1 * atoms.cell.lengths()[0] for atoms in CRYSTALS])
FIT, VALIDATION = np.arange(0, 24), np.arange(24, 36)
DATA = (CRYSTALS, ENERGY, FIT, VALIDATION)


def states(study):
    return [trial.state.name for trial in study.trials]


def quick(structures, energy, fit, validation, settings, n_jobs=None, trial=None):
    """In the place of the true objective: a bowl around other values than the paper's."""
    return (settings["r_cut"] - 3) ** 2 + (settings["n_max"] - 5) ** 2 + settings["sigma"]


def slow(*args, **options):
    time.sleep(0.3)
    return quick(*args, **options)


def test_validation_error_by_hand():
    features = soap_features(CRYSTALS, SMALL, **QUIET).astype(float)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 2, 9)))
    model.fit(features[FIT], ENERGY[FIT])
    expected = np.sqrt(np.mean((model.predict(features[VALIDATION]) - ENERGY[VALIDATION]) ** 2))
    found = soap_search.validation_error(*DATA, SMALL, n_jobs=1)
    assert found == pytest.approx(1000 * expected, rel=1e-4)
    energy = ENERGY.copy()
    energy[36:] = 99  # neither fitted nor validated on
    assert soap_search.validation_error(CRYSTALS, energy, *DATA[2:], SMALL, n_jobs=1) == found


def test_a_trial_is_told_how_it_goes():
    class Trial:
        told = []

        def report(self, value, step):
            self.told.append((step, value))

        def should_prune(self):
            return len(self.told) == 2

    with pytest.raises(optuna.TrialPruned):
        soap_search.validation_error(*DATA, SMALL, n_jobs=1, trial=Trial())
    assert [step for step, _ in Trial.told] == [0, 1] and len({v for _, v in Trial.told}) == 2


def test_a_search(tmp_path):
    study = soap_search.search(*DATA, tmp_path, n_trials=3, n_jobs=1, progress=False)
    start = {k: PAPER[k] for k in soap_search.SPACE}
    assert study.trials[0].params == start and len(study.trials) == 3
    for trial in study.trials:
        for name, (low, high) in soap_search.SPACE.items():
            assert low <= trial.params[name] <= high
    expected = soap_search.validation_error(*DATA, PAPER, n_jobs=1)
    assert study.trials[0].value == pytest.approx(expected, rel=1e-9)
    (journal,) = (tmp_path / "cache").glob("*.journal")
    assert journal.read_text().count("\n") > 3 and journal.read_text().startswith("{")


def test_a_budget_is_topped_up_as_if_never_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(soap_search, "validation_error", quick)
    options = {"n_jobs": 1, "progress": False, "seed": 3}
    whole = soap_search.search(*DATA, tmp_path / "one", n_trials=25, **options)
    soap_search.search(*DATA, tmp_path / "two", n_trials=14, **options)
    study = soap_search.search(*DATA, tmp_path / "two", n_trials=25, **options)
    assert [t.params for t in study.trials] == [t.params for t in whole.trials]
    assert len(soap_search.search(*DATA, tmp_path / "two", n_trials=20, **options).trials) == 25
    assert whole.best_value < quick(*DATA, PAPER) / 3
    other = soap_search.search(*DATA, tmp_path / "one", n_trials=3, **options | {"seed": 4})
    assert other.trials[1].params != whole.trials[1].params


def test_hopeless_trials_are_given_up(tmp_path, monkeypatch):
    def reporting(*args, trial=None):
        value = quick(*args[:5])
        trial.report(value, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        return value

    monkeypatch.setattr(soap_search, "validation_error", lambda *a: reporting(*a[:5], trial=a[6]))
    study = soap_search.search(*DATA, tmp_path, n_trials=20, n_jobs=1, progress=False)
    assert 3 < states(study).count("PRUNED") < 15 and len(study.trials) == 20


def test_a_killed_search_loses_the_running_trial_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(soap_search, "validation_error", slow)
    options = {"n_jobs": 1, "progress": False}
    process = fork(lambda: soap_search.search(*DATA, tmp_path, 12, **options))
    journal = None
    while journal is None or journal.read_text().count('"op_code":6') < 4:  # values told
        time.sleep(0.02)
        journal = next((tmp_path / "cache").glob("*.journal"), None)
        assert process.is_alive()
    time.sleep(0.15)
    os.kill(process.pid, signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL
    before = [t for t in soap_search._study(journal)[0].trials if t.state == TrialState.COMPLETE]
    with journal.open("a") as file:
        file.write('{"op_code":8,"worker_id":"cut sho')  # killed while writing
    monkeypatch.setattr(soap_search, "validation_error", quick)
    study = soap_search.search(*DATA, tmp_path, 12, **options)
    assert states(study).count("COMPLETE") == 12 and states(study).count("FAIL") == 1
    assert len(study.trials) == 13 and len(before) >= 2
    assert [t.params for t in study.trials[: len(before)]] == [t.params for t in before]
    lost = study.trials[len(before)]
    assert lost.state == TrialState.FAIL
    assert study.trials[len(before) + 1].params == lost.params  # it is done again
    whole = soap_search.search(*DATA, tmp_path / "whole", 12, **options)
    kept = [t.params for t in study.trials if t.state == TrialState.COMPLETE]
    assert kept == [t.params for t in whole.trials]


def test_two_processes_share_a_study(tmp_path, monkeypatch):
    monkeypatch.setattr(soap_search, "validation_error", slow)
    options = {"n_jobs": 1, "progress": False}
    both = [fork(lambda: soap_search.search(*DATA, tmp_path, 9, **options)) for _ in range(2)]
    assert [ended(process) for process in both] == [0, 0]
    study = soap_search.search(*DATA, tmp_path, 9, **options)
    assert states(study) == ["COMPLETE"] * 9
    workers = [trial.user_attrs["process"] for trial in study.trials]
    assert min(workers.count(name) for name in set(workers)) >= 3 and len(set(workers)) == 2
    start = {k: PAPER[k] for k in soap_search.SPACE}
    assert [trial.params for trial in study.trials].count(start) == 1
    begun = sorted((trial.datetime_start, trial.datetime_complete) for trial in study.trials)
    assert any(second[0] < first[1] for first, second in zip(begun, begun[1:], strict=False))
    assert not list((tmp_path / "cache").glob("*.alive"))


def test_a_search_starts_processes_itself(tmp_path):
    study = soap_search.search(*DATA, tmp_path, n_trials=4, processes=2, progress=False)
    assert len(study.trials) == 4 and study.trials[0].params["sigma"] == PAPER["sigma"]


def test_an_error_in_a_trial_is_not_hidden(tmp_path, monkeypatch):
    def fails(*args):
        raise MemoryError("too large")

    monkeypatch.setattr(soap_search, "validation_error", fails)
    with pytest.raises(MemoryError):
        soap_search.search(*DATA, tmp_path, 3, n_jobs=1, progress=False)
    monkeypatch.setattr(soap_search, "validation_error", quick)
    study = soap_search.search(*DATA, tmp_path, 2, n_jobs=1, progress=False)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    papers = [trial.user_attrs.get("paper") for trial in study.trials]
    assert papers == [True, True, None]  # it is not lost


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"validation": np.arange(23, 36)}, "frame 23 is both fitted and validated on"),
        ({"fit": FIT[:4]}, "4 frames to fit and 12 to validate: too few"),
        ({"energy": np.where(np.arange(40) == 30, np.inf, ENERGY)}, "energy of frame 30 is inf"),
    ],
)
def test_bad_search(tmp_path, changed, message):
    data = dict(zip(("structures", "energy", "fit", "validation"), DATA, strict=True))
    with pytest.raises(ValueError, match=message):
        soap_search.search(**data | changed, folder=tmp_path, n_trials=1)
