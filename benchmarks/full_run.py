"""The diagrams of 16,830 frames: cost, memory, and what three kills cost.

    python benchmarks/full_run.py [--frames 16830] [--kills 3] [--output FILE.json]

If the dataset holds fewer frames, they are taken again, moved by a random vector, so that no shard
is met twice. The diagrams are taken as a stream (`iter_diagrams`). One run goes unbroken, another
into a second folder is killed with SIGKILL so many times and started again. Printed: CPU time, CPU
time a frame at 1,000 and at all frames, largest resident memory of the main process and of a worker
at both sizes, and whether the two folders hold the same bytes. Ends with status 1 if they do not or
if a finished shard was computed again.
"""

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from phutils.dataset import load  # noqa: E402
from phutils.diagrams import SHARD, iter_diagrams  # noqa: E402
from phutils.frames import processes  # noqa: E402


class Repeated:
    """The dataset's frames, again and again, each time moved by another vector."""

    def __init__(self, structures, count):
        self.structures, self.count = structures, count

    def __len__(self):
        return self.count

    def __iter__(self):
        for i in range(self.count):
            atoms = self.structures[i % len(self.structures)]
            turn = i // len(self.structures)
            if turn:
                atoms.translate(np.random.default_rng(turn).random(3) * atoms.cell.lengths())
            yield atoms


def run(count, folder):
    """Diagrams of the first `count` frames; prints CPU seconds and memory as JSON."""
    frames, found = Repeated(load("embedded"), count), 0
    begin = time.perf_counter()
    for block in iter_diagrams(frames, folder=folder, progress=False):
        found += len(block)
    wall = time.perf_counter() - begin
    assert found == count
    processes().shutdown(wait=True)  # the system counts only ended children
    used = {}
    for who, name in ((resource.RUSAGE_SELF, "self"), (resource.RUSAGE_CHILDREN, "children")):
        usage = resource.getrusage(who)
        used[f"cpu {name}"] = usage.ru_utime + usage.ru_stime
        used[f"MiB {name}"] = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"frames": count, "wall": wall} | used))


def start(count, folder):
    command = [sys.executable, __file__, "--run", str(count), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def whole(count, folder):
    process = start(count, folder)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run of {count} frames ended with status {process.returncode}")
    return json.loads(output)


def shards(folder):
    """{name: (time of change, digest)} of all finished shards."""
    files = sorted(Path(folder).rglob("*.npz"))
    return {
        f.name: (f.stat().st_mtime_ns, hashlib.sha256(f.read_bytes()).hexdigest()) for f in files
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16830)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--output", type=Path, help="also write the result as JSON")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(int(options.run[0]), Path(options.run[1]))

    with tempfile.TemporaryDirectory() as top:
        small = whole(1000, Path(top, "small"))
        large = whole(options.frames, Path(top, "large"))
        killed, redone, expected = Path(top, "killed"), 0, -(-options.frames // SHARD)
        for kill in range(options.kills):
            process, before = start(options.frames, killed), shards(killed)
            while len(shards(killed)) < expected * (kill + 1) // (options.kills + 1):
                if process.poll() is not None:
                    raise SystemExit("the run ended before it could be killed")
                time.sleep(1)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(2)
            after = shards(killed)
            redone += sum(after[name] != found for name, found in before.items())
            print(f"killed with {len(after)} of {expected} shards finished", flush=True)
        before = shards(killed)
        rest = whole(options.frames, killed)
        after = shards(killed)
        redone += sum(after[name] != found for name, found in before.items())
        unbroken = shards(Path(top, "large"))
        same = {k: v[1] for k, v in unbroken.items()} == {k: v[1] for k, v in after.items()}

    cost = {}
    for name, row in (("1,000", small), ("all", large)):
        cpu = row["cpu self"] + row["cpu children"]
        cost[name] = {"frames": row["frames"], "CPU minutes": cpu / 60, "wall / s": row["wall"]}
        cost[name] |= {"CPU ms a frame": 1000 * cpu / row["frames"]}
        cost[name] |= {"main process / MiB": row["MiB self"], "worker / MiB": row["MiB children"]}
    result = {
        "unbroken": cost,
        "ratio of the costs a frame": cost["all"]["CPU ms a frame"]
        / cost["1,000"]["CPU ms a frame"],
        "last part after the kills": rest,
        "shards computed again": redone,
        "same bytes": same,
    }
    print(json.dumps(result, indent=1))
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(redone > 0 or not same)


if __name__ == "__main__":
    sys.exit(main())
