"""What the models of several chapters predict for the same frames, and their errors side by side.

A chapter that trains on the splits of `phutils.splits.named_splits` leaves its predictions here.
Chapters may keep fewer frames than others to train on; errors are compared on the test frames that
all of them have predicted.
"""

import numpy as np

from phutils import artifacts
from phutils.scores import rmse


def publish(folder, profile, chapter, structures, rows, models):
    """Leave predictions for later chapters, as ``predictions_<chapter>.npz``.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    profile, chapter : str
    structures : phutils.dataset.Structures [n]
        Those that were split.
    rows : ndarray of int [m]
        Which of them were predicted.
    models : dict
        ``{(model, kind of split): (predicted [n_splits, m] in eV/atom, training frames)}``, splits
        in the order of `phutils.splits.named_splits`.

    Raises
    ------
    ValueError
        If predictions do not fit the rows.
    """
    arrays = {"rows": np.asarray(rows), "fingerprint": structures.fingerprint}
    for (model, kind), (predicted, n_train) in models.items():
        predicted = np.asarray(predicted, np.float32)
        if predicted.ndim != 2 or predicted.shape[1] != len(rows):
            raise ValueError(f"{model}, {kind}: {predicted.shape} predictions, {len(rows)} frames")
        arrays[f"predicted/{kind}/{model}"] = predicted
        arrays[f"n_train/{kind}/{model}"] = n_train
    artifacts.publish_arrays(folder, profile, f"predictions_{chapter}", **arrays)


def compare(folder, profile, chapters, structures, splits):
    """Test errors of all published models on the frames that all of them have predicted.

    Parameters
    ----------
    folder, profile
        As for `publish`.
    chapters : sequence of str
    structures : phutils.dataset.Structures [n]
        The same as in those chapters.
    splits : dict
        ``{kind: [(train, test), ...]}``, from `phutils.splits.named_splits`.

    Returns
    -------
    errors : dict
        ``{(model, kind): ndarray [n_splits]}``, RMSE in meV/atom, of the splits that all have.
    n_train : dict
        ``{(model, kind): int}``, frames that the model was trained on.
    n_test : dict
        ``{kind: [int, ...]}``, frames that it was tested on.

    Raises
    ------
    FileNotFoundError
        If a chapter has not been run for this dataset and profile.
    ValueError
        If it was run on other frames, or no test frame is common.
    """
    found, tested = _read(folder, profile, chapters, structures, splits)
    energy = structures.energy_per_atom
    errors, n_train = {}, {}
    for one in found:
        place = np.full(len(structures), -1)
        place[one["rows"]] = np.arange(len(one["rows"]))
        for name in (name for name in one if name.startswith("predicted/")):
            _, kind, model = name.split("/", 2)
            pairs = zip(one[name], tested.get(kind, []), strict=False)
            errors[model, kind] = np.array([rmse(p[place[at]], energy[at]) for p, at in pairs])
            n_train[model, kind] = int(one[f"n_train/{kind}/{model}"])
    for kind in tested:  # chapters may differ in their number of splits
        n = min(len(e) for (_, k), e in errors.items() if k == kind)
        errors |= {name: e[:n] for name, e in errors.items() if name[1] == kind}
        tested[kind] = tested[kind][:n]
    errors = {name: e for name, e in errors.items() if name[1] in tested}
    return errors, n_train, {kind: [len(side) for side in tested[kind]] for kind in tested}


def common_test_frames(folder, profile, chapters, structures, splits):
    """Test frames that all chapters have predicted, ``{kind: [ndarray of int, ...]}``.

    Parameters and errors as for `compare`; all splits that are asked for.
    """
    return _read(folder, profile, chapters, structures, splits)[1]


def _read(folder, profile, chapters, structures, splits):
    """Published arrays of each chapter, and the test frames common to all."""
    found, common = [], np.arange(len(structures))
    for chapter in chapters:
        one = artifacts.published_arrays(folder, profile, f"predictions_{chapter}")
        if str(one["fingerprint"]) != structures.fingerprint:
            raise ValueError(f"{chapter} was run on other frames: run it again")
        found.append(one)
        common = np.intersect1d(common, one["rows"])
    tested = {kind: [np.intersect1d(t, common) for _, t in splits[kind]] for kind in splits}
    for kind, sides in tested.items():
        for k, side in enumerate(sides):
            if not len(side):
                raise ValueError(f"split {k} {kind} has no test frame that all chapters predicted")
    return found, tested
