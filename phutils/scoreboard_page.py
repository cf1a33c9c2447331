"""The scoreboard as shown: a table that its reader sorts, an image of it, and the ladder of models.

The table is HTML with a few lines of JavaScript (``sortable.js``, beside this file) and asks for no
other file; without JavaScript it stays in the order of the paper.
"""

import base64
import html
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from phutils.figures import BLACK, BLUE, ORANGE, RED
from phutils.scoreboard import VERDICTS
from phutils.scores import interval

SCRIPT = Path(__file__).with_name("sortable.js")
MARKS = dict(zip(VERDICTS, "✓≠○", strict=True))
COLOURS = dict(zip(VERDICTS, (BLUE, RED, "#888888"), strict=True))
HEADINGS = {
    "item": "item",
    "paper": "the paper",
    "ours": "here",
    "ratio": "here / paper",
    "verdict": "verdict",
    "why": "remark",
    "on": "measured on",
}
SHORT = {"diagrams, Ridge (fewer frames)": "diagrams, Ridge (as SOAP, SchNet)"}


# --- the table -----------------------------------------------------------------------------------


def as_html(rows, chapters=(), table_id="verdict-table"):
    """The scoreboard as a table whose headings sort it, with its script.

    Parameters
    ----------
    rows : list of dict
        From `phutils.scoreboard.scoreboard`.
    chapters : iterable of str
        Those that the book holds: rows link to them, as pages beside this one.
    table_id : str
        No other element of the page may have it; headings of a page do have ids.

    Returns
    -------
    str
        HTML that needs no other file. Without JavaScript the order stays that of the paper.
    """
    chapters = set(chapters)
    head = "".join(
        f'<th scope="col"><button type="button">{text}</button></th>' for text in HEADINGS.values()
    )
    body = []
    for place, row in enumerate(rows):
        cells = []
        for name in HEADINGS:
            text, key = row[name], ""
            if name == "ratio":
                text = "" if text is None else f"{text:.2f}"
            elif name == "verdict":
                text = f"{MARKS[text]} {text}"
                key = f' data-key="{VERDICTS.index(row[name])}"'
            text = html.escape(str(text))
            if name == "item":
                key = f' data-key="{place}"'
                if row["chapter"] in chapters:
                    text = f'<a href="{row["chapter"]}.html">{text}</a>'
            if name == "paper":
                rule = html.escape(row["rule"])
                text += f"<br><small>rule: {rule}</small>"
            tag = 'th scope="row"' if name == "item" else "td"
            cells.append(f"<{tag}{key}>{text}</{tag.split()[0]}>")
        body.append(f'<tr data-verdict="{row["verdict"]}">{"".join(cells)}</tr>')
    script = SCRIPT.read_text(encoding="utf-8").replace("{table_id}", table_id)
    return (
        f"<style>{_style(table_id)}</style>"
        f'<div class="{table_id}" role="region" tabindex="0" aria-label="Scoreboard">'
        f'<table id="{table_id}" class="dataframe"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div><script>{script}</script>"
    )


def _style(name):
    marks = "".join(
        f'#{name} tr[data-verdict="{verdict}"] th{{border-left:4px solid {colour}}}'
        for verdict, colour in COLOURS.items()
    )
    return (
        f".{name}{{overflow:auto;max-height:85vh}}"
        f"#{name}{{font-size:.8rem;border-collapse:collapse;width:auto;min-width:54rem}}"
        f"#{name} th,#{name} td{{text-align:left;vertical-align:top;padding:.3rem .5rem;"
        "border-bottom:1px solid #8888;white-space:normal}"
        f"#{name} small{{font-size:.72rem}}#{name} th,#{name} td{{line-height:1.35}}"
        f"#{name} td:nth-child(4){{text-align:right}}#{name} td:nth-child(5){{white-space:nowrap}}"
        f"#{name} th button{{font:inherit;font-weight:600;color:inherit;background:none;border:0;"
        "padding:0;cursor:pointer;text-align:left}"
        f"#{name} th button::after{{content:' \\2195'}}"
        f"#{name} th[aria-sort=ascending] button::after{{content:' \\2191'}}"
        f"#{name} th[aria-sort=descending] button::after{{content:' \\2193'}}" + marks
    )


def download(content, name, kind, text):
    """A link that holds a file: HTML. `content` is bytes, `kind` its media type."""
    data = base64.b64encode(content).decode()
    return f'<a download="{name}" href="data:{kind};base64,{data}">{html.escape(text)}</a>'


