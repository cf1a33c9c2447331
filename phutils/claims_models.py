"""Rows of errors of models: Figs 3, 4, S1 and S7 to S10, Sec. S3. See `phutils.claims`."""

import math
from functools import partial
from itertools import combinations, pairwise

import numpy as np

from phutils.claims import Found, Missing, claim, compare, get, spread
from phutils.scores import PAPER_RMSE, interval

TOLERANCE = 0.2  # of a ratio of errors, relative
LARGER = 1.25  # errors of larger cells and beside diamond, at most
PAPER_LABELS = "VASP-LDA"
PAPER_SOAP = {"r_cut": 4.1, "n_max": 8, "l_max": 9, "sigma": 0.16}  # Sec. II.C
ROWS = []
row = partial(claim, ROWS)


# --- diagrams, SOAP and SchNet -------------------------------------------------------------------


def _rmse(results, model, kind="random"):
    return np.asarray(get(results, "rmse", f"{model}, {kind}"))


@row(
    "Fig. 3a",
    "03_ridge",
    f"Ridge on 128 x 128 histograms predicts the energy: test RMSE {PAPER_RMSE['ridge']} meV/atom",
    "less than half the error of density and stage alone, on both kinds of split; with the "
    f"paper's labels also within {TOLERANCE:.0%} of its value",
    "ridge",
    carbon=True,
)
def ridge_value(ridge):
    kinds = "random", "by trajectory"
    ours, base = (
        [_rmse(ridge, model, kind) for kind in kinds]
        for model in ("Ridge on diagrams", "density and stage only")
    )
    ratio = ours[0].mean() / PAPER_RMSE["ridge"]
    holds = all(o.mean() < 0.5 * b.mean() for o, b in zip(ours, base, strict=True))
    why = "" if holds else "this is more than half the error of density and stage alone: "
    why += f"by trajectory {interval(ours[1])}, density and stage alone {interval(base[0])}"
    if get(ridge, "labels") == PAPER_LABELS:
        if abs(ratio - 1) > TOLERANCE:
            holds, why = False, f"{ratio:.2f} times the paper's error on the same data; {why}"
    else:
        why += ". Other energies than the paper's: a ratio near 1 is no proof"
    return Found(f"{interval(ours[0])} meV/atom", holds, ratio, "random splits", why)


def beside_ridge(results, model, name, ratios):
    """A model's error over that of Ridge, ours beside the paper's."""
    paper = PAPER_RMSE[name] / PAPER_RMSE["ridge"]
    random, held_out = (np.asarray(get(results, "ratio", key)) for key in ratios)
    error = interval(_rmse(results, model))
    ratio = random.mean() / paper
    holds = abs(ratio - 1) <= TOLERANCE
    worse = "less" if ratio > 1 else "more"
    why = f"by trajectory {interval(held_out, 2)} of Ridge"
    why += "" if holds else f"; gains {worse} on Ridge than in the paper"
    frames = results.get("n_kept", results["n_frames"])
    on = f"random splits of {frames:,} frames"
    text = f"{interval(random, 2)} of Ridge ({error} meV/atom)"
    return Found(text, holds, ratio, on, why)


def _paper_ratio(what, name):
    ratio = PAPER_RMSE[name] / PAPER_RMSE["ridge"]
    return f"{what}: test RMSE {PAPER_RMSE[name]} meV/atom, {ratio:.2f} of Ridge"


BY_RATIO = f"error over that of Ridge fitted to the same frames within {TOLERANCE:.0%} of the paper"


@row("Fig. 3b", "04_cnn", _paper_ratio("CNN on diagrams", "cnn"), BY_RATIO, "cnn", carbon=True)
def cnn_ratio(cnn):
    return beside_ridge(cnn, "CNN", "cnn", ("random", "by trajectory"))


