"""What the maps of chapter 7 show, in words: from its measures to claims that hold or do not.

Measures are those of `phutils.islands.measures`, in dicts by ``(descriptor, standardised, place)``,
for example ``("PH", "bare", "t-SNE")``. Something is larger than another where it is so by more
than two errors of the difference.
"""

from collections import Counter

import numpy as np

from phutils.jackknife import above, error, plus_minus
from phutils.likeness import nearer

OTHERS = ("SchNet", "SOAP")  # to which PH may be nearer
OF_PAPER = (("bare", "t-SNE"), ("bare", "PCA"))  # the maps it shows


def ballot(found, common, ranks):
    """Whom PH is nearer to in one place, by each of four comparisons.

    Parameters
    ----------
    found : dict
        {descriptor: measures} of PH, SchNet and SOAP there.
    common, ranks : dict
        {("PH", other): array [1 + parts]}, from `phutils.likeness.shared` and
        `phutils.likeness.distance_correlation`.

    Returns
    -------
    dict
        {"neighbours", "ranks", "purity", "gap": "SchNet", "SOAP" or "neither"}.
    """
    votes = {}
    for name, alike in (("neighbours", common), ("ranks", ranks)):
        votes[name] = nearer({kind: alike["PH", kind] for kind in OTHERS})
    for name, scale in (("purity", np.asarray), ("gap", np.log)):
        x = {kind: scale(measures[name]) for kind, measures in found.items()}
        votes[name] = nearer({kind: -abs(x["PH"] - x[kind]) for kind in OTHERS})
    return votes


def told(votes):
    """How many votes each has got, as text: ``SchNet 7, neither 1``; ``none`` without votes."""
    return ", ".join(f"{k} {v}" for k, v in Counter(votes.values()).items()) or "none"


def won(votes):
    """Who has got more than half of the votes, else ``neither``."""
    ((most, number),) = Counter(votes.values()).most_common(1)
    return most if number > len(votes) / 2 else "neither"


def described(soaps):
    """Purity and gap of each map of another SOAP, as a list of texts."""
    return [
        f"{name}: purity {plus_minus(m['purity'])}, gap {plus_minus(m['gap'])}"
        for name, m in soaps.items()
    ]


def claims(measured, votes, soaps, controls):
    """The paper's sentences, and what its explanation needs (with dots), judged by the measures.

    Parameters
    ----------
    measured : dict
        Measures in every place; SOAP or SchNet may be missing.
    votes : dict
        {(comparison, standardised, place): name}, from `ballot`; empty unless all three are there.
    soaps : dict
        {settings: measures} of the maps of other SOAPs.
    controls : dict
        {("grid" or "continuous", descriptor, place): measures}; empty without such densities.

    Returns
    -------
    list of (str, str, str)
        Sentence, ``"holds"`` or ``"not seen"``, and the numbers behind.
    """
    gap = {kind: m["gap"] for (kind, *at), m in measured.items() if tuple(at) == ("bare", "t-SNE")}
    found = _of_paper(gap, votes, soaps) if votes else []
    if "SOAP" in gap:
        x = measured["SOAP", "by feature", "t-SNE"]["gap"]
        found.append(("... SOAP's islands stay, scaled by feature", above(x, 1), _gap(x)))
    x = gap["PH, smoothed"]
    text = "... PH is as continuous without counting noise"
    found.append((text, not above(x, gap["PH"]), _gap(x)))
    if ("continuous", "SOAP", "t-SNE") in controls:
        x, y = (controls[name, "SOAP", "t-SNE"]["gap"] for name in ("grid", "continuous"))
        fall = x[0] - y[0] > 2 * np.hypot(error(x), error(y))  # other frames: no paired errors
        by = f"{_gap(x)} on the grid, {plus_minus(y)} between"
        found.append(("... SOAP's islands stay at continuous densities", not fall, by))
    return [(claim, "holds" if holds else "not seen", by) for claim, holds, by in found]


def _of_paper(gap, votes, soaps):
    """Claims that take all three descriptors: [(sentence, whether it holds, numbers)]."""
    broader = above(gap["SchNet"], 1) and above(gap["SOAP"], gap["SchNet"])
    lowest = all(above(gap[kind], gap["PH"]) for kind in OTHERS)
    islands = all(above(m["gap"], 1) for m in soaps.values())
    own = {key: vote for key, vote in votes.items() if key[1:] in OF_PAPER}
    found = [
        ("SOAP's map is islands by density (Fig. 5a)", above(gap["SOAP"], 1), _gap(gap["SOAP"])),
        ("SchNet's islands are broader (Fig. 5b)", broader, _gap(gap["SchNet"])),
        ("PH is the most continuous (Fig. 5c)", lowest, _gap(gap["PH"])),
        ("other SOAPs are no different (Fig. S13)", islands, "; ".join(described(soaps))),
        ("PH resembles SchNet, not SOAP, on these maps", won(own) == "SchNet", told(own)),
    ]
    for name in dict.fromkeys(key[1] for key in votes if key[1] != "bare"):
        part = {key: vote for key, vote in votes.items() if key[1] == name}
        text = f"... PH still resembles SchNet, all scaled {name}"
        found.append((text, won(part) == "SchNet", told(part)))
    return found


def _gap(values):
    return f"gap {plus_minus(values)}"


def answer(found):
    """What became of the paper's claim that PH resembles SchNet: the end of a sentence.

    Parameters
    ----------
    found : list
        From `claims`.

    Returns
    -------
    str
    """
    judged = [here == "holds" for claim, here, _ in found if "resembles" in claim]
    if not judged:
        return "cannot be tested on these data: it takes all three descriptors"
    first, *scaled = judged
    if not first:
        return "is not borne out by the maps"
    if not all(scaled):
        return "is borne out by the maps of bare descriptors, but not when all are scaled alike"
    return "is borne out, by the maps and in every scaling"


def broken(found):
    """The claims that were not seen, as text; ``none`` where all hold."""
    return "; ".join(c.removeprefix("... ") for c, here, _ in found if here != "holds") or "none"


def best_pair(shared, kinds):
    """Which two spaces have most neighbours in common, and who is left.

    Parameters
    ----------
    shared : dict
        {"A and B": array [1 + parts]}.
    kinds : sequence of str
        All descriptors of these pairs.

    Returns
    -------
    best, odd : str
        Each ``none`` where there is nothing to name.
    """
    best = max(shared, key=lambda pair: shared[pair][0]) if shared else "none"
    odd = " and ".join(kind for kind in kinds if kind not in best.split(" and "))
    return best, odd or "none"
