"""House style of the figures: colours, parity plots, diagrams, histograms on the mesh, 3D views.

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
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import display
from matplotlib.colors import LogNorm, TwoSlopeNorm

from phutils.structure import bonds, wrapped

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


def structure(atoms, colours=None, title="", marker=4):
    """Interactive ball-and-stick view of a periodic structure.

    Parameters
    ----------
    atoms : ase.Atoms
    colours : str or ndarray [n_atoms], optional
        Colour of every atom; default: by its number of bonds (2 sky, 3 blue, 4 orange, else grey).
    title : str
    marker : float
        Size of an atom in pixels.

    Returns
    -------
    plotly Figure
    """
    positions, cell = wrapped(atoms)
    pairs, vectors = bonds(atoms)
    count = np.bincount(pairs.ravel(), minlength=len(atoms))
    if colours is None:
        colours = [{2: SKY, 3: BLUE, 4: ORANGE}.get(c, "#999999") for c in count]
    # half a bond from either end, so that bonds through the boundary do not cross the box
    ends = np.concatenate([positions[pairs[:, 0]], positions[pairs[:, 1]]])
    half = np.concatenate([vectors, -vectors]) / 2
    sticks = np.stack([ends, ends + half, np.full_like(ends, np.nan)], axis=1).reshape(-1, 3)
    corners = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).T.reshape(-1, 3)
    edges = [(i, j) for i in range(8) for j in range(i) if abs(corners[i] - corners[j]).sum() == 1]
    box = np.concatenate([[*(corners[[i, j]] * cell), [np.nan] * 3] for i, j in edges])
    figure = go.Figure()
    figure.add_scatter3d(
        **xyz(sticks),
        mode="lines",
        line={"color": "#777777", "width": 3},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter3d(
        **xyz(box),
        mode="lines",
        line={"color": "#bbbbbb", "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter3d(
        **xyz(positions),
        mode="markers",
        marker={"size": marker, "color": colours, "line": {"width": 0}},
        text=[f"atom {i}, {c} bonds" for i, c in enumerate(count)],
        hoverinfo="text",
        showlegend=False,
    )
    hidden = dict(visible=False)
    camera = dict(eye=dict(x=1.5, y=0.95, z=0.62), center=dict(x=0, y=0, z=-0.06))
    scene = dict(xaxis=hidden, yaxis=hidden, zaxis=hidden, aspectmode="data", camera=camera)
    figure.update_layout(
        title={"text": title, "font": {"size": 14}},
        scene=scene,
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 30 if title else 0, "b": 0},
        height=420,
    )
    return figure


def xyz(points):
    """Points [n, 3] as plotly's arguments x, y, z, in single precision: half the page's size."""
    return dict(zip("xyz", np.asarray(points, np.float32).T, strict=True))


def side_by_side(views):
    """Several 3D views in a row, with their titles above and one legend.

    Parameters
    ----------
    views : list of plotly Figure
        Made by `structure`.

    Returns
    -------
    plotly Figure
        A click on the legend hides what has the same ``legendgroup`` in all views.
    """
    figure, named = go.Figure(), set()
    for k, view in enumerate(views):
        scene = f"scene{k + 1 if k else ''}"
        for trace in view.data:
            figure.add_trace(trace)
            figure.data[-1].scene = scene
            if trace.name in named:
                figure.data[-1].showlegend = False
            elif trace.showlegend:
                named.add(trace.name)
        left, right = k / len(views), (k + 1) / len(views)
        figure.layout[scene] = view.layout.scene
        figure.layout[scene].domain = {"x": [left, right]}
        place = dict(x=(left + right) / 2, y=1, xanchor="center", yanchor="bottom")
        place |= dict(xref="paper", yref="paper", showarrow=False)
        figure.add_annotation(text=view.layout.title.text, **place)
    first = views[0].layout
    figure.update_layout(
        legend=first.legend, showlegend=bool(named), height=first.height, margin=first.margin
    )
    return figure.update_layout(margin_t=30)


def with_slider(figures, labels, prefix="", start=0):
    """One interactive figure with a slider over several, in a page without a server.

    Parameters
    ----------
    figures : list of plotly Figure
        With the same number and kinds of traces; the layout is the first one's.
    labels : list of str
        What the slider says at each position.
    prefix : str
        Text before the label.
    start : int
        Which figure is shown at first.

    Returns
    -------
    plotly Figure
    """
    pairs = zip(figures, labels, strict=True)
    frames = [go.Frame(data=figure.data, name=label) for figure, label in pairs]
    steps = [
        {
            "label": label,
            "method": "animate",
            "args": [[label], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}],
        }
        for label in labels
    ]
    slider = {"steps": steps, "active": start, "currentvalue": {"prefix": prefix}}
    combined = go.Figure(figures[start].data, figures[0].layout, frames)
    slider |= {"pad": {"t": 35}, "x": 0.07, "len": 0.86}
    height = (figures[0].layout.height or 450) + 100  # the slider stands below
    combined.update_layout(sliders=[slider], margin_b=115, height=height)
    return combined
