"""Figures of maps: grids of panels as in the paper's Figs. 5 and 6, and linked interactive maps.

`linked` makes one plotly figure of several maps of the same frames and a structure, and the script
that links them in a page (``linked_maps.js``, beside this file): a point that is hovered over is
ringed in every map, one that is clicked, or chosen by keyboard, shows its structure.
"""

import base64
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go

from phutils.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, stage_label
from phutils.jackknife import error
from phutils.structure import BOND, wrapped
from phutils.structure_views import structure

SCRIPT = Path(__file__).with_name("linked_maps.js")
DENSITY = "density / g cm$^{-3}$"
ENERGY = "energy / eV atom$^{-1}$"
COLOURS = {DENSITY: "viridis", ENERGY: "cividis"}
READINGS, PLACES = (BLUE, RED, GREEN, PURPLE), "so^Dv"  # colours and markers of `dots`


def grid(rows, axes="t-SNE", width=3.1):
    """Panels of equal size: a row of maps, coloured by one quantity, with its colour bar.

    Parameters
    ----------
    rows : list of (str, dict, ndarray [n], str)
        Text at the left, {title: map [n, 2]}, values, and what these are: `DENSITY`, `ENERGY` or
        another label.
    axes : str
        Name of the coordinates, which have no unit and no ticks.
    width : float
        Of a panel, in inches.

    Returns
    -------
    matplotlib Figure
    """
    columns = max(len(found) for _, found, _, _ in rows)
    size = (width * columns + 0.9, 0.95 * width * len(rows) + 0.2)
    fig, panels = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for line, (text, found, values, label) in zip(panels, rows, strict=True):
        for ax in line[len(found) :]:
            ax.set_axis_off()
        low, high = np.min(values), np.max(values)
        look = {"cmap": COLOURS.get(label), "vmin": low, "vmax": high, "lw": 0}
        order = np.random.default_rng(0).permutation(len(values))  # nobody lies on top by rule
        for ax, (title, at) in zip(line, found.items(), strict=False):
            dots = ax.scatter(*at[order].T, s=_dot(len(at)), c=np.asarray(values)[order], **look)
            dots.set_rasterized(True)
            ax.set(title=title, xticks=[], yticks=[], xlabel=f"{axes} 1", box_aspect=1)
            ax.margins(0.04)
            ax.spines[["top", "right"]].set_visible(True)
        line[0].set_ylabel(f"{text}\n{axes} 2" if text else f"{axes} 2")
        fig.colorbar(dots, ax=line, label=label, aspect=14, pad=0.02)
    return fig


def _dot(n):
    """Area of a point, in square points: less where there are more of them."""
    return float(np.clip(4000 / n, 1.5, 16))


def describe(structures, i, between=", "):
    """A few words on a frame: density, stage, energy, and where it comes from."""
    parts = [f"{structures.density[i]:.2f} g/cm³"]
    if structures.stage[i]:
        parts.append(stage_label(structures.stage[i]))
    parts.append(f"{structures.energy_per_atom[i]:.3f} eV/atom")
    parts.append(f"trajectory {structures.trajectory[i]}")
    if np.isfinite(structures.time[i]):
        parts.append(f"{structures.time[i]:.2f} ps")
    return between.join(parts)


