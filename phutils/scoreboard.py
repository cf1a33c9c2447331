"""The scoreboard: verdicts on all rows of the paper, and all models on the same test frames.

No number of ours stands here. Rows and their rules are in `phutils.claims_rings`,
`phutils.claims_models` and `phutils.claims_maps`; what they are judged by is what the chapters have
published (`phutils.artifacts`). What has not been published is an open row, with the reason.
"""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np

from phutils import artifacts, baselines, claims_maps, claims_models, claims_rings, predictions
from phutils.claims import PROPOSED, Missing
from phutils.scores import PAPER_RMSE, evaluate

VERDICTS = "reproduced", "differs", "open"
COLUMNS = "item", "paper", "ours", "ratio", "on", "verdict", "why", "rule", "chapter"
PER_LABELS = {"ridge", "cnn", "soap", "schnet", "maps", "inverse", "scrutiny"}
RIDGE, FEWER = "diagrams, Ridge", "diagrams, Ridge (fewer frames)"
MODELS = {  # in the order of the ladder: name of the paper's error, if it has one
    baselines.BY_STAGE: None,
    RIDGE: "ridge",
    FEWER: None,
    "diagrams, CNN": "cnn",
    "SchNet": "schnet",
    "averaged SchNet, network": None,
    "averaged SOAP, linear": None,
    "averaged SOAP, network": None,
    "SOAP, network": "soap",
}


# --- rows ----------------------------------------------------------------------------------------


def _place(item):
    """Key that sorts rows as the paper does: figures, supplement, conclusions."""
    supplement, number = re.search(r"(S?)(\d+)", item).groups()
    conclusion = item.startswith("Sec. IV")
    return conclusion, bool(supplement), int(number), ("order" in item or "conclusion" in item)


def all_claims():
    """All rows as `phutils.claims.Claim`, in the order of the paper."""
    tables = claims_rings.ROWS, claims_models.ROWS, claims_maps.ROWS, PROPOSED
    return sorted((row for table in tables for row in table), key=lambda row: _place(row.item))


def read_results(folder, profile, names, labels="nep89"):
    """Published results by name; those of chapters that have not run are left out.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    profile : str
    names : iterable of str
    labels : str
        As the chapters' parameter of that name.
    """
    found = {}
    for name in names:
        own = labels != "nep89" and name in PER_LABELS
        try:
            found[name] = artifacts.published(folder, profile, f"{name}_{labels}" if own else name)
        except FileNotFoundError:
            continue
    return found


def judge(row, results, carbon=True):
    """Verdict on one row.

    Parameters
    ----------
    row : phutils.claims.Claim
    results : dict
        {name: published result}.
    carbon : bool
        Whether the dataset holds carbon alone; else rows that state its values are open.

    Returns
    -------
    dict
        Keys `COLUMNS`: strings, but ``ratio``, a float or None. ``on`` says which data.
    """
    told = {"item": row.item, "paper": row.paper, "rule": row.rule, "chapter": row.chapter}
    told |= {"ours": "–", "ratio": None, "on": "–"}
    if row.carbon and not carbon:
        return told | {"verdict": "open", "why": "not carbon: the row states values of carbon"}
    absent = [name for name in row.needs if name not in results]
    if absent:
        why = f"not run for this dataset and profile: {', '.join(absent)}"
        return told | {"verdict": "open", "why": why}
    given = [results[name] for name in row.needs]
    try:
        found = row.judge(*given)
    except Missing as missing:
        return told | {"verdict": "open", "why": str(missing)}
    except KeyError as missing:
        return told | {"verdict": "open", "why": f"no result {missing} has been handed on"}
    verdict = "open" if found.holds is None else VERDICTS[0] if found.holds else VERDICTS[1]
    data = [found.on] if found.on else []
    if given and found.on_data:
        one = given[0]
        name = Path(one["dataset"]).name  # of a file of the reader's own: not where it lies
        data += [f"{one['labels']} labels, {name} data, {one['n_frames']:,} frames"]
    told |= {"ours": found.ours, "verdict": verdict, "why": found.why, "on": "; ".join(data) or "–"}
    return told | {"ratio": float(found.ratio) if math.isfinite(found.ratio) else None}


