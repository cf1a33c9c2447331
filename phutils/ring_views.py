"""Drawings of rings: being born and filled in the plane, lying in a structure, and spread flat.

`growing_balls` is the paper's Fig. 1, `add_rings` colours rings in the 3D views of its Figs 2, 7b
and S4 (`seen_along_z` is their static form), `diagram_with_rings` draws a diagram with ring insets,
as Figs 2b, 2e, 7c and 7d.
"""

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patheffects import withStroke
from plotly.subplots import make_subplots
from scipy.spatial import Delaunay

from phutils.figures import BLACK, BLUE, ORANGE, diagram_by_vertices, ring_colour
from phutils.rings import placed, plane_of
from phutils.structure import bonds, wrapped
from phutils.structure_views import xyz

DISC = {"fill": "toself", "fillcolor": "rgba(86,180,233,0.25)", "line_width": 0}
FILLED = {"fill": "toself", "fillcolor": "rgba(230,159,0,0.6)", "line_width": 0}
HALO = withStroke(linewidth=3, foreground="white")
EDGE = {"line": {"color": BLACK, "width": 2}}
ABOVE, AROUND = 1.2, 1.3  # Å: which atoms a sketch shows beside its ring, over and around it


# --- the plane (Fig. 1) --------------------------------------------------------------------------


def filtration_in_plane(points):
    """Radii at which edges and triangles of points in the plane enter the alpha filtration.

    Parameters
    ----------
    points : ndarray [n, 2]

    Returns
    -------
    edges, triangles : dict
        {tuple of point indices: radius}. An edge enters when its two discs meet, unless a third
        disc covers that place before: then it enters with the first triangle beside it.
    """
    triangles, beside = {}, {}
    for corners in np.sort(Delaunay(points).simplices, axis=1).tolist():
        a, b, c = points[corners]
        sides = np.linalg.norm([b - c, c - a, a - b], axis=1)
        radius = sides.prod() / (2 * abs(np.linalg.det([b - a, c - a])))  # abc / (4 area)
        triangles[tuple(corners)] = radius
        for k, side in enumerate(sides):
            edge = tuple(corners[:k] + corners[k + 1 :])
            third = np.linalg.norm(points[corners[k]] - points[list(edge)].mean(axis=0))
            beside.setdefault(edge, []).append((radius, third < side / 2, side / 2))
    edges = {
        edge: min(radius for radius, _, _ in found)
        if any(inside for _, inside, _ in found)
        else found[0][2]
        for edge, found in beside.items()
    }
    return edges, triangles


def growing_balls(points, names, pairs, radius):
    """Discs of one radius, the edges and triangles there are, and the diagram so far (Fig. 1).

    Parameters
    ----------
    points : ndarray [n, 2]
    names : sequence of str
        Of the points.
    pairs : dict
        {name: (birth radius, death radius)} of the rings.
    radius : float
        In the units of the points.

    Returns
    -------
    plotly Figure
        Always with the same traces, for `phutils.structure_views.with_slider`.
    """
    edges, triangles = filtration_in_plane(points)
    angle = np.linspace(0, 2 * np.pi, 60)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    shapes = (
        ([point + circle for point in points], DISC),
        ([points[list(t)] for t, enters in triangles.items() if enters <= radius], FILLED),
        ([points[list(e)] for e, enters in edges.items() if enters <= radius], EDGE),
    )
    figure = make_subplots(1, 2, column_widths=[0.6, 0.4], horizontal_spacing=0.12)
    for polygons, style in shapes:
        x, y = _outlines(polygons, 2).T
        figure.add_scatter(x=x, y=y, mode="lines", hoverinfo="skip", row=1, col=1, **style)
    style = {"mode": "markers+text", "hoverinfo": "skip"}
    side = np.where(points[:, 0] < points[:, 0].mean(), "middle left", "middle right")
    dots = style | {"marker_color": BLACK, "textposition": side}
    figure.add_scatter(x=points[:, 0], y=points[:, 1], text=list(names), row=1, col=1, **dots)

    born = {name: pair for name, pair in pairs.items() if pair[0] <= radius}
    x, y = [b for b, _ in born.values()], [min(d, radius) for _, d in born.values()]
    colours = [BLUE if death <= radius else ORANGE for _, death in born.values()]
    low, high = 0.9 * min(b for b, _ in pairs.values()), 1.1 * max(d for _, d in pairs.values())
    figure.add_scatter(
        x=[low, high], y=[low, high], mode="lines", line=EDGE["line"] | {"width": 1}, row=1, col=2
    )
    here = np.clip([low, radius, radius], low, high)
    line = {"color": "#777777", "dash": "dot", "width": 1}
    figure.add_scatter(x=here, y=here[[1, 1, 0]], mode="lines", line=line, row=1, col=2)
    text = [f"{name}, filled" if pair[1] <= radius else name for name, pair in born.items()]
    marker = {"size": 11, "color": colours}
    style |= {"textposition": "top center", "marker": marker}
    figure.add_scatter(x=x, y=y, text=text, row=1, col=2, **style)

    reach = 1.1 * max(death for _, death in pairs.values())
    (left, bottom), (right, top) = points.min(axis=0) - reach, points.max(axis=0) + reach
    figure.update_xaxes(visible=False, range=[left, right], row=1, col=1)
    figure.update_yaxes(visible=False, range=[bottom, top], scaleanchor="x", row=1, col=1)
    square = {"range": [low, high], "constrain": "domain", "row": 1, "col": 2}
    figure.update_xaxes(title="birth radius", **square)
    figure.update_yaxes(title="death radius", scaleanchor="x2", **square)
    figure.update_layout(showlegend=False, height=420, margin={"l": 0, "r": 10, "t": 10})
    return figure