def linked(maps, structures, width=2):
    """Interactive maps of the same frames, and the structure of one of them.

    Parameters
    ----------
    maps : dict
        {method: {descriptor: map [n, 2]}}, all with the same descriptors.
    structures : phutils.dataset.Structures
        The n frames.
    width : int
        Panels in a row; the structure has the last one.

    Returns
    -------
    figure : plotly Figure
        With the first method's maps, coloured by density.
    script : str
        For `phutils.figures.show`. All positions are in it, in steps of 1/65536 of the cell, 1.7 kB
        a frame of 216 atoms.

    Raises
    ------
    ValueError
        If a map does not have one point a frame.
    """
    first = next(iter(maps.values()))
    n = len(structures)
    for method, found in maps.items():
        for name, at in found.items():
            if np.shape(at) != (n, 2):
                raise ValueError(f"{method} of {name} has shape {np.shape(at)}, not ({n}, 2)")
    order = np.lexsort((structures.energy_per_atom, structures.density.round(2)))
    structures = structures[order]  # so that an arrow key goes to a frame like this one
    maps = {
        method: {name: at[order].astype(float) for name, at in found.items()}
        for method, found in maps.items()
    }
    text = [describe(structures, i) for i in range(n)]
    labels = [describe(structures, i, "<br>") for i in range(n)]
    figure = _drawn(maps[next(iter(maps))], structures, labels, n // 2, width)
    packed = [_packed(atoms) for atoms in structures]
    data = {
        "panels": list(first),
        "maps": {m: {k: at.round(3).tolist() for k, at in f.items()} for m, f in maps.items()},
        "values": {
            "density": {
                "values": structures.density.round(3).tolist(),
                "label": "density<br>g/cm³",
                "scale": "Viridis",
            },
            "energy": {
                "values": structures.energy_per_atom.round(4).tolist(),
                "label": "energy<br>eV/atom",
                "scale": "Cividis",
            },
        },
        "text": text,
        "chosen": n // 2,
        "cell": structures.cell.round(4).tolist(),
        "start": np.cumsum([0, *(len(p) for p in packed)]).tolist(),
        "positions": base64.b64encode(b"".join(p.tobytes() for p in packed)).decode(),
        "bond": BOND,
        "colours": {2: SKY, 3: BLUE, 4: ORANGE},
    }
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return figure, SCRIPT.read_text(encoding="utf-8").replace("LINKED_DATA", text)


def _packed(atoms):
    """Positions as fractions of the cell, [n, 3] of two bytes each."""
    positions, cell = wrapped(atoms)
    return np.minimum(np.round(positions / cell * 65536), 65535).astype("<u2")


def _drawn(found, structures, text, chosen, width):
    """The figure as it is before the script runs."""
    figure = go.Figure()
    cells = len(found) + 1
    height = -(-cells // width)
    style = {"mode": "markers", "showlegend": False}
    for k, (name, at) in enumerate(found.items()):
        here = _place(k, width, height)
        axis = str(k + 1) if k else ""
        marker = {"size": 5, "color": structures.density, "coloraxis": "coloraxis"}
        on = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        x, y = at.astype(np.float32).T
        figure.add_scatter(x=x, y=y, text=text, hoverinfo="text", marker=marker, **style, **on)
        blank = {"showticklabels": False, "zeroline": False, "showgrid": False, "mirror": True}
        blank |= {"showline": True, "linecolor": "#999999", "ticks": ""}
        figure.layout[f"xaxis{axis}"] = blank | {"domain": here[0], "anchor": f"y{axis}"}
        figure.layout[f"yaxis{axis}"] = blank | {"domain": here[1], "anchor": f"x{axis}"}
        _title(figure, name, here)
    for k, at in enumerate(found.values()):
        axis = str(k + 1) if k else ""
        ring = {"size": 15, "color": "rgba(0,0,0,0)", "line": {"color": BLACK, "width": 2}}
        on = {"xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        x, y = at[[chosen]].T
        figure.add_scatter(x=x, y=y, marker=ring, hoverinfo="skip", **style, **on)
    view = structure(structures[chosen], marker=3)
    figure.add_traces(view.data)
    here = _place(len(found), width, height)
    figure.layout.scene = view.layout.scene
    figure.layout.scene.domain = {"x": here[0], "y": here[1]}
    _title(figure, "structure of the ringed point", here)
    bar = {"title": {"text": "density<br>g/cm³"}, "thickness": 14, "len": 0.8}
    figure.update_layout(
        coloraxis={"colorscale": "Viridis", "colorbar": bar},
        height=340 * height + 30,
        margin={"l": 5, "r": 5, "t": 55, "b": 5},
        hovermode="closest",
        dragmode="pan",
        uirevision="kept",
    )
    return figure


def _place(k, width, height):
    """Domains in x and y of the k-th panel, row by row from the top."""
    row, column = divmod(k, width)
    gap = 0.04
    left, top = column / width, 1 - row / height
    return [left, left + 1 / width - gap], [top - 1 / height + 1.5 * gap, top]


def _title(figure, text, here):
    place = {"x": np.mean(here[0]), "y": here[1][1], "xref": "paper", "yref": "paper"}
    place |= {"xanchor": "center", "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(text=text, **place)


def dots(ax, measured, name, others=()):
    """One measure of many spaces with its errors, side by side.

    Parameters
    ----------
    ax : matplotlib Axes
    measured : dict
        {(descriptor, reading, place): {name: ndarray [1 + parts]}} of `phutils.islands.measures`. A
        descriptor has a place on the axis, a reading a colour and a place a marker.
    name : str
        Of the measure.
    others : iterable of (descriptor, dict)
        Measures of further maps, drawn as small hollow circles beside the descriptor's others.
    """
    kinds, readings, places = (list(dict.fromkeys(key)) for key in zip(*measured, strict=True))
    step = 0.8 / (len(readings) * len(places) + 1)
    for (kind, reading, place), found in measured.items():
        i, j = readings.index(reading), places.index(place)
        x = kinds.index(kind) - 0.4 + step * (i * len(places) + j + 1)
        look = {"color": READINGS[i], "marker": PLACES[j], "ms": 5, "lw": 1, "ls": "none"}
        value, bar = found[name][0], error(found[name])
        if np.isfinite(value):
            ax.errorbar(x, value, bar if np.isfinite(bar) else None, **look)
    for kind, found in others:
        x = kinds.index(kind) - 0.4
        ax.plot(x, found[name][0], "o", ms=4, mfc="none", color=BLACK, lw=0.8)
    ax.set_xticks(range(len(kinds)), [kind.replace(", ", ",\n") for kind in kinds])
    ax.set_xlim(-0.55, len(kinds) - 0.5)


def dots_legend(ax, readings, places, others=""):
    """Legend of `dots` in an empty axis of its own."""
    for reading, colour in zip(readings, READINGS, strict=False):
        ax.plot([], [], "s", color=colour, label=reading)
    for place, marker in zip(places, PLACES, strict=False):
        ax.plot([], [], marker, color="#777777", label=place)
    if others:
        ax.plot([], [], "o", ms=4, mfc="none", color=BLACK, label=others)
    ax.set_axis_off()
    ax.legend(loc="center left", fontsize="small", borderaxespad=0)
