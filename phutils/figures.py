"""House style of the figures: colours, parity plots, diagrams, histograms on the mesh.

Every figure is readable without colour vision: categories use the Okabe-Ito set, sequences
`viridis`, signed values `RdBu_r` (both are safe). Alt text of a static figure stands in its cell's
metadata (``mystnb.image.alt``); that of an interactive one is an argument of `show`.
"""

import base64
import html
import io
import json

import matplotlib.pyplot as plt
import numpy as np
import plotly.io as pio
from IPython.display import display
from matplotlib.colors import LogNorm, TwoSlopeNorm

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
STAGES = {
    "buffer_high": ("liquid, 9000 K", RED),
    "quench1": ("cooling, 9000 to 5000 K", ORANGE),
    "buffer_low": ("liquid, 5000 K", PURPLE),
    "quench2": ("cooling, 5000 to 300 K", BLUE),
    "crystal": ("diamond, 300 K", GREEN),
}
RINGS = {  # colour and marker by number of atoms in a ring, the last one and above
    3: ("#999999", "o"),
    4: (SKY, "v"),
    5: (GREEN, "p"),
    6: (BLUE, "h"),
    7: (ORANGE, "D"),
    8: (RED, "*"),
}


def use_style():
    """Set matplotlib's and plotly's defaults; every notebook calls it once."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK]),
            "axes.titlesize": "medium",
            "font.size": 10,
            "legend.frameon": False,
            "image.cmap": "viridis",
        }
    )
    pio.templates.default = "plotly_white"


def stage_label(stage):
    """Readable name of a protocol stage; an unknown one is returned as it is."""
    return STAGES.get(stage, (stage,))[0]


def stage_colour(stage):
    """Colour of a protocol stage; black for an unknown one."""
    return STAGES.get(stage, (stage, BLACK))[1]


def parity(ax, reference, predicted, label, colour=BLUE, size=4):
    """Add predicted against reference energies (eV/atom, [n] each) and the diagonal to an axis."""
    ax.scatter(reference, predicted, s=size, color=colour, alpha=0.5, lw=0, label=label)
    low, high = np.min([reference, predicted]), np.max([reference, predicted])
    known = getattr(ax, "_parity_range", (low, high))
    ax._parity_range = low, high = min(low, known[0]), max(high, known[1])
    for line in ax.lines[:]:
        line.remove()
    ax.plot([low, high], [low, high], color=BLACK, lw=0.8, zorder=0)
    ax.set(
        xlabel="reference energy / eV atom$^{-1}$",
        ylabel="predicted energy / eV atom$^{-1}$",
        aspect="equal",
    )
    ax.legend(loc="upper left", markerscale=2)


def diagram(ax, pairs, window=(0.0, 8.0), colour=BLUE, label=None, size=6):
    """Add a persistence diagram to an axis.

    Parameters
    ----------
    ax : matplotlib Axes
    pairs : ndarray [n, 2]
        Births and deaths in Å².
    window : tuple of float
        Range of both axes in Å².
    """
    ax.plot(window, window, color=BLACK, lw=0.8, zorder=0)
    ax.scatter(pairs[:, 0], pairs[:, 1], s=size, color=colour, alpha=0.7, lw=0, label=label)
    ax.set(xlabel="birth / Å$^2$", ylabel="death / Å$^2$", xlim=window, ylim=window)
    ax.set_aspect("equal")


def diagram_by_vertices(ax, cycles, window=(0.0, 8.0), legend=True):
    """Add a persistence diagram whose points show how many atoms each pair's ring has.

    Parameters
    ----------
    ax : matplotlib Axes
    cycles : list of phutils.cycles.Cycle
    window : tuple of float
        Range of both axes in Å².
    legend : bool
    """
    pairs = np.array([(c.birth, c.death) for c in cycles]).reshape(-1, 2)
    count = np.array([c.n_vertices for c in cycles])
    diagram(ax, np.empty((0, 2)), window)
    for size, (colour, marker) in RINGS.items():
        at = count >= size if size == max(RINGS) else count == size
        label = f"{size} or more" if size == max(RINGS) else str(size)
        ax.scatter(*pairs[at].T, s=14, color=colour, marker=marker, lw=0, label=label)
    if legend:
        ax.legend(title="atoms in ring", loc="lower right", fontsize="small", markerscale=1.5)


def ring_colour(n_vertices):
    """Colour of a ring by its number of atoms, as in `diagram_by_vertices`."""
    return RINGS[min(max(n_vertices, min(RINGS)), max(RINGS))][0]


def on_mesh(ax, values, edges, signed=False, log=False, label=""):
    """Draw values on the birth-death mesh; pixels that are zero or NaN stay white.

    Parameters
    ----------
    ax : matplotlib Axes
    values : ndarray [bins, bins]
        Axis 0 is birth, axis 1 is death.
    edges : ndarray [bins + 1]
        Bin edges in Å².
    signed : bool
        Diverging colours around zero.
    log : bool
        Logarithmic colour scale.
    label : str
        Label of the colour bar.

    Returns
    -------
    matplotlib colour bar
    """
    shown = np.ma.masked_where(~np.isfinite(values) | (values == 0), values)
    limit = np.abs(shown).max()
    norm = TwoSlopeNorm(0, -limit, limit) if signed else LogNorm() if log else None
    mesh = ax.pcolormesh(edges, edges, shown.T, cmap="RdBu_r" if signed else None, norm=norm)
    mesh.set_rasterized(True)
    ax.plot(edges[[0, -1]], edges[[0, -1]], color=BLACK, lw=0.6)
    ax.set(xlabel="birth / Å$^2$", ylabel="death / Å$^2$", aspect="equal")
    return ax.figure.colorbar(mesh, ax=ax, label=label, shrink=0.85)


def number_table(ax, values, columns, rows):
    """Draw a table of numbers as coloured tiles with the numbers in them, rounded.

    Parameters
    ----------
    ax : matplotlib Axes
    values : ndarray [n_rows, n_columns]
        Positive; NaN where there is none. The colour goes by the logarithm.
    columns, rows : sequence
        Labels of the ticks; the first row is the lowest.
    """
    ax.pcolormesh(np.log(values), cmap="viridis_r")
    look = dict(fc="white", alpha=0.75, lw=0, pad=1)
    for (i, j), value in np.ndenumerate(values):
        text = f"{value:.0f}" if np.isfinite(value) else "–"
        where = dict(ha="center", va="center", fontsize="small")
        ax.text(j + 0.5, i + 0.5, text, bbox=look, **where)
    ax.set_xticks(np.arange(len(columns)) + 0.5, columns)
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows)


# --- interactive ---------------------------------------------------------------------------------


def show(figure, alt, static=None, script=None):
    """Display a plotly figure in JupyterLab and in the static book, with alt text.

    Parameters
    ----------
    figure : plotly Figure
    alt : str
        What a reader who does not see the figure should know.
    static : matplotlib Figure, optional
        Shown where no JavaScript runs, and in formats other than HTML; closed here.
    script : str, optional
        JavaScript that runs in the page once the figure is there, with ``{plot_id}`` for its id.

    Raises
    ------
    ValueError
        If the alt text is empty.
    """
    if not alt.strip():
        raise ValueError("an interactive figure needs alt text")
    how = dict(full_html=False, include_plotlyjs=False, include_mathjax=False, auto_play=False)
    drawn = pio.to_html(figure, post_script=script, **how)
    alt_text = html.escape(alt, quote=True)
    picture = {}
    if static is not None:
        file = io.BytesIO()
        static.savefig(file, format="png")
        plt.close(static)
        picture["image/png"] = base64.b64encode(file.getvalue()).decode()
        source = f"data:image/png;base64,{picture['image/png']}"
        drawn += f'<noscript><img src="{source}" alt="{alt_text}"></noscript>'
    described = f'<div role="group" aria-label="{alt_text}">{drawn}</div>'
    bundle = picture | {
        "application/vnd.plotly.v1+json": json.loads(figure.to_json()),
        "text/html": described,
        "text/plain": alt,
    }
    display(bundle, raw=True)