def _outlines(polygons, dimension):
    """Closed polygons as one line with gaps, ndarray [n, dimension]."""
    gap = np.full((1, dimension), np.nan)
    return np.concatenate([gap, *(part for p in polygons for part in (p, p[:1], gap))])


def colour_of(name, cycle):
    """Colour of a ring of `phutils.rings.typical_rings`: by size; black for the largest birth."""
    return BLACK if name == "largest birth" else ring_colour(cycle.n_vertices)


# --- in a structure (Figs 2a, d and S4) ----------------------------------------------------------


def add_rings(figure, atoms, cycles, name, colour, opacity=0.5):
    """Add filled rings to a view made by `phutils.structure_views.structure`.

    A ring that crosses the boundary is drawn in one piece, with its centre in the box.

    Parameters
    ----------
    figure : plotly Figure
        Changed in place.
    atoms : ase.Atoms
    cycles : sequence of phutils.cycles.Cycle
        Of this frame; those without a ring that can be drawn (`phutils.rings.placed`) are left
        out. With none, two empty traces are added, so that views stay alike for a slider.
    name : str
        In the legend, followed by the number of rings drawn.
    colour : str
    opacity : float
        Of the filling.
    """
    corners, faces, lines, texts, count = [np.empty((0, 3))], [], [], [], 0
    for cycle in cycles:
        points = placed(atoms, cycle)
        if points is None:
            continue
        n, first = len(points), sum(map(len, corners))
        text = (
            f"{n} atoms: {' '.join(map(str, cycle.vertices))}<br>"
            f"birth {cycle.birth:.3f}, death {cycle.death:.3f} Å²"
        )
        corners.append(np.concatenate([points, [points.mean(axis=0)]]))
        around = np.arange(n)
        faces.append(first + np.stack([around, np.roll(around, -1), np.full(n, n)], axis=1))
        lines.append(points)
        texts += [text] * (n + 1) + [""]
        count += 1
    corners, outline = np.concatenate(corners), _outlines(lines, 3)
    i, j, k = np.concatenate([np.empty((0, 3), int), *faces]).T
    style = {"legendgroup": name, "name": f"{name} ({count})", "hoverinfo": "text"}
    figure.add_mesh3d(
        **xyz(corners),
        i=i.astype(np.int32),
        j=j.astype(np.int32),
        k=k.astype(np.int32),
        color=colour,
        opacity=opacity,
        flatshading=True,
        text=[text for text in texts if text],
        **style,
    )
    figure.add_scatter3d(
        **xyz(outline),
        mode="lines+markers",
        line={"color": colour, "width": 6},
        marker={"color": colour, "size": 4},
        text=["", *texts],
        showlegend=True,
        **style,
    )
    figure.update_layout(
        showlegend=True, legend={"orientation": "h", "y": 0, "yanchor": "top", "x": 0.02}
    )