def larger_cells(results, model):
    """Error of 512-atom cells beside that of held-out 216-atom ones."""
    systems = get(results, "systems")
    if not any("512 atoms" in key for key in systems):
        raise Missing("this dataset has no cells of 512 atoms")
    small, large = (get(systems, f"{model}random: {n} atoms") for n in (216, 512))
    text = f"{large['rmse']:.1f} meV/atom, bias {large['bias']:+.1f}"
    holds = large["rmse"] <= LARGER * small["rmse"]
    why = "" if holds else f"{large['rmse'] / small['rmse']:.2f} times the error of smaller ones; "
    why += f"held-out cells of 216 atoms: {small['rmse']:.1f}"
    return Found(text, holds, on="512 atoms, trained on 216", why=why)


BY_SIZE = f"at most {LARGER} times the error of held-out cells of 216 atoms"
for _item, _chapter, _name, _model, _text in (
    ("Fig. 3c", "03_ridge", "ridge", "", "Ridge predicts cells of 512 atoms accurately"),
    ("Fig. 3d", "04_cnn", "cnn", "CNN, ", "CNN predicts cells of 512 atoms accurately"),
):
    row(_item, _chapter, _text, BY_SIZE, _name)(lambda r, model=_model: larger_cells(r, model))


@row(
    "Fig. 4a",
    "05_soap",
    _paper_ratio("SOAP with a network", "soap"),
    BY_RATIO,
    "soap",
    carbon=True,
)
def soap_ratio(soap):
    kinds = "SOAP, network, random", "SOAP, network, by trajectory"
    return beside_ridge(soap, "SOAP, network", "soap", kinds)


@row("Fig. 4b", "06_schnet", _paper_ratio("SchNet", "schnet"), BY_RATIO, "schnet", carbon=True)
def schnet_ratio(schnet):
    return beside_ridge(schnet, "SchNet", "schnet", ("random", "by trajectory"))


@row(
    "Figs 3, 4: order",
    "11_scoreboard",
    "from best to worst: SOAP with a network, SchNet, CNN on diagrams, Ridge on diagrams",
    "the same order of mean errors over that of Ridge fitted to the same frames; each differs from "
    "the next by two errors (standard deviations over splits), else the row is open",
    "cnn",
    "soap",
    "schnet",
)
def order_of_models(cnn, soap, schnet):
    ratios = {
        "SOAP": spread(get(soap, "ratio", "SOAP, network, random")),
        "SchNet": spread(get(schnet, "ratio", "random")),
        "CNN": spread(get(cnn, "ratio", "random")),
        "Ridge": (1.0, 0.0),  # by definition
    }
    names, pairs = list(ratios), combinations(ratios, 2)
    text = ", ".join(f"{k} {ratios[k][0]:.2f}" for k in sorted(names, key=ratios.get))
    text, on = f"errors over that of Ridge: {text}", "random splits"
    turned = [f"{b} errs less than {a}" for a, b in pairs if compare(ratios[a], ratios[b]) > 0]
    if turned:
        return Found(text, False, on=on, why="; ".join(turned))
    tied = [(a, b) for a, b in pairwise(names) if compare(ratios[a], ratios[b]) == 0]
    if not tied:
        return Found(text, True, on=on)
    why = "cannot be told apart by two errors: " + ", ".join(f"{a} and {b}" for a, b in tied)
    single = [name for name in names if np.isnan(ratios[name][1])]
    why += f"; one split of {' and '.join(single)}, so no error is known" if single else ""
    return Found(text, None, on=on, why=why)


# --- supplement ----------------------------------------------------------------------------------


def _by_setting(soap):
    """Errors of SOAP settings, each with the scatter over splits that the paper's one shows."""
    tested = get(soap, "hyperparameters", "network")
    if any(soap["soap"][k] != v for k, v in PAPER_SOAP.items()):
        raise Missing("the chapter was run with another setting")
    scatter = spread(_rmse(soap, "SOAP, network", "by trajectory"))[1]
    return {name: (error, scatter) for name, error in tested.items()}


