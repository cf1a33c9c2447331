"""Time the diagrams of shards by one process, two and a Dask cluster; measure what a plan needs.

    python benchmarks/scaling.py [--frames 408] [--rounds 3] [--output FILE.json]

Each way computes the same frames (216 atoms, spread over the embedded data, whole shards) into a
folder of its own, all ways in turn, round after round. Its workers are started and warmed up
before. CPU time is that of this process and of all below it; wall time is that of the best round,
and a busy machine spoils it first. Dask (extra ``cluster``) is left out where it is not installed.
Then the bytes of diagrams and histograms, of an extended XYZ file and of its stored form, the
memory of a job, and the cost of opening a file and of reading shards back.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import joblib  # noqa: E402
import numpy as np  # noqa: E402
import psutil  # noqa: E402

from phutils import cluster, diagrams, histograms  # noqa: E402
from phutils.dataset import load  # noqa: E402

MIB = 2**20


def sample(part, count):
    """`count` frames spread evenly over one part of the embedded data."""
    structures = load("embedded", part)
    return structures[np.linspace(0, len(structures) - 1, count).astype(int)]


def cpu():
    """CPU seconds of this process and of all that are alive below it."""
    here = psutil.Process()
    times = [p.cpu_times() for p in [here, *here.children(recursive=True)]]
    return sum(t.user + t.system for t in times)


def pool(processes):
    def run(frames, folder):
        options = {"n_jobs": processes, "folder": folder, "progress": False}
        return sum(len(block) for block in diagrams.iter_diagrams(frames, **options))

    return run


def fill(frames, folder):
    return cluster.fill(frames, folder, progress=False)["frames"]


def by_joblib(frames, folder):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        return fill(frames, folder)


def by_dask(frames, folder):
    with joblib.parallel_config(backend="dask"):
        return fill(frames, folder)


@contextlib.contextmanager
def dask_cluster():
    """Whether there is a Dask cluster of two workers of one thread each."""
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        yield False
        return
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as local, Client(local):
        yield True


def timed(run, frames, folder):
    begin, spent = time.perf_counter(), cpu()
    assert run(frames, folder) == len(frames)
    return time.perf_counter() - begin, cpu() - spent


def throughput(ways, frames, rounds):
    """Wall and CPU time of every way; {way: {measure: value}}."""
    found = {name: [] for name in ways}
    for turn in range(-1, rounds):
        for name, run in ways.items():
            part = frames[: 2 * diagrams.SHARD] if turn < 0 else frames  # the first one warms up
            with tempfile.TemporaryDirectory() as folder:
                spent = timed(run, part, folder)
            if turn >= 0:
                found[name].append(spent)
            print(f"{name}: {spent[0]:.1f} s, CPU {spent[1]:.1f} s", flush=True)
    table = {}
    for name, spent in found.items():
        wall, used = np.min(spent, axis=0)
        table[name] = {
            "frames a second, wall": len(frames) / wall,
            "CPU ms a frame": 1000 * used / len(frames),
            "CPU ms a frame, worst round": 1000 * np.max(spent, axis=0)[1] / len(frames),
        }
    return table


def one_core(part, count):
    """CPU milliseconds a frame in this process, and what the diagrams are on disk."""
    frames = sample(part, count)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        pool(1)(frames, folder)
        cost = time.process_time() - begin
        files = sum(f.stat().st_size for f in Path(folder).rglob("*.npz"))
        begin = time.process_time()
        blocks = diagrams.iter_diagrams(frames, folder=folder, n_jobs=1, progress=False)
        descriptor = histograms.PersistenceHistogram(sparse=True)
        matrix = descriptor.transform(blocks)
        read = time.process_time() - begin
    filled = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    return {
        "atoms": int(frames.n_atoms[0]),
        "frames": len(frames),
        "CPU ms a frame": 1000 * cost / count,
        "diagrams, bytes a frame": files / count,
        "sparse histogram, bytes a frame": filled / count,
        "reading and histogram, CPU ms a frame": 1000 * read / count,
    }


OPEN = """
import sys, time
from pathlib import Path
from phutils import cluster, dataset
from phutils.diagrams import iter_diagrams
begin = time.process_time()
frames = dataset.load(sys.argv[1])
spent = time.process_time() - begin
if len(sys.argv) > 2:
    cluster.fill(frames[:102], sys.argv[2], progress=False)
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory, too
print(spent, int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def opening(path, folder=None):
    """CPU seconds to open a file, and the largest resident set [MiB], in a process of its own.

    Linux only. With a folder, the diagrams of two shards are computed into it.
    """
    command = [sys.executable, "-c", OPEN, str(path), *([folder] if folder else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]


def of_a_file(frames, counts=(306, 3060)):
    """What reading an extended XYZ file of some frames costs; {measure: value} a frame."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    found = []
    with tempfile.TemporaryDirectory() as top:
        os.environ["PHUTILS_DATA"] = top
        for count in counts:
            path = Path(top, f"{count}.extxyz")
            with path.open("w") as file:
                for i in range(count):
                    atoms = frames[i % len(frames)]
                    energy = atoms.info.pop("energy")
                    atoms.info.clear()
                    atoms.calc = SinglePointCalculator(atoms, energy=energy)
                    write(file, atoms, format="extxyz")
            first, again = opening(path), opening(path)
            job = opening(path, str(Path(top, "shards")))
            stored = sum(f.stat().st_size for f in Path(top, "files").rglob("*.npy"))
            found.append([path.stat().st_size, stored, first, again, job])
            for f in Path(top, "files").rglob("*.npy"):
                f.unlink()
    del os.environ["PHUTILS_DATA"]
    (_, _, small_first, small_again, small_job), (size, stored, first, again, job) = found
    more = counts[1] - counts[0]
    return {
        "frames": counts[1],
        "file, bytes a frame": size / counts[1],
        "stored, bytes a frame": stored / counts[1],
        "first opening, CPU ms a frame": 1000 * first[0] / counts[1],
        "later openings, CPU ms a frame": 1000 * again[0] / counts[1],
        "first opening, memory, KiB a frame": 1024 * (first[1] - small_first[1]) / more,
        "later openings, memory, KiB a frame": 1024 * (again[1] - small_again[1]) / more,
        "job with few frames, memory / MiB": small_job[1],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=8 * diagrams.SHARD)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the result as JSON")
    options = parser.parse_args()
    frames, load_before = sample("amorphous", options.frames), os.getloadavg()[0]
    ways = {"one process": pool(1), "own pool, two processes": pool(2)}
    ways["joblib, two processes"] = by_joblib
    with dask_cluster() as there:
        if there:
            ways["Dask, two workers"] = by_dask
        table = throughput(ways, frames, options.rounds)
    result = {
        "cores": os.cpu_count(),
        "frames": options.frames,
        "rounds": options.rounds,
        "load before": load_before,
        "load after": os.getloadavg()[0],  # above the number of cores: others worked here, too
        "ways": table,
        "sizes": [one_core("amorphous", 204), one_core("large", 51)],
        "file": of_a_file(frames),
    }
    print(json.dumps(result, indent=1))
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
