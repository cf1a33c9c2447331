"""Rows of maps of descriptor spaces: Figs 5, 6 and S11 to S13. See `phutils.claims`."""

import math
import re
from functools import partial

from phutils.claims import Found, Missing, claim, get

ROWS = []
row = partial(claim, ROWS)


# --- t-SNE and PCA -------------------------------------------------------------------------------


def map_claim(maps, pattern):
    """The chapter's own verdict on the sentence that a pattern finds."""
    for sentence, here, by in get(maps, "claims"):
        if re.search(pattern, sentence):
            return Found(by, here == "holds", on=f"t-SNE of {maps['n_frames']:,} frames")
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
    checks = [c for c in maps["claims"] if c[0].startswith("...") and c[1] != "holds"]
    failed = [re.sub(r"^\.\.\. (and )?", "", sentence) for sentence, *_ in checks]
    why = f"and this does not hold: {'; '.join(failed)}" if failed else ""
    return found._replace(on="t-SNE and PCA", why=why)


def _above(value, limit):
    """Whether a value with its error lies above a limit by two errors."""
    return value[0] - 2 * (value[1] if math.isfinite(value[1] or math.nan) else 0) > limit


@row(
    "Fig. 6a-f",
    "07_maps",
    "PCA: SOAP discrete, PH and SchNet continuous",
    "gap between densities above 1 by two errors for SOAP, and for no other",
    "maps",
)
def principal_components(maps):
    kinds = "SOAP", "SchNet", "PH"
    gaps = {kind: get(maps, "measures", f"{kind}, bare, PCA", "gap") for kind in kinds}
    holds = [kind for kind in kinds if _above(gaps[kind], 1)] == ["SOAP"]
    text = ", ".join(f"{kind} {gaps[kind][0]:.2f}" for kind in kinds)
    return Found(text, holds, on=f"PCA of {maps['n_frames']:,} frames", why="gap between densities")


def other_perplexity(maps, perplexity):
    """Whether islands and cloud stay at another perplexity."""
    what = "the chapter draws these maps and hands on no number"
    found = {
        kind: get(maps, "other_maps", f"{kind}, {perplexity}, 0", what=what)
        for kind in ("SOAP", "SchNet", "PH")
    }
    purity = {kind: one["purity"] for kind, one in found.items()}
    least = purity["PH"][0] < min(purity["SOAP"][0], purity["SchNet"][0])
    text = ", ".join(f"{kind} {value[0]:.2f}" for kind, value in purity.items())
    on = f"t-SNE of {maps['n_frames']:,} frames"
    holds = least and _above(found["SOAP"]["gap"], 1)
    return Found(text, holds, on=on, why="share of neighbours of the same density")


for _item, _perplexity in (("Fig. S11", 10), ("Fig. S12", 50)):
    row(
        _item,
        "07_maps",
        f"t-SNE at perplexity {_perplexity}: the same picture",
        "gap of SOAP above 1, PH the least pure",
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