def as_image(rows, note=""):
    """The scoreboard as a matplotlib Figure: one line a row, and a note on the data below."""
    fig = plt.figure(figsize=(13, 0.26 * len(rows) + 0.6), constrained_layout=False)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(len(rows) + 0.6, -1.4))
    ax.text(0.01, len(rows), note, fontsize=8, va="center", parse_math=False)
    ax.axis("off")
    places = {"verdict": 0.01, "item": 0.09, "paper": 0.2, "ours": 0.57, "ratio": 0.99}
    for name, x in places.items():
        side = "right" if name == "ratio" else "left"
        ax.text(x, -0.7, HEADINGS[name], weight="bold", va="center", ha=side, fontsize=8.5)
    for y, row in enumerate(rows):
        if y % 2 == 0:
            ax.axhspan(y - 0.5, y + 0.5, color="#f2f2f2", lw=0)
        texts = {
            "item": row["item"],
            "paper": _cut(row["paper"], 76),
            "ours": _cut(row["ours"], 70),
        }
        texts["ratio"] = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        for name, text in texts.items():
            side = "right" if name == "ratio" else "left"
            ax.text(places[name], y, text, va="center", ha=side, fontsize=8, parse_math=False)
        verdict = row["verdict"]
        mark = dict(color=COLOURS[verdict], va="center", fontsize=8, weight="bold")
        ax.text(places["verdict"], y, f"{MARKS[verdict]} {verdict}", **mark)
    return fig


def _cut(text, length):
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def png(figure, dpi=110):
    """A matplotlib Figure as bytes; it is closed."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    plt.close(figure)
    return file.getvalue()


# --- the ladder ----------------------------------------------------------------------------------


def draw_ladder(axes, ladder, labels):
    """All models: errors on the first axis, errors over that of Ridge on the second.

    Parameters
    ----------
    axes : pair of matplotlib Axes
    ladder : list of dict
        Rows of `phutils.scoreboard.ladder`.
    labels : str
        Name of the labels, for the legend.
    """
    models = list(dict.fromkeys(row["model"] for row in ladder))
    looks = {"random": (BLUE, "o", -0.13), "by trajectory": (ORANGE, "s", 0.13)}
    for ax, key, paper in zip(axes, ("rmse", "ratio"), ("paper", "paper_ratio"), strict=True):
        for kind, (colour, marker, shift) in looks.items():
            rows = [row for row in ladder if row["split"] == kind and row[key]]
            y = [models.index(row["model"]) + shift for row in rows]
            mean = [np.mean(row[key]) for row in rows]
            spread = [np.std(row[key], ddof=1) if len(row[key]) > 1 else 0 for row in rows]
            look = dict(color=colour, fmt=marker, ms=6, capsize=2, label=f"{labels}, {kind}")
            ax.errorbar(mean, y, xerr=spread, **look)
        known = {row["model"]: row[paper] for row in ladder if row[paper]}
        y = [models.index(model) for model in known]
        look = dict(marker="D", mfc="none", mec=BLACK, ms=8, ls="", label="paper: LDA data, random")
        if known:
            ax.plot(list(known.values()), y, **look)
        ax.set_yticks(range(len(models)), [SHORT.get(m, m) for m in models])
        ax.set(xscale="log", ylim=(len(models) - 0.5, -0.5))
        ax.grid(axis="x", which="both", color="#dddddd", lw=0.6)
        ax.set_axisbelow(True)
        ticks = [10, 20, 50, 100, 200] if key == "rmse" else [0.2, 0.5, 1, 2, 5]
        low, high = ax.get_xlim()
        ax.set_xticks([t for t in ticks if low <= t <= high])
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
    axes[0].set_xlabel("test RMSE / meV atom$^{-1}$")
    axes[1].set_xlabel("over Ridge of the same training frames")
    axes[1].tick_params(labelleft=False)


def tested(ladder):
    """How many splits and test frames stand behind a ladder, and what its numbers are, in words.

    Parameters
    ----------
    ladder : list of dict
        Rows of `phutils.scoreboard.ladder`, at least one.

    Returns
    -------
    str
        For example ``one split of each kind, 52 (random) and 56 (by trajectory) test frames``.
    """
    size = {row["split"]: (len(row["rmse"]), row["n_test"]) for row in ladder}
    counts = {splits for splits, _ in size.values()}
    frames = " and ".join(f"{n:,} ({kind})" for kind, (_, n) in size.items())
    if counts == {1}:
        return f"one split of each kind, {frames} test frames"
    splits = " and ".join(dict.fromkeys(str(splits) for splits, _ in size.values()))
    few = "; one split has no standard deviation" if 1 in counts else ""
    mean = f"mean and standard deviation over {splits} splits of each kind"
    return f"{mean}, {frames} test frames{few}"


def ladder_table(ladder):
    """The ladder as lists of text, the header first: one line a model."""
    lines = [
        [
            "model",
            "random",
            "by trajectory",
            "trained on",
            "ratio, random",
            "ratio, by trajectory",
            "paper",
            "paper, ratio",
        ]
    ]
    by_model = {}
    for row in ladder:
        by_model.setdefault(row["model"], {})[row["split"]] = row
    for model, of in by_model.items():
        random, held_out = (of.get(kind) for kind in ("random", "by trajectory"))
        any_row = random or held_out
        texts = [_told(row, "rmse", 1) for row in (random, held_out)]
        ratios = [_told(row, "ratio", 2) for row in (random, held_out)]
        paper, over = any_row["paper"], any_row["paper_ratio"]
        paper = [f"{paper:.1f}" if paper else "–", f"{over:.2f}" if over else "–"]
        lines.append([SHORT.get(model, model), *texts, f"{any_row['n_train']:,}", *ratios, *paper])
    return lines


def _told(row, key, digits):
    if not row or not row[key]:
        return "–"
    return "1" if key == "ratio" and set(row[key]) == {1.0} else interval(row[key], digits)
