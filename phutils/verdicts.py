"""One sentence of verdict for each question of chapter 9, from nothing but its numbers.

Errors are RMSE in meV/atom, one value a split, in dicts by kind of split: ``random`` and
``by trajectory``.
"""

import numpy as np

from phutils import artifacts
from phutils.scores import interval
from phutils.scrutiny import best_of

RANDOM, HELD = KINDS = ("random", "by trajectory")
MODELS = {  # by the chapter's name among the published results
    "ridge": "Ridge on diagrams",
    "cnn": "CNN",
    "soap": "SOAP, network",
    "schnet": "SchNet",
}


def both(errors, kinds=KINDS, digits=1):
    """Errors of a random split and of one by trajectory as text: ``58.3 ± 1.2 / 61.0 ± 3.4``."""
    return " / ".join(interval(errors[kind], digits) for kind in kinds)


def change(new, old):
    """How much larger or smaller the mean became, as text: ``12 % more``."""
    percent = 100 * (np.mean(new) / np.mean(old) - 1)
    return f"{abs(percent):.0f} % {'more' if percent > 0 else 'less'}"


def means(errors):
    """Mean errors of {setting: {kind: values}}, with settings as text, for a file of results."""
    return {
        str(setting): {kind: float(np.mean(values)) for kind, values in found.items()}
        for setting, found in errors.items()
    }


def best(errors, usual):
    """`phutils.scrutiny.best_of` on the splits by trajectory of {setting: {kind: values}}."""
    return best_of({setting: found[HELD] for setting, found in errors.items()}, usual)


def published_errors(folder, profile, suffix=""):
    """Errors of the book's models, as far as their chapters have published any.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset.
    profile : str
    suffix : str
        Of the chapters' names, for other labels than the usual ones.

    Returns
    -------
    dict
        {model: {kind: values}}, with ``diamond`` (models that were not fitted to any) where that
        was scored.
    """
    found = {}
    for chapter, name in MODELS.items():
        try:
            result = artifacts.published(folder, profile, chapter + suffix)
        except FileNotFoundError:
            continue
        errors = {kind: result["rmse"].get(f"{name}, {kind}") for kind in KINDS}
        if None in errors.values():
            continue
        found[name] = {kind: np.array(values, float) for kind, values in errors.items()}
        systems = result.get("systems", {})
        for key in (f"{name}, random: diamond", f"{name}: diamond", "random: diamond"):
            if key in systems:
                found[name]["diamond"] = np.array([systems[key]["rmse"]])
                break
    return found


def leakage(ridge, copied):
    """What a random split flatters.

    Parameters
    ----------
    ridge, copied : dict
        {what was held out: errors}, with ``1`` (single frames), ``trajectory`` and perhaps
        ``density``; of the model, and of copying the nearest training frame.

    Returns
    -------
    str
    """
    ends, told, flattered = ("1", "trajectory"), [], []
    for name, found in (("copying the nearest frame", copied), ("Ridge", ridge)):
        random, held = (found[kind] for kind in ends)
        told.append(f"{name} errs by {both(found, ends)} meV/atom, {change(held, random)}")
        if np.mean(held) - np.mean(random) > np.std(held) + np.std(random):
            flattered.append(name)
    text = f"Random / by trajectory: {'; '.join(told)}"
    if "density" in ridge:
        text += f" (by density {change(ridge['density'], ridge['1'])})"
    who = " and ".join(flattered) or "neither beyond the spread of the splits"
    return f"{text}. The random split flatters {who}."


def boundaries(share, births, shift, larger=None, runs=None):
    """What periodic boundaries change.

    Parameters
    ----------
    share : ndarray [n_frames]
        Percent of the degree-1 pairs that a larger cell changes.
    births : ndarray [n]
        Of these pairs, Å².
    shift : ndarray [n_frames]
        Change of the prediction, meV/atom.
    larger, runs : ndarray, optional
        Mean errors of runs of larger cells, and of held-out runs of the usual one, meV/atom.

    Returns
    -------
    str
    """
    rms = np.sqrt(np.mean(np.square(shift)))
    text = (
        f"Boundaries change {np.mean(share):.2f} % of the degree-1 pairs of {len(share)} frames "
        f"({np.max(share):.2f} % at most; median birth {np.median(births):.2f} Å²) and move "
        f"predictions by {np.mean(shift):+.1f} meV/atom on average, {rms:.1f} root mean square."
    )
    if larger is None or len(runs) < 2:
        return text
    spread = 2 * np.std(runs, ddof=1)
    inside = np.count_nonzero(np.abs(np.asarray(larger) - np.mean(runs)) < spread)
    return (
        f"{text} Of {len(larger)} runs of larger cells {inside} err on average like held-out runs "
        f"of 216 atoms, within two standard deviations ({spread:.0f} meV/atom)."
    )


