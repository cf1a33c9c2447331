"""The search for settings of SOAP by Optuna (paper, Sec. II.C and Fig. S1).

A study is a journal, a text file of JSON lines, that any number of processes share.
"""

import uuid
from contextlib import suppress
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from phutils.artifacts import fingerprint
from phutils.scores import rmse
from phutils.soap import PAPER, check_elements, soap_features

SPACE = {"r_cut": (2.5, 6.0), "n_max": (3, 10), "l_max": (2, 9), "sigma": (0.1, 0.6)}
STEPS = 3  # of a trial of the search; it can be given up after each but the last
SPENT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)  # what a budget counts


def search(
    structures,
    energy,
    fit,
    validation,
    folder,
    n_trials,
    seed=0,
    processes=1,
    n_jobs=None,
    progress=True,
):
    """Search settings by Optuna: TPE, and the median pruner (paper, Sec. II.C and Fig. S1).

    The study is a journal, a text file, in the ``cache`` of the folder. Any number of processes
    that call this with the same frames share it, also on several machines with one file system.
    The first trial is the paper's settings, and has the user attribute ``paper``.

    Parameters
    ----------
    structures : phutils.dataset.Structures or sequence of ase.Atoms
    energy : ndarray [n]
        eV/atom.
    fit, validation : ndarray of int
        Frames a trial is fitted to and judged by; no test frame among them.
    folder : path-like
        Artifacts of the dataset.
    n_trials : int
        Budget: trials, finished or given up, in all processes and all calls together. A further
        call with a larger one adds the difference; a trial that died with its process is marked
        as failed and does not count.
    seed : int
        With one process a study depends on it alone, also when it was interrupted.
    processes : int
        That this call starts; with several, each one takes one core.
    n_jobs : int, optional
        Processes for the descriptors, where `processes` is one.
    progress : bool
        Show a progress bar.

    Returns
    -------
    optuna.Study
        See `validation_error` for its values.

    Raises
    ------
    ValueError
        If a frame is on both sides, a side is empty, or an energy is not finite.
    """
    energy, fit, validation = np.asarray(energy, float), np.asarray(fit), np.asarray(validation)
    for frame in np.intersect1d(fit, validation)[:1]:
        raise ValueError(f"frame {frame} is both fitted and validated on")
    used = np.concatenate([fit, validation])
    if len(fit) < 2 * STEPS or len(validation) < STEPS:
        raise ValueError(f"{len(fit)} frames to fit and {len(validation)} to validate: too few")
    for frame in used[~np.isfinite(energy[used])][:1]:
        raise ValueError(f"energy of frame {frame} is {energy[frame]}")
    check_elements([structures[int(i)] for i in used], None, False)
    key = fingerprint((search, structures, energy[used], fit, validation, SPACE, seed))[:20]
    path = Path(folder) / "cache" / f"soap_search-{key}.journal"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = (structures, energy, fit, validation)
    if processes == 1:
        run_trials(path, data, n_trials, seed, n_jobs, progress)
    else:
        each = delayed(run_trials)(path, data, n_trials, seed, 1, progress)
        Parallel(processes)([each] * processes)
    return _study(path)[0]


def run_trials(path, data, n_trials, seed=0, n_jobs=None, progress=True):
    """Take part in a study until its budget is spent; see `search`.

    Parameters
    ----------
    path : path-like
        Its journal.
    data : tuple
        Structures, energies, fit and validation frames.
    n_trials, seed, n_jobs, progress
        As for `search`.
    """
    study, lock = _study(path)
    name = uuid.uuid4().hex
    alive = FileLock(f"{path}.{name}.alive")  # the system releases it when this process ends
    with alive, tqdm(total=n_trials, desc="search", unit="trial", disable=not progress) as bar:
        while True:
            with lock:
                _bury(study, path)
                known = study.get_trials(deepcopy=False, states=(*SPENT, TrialState.WAITING))
                spent = sum(trial.state in SPENT for trial in known)
                bar.update(min(spent, n_trials) - bar.n)
                if spent >= n_trials:
                    break
                if not any(trial.user_attrs.get("paper") for trial in known):
                    start = {k: PAPER[k] for k in SPACE}
                    study.enqueue_trial(start, user_attrs={"paper": True})
                study.sampler = optuna.samplers.TPESampler(seed=1000 * seed + spent)
                trial = study.ask()
                trial.set_user_attr("process", name)
            try:
                value = validation_error(*data, _suggest(trial), n_jobs, trial)
            except optuna.TrialPruned:
                study.tell(trial, state=TrialState.PRUNED)
            except BaseException:
                study.tell(trial, state=TrialState.FAIL)
                raise
            else:
                study.tell(trial, value)
    Path(alive.lock_file).unlink(missing_ok=True)


def validation_error(structures, energy, fit, validation, settings, n_jobs=None, trial=None):
    """What the search makes small: the error of a linear model on averaged descriptors.

    Ridge regression on the standardised means over the atoms, its penalty chosen by leaving out
    one frame of `fit` at a time. Cheap beside a network, and without a seed.

    Parameters
    ----------
    structures, energy, fit, validation, n_jobs
        As for `search`.
    settings : dict
        With the keys of `PAPER`.
    trial : optuna.Trial, optional
        Is told the error with a third and two thirds of the frames, and may end there.

    Returns
    -------
    float
        RMSE of the validation frames, meV/atom.
    """
    features = {}
    for step in range(STEPS):
        new = np.concatenate([fit[step::STEPS], validation[step::STEPS]]).tolist()
        some = [structures[i] for i in new]
        features |= zip(
            new, soap_features(some, settings, n_jobs=n_jobs, progress=False), strict=True
        )
        known, asked = ([i for i in side if i in features] for side in (fit, validation))
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-6, 2, 9)))
        model.fit(np.array([features[i] for i in known], float), energy[known])
        predicted = model.predict(np.array([features[i] for i in asked], float))
        error = rmse(predicted, energy[asked])
        if trial and step < STEPS - 1:
            trial.report(error, step)
            if trial.should_prune():
                raise optuna.TrialPruned
    return error


def _suggest(trial):
    found = {k: trial.suggest_float(k, *SPACE[k], log=k == "sigma") for k in ("r_cut", "sigma")}
    found |= {k: trial.suggest_int(k, *SPACE[k]) for k in ("n_max", "l_max")}
    return PAPER | found


def _study(path):
    """The study of a journal, and the lock under which it is changed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lock = FileLock(f"{path}.lock")
    with lock:
        if Path(path).exists():  # a write that was cut short would spoil the next one
            with Path(path).open("r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)
        storage = JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
        study = optuna.create_study(
            storage=storage,
            study_name="SOAP",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
        )
    return study, lock


def _bury(study, path):
    """Mark running trials whose process has ended as failed."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        alive = FileLock(f"{path}.{trial.user_attrs.get('process')}.alive")
        with suppress(Timeout), alive.acquire(timeout=0):
            study.tell(trial.number, state=TrialState.FAIL)
            Path(alive.lock_file).unlink(missing_ok=True)
