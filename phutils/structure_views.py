"""Interactive views of structures: ball and stick in three dimensions, side by side, with a slider.

`phutils.figures.show` puts them on a page; `phutils.ring_views` adds rings.
"""

import numpy as np
import plotly.graph_objects as go

from phutils.figures import BLUE, ORANGE, SKY
from phutils.structure import bonds, wrapped


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