def _scatter(error):
    """How far one split can be trusted, in words."""
    if np.isnan(error):
        return "one split: no error is known"
    return f"one split; the paper's setting scatters by {error:.1f} meV/atom over splits"


@row(
    "Fig. S1: search",
    "05_soap",
    "Optuna finds " + ", ".join(f"{k} {v}" for k, v in PAPER_SOAP.items()),
    "the best of our search errs as much as the paper's setting, to a tenth either way with two "
    "errors added; differs if it errs less by two errors, else open",
    "soap",
    carbon=True,
)
def soap_search(soap):
    tested = _by_setting(soap)
    ours, best = tested["this page"], get(tested, "best of the search")
    found = ", ".join(f"{k} {v:.3g}" for k, v in soap["search"]["best"].items() if k in PAPER_SOAP)
    text = f"the paper's setting errs by {ours[0]:.1f}, the best of our search by {best[0]:.1f}"
    why = f"our search of {soap['search']['trials']} trials ended with {found}"
    side, two = compare(best, ours), 2 * math.hypot(ours[1], best[1])
    alike = abs(best[0] - ours[0]) + two <= 0.1 * min(ours[0], best[0])
    holds = True if alike else False if side < 0 else None
    if holds is False:
        why += ", which is better"
    elif holds is None and side > 0:
        why += ", which is worse: it was too short to find the paper's setting"
    elif holds is None:
        why += f". The two cannot be told apart ({_scatter(ours[1])})"
    return Found(f"{text} meV/atom", holds, on="one split by trajectory", why=why)


@row("Fig. S1: size", "05_soap", "360 features", "the same number", "soap")
def soap_size(soap):
    n = get(soap, "n_features")
    why = "" if n == 360 else "another setting, or another order of the radial functions"
    return Found(f"{n}", n == 360, n / 360, why=why)


@row(
    "Sec. S3",
    "09_scrutiny",
    "periodic boundaries: 1x1x1 and 2x2x2 are the same structure",
    "at most 1 % of the degree-1 pairs differ, and predictions move by a tenth of Ridge's error",
    "scrutiny",
    "ridge",
)
def periodic_images(scrutiny, ridge):
    share, shift = (get(scrutiny, "sections", "boundaries", key) for key in ("share", "shift"))
    error = float(np.mean(_rmse(ridge, "Ridge on diagrams")))
    text = f"{share:.2f} % of pairs differ, predictions move by {shift:.1f} meV/atom"
    far, many = shift > 0.1 * error, share > 1
    why = "more than 1 % of the pairs differ. " if many else ""
    why += "predictions move by more than a tenth of the error. " if far else ""
    why = f"{why[:1].upper()}{why[1:]}Ridge's test error is {error:.1f} meV/atom"
    return Found(text, not (many or far), on="cells taken 2x2x2", why=why)


@row(
    "Fig. S9",
    "09_scrutiny",
    "every model beats empirical potentials",
    "with trajectories held out, the worst model errs less than the best potential",
    "scrutiny",
    "cnn",
    "soap",
    "schnet",
)
def empirical_potentials(scrutiny, cnn, soap, schnet):
    what = "no energies of empirical potentials for these frames"
    found = get(scrutiny, "sections", "empirical", "rmse", what=what)
    kind = "by trajectory"
    errors = {name: get(one, kind) for name, one in found.items()}
    models = {name: error for name, error in errors.items() if name.startswith("Ridge")}
    others = ("Ridge", "GFN")  # a model, and a Hamiltonian: no empirical potentials
    theirs = {name: error for name, error in errors.items() if not name.startswith(others)}
    if not models or not theirs:
        raise Missing(what)
    for results, name in ((cnn, "CNN"), (soap, "SOAP, network"), (schnet, "SchNet")):
        models[name] = float(np.mean(_rmse(results, name, kind)))
    best, worst = min(theirs, key=theirs.get), max(models, key=models.get)
    text = f"{best} {theirs[best]:.0f}, {worst} {models[worst]:.0f} meV/atom"
    why = "the best potential, after an affine fit, and the worst model"
    behind = ", ".join(name for name in models if models[name] >= theirs[best])
    why += f"; not better than this potential: {behind}" if behind else ""
    return Found(text, not behind, on="held-out trajectories", why=why)