def holds_carbon_alone(structures):
    """Whether no frame has an atom of another element.

    Parameters
    ----------
    structures : phutils.dataset.Structures or sequence of ase.Atoms
    """
    if getattr(structures, "source", "") in ("embedded", "zenodo"):
        return True
    return all((atoms.numbers == 6).all() for atoms in structures)


def scoreboard(folder, profile, labels="nep89", carbon=True):
    """Verdicts on all rows, list of dicts as from `judge`. Parameters as there and above."""
    rows = all_claims()
    names = {name for row in rows for name in row.needs}
    results = read_results(folder, profile, sorted(names), labels)
    return [judge(row, results, carbon) for row in rows]


def as_csv(rows):
    """The scoreboard as comma-separated text with a header; an unknown ratio is empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
        writer.writerow(row | {"ratio": ratio})
    return file.getvalue()


# --- ladder --------------------------------------------------------------------------------------


def ladder(folder, profile, structures, splits, labels="nep89", carbon=True):
    """Errors of all models on the same splits and the same test frames.

    Parameters
    ----------
    folder, profile, labels
        As for `read_results`.
    structures : phutils.dataset.Structures [n]
        Those that the chapters were run on.
    splits : dict
        ``{kind: [(train, test), ...]}``, from `phutils.splits.named_splits`.
    carbon : bool
        As for `judge`: the paper's errors stand beside ours for carbon alone.

    Returns
    -------
    rows : list of dict
        In the order of `MODELS`: ``model``, ``split``, ``rmse`` (list, one for each split,
        meV/atom), ``n_train``, ``n_test``, ``ratio`` (list: over Ridge on diagrams fitted to the
        same training frames; empty where there is none), ``paper`` and ``paper_ratio`` (or None).
    missing : dict
        {chapter: why it is not there}.
    """
    usual = labels == "nep89"
    chapters, missing, compared = [], {}, None
    for chapter in ("cnn", "soap", "schnet"):
        name = chapter if usual else f"{chapter}_{labels}"
        try:
            data = folder, profile, [*chapters, name], structures, splits
            compared = predictions.compare(*data)
        except (FileNotFoundError, ValueError) as error:
            missing[chapter] = str(error)
        else:
            chapters.append(name)
    if compared is None:
        return [], missing
    errors, n_train, n_test = compared
    of_stage = _by_stage(folder, profile, chapters, structures, splits)
    for kind, count in n_test.items():
        errors[baselines.BY_STAGE, kind] = of_stage[kind][: len(count)]
        n_train[baselines.BY_STAGE, kind] = len(splits[kind][0][0])
    rows = []
    for model, kind in sorted(errors, key=_rung):
        values, reference = errors[model, kind], MODELS.get(model)
        paper = PAPER_RMSE[reference] if reference and carbon else None
        rows.append(
            {
                "model": model,
                "split": kind,
                "rmse": values.tolist(),
                "n_train": n_train[model, kind],
                "n_test": int(np.mean(n_test[kind])),
                "ratio": _over_ridge(model, kind, errors, n_train),
                "paper": paper,
                "paper_ratio": paper / PAPER_RMSE["ridge"] if paper else None,
            }
        )
    return rows, missing


def _rung(key):
    model, kind = key
    known = list(MODELS)
    place = known.index(model) if model in known else len(known)
    return place, model, kind != "random"


def _by_stage(folder, profile, chapters, structures, splits):
    """Errors of density and stage alone on the test frames that all chapters have predicted."""
    data = folder, profile, chapters, structures, splits
    tested = predictions.common_test_frames(*data)
    known, energy = baselines.density_stage_features(structures), structures.energy_per_atom
    errors = {}
    for kind, pairs in splits.items():
        pairs = [(train, test) for (train, _), test in zip(pairs, tested[kind], strict=True)]
        errors[kind] = evaluate(baselines.model(), known, energy, pairs)["test"]
    return errors


def _over_ridge(model, kind, errors, n_train):
    """Errors over those of the Ridge regression that was fitted to the same training frames."""
    full = model.startswith("diagrams") or model == baselines.BY_STAGE
    ridge = RIDGE if full and model != FEWER else FEWER
    same = (ridge, kind) in errors and n_train[ridge, kind] == n_train[model, kind]
    return (errors[model, kind] / errors[ridge, kind]).tolist() if same else []
