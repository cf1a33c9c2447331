"""Time SOAP descriptors with one and with two processes, beside DScribe's own way, and memory.

    python benchmarks/soap.py [--frames 160] [--processes 1 2] [--rounds 3] [--output FILE.json]

Frames are spread evenly over the dataset. Every route computes them in turn, round after round, and
the best round counts; workers are started before. A frame a second is wall time, of which a busy
machine leaves less; the CPU time of one process is beside it. DScribe's `create` returns the
descriptors of all frames at once, in memory; ours go to disk in half precision shard by shard, so
that the largest resident set of this process, measured for the frames and for four times as many,
should not grow.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("PYTHONWARNINGS", "ignore::SyntaxWarning")  # of DScribe, in its processes

import numpy as np  # noqa: E402

from phutils import soap  # noqa: E402
from phutils.dataset import load  # noqa: E402


def averaged(structures, processes, scale):
    return soap.soap_features(structures, n_jobs=processes, progress=False)


def stored(structures, processes, scale):
    options = {"per_atom": True, "scale": scale, "n_jobs": processes, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        found = soap.soap_features(structures, folder=folder, **options)
        return found.mean(axis=1, dtype=float) * scale[1] + scale[0]


def dscribe(structures, processes, scale):
    from dscribe.descriptors import SOAP

    descriptor = SOAP(species=["C"], periodic=True, dtype="float32", **soap.PAPER)
    found = descriptor.create(list(structures), n_jobs=processes)
    return found.mean(axis=1, dtype=float)


ROUTES = {
    "averages, in memory": averaged,
    "all atoms, on disk": stored,
    "DScribe's create, all atoms": dscribe,
}


def evenly(structures, count):
    return structures[np.linspace(0, len(structures) - 1, count).astype(int)]


def cost(structures):
    """CPU milliseconds of a frame in this process, {density: ms}."""
    found = {}
    for density in np.unique(structures.density.round(2)):
        same = evenly(structures[structures.density.round(2) == density], 4)
        frames = [(atoms.positions, atoms.cell.array) for atoms in same]
        begin = time.process_time()
        soap.soap_shard(frames, soap.PAPER)
        found[f"{density:g} g/cm3"] = 1000 * (time.process_time() - begin) / len(frames)
    return found


def memory(structures, scale):
    """Largest resident set of this process so far, MiB, behind a store of these frames."""
    with tempfile.TemporaryDirectory() as folder:
        soap.soap_features(structures, folder=folder, per_atom=True, scale=scale, progress=False)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the tables as JSON")
    options = parser.parse_args()
    structures = load(options.dataset)
    few = evenly(structures, options.frames)
    soap.soap_shard([(few[0].positions, few[0].cell.array)], soap.PAPER)  # loads DScribe
    result = {"cores": os.cpu_count(), "frames": len(few), "CPU ms a frame": cost(structures)}
    scale = soap.soap_scale(structures)
    sizes = len(few), 4 * len(few)
    grown = {f"{n} frames": memory(evenly(structures, n), scale) for n in sizes}
    result["main process, peak memory / MiB"] = grown

    ways = [(route, processes) for processes in options.processes for route in ROUTES]
    wall, means = {way: [] for way in ways}, {}
    for _ in range(options.rounds):
        for route, processes in ways:
            ROUTES[route](few[: 2 * processes], processes, scale)  # workers that rest are woken
            begin = time.perf_counter()
            means[route] = ROUTES[route](few, processes, scale)
            wall[route, processes].append(time.perf_counter() - begin)
    result["frames a second"] = {
        f"{route}, {processes}": len(few) / min(wall[route, processes]) for route, processes in ways
    }
    expected = means["DScribe's create, all atoms"]
    result["largest difference of averages, of their standard deviation"] = {
        route: float((np.abs(means[route] - expected).max(axis=0) / expected.std(axis=0)).max())
        for route in ROUTES
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if options.output:
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