def with_diamond(results, before, after):
    """Errors when the training frames hold diamond, too."""
    systems = get(results, "systems")
    if not any("diamond" in key for key in systems):
        raise Missing("this dataset has no diamond")
    alone = get(systems, f"{before}: 216 atoms", "rmse")
    carbon, diamond = (get(systems, f"{after}: {k}", "rmse") for k in ("216 atoms", "diamond"))
    text = f"{carbon:.1f} meV/atom, diamond {diamond:.1f}"
    why = f"{alone:.1f} without diamond in training"
    worse, apart = carbon > LARGER * alone, diamond > carbon
    why += f": {carbon / alone:.2f} times as much with it" if worse else ""
    why += "; diamond errs more than the rest" if apart else ""
    return Found(text, not (worse or apart), on="random split with diamond", why=why)


for _chapter, _name, _model, _keys in (
    ("03_ridge", "ridge", "Ridge", ("random", "random, with diamond")),
    ("04_cnn", "cnn", "CNN", ("CNN, random", "CNN, with diamond")),
):
    row(
        f"Fig. S7: {_model}",
        _chapter,
        f"{_model} is still valid with diamond included",
        f"error at most {LARGER} times that without, and diamond's no larger",
        _name,
    )(lambda r, keys=_keys: with_diamond(r, *keys))


@row(
    "Fig. S8",
    "05_soap",
    "SOAP with other hyperparameters is worse",
    "each of two others errs more than the paper's setting by two errors; the row is open where "
    "the scatter over splits hides it",
    "soap",
    carbon=True,
)
def other_hyperparameters(soap):
    tested = _by_setting(soap)
    ours = tested["this page"]
    others = {k: get(tested, k) for k in ("short cutoff", "few functions")}
    text = ", ".join(f"{k} {v[0] / ours[0]:.2f}" for k, v in others.items())
    side = {name: compare(other, ours) for name, other in others.items()}
    better, tied = ([name for name in side if side[name] == k] for k in (-1, 0))
    holds = False if better else None if tied else True
    why = f"better than the paper's setting: {', '.join(better)}" if better else ""
    if tied and not better:
        why = f"as good within two errors: {', '.join(tied)} ({_scatter(ours[1])})"
    text = f"errors over that of the paper's setting: {text}"
    return Found(text, holds, on="one split by trajectory", why=why)


def averaged(results, model, mean, ridge):
    """Error of a network on vectors averaged over atoms beside that of Ridge on diagrams."""
    alone, ours, theirs = (_rmse(results, name) for name in (model, mean, ridge))
    side = compare(spread(ours), spread(theirs))
    text = f"{interval(ours)} meV/atom, {ours.mean() / theirs.mean():.2f} of Ridge"
    why = f"{ours.mean() / alone.mean():.2f} times the error before averaging"
    if side >= 0:
        one = min(len(ours), len(theirs)) == 1
        less = "cannot be told from Ridge" if side == 0 else "errs more than Ridge"
        why = f"{less}{' by one split' if one else ''}; {why}"
    return Found(text, {-1: True, 0: None, 1: False}[side], on="random splits", why=why)


for _chapter, _name, _models in (
    ("05_soap", "soap", ("SOAP, network", "averaged SOAP, network", "diagrams, Ridge")),
    ("06_schnet", "schnet", ("SchNet", "averaged vectors, small network", "Ridge")),
):
    row(
        f"Fig. S10: {_models[0].split(',')[0]}",
        _chapter,
        f"averaged {_models[0].split(',')[0]} vectors with a network predict the energy accurately",
        "less error than Ridge on diagrams fitted to the same frames, by two errors",
        _name,
    )(lambda r, models=_models: averaged(r, *models))
