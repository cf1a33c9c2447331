"""Rows of maps of descriptor spaces: Figs 5, 6 and S11 to S13. See `phutils.claims`."""

import re
from collections import Counter
from functools import partial

from phutils.claims import Found, Missing, claim, compare, get

ROWS = []
row = partial(claim, ROWS)


# --- t-SNE and PCA -------------------------------------------------------------------------------


def map_claim(maps, pattern):
    """The chapter's own verdict on the sentence that a pattern finds."""
    for sentence, here, by in get(maps, "claims"):
        if re.search(pattern, sentence):
            holds = here == "holds"
            why = "" if holds else "not so by two errors"
            gap = re.fullmatch(r"gap (.+)", by)
            if gap:
                by = f"a frame of another density is {gap[1]} times as far away as one of the same"
            return Found(by, holds, on=f"t-SNE of {maps['n_frames']:,} frames", why=why)
    raise Missing("; ".join(maps.get("left_out", [])) or "the chapter does not judge it")


GAP = "gap: distance to the nearest frame of another density over that of the same one"
for _item, _text, _rule, _pattern in (
    (
        "Fig. 5a, d",
        "t-SNE of SOAP: discrete islands by density",
        f"{GAP}; above 1 by two errors",
        r"Fig\. 5a",
    ),
    (
        "Fig. 5b, e",
        "t-SNE of SchNet: islands, broader than SOAP's, some overlap",
        "gap above 1 and below SOAP's, by two errors",
        r"Fig\. 5b",
    ),
    (
        "Fig. 5c, f",
        "t-SNE of PH: the most continuous",
        "a smaller gap than both others, by two errors",
        r"Fig\. 5c",
    ),
):
    row(_item, "07_maps", _text, _rule, "maps")(lambda m, p=_pattern: map_claim(m, p))


@row(
    "Fig. 5: conclusion",
    "07_maps",
    "PH resembles the latent space of SchNet and differs from SOAP",
    "on the paper's maps, PH is nearer to SchNet in more than half of the comparisons",
    "maps",
)
def resemblance(maps):
    found = map_claim(maps, "PH resembles SchNet")
    votes = Counter(dict((k, int(v)) for k, v in re.findall(r"(\w+) (\d+)", found.ours)))
    number = sum(votes.values())
    text = f"of {number} comparisons, PH is nearer to SchNet in {votes['SchNet']}, "
    text += f"to SOAP in {votes['SOAP']} and to neither in {votes['neither']}"
    why = "" if found.holds else "no majority for SchNet"
    checks = [c[0] for c in maps["claims"] if c[0].startswith("...") and c[1] != "holds"]
    lacking = [re.sub(r"^\.\.\. (and )?", "", sentence) for sentence in checks]
    lacking = [re.sub(r", (all )?scaled by", r" when \1scaled by", one) for one in lacking]
    lacking = [one.replace("when scaled", "when it is scaled") for one in lacking]
    lacking = [one.replace("when all scaled", "when all are scaled") for one in lacking]
    if lacking:
        what = "; that ".join(lacking)
        why += ("; " if why else "") + f"what its explanation needs is not seen: that {what}"
    return found._replace(ours=text, on="t-SNE and PCA", why=why)


KINDS = "SOAP", "SchNet", "PH"


def _gaps(found):
    """Gaps between densities as text: ``SOAP 19.4 ± 1.9, SchNet 2.7 ± 0.3``."""
    texts = (
        f"{kind} {value:.1f}" + (f" ± {error:.1f}" if error == error else "")
        for kind, (value, error) in found.items()
    )
    return "gaps between densities: " + ", ".join(texts)


def _measured(one):
    """Value and error of a gap; the error is NaN where it is not known."""
    value, error = one
    return float(value), float("nan") if error is None else float(error)


@row(
    "Fig. 6a-f",
    "07_maps",
    "PCA: SOAP discrete, PH and SchNet continuous",
    "gap between densities above 1 by two errors for SOAP, and for no other",
    "maps",
)
def principal_components(maps):
    gaps = {kind: _measured(get(maps, "measures", f"{kind}, bare, PCA", "gap")) for kind in KINDS}
    islands = [kind for kind, gap in gaps.items() if compare(gap, (1, 0)) > 0]
    unknown = [kind for kind, gap in gaps.items() if gap[1] != gap[1]]
    on = f"PCA of {maps['n_frames']:,} frames"
    if unknown:
        why = f"the error is not known: {', '.join(unknown)}"
        return Found(_gaps(gaps), None, on=on, why=why)
    why = "" if islands == ["SOAP"] else f"islands by two errors: {' and '.join(islands) or 'none'}"
    return Found(_gaps(gaps), islands == ["SOAP"], on=on, why=why)


def other_perplexity(maps, perplexity):
    """Whether the picture of Fig. 5 stays at another perplexity, by the same rule."""
    what = "the chapter draws these maps and hands on no number"
    gap = {
        kind: _measured(get(maps, "other_maps", f"{kind}, {perplexity}, 0", what=what)["gap"])
        for kind in KINDS
    }
    lacking = [] if compare(gap["SOAP"], (1, 0)) > 0 else ["SOAP is not above 1"]
    lacking += [] if compare(gap["SchNet"], (1, 0)) > 0 else ["SchNet is not above 1"]
    for one, other in (("SchNet", "SOAP"), ("PH", "SchNet"), ("PH", "SOAP")):
        if compare(gap[one], gap[other]) >= 0:
            lacking.append(f"{one} is not below {other}")
    why = f"{', '.join(lacking)} by two errors" if lacking else ""
    return Found(_gaps(gap), not lacking, on=f"t-SNE of {maps['n_frames']:,} frames", why=why)


for _item, _perplexity in (("Fig. S11", 10), ("Fig. S12", 50)):
    row(
        _item,
        "07_maps",
        f"t-SNE at perplexity {_perplexity}: the same picture",
        "as Fig. 5: gap of SOAP above that of SchNet, both above 1, and PH below both, by two "
        "errors",
        "maps",
    )(lambda m, p=_perplexity: other_perplexity(m, p))


@row(
    "Fig. S13",
    "07_maps",
    "maps of SOAP with other hyperparameters are still discrete",
    "gap above 1 by two errors for each",
    "maps",
)
def other_soaps(maps):
    return map_claim(maps, r"Fig\. S13")
