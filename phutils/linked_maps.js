// Linked maps in a page without a server: what phutils/map_figures.py draws, brought to life.
// LINKED_DATA and {plot_id} are filled in by Python.
(function () {
  "use strict";
  const graph = document.getElementById("{plot_id}");
  const data = LINKED_DATA;
  const maps = data.panels.map((_, i) => i);
  const rings = maps.map((i) => i + maps.length);
  const [sticks, box, atoms] = [0, 1, 2].map((i) => i + 2 * maps.length);
  const bytes = Uint8Array.from(atob(data.positions), (c) => c.charCodeAt(0));
  const packed = new DataView(bytes.buffer);

  // --- one structure -----------------------------------------------------------------------------

  function positions(frame) {
    const cell = data.cell[frame], points = [];
    for (let k = data.start[frame]; k < data.start[frame + 1]; k++) {
      points.push(cell.map((edge, a) => (packed.getUint16(2 * (3 * k + a), true) * edge) / 65536));
    }
    return points;
  }

  function bonds(points, cell) {
    const found = [];
    for (let i = 0; i < points.length; i++) {
      for (let j = 0; j < i; j++) {
        const v = cell.map((edge, a) => {
          const d = points[j][a] - points[i][a];
          return d - edge * Math.round(d / edge);
        });
        if (v[0] * v[0] + v[1] * v[1] + v[2] * v[2] < data.bond * data.bond) found.push([i, j, v]);
      }
    }
    return found;
  }

  function columns(points) {
    return [0, 1, 2].map((a) => points.map((p) => (p ? p[a] : null)));
  }

  function drawStructure(frame) {
    const cell = data.cell[frame], points = positions(frame), lines = [];
    const count = new Array(points.length).fill(0);
    for (const [i, j, v] of bonds(points, cell)) {
      count[i]++;
      count[j]++;
      lines.push(points[i], points[i].map((x, a) => x + v[a] / 2), null);
      lines.push(points[j], points[j].map((x, a) => x - v[a] / 2), null);
    }
    const edges = [];
    for (let a = 0; a < 3; a++) {
      for (const [b, c] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const from = [0, 0, 0];
        from[(a + 1) % 3] = b * cell[(a + 1) % 3];
        from[(a + 2) % 3] = c * cell[(a + 2) % 3];
        const to = from.slice();
        to[a] = cell[a];
        edges.push(from, to, null);
      }
    }
    const [s, e, p] = [lines, edges, points].map(columns);
    Plotly.restyle(graph, {
      x: [s[0], e[0], p[0]], y: [s[1], e[1], p[1]], z: [s[2], e[2], p[2]],
    }, [sticks, box, atoms]);
    Plotly.restyle(graph, {
      "marker.color": [count.map((c) => data.colours[c] || "#999999")],
      text: [count.map((c, i) => `atom ${i}, ${c} bonds`)],
    }, [atoms]);
  }

  // --- the controls ------------------------------------------------------------------------------

  function control(tag, label, options) {
    const outer = document.createElement("label"), inner = document.createElement(tag);
    outer.textContent = label + " ";
    for (const name of options || []) inner.add(new Option(name));
    outer.append(inner);
    bar.append(outer);
    return inner;
  }

  const bar = document.createElement("div");
  bar.setAttribute("style", "display:flex;flex-wrap:wrap;gap:0.4rem 1.2rem;color:#222222");
  const method = control("select", "Map", Object.keys(data.maps));
  const colour = control("select", "Colour", Object.keys(data.values));
  const slider = control("input", "Frame");
  Object.assign(slider, { type: "range", min: 0, max: data.text.length - 1, value: data.chosen });
  slider.style.width = "14rem";
  slider.style.verticalAlign = "middle";
  const said = document.createElement("output");
  said.setAttribute("aria-live", "polite");
  said.setAttribute("style", "flex-basis:100%;min-height:1.5em");
  bar.append(said);
  const frame = graph.parentElement; // of fixed height: the bar stands above it, not in it
  frame.style.minWidth = "34rem"; // narrower panels tell nothing: on a phone the figure scrolls
  frame.before(bar);

  let chosen = Number(data.chosen), marked = null, waiting = null, hovering = null;

  function mark(frame) {
    marked = frame;
    const at = data.panels.map((name) => data.maps[method.value][name][frame]);
    Plotly.restyle(graph, { x: at.map((p) => [p[0]]), y: at.map((p) => [p[1]]) }, rings);
    said.textContent = data.text[frame];
  }

  function choose(frame) {
    chosen = frame;
    slider.value = frame;
    slider.setAttribute("aria-valuetext", data.text[frame]);
    mark(frame);
    clearTimeout(waiting); // a held arrow key draws the last structure only
    waiting = setTimeout(() => drawStructure(frame), 60);
  }

  function redraw() {
    const found = data.panels.map((name) => data.maps[method.value][name]);
    const value = data.values[colour.value];
    Plotly.update(graph, {
      x: found.map((m) => m.map((p) => p[0])),
      y: found.map((m) => m.map((p) => p[1])),
      "marker.color": maps.map(() => value.values),
    }, {
      "coloraxis.colorscale": value.scale,
      "coloraxis.colorbar.title.text": value.label,
    }, maps);
    mark(chosen);
  }

  method.addEventListener("change", redraw);
  colour.addEventListener("change", redraw);
  slider.addEventListener("input", () => choose(Number(slider.value)));
  const frameOf = (event) => {
    const point = event.points.find((p) => p.curveNumber < maps.length);
    return point ? point.pointNumber : null;
  };
  // A ring that moves makes Plotly tell of hovering again: later, and only for another frame.
  const markSoon = (frame) => {
    clearTimeout(hovering);
    if (frame !== null && frame !== marked) hovering = setTimeout(() => mark(frame), 30);
  };
  graph.on("plotly_hover", (event) => markSoon(frameOf(event)));
  graph.addEventListener("mouseleave", () => markSoon(chosen));
  graph.on("plotly_click", (event) => {
    clearTimeout(hovering);
    if (frameOf(event) !== null) choose(frameOf(event));
  });
  choose(chosen);
})();
