"""Time all stable volumes of a few frames: phutils against HomCloud with PuLP.

    python benchmarks/stable_volumes.py [--frames 3] [--pairs 0] [--solvers HiGHS PULP_CBC_CMD]

Everything runs in one process pinned to one core, frame after frame, and what is counted is CPU
time including that of child processes, so that a busy machine changes little. ``--pairs`` limits
HomCloud to so many pairs a frame, evenly spread, and scales its time; phutils always does all.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import homcloud.interface as hc  # noqa: E402
import numpy as np  # noqa: E402
import pulp  # noqa: E402

from phutils.cycles import EPSILON, stable_volumes  # noqa: E402
from phutils.dataset import load  # noqa: E402


def cpu():
    """Seconds of CPU this process and its finished children have used."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def homcloud_volumes(atoms, cycles, solver, epsilon):
    """HomCloud's triangles of the given cycles: seconds of set-up and of volumes, and a list.

    None stands for a volume that HomCloud did not find.
    """
    box = tuple((0.0, float(length)) for length in atoms.cell.lengths())
    positions, begin = atoms.get_positions(wrap=True, eps=0), cpu()
    diagram = hc.PDList.from_alpha_filtration(positions, periodicity=box, save_boundary_map=True)[1]
    points = np.stack([diagram.births, diagram.deaths], axis=1)
    setup, spent, found = cpu() - begin, 0.0, []
    for cycle in cycles:
        distance = np.abs(points - [cycle.birth, cycle.death]).max(axis=1)
        pair = diagram.pair(int(distance.argmin()))
        settings = {"solver": solver, "return_failure_if_not_found": True}
        begin = cpu()
        if epsilon:
            volume = pair.stable_volume(min(epsilon, 0.5 * cycle.lifetime), **settings)
        else:
            volume = pair.optimal_volume(**settings)
        spent += cpu() - begin
        is_found = distance.min() < 1e-9 and hasattr(volume, "cells")
        found.append({tuple(sorted(t)) for t in volume.cells("vindexes")} if is_found else None)
    return setup, spent, found


def compare(cycles, found):
    """How many volumes agree: dict of counts."""
    count = dict.fromkeys(("pairs", "same size", "same triangles", "fractional", "no volume"), 0)
    for cycle, theirs in zip(cycles, found, strict=True):
        count["pairs"] += 1
        if np.isinf(cycle.size) and theirs is None:
            count["no volume"] += 1  # both say so
        elif cycle.size != len(cycle.triangles):
            count["fractional"] += 1  # the size of the support depends on the solver
        elif theirs is not None:
            count["same size"] += len(theirs) == len(cycle.triangles)
            count["same triangles"] += theirs == set(map(tuple, cycle.triangles.tolist()))
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3, help="frames, evenly spread")
    parser.add_argument("--pairs", type=int, default=0, help="HomCloud's pairs a frame (0: all)")
    parser.add_argument("--solvers", nargs="+", default=["HiGHS", "PULP_CBC_CMD"], help="of PuLP")
    parser.add_argument("--epsilon", type=float, default=EPSILON, help="Å²")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the table as JSON")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    missing = set(options.solvers) - set(pulp.listSolvers(onlyAvailable=True))
    for name in sorted(missing):
        print(f"{name} is not available here", flush=True)
    solvers = [name for name in options.solvers if name not in missing]

    structures = load(options.dataset)
    ends = np.linspace(0, len(structures), options.frames + 1)
    frames = [structures[int(i)] for i in (ends[1:] + ends[:-1]) / 2]
    stable_volumes(frames[0], options.epsilon, pairs=[0])  # imports and first calls do not count
    rows = {"phutils": []} | {f"HomCloud, {name}": [] for name in solvers}
    for atoms in frames:
        begin, clock = cpu(), time.perf_counter()
        cycles = stable_volumes(atoms, options.epsilon)
        seconds = cpu() - begin
        row = {"seconds": seconds, "pairs": len(cycles), "wall": time.perf_counter() - clock}
        rows["phutils"].append(row)
        step = options.pairs or len(cycles)
        chosen = [cycles[k] for k in np.unique(np.linspace(0, len(cycles) - 1, step).astype(int))]
        for name in solvers:
            solver = pulp.getSolver(name, msg=0)
            setup, spent, found = homcloud_volumes(atoms, chosen, solver, options.epsilon)
            seconds = setup + spent * len(cycles) / len(chosen)
            row = {"seconds": seconds, "pairs": len(cycles)} | {"check": compare(chosen, found)}
            rows[f"HomCloud, {name}"].append(row)
            ratio = seconds / rows["phutils"][-1]["seconds"]
            print(f"{len(atoms)} atoms, {len(cycles)} pairs, {name}: {ratio:.1f}", flush=True)

    table = {}
    ours = sum(row["seconds"] for row in rows["phutils"])
    for name, each in rows.items():
        seconds, pairs = (sum(row[key] for row in each) for key in ("seconds", "pairs"))
        line = {"s a frame": seconds / len(each), "ms a pair": 1e3 * seconds / pairs}
        line["ratio"] = seconds / ours
        if name != "phutils":
            for key in each[0]["check"]:
                line[key] = sum(row["check"][key] for row in each)
        table[name] = line
    print(f"\n{len(frames)} frames, epsilon {options.epsilon} Å², one core, CPU time")
    print(f"{'':24}{'s a frame':>10}{'ms a pair':>11}{'ratio':>8}  agreement")
    for name, line in table.items():
        agreement = ", ".join(f"{v} {k}" for k, v in line.items() if isinstance(v, int))
        numbers = f"{line['s a frame']:10.3f}{line['ms a pair']:11.2f}{line['ratio']:8.1f}"
        print(f"{name:24}{numbers}  {agreement}")
    if options.output:
        options.output.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
