"""Time periodic persistence diagrams: phutils against HomCloud, diode + gudhi and diode + oineus.

    python benchmarks/diagrams.py [--frames 11] [--routes fast homcloud ...] [--output FILE.json]

Every route runs in a process of its own, all pinned to one core, and frame after frame goes through
all of them in turn, so that a machine that slows down slows all of them down. Times are CPU time,
memory is the largest resident set of each process. The distance is the bottleneck distance to
HomCloud's diagrams, the largest over frames and degrees. gudhi and diode come with the extra
``benchmark``; routes that are not installed are left out.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from phutils.dataset import load  # noqa: E402

MIN_LIFETIME = 1e-9  # Å^2: pairs of no lifetime depend on rounding
PARTS = {216: "amorphous", 512: "large"}


# --- routes: (positions [n, 3], lengths [3]) -> {degree: pairs [m, 2]} ---------------------------


def fast():
    from phutils.alpha import alpha_filtration
    from phutils.reduction import reduce_filtration

    return lambda positions, lengths: reduce_filtration(*alpha_filtration(positions, lengths))


def homcloud():
    import homcloud.interface as hc

    def diagrams(positions, lengths):
        box = tuple((0.0, float(length)) for length in lengths)
        found = hc.PDList.from_alpha_filtration(positions, periodicity=box)
        return {k: np.stack([found[k].births, found[k].deaths], axis=1) for k in (0, 1, 2)}

    return diagrams


def _cube(lengths):
    """CGAL's periodic triangulation knows cubes only."""
    if np.ptp(lengths) > 0:
        raise ValueError("diode needs a cubic cell")
    return [0.0] * 3, [float(length) for length in lengths]


def diode_gudhi():
    import diode
    import gudhi

    def diagrams(positions, lengths):
        tree = gudhi.SimplexTree()
        low, high = _cube(lengths)
        for simplex, value in diode.fill_periodic_alpha_shapes(positions, False, low, high):
            tree.insert(simplex, value)
        tree.compute_persistence(homology_coeff_field=2)
        found = {k: tree.persistence_intervals_in_dimension(k) for k in (0, 1, 2)}
        return {k: v[np.isfinite(v).all(axis=1)].reshape(-1, 2) for k, v in found.items()}

    return diagrams


def diode_oineus():
    import diode  # noqa: F401
    import oineus

    def diagrams(positions, lengths):
        low, high = _cube(lengths)
        box = dict(compute_bounding_box=False, bbox_min=low, bbox_max=high)
        found = oineus.compute_diagrams_alpha(
            positions, periodic=True, include_inf_points=False, **box
        )
        return {k: np.asarray(found.in_dimension(k)).reshape(-1, 2) for k in (0, 1, 2)}

    return diagrams


ROUTES = {
    "fast": ("phutils, fast", fast),
    "homcloud": ("HomCloud", homcloud),
    "gudhi": ("diode + gudhi", diode_gudhi),
    "oineus": ("diode + oineus", diode_oineus),
}


# --- processes -----------------------------------------------------------------------------------


def serve(connection, route):
    """Answer frames with diagrams and the CPU seconds they took, until None comes."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        diagrams = ROUTES[route][1]()
    except ImportError as error:
        connection.send(error.name)
        return
    connection.send(None)
    while (frame := connection.recv()) is not None:
        frame = [np.array(part.tolist()) for part in frame]  # diode refuses unpickled arrays
        start = time.process_time()
        found = diagrams(*frame)
        seconds = time.process_time() - start
        kept = {k: v[v[:, 1] - v[:, 0] > MIN_LIFETIME] for k, v in found.items()}
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection.send((kept, seconds, memory / (2**20 if sys.platform == "darwin" else 2**10)))


def start(route):
    """A connection to a worker, or None if a package is missing."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=serve, args=(theirs, route), daemon=True).start()
    missing = ours.recv()
    if missing:
        print(f"{ROUTES[route][0]}: {missing} is not installed", flush=True)
        return None
    return ours


def measure(frames, routes):
    """CPU milliseconds, peak memory in MiB and diagrams of every frame by every route."""
    from gudhi import bottleneck_distance
    from tqdm import tqdm

    workers = {route: worker for route in routes if (worker := start(route))}
    rows = {route: {"ms": [], "distance": []} for route in workers}
    for i, atoms in enumerate(tqdm([frames[0], *frames], unit="frame", mininterval=2)):
        frame = atoms.get_positions(wrap=True, eps=0), atoms.cell.lengths()
        found = {}
        for route, worker in workers.items():
            worker.send(frame)
            found[route], seconds, rows[route]["MiB"] = worker.recv()
            if i:  # the first one, which comes twice, warms up
                rows[route]["ms"].append(1000 * seconds)
        if "homcloud" in found and i:
            for route, diagrams in found.items():
                each = (bottleneck_distance(v, found["homcloud"][k]) for k, v in diagrams.items())
                rows[route]["distance"].append(max(each))
    for worker in workers.values():
        worker.send(None)
    return rows


def all_cores(frames, repeats):
    """Frames a second of `persistence_diagrams` on all cores, without HomCloud."""
    from phutils.diagrams import persistence_diagrams

    persistence_diagrams(frames, progress=False)  # start the workers
    begin = time.perf_counter()
    persistence_diagrams(frames * repeats, progress=False)
    return len(frames) * repeats / (time.perf_counter() - begin)


def evenly(structures, count):
    ends = np.linspace(0, len(structures), count + 1)
    return [structures[int(i)] for i in (ends[1:] + ends[:-1]) / 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=11, help="of each size, evenly spread")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES))
    parser.add_argument("--sizes", type=int, nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the table as JSON")
    options = parser.parse_args()
    table = []
    for size in options.sizes:
        try:
            frames = evenly(load(options.dataset, part=PARTS[size]), options.frames)
        except (ValueError, FileNotFoundError) as error:
            print(f"{size} atoms: {error}")
            continue
        rows = measure(frames, options.routes)
        reference = np.array(rows["homcloud"]["ms"]) if "homcloud" in rows else None
        for route, row in rows.items():
            line = {"atoms": size, "route": ROUTES[route][0], "frames": len(frames)}
            line |= {"ms a frame": float(np.mean(row["ms"])), "peak memory / MiB": row["MiB"]}
            if reference is not None:
                line["times HomCloud"] = float(reference.sum() / np.sum(row["ms"]))
                if route != "homcloud":
                    line["bottleneck distance / Å^2"] = float(np.max(row["distance"]))
            if route == "fast":
                line["frames/s, all cores"] = all_cores(frames, 20)
            table.append(line)
    import pandas as pd

    print(pd.DataFrame(table).to_string(index=False, float_format="{:.3g}".format))
    if options.output:
        result = {"cores": os.cpu_count(), "table": table}
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
