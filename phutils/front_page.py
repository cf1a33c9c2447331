"""What the front page and the README show: one figure, the ladder, five findings.

All of it is drawn from ``scoreboard.json``, which chapter 11 publishes. The front page takes it
from that chapter in each build (``_ext/front_page.py``). The README is renewed after a build by
``python -m phutils.front_page``, which rewrites the block between its two markers and the picture;
``--profile`` and ``--dataset`` choose another build.
"""

import argparse
import base64
import re
import sys
from datetime import date
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from phutils import artifacts
from phutils.figures import BLACK, RINGS, ring_colour, use_style
from phutils.scoreboard_page import MARKS, draw_ladder, ladder_table, png, tested

BEGIN, END = "<!-- scoreboard: begin -->", "<!-- scoreboard: end -->"
PICTURE = "docs/front.png"
FINDINGS = {  # heading: rows of the scoreboard
    "Rings and the energy": ("Fig. 3a",),
    "Order of the models": ("Figs 3, 4: order",),
    "Liquid and glass": ("Fig. 2b, e: line", "Fig. 2b, e: pore"),
    "Maps of descriptors": ("Fig. 5a, d", "Fig. 5: conclusion"),
    "Rings that lower the energy": ("Fig. 7e: peak", "Fig. 7f"),
}
ALT = (
    "Above, persistence diagrams of a liquid and of an amorphous structure, coloured by the number "
    "of atoms in each ring, with rings of five, six and seven atoms below them. Below, test errors "
    "of all models, random and by trajectory, beside those of the paper."
)


# --- the figure ----------------------------------------------------------------------------------


def front_figure(board):
    """Diagrams of a liquid and a glass with a few of their rings, and the ladder below.

    Parameters
    ----------
    board : dict
        Published by chapter 11: ``rings`` (or empty), ``ladder`` (or empty), ``labels``.
    """
    parts = [bool(board["rings"]), bool(board["ladder"])]
    fig = plt.figure(figsize=(9, 4.7 * parts[0] + 3.3 * parts[1] or 1))
    heights = [h for h, part in zip((4.7, 3.3), parts, strict=True) if part] or [1]
    frames = np.ravel(fig.subfigures(len(heights), 1, height_ratios=heights))
    if parts[0]:
        both = list(board["rings"].values())
        end = float(np.ceil(max(pair[1] for one in both for pair in one["pairs"])))
        for part, one in zip(frames[0].subfigures(1, 2), both, strict=True):
            _diagram(part, one, end)
    if parts[1]:
        axes = frames[-1].subplots(1, 2, width_ratios=(1, 1))
        draw_ladder(axes, board["ladder"], board["labels"])
        handles, texts = axes[0].get_legend_handles_labels()
        frames[-1].legend(handles, texts, loc="outside upper center", ncols=3, fontsize="small")
    return fig


def _diagram(figure, one, end):
    """One diagram, coloured by the number of atoms in each ring, and rings below."""
    rings = {name: np.asarray(xyz) for name, xyz in one["rings"].items()}
    rings = {name: xyz for name, xyz in rings.items() if re.match("[567] atoms", name)}
    grid = figure.add_gridspec(2 if rings else 1, max(len(rings), 1))
    if rings:
        grid.set_height_ratios([4, 1])
    ax = figure.add_subplot(grid[0, :])
    birth, death, size = np.asarray(one["pairs"], float).T
    ax.axvspan(0.5, 0.7, color="#e4e4e4", zorder=-2)
    ax.plot([0, end], [0, end], color=BLACK, lw=0.8, zorder=-1)
    last = max(RINGS)
    for atoms, (colour, marker) in RINGS.items():
        at = size >= atoms if atoms == last else size == atoms
        label = f"{atoms}+" if atoms == last else f"{atoms}"
        ax.scatter(birth[at], death[at], s=16, color=colour, marker=marker, lw=0, label=label)
    ax.set(xlim=(0, end), ylim=(0, end), aspect="equal")
    ax.set(xlabel="birth / Å$^2$", ylabel="death / Å$^2$")
    ax.set_title(f"{one['kind']}, {one['density']:.1f} g/cm$^3$")
    ax.legend(title="atoms in ring", fontsize="small", loc="lower right", ncols=2)
    for k, xyz in enumerate(rings.values()):
        inset = figure.add_subplot(grid[1, k])
        centred = xyz - xyz.mean(axis=0)
        flat = centred @ np.linalg.svd(centred)[2][:2].T  # on the plane nearest to its atoms
        inset.fill(*flat.T, fc=ring_colour(len(xyz)), ec=BLACK, alpha=0.75)
        inset.plot(*flat.T, "o", color=BLACK, ms=3.5)
        inset.set(xlim=(-2.4, 2.4), ylim=(-2, 2), aspect="equal")
        inset.axis("off")


# --- text ----------------------------------------------------------------------------------------


def provenance(board):
    """What the numbers were measured on: one sentence for captions."""
    own = "" if board["labels"] == "VASP-LDA" else "; none of them is a number of the paper's data"
    return (
        f"{board['n_frames']:,} frames of the {board['dataset']} data, {board['labels']} labels, "
        f"profile {board['profile']}, run of {board['date']}{own}"
    )