def seen_along_z(ax, atoms, groups):
    """Draw a structure seen along z with filled rings; a static stand-in for a 3D view.

    Parameters
    ----------
    ax : matplotlib Axes
    atoms : ase.Atoms
        Orthorhombic.
    groups : dict
        {name: (list of phutils.cycles.Cycle, colour)}; rings that cannot be drawn are left out,
        as in `add_rings`.
    """
    positions, cell = wrapped(atoms)
    ax.scatter(*positions[:, :2].T, s=6, color="#999999", lw=0)
    for name, (cycles, colour) in groups.items():
        found = [placed(atoms, cycle) for cycle in cycles]
        found = [points[:, :2] for points in found if points is not None]
        label = f"{name} ({len(found)})"
        ax.add_collection(PolyCollection(found, fc=colour, ec=colour, alpha=0.15, label=label))
    ax.set(xlim=(0, cell[0]), ylim=(0, cell[1]), aspect="equal", xlabel="x / Å", ylabel="y / Å")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)


# --- flat (insets of Fig. 2b, e) -----------------------------------------------------------------


def sketch(ax, atoms, cycle, colour, reach=None):
    """Draw a ring in its best-fit plane, with the atoms and bonds near that plane in grey.

    The black bar is 2 Å long.

    Parameters
    ----------
    ax : matplotlib Axes
        Left without ticks, 1 Å long the same in both directions.
    atoms : ase.Atoms
    cycle : phutils.cycles.Cycle
        One that `phutils.rings.placed` can place.
    colour : str
    reach : float, optional
        Half width of the drawing in Å; default: just beyond the ring.
    """
    points = placed(atoms, cycle)
    centre, axes = plane_of(points)
    flat = ((points - centre) @ axes.T)[:, :2]
    reach = reach or extent(atoms, cycle)
    positions, cell = wrapped(atoms)
    apart = positions - centre
    local = (apart - cell * np.round(apart / cell)) @ axes.T
    near = (np.abs(local[:, :2]).max(axis=1) < reach) & (np.abs(local[:, 2]) < ABOVE)
    pairs, vectors = bonds(atoms)
    shown = near[pairs[:, 0]] & near[pairs[:, 1]]
    start, step = local[pairs[shown, 0]], vectors[shown] @ axes.T
    ax.plot(*np.stack([start, start + step])[..., :2].T.swapaxes(1, 2), color="#bbbbbb", lw=1.5)
    ax.scatter(*local[near, :2].T, s=10, color="#bbbbbb", lw=0)
    ax.fill(*flat.T, facecolor=colour, alpha=0.3)
    ax.plot(*np.concatenate([flat, flat[:1]]).T, color=colour, lw=2)
    ax.scatter(*flat.T, s=22, color=colour, edgecolor=BLACK, lw=0.6, zorder=3)
    ax.plot([-0.9 * reach, 2 - 0.9 * reach], [-0.9 * reach] * 2, color=BLACK, lw=1.5)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
    ax.spines[["left", "right", "top", "bottom"]].set_visible(True)
    for spine in ax.spines.values():
        spine.set_color("#dddddd")


def extent(atoms, cycle):
    """Half width of a square around a ring in its plane, in Å."""
    points = placed(atoms, cycle)
    centre, axes = plane_of(points)
    return np.abs(((points - centre) @ axes.T)[:, :2]).max() + AROUND


def diagram_with_rings(figure, atoms, cycles, chosen, window=(0.0, 8.0), title=""):
    """A diagram by number of atoms, with sketches of a few rings below it (Fig. 2b, e).

    Parameters
    ----------
    figure : matplotlib Figure or SubFigure
    atoms : ase.Atoms
    cycles : list of phutils.cycles.Cycle
    chosen : dict
        {name: Cycle}, see `phutils.rings.typical_rings`; lettered a, b, c, ... in the diagram.
    window : tuple of float
        Range of both axes in Å².
    title : str

    Returns
    -------
    matplotlib Axes
        Of the diagram.
    """
    columns = max(len(chosen), 1)
    grid = figure.add_gridspec(
        2 if chosen else 1, columns, height_ratios=[3, 1][: 1 + bool(chosen)]
    )
    ax = figure.add_subplot(grid[0, :])
    diagram_by_vertices(ax, cycles, window)
    ax.set_title(title)
    for k, (letter, (name, cycle)) in enumerate(zip("abcdefgh", chosen.items(), strict=False)):
        at = cycle.birth, cycle.death
        ax.plot(*at, "o", mfc="none", mec=BLACK, ms=9)
        ax.annotate(letter, at, (-14, -3), textcoords="offset points", path_effects=[HALO])
        inset = figure.add_subplot(grid[1, k])
        sketch(inset, atoms, cycle, colour_of(name, cycle))
        inset.set_title(f"{letter}: {name}".replace(", ", ",\n"), fontsize="small")
        inset.set_xlabel(f"({cycle.birth:.2f}, {cycle.death:.2f})", fontsize="small")
    return ax
