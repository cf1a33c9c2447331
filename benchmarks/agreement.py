"""Compare the fast diagrams with HomCloud's on many frames, by bottleneck distance.

    python benchmarks/agreement.py [--frames 2000] [--output FILE.json]

Frames are spread evenly over all densities, runs and stages. HomCloud takes a quarter of a second
or more a frame: finished shards stay in ``_build/artifacts``, so that a killed run continues. Ends
with status 1 if a degree of a frame is farther than ``--limit`` from HomCloud's. gudhi, which
computes the distance, comes with the extra ``benchmark``.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from gudhi import bottleneck_distance
from tqdm import tqdm

from phutils import artifacts
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams

MIN_LIFETIME = 1e-9  # Å^2: pairs of no lifetime depend on rounding


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--part", default="amorphous")
    parser.add_argument("--limit", type=float, default=1e-9, help="Å^2")
    parser.add_argument("--output", type=Path, help="also write the result as JSON")
    options = parser.parse_args()
    structures = load(options.dataset, part=options.part)
    count = min(options.frames, len(structures))
    chosen = structures[np.linspace(0, len(structures) - 1, count).astype(int)]
    folder = artifacts.folder(options.dataset)
    settings = dict(min_lifetime=MIN_LIFETIME, folder=folder)
    fast = persistence_diagrams(chosen, **settings)
    reference = persistence_diagrams(chosen, backend="homcloud", **settings)

    distance = np.zeros((count, 3))
    for i in tqdm(range(count), desc="distances", unit="frame", mininterval=2):
        for degree in range(3):
            distance[i, degree] = bottleneck_distance(fast[i][degree], reference[i][degree])
    counts = [fast.counts(k) != reference.counts(k) for k in range(3)]
    result = {
        "degrees": [0, 1, 2],
        "frames": count,
        "densities": len(np.unique(chosen.density)),
        "stages": sorted(set(chosen.stage.tolist())),
        "pairs": int(sum(fast.counts(k).sum() for k in range(3))),
        "frames with another number of pairs": int(np.any(counts, axis=0).sum()),
        "largest bottleneck distance / Å^2": distance.max(axis=0).tolist(),
        "frames beyond the limit": int((distance > options.limit).any(axis=1).sum()),
    }
    print(json.dumps(result, indent=1))
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(result["frames beyond the limit"] > 0)


if __name__ == "__main__":
    sys.exit(main())