def findings(board):
    """Five lines of Markdown, each with its verdict and a link to its chapter."""
    rows = {row["item"]: row for row in board["rows"]}
    lines = []
    for heading, items in FINDINGS.items():
        chapter = rows[items[0]]["chapter"]
        known = chapter in board["chapters"]
        link = f" ([evidence](notebooks/{chapter}.ipynb))" if known else ""
        told = " ".join(_finding(rows[item]) for item in items)
        lines.append(f"- **{heading}**{link}. {told}")
    return "\n".join(lines)


def _finding(row):
    verdict, why = row["verdict"], row["why"]
    said = (
        f"{MARKS[verdict]} *{verdict.capitalize()}*: {row['paper']} ({row['item'].split(':')[0]})"
    )
    if row["ours"] == "–":
        return f"{said}; {why}."
    remark = f" ({why})" if why else ""
    return f"{said}; here {row['ours']}{remark}."


def markdown_table(lines):
    """Lists of text as a Markdown table; the first is its header, the first column its names."""
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def counts(board):
    """How many rows have which verdict, as text."""
    found = [row["verdict"] for row in board["rows"]]
    words = {"differs": "differ"}
    told = (f"{found.count(verdict)} {words.get(verdict, verdict)}" for verdict in MARKS)
    return f"{len(found)} rows: {', '.join(told)}"


def ladder_text(board):
    """The ladder as a Markdown table with its caption, or why there is none."""
    if not board["ladder"]:
        return "No model has left predictions in this build."
    known = any(row["paper"] for row in board["ladder"])
    caption = (
        f"Test RMSE in meV/atom, {tested(board['ladder'])}, the same for all models; ratios are to "
        "Ridge regression on diagrams fitted to the same training frames"
    )
    caption += "; the paper's are for its own data (LDA) and random splits." if known else "."
    lines = [[line[k] for k in (0, 1, 2, 4, 6, 7)] for line in ladder_table(board["ladder"])]
    table = markdown_table(lines).replace(" ± ", "\u00a0±\u00a0")  # no line ends there
    return f"{table}\n\n{caption}"


def parts(board):
    """Markdown for the front page of the book, by name (see ``_ext/front_page.py``)."""
    picture = base64.b64encode(png(front_figure(board), dpi=100)).decode()
    told = provenance(board)
    figure = (
        f"```{{figure}} data:image/png;base64,{picture}\n:alt: {ALT}\n\n"
        f"{told[0].upper()}{told[1:]}.\n```"
    )
    shown = figure if board["rings"] or board["ladder"] else ""
    return {"front_figure": shown, "ladder": ladder_text(board), "findings": findings(board)}


# --- what chapter 11 leaves ----------------------------------------------------------------------


def run_date(folder, profile):
    """Day of the newest result that chapters have published, as text; today without any."""
    files = Path(folder, profile).glob("*.json")
    times = [f.stat().st_mtime for f in files if not f.name.startswith("scoreboard")]
    return str(date.fromtimestamp(max(times)) if times else date.today())


def publish(folder, profile, name, board, **files):
    """Leave the board as ``<name>.json``, and files as ``<name>.<ending>``: ending=bytes.

    As `phutils.artifacts.publish`, it writes nothing in a run with other parameters.
    """
    artifacts.publish(folder, profile, name, board)
    for ending, content in files.items():
        artifacts.publish_file(folder, profile, f"{name}.{ending}", content)


# --- the README ----------------------------------------------------------------------------------


def readme_block(board):
    """Markdown between the markers of the README: picture, ladder, findings."""
    return f"""{BEGIN}
![{ALT}]({PICTURE})

*{provenance(board)[0].upper()}{provenance(board)[1:]}.*

### The ladder

{ladder_text(board)}

### What we found

{findings(board)}

[The scoreboard](notebooks/11_scoreboard.ipynb) holds every figure of the paper ({counts(board)}).
{END}"""


def renew(readme, block):
    """Text of a README with another block between the markers.

    Raises
    ------
    ValueError
        If it does not hold each marker once, in order.
    """
    if (
        readme.count(BEGIN) != 1
        or readme.count(END) != 1
        or readme.index(BEGIN) > readme.index(END)
    ):
        raise ValueError(f"README: {BEGIN} and {END} are wanted once each, in this order")
    before, rest = readme.split(BEGIN)
    return before + block + rest.split(END)[1]


def main(arguments=None, root=artifacts.ROOT):
    """Entry point of ``python -m phutils.front_page``: renew the README and its picture."""
    parser = argparse.ArgumentParser("phutils.front_page", description=main.__doc__)
    parser.add_argument("--profile", default="default", help="of the build to show")
    parser.add_argument("--dataset", default="embedded", help="of the build to show")
    options = parser.parse_args(arguments)
    try:
        folder = artifacts.folder(options.dataset)
        board = artifacts.published(folder, options.profile, "scoreboard")
        path = root / "README.md"
        text = renew(path.read_text(encoding="utf-8"), readme_block(board))
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    use_style()
    with artifacts.atomic_write(root / PICTURE) as file:
        file.write(png(front_figure(board), dpi=100))
    with artifacts.atomic_write(path, "w") as file:
        file.write(text)
    print(f"{path}\n{root / PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