def diagonal(above, below, gone):
    """Whether short-lived pairs matter.

    Parameters
    ----------
    above, below : dict
        {cut in Å²: {kind: errors}}: with the pairs that live longer, 0 among the cuts, and with
        those that live shorter.
    gone : float
        Percent of the pairs that the largest cut of ``above`` takes away.

    Returns
    -------
    str
    """
    last = max(above)
    cut, clear = best(above, 0.0)
    text = (
        f"All pairs give {both(above[0.0])} meV/atom, {both(above[last])} without the {gone:.0f} % "
        f"that live less than {last:g} Å²"
    )
    if below:
        first = min(below)
        text += f", {both(below[first])} with those below {first:g} Å² alone"
    return text + (
        f": a cut at {cut:g} Å² is better." if clear else ": no cut is better than none."
    )


def mesh(sizes, usual):
    """Whether window and bins matter, from {(upper end in Å², bins): {kind: errors}}."""
    chosen, clear = best(sizes, usual)
    return (
        f"{usual[1]} bins up to {usual[0]:g} Å² give {both(sizes[usual])} meV/atom; the best mesh, "
        f"{chosen[1]} bins up to {chosen[0]:g} Å², {both(sizes[chosen])}: mesh and window "
        f"{'are hyperparameters after all' if clear else 'hardly matter'}."
    )


def degrees(errors):
    """Whether degree 1 is enough, from {"H0", "H1", ..., "H0 + H1 + H2": {kind: errors}}."""
    chosen, clear = best(errors, "H1")
    shown = ("H1", "H0", "H2", "H0 + H1 + H2")
    text = "; ".join(f"{name}: {both(errors[name])}" for name in shown)
    return f"{text} meV/atom. {chosen if clear else 'Nothing'} is better than rings alone."


def transfer(moved):
    """What a model of one group is worth for another.

    Parameters
    ----------
    moved : dict
        {"stage" or "density": (errors, errors of the trivial model)}, ndarray [n, n] each, the
        diagonal is within a group.

    Returns
    -------
    str
    """
    found = []
    for name, (ours, trivial) in moved.items():
        inside = np.eye(len(ours), dtype=bool)
        known = ~inside & np.isfinite(ours)
        if not (known.any() and np.isfinite(ours[inside]).any()):
            continue
        found.append(
            f"From one {name} to another the RMSE goes from {np.nanmedian(ours[inside]):.0f} to "
            f"{np.median(ours[known]):.0f} meV/atom (medians), below the trivial model's in "
            f"{100 * np.mean(ours[known] < trivial[known]):.0f} % of the cases."
        )
    return " ".join(found) or "Skipped: no two stages or densities have enough frames."


def empirical(classical, models, ours):
    """Whether all models beat the empirical potentials.

    Parameters
    ----------
    classical, models : dict
        {name: {kind: errors}}, where ``diamond`` may be a kind, too.
    ours : str
        The model that was scored on the same frames.

    Returns
    -------
    str
    """
    if not classical:
        return "Skipped: no energies of empirical potentials are stored for these frames."
    mean = {name: np.mean(found[HELD]) for name, found in (classical | models).items()}
    first = min(classical, key=mean.get)
    beating = [name for name in models if mean[name] < mean[first]]
    text = (
        f"The best empirical potential, {first}, is off by {both(classical[first])} meV/atom, "
        f"{ours} by {both(models[ours])}; of {len(models)} models {len(beating)} beat it "
        f"({', '.join(beating) or 'none'})"
    )
    unseen = {name: found["diamond"][0] for name, found in models.items() if "diamond" in found}
    if unseen and "diamond" in classical[first]:
        closest = min(unseen, key=unseen.get)
        text += (
            f". On diamond, which its makers knew and no training set here holds, it is off by "
            f"{classical[first]['diamond'][0]:.0f}, the best model, {closest}, by "
            f"{unseen[closest]:.0f}"
        )
    return f"{text}."
