"""Time the reading of extended xyz: phutils, the package extxyz, ASE.

    python benchmarks/readers.py [--frames 3000] [--output FILE.json]

Writes a file with the keys and columns of the paper's archive (216 atoms, positions and forces),
then reads all of it by every route, twice, alternating; the shorter CPU time counts. ``checked and
converted`` is the whole way into the store: all checks, closest distances included, and packing.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread, write
from extxyz import read_dicts

from phutils.formats import read_extxyz
from phutils.readers import read_records
from phutils.store import cell_length

STAGES = ("buffer_high", "buffer_low", "quench2")


def write_archive(path, frames, seed=0):
    """Rattled simple cubic lattices of 216 carbon atoms, as one file of the archive holds them."""
    rng = np.random.default_rng(seed)
    grid = (np.stack(np.indices((6, 6, 6)), -1).reshape(-1, 3) + 0.5) / 6
    images = []
    for i in range(frames):
        density = rng.choice([1.5, 2.4, 3.5])
        length = cell_length(216, density)
        positions = grid * length + rng.normal(0, 0.1, grid.shape)
        atoms = Atoms("C216", positions, cell=[length] * 3, pbc=True)
        energy, forces = -1900 + rng.normal(0, 100), rng.normal(size=grid.shape)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info = {"process": STAGES[i % 3], "density": density}
        images.append(atoms)
    write(path, images, format="extxyz")


def by_phutils(path):
    return sum(len(frame.positions) for frame in read_extxyz(path))


def converted(path):
    return len(read_records(path))


def by_ase(path):
    return sum(len(atoms) for atoms in iread(path, ":", format="extxyz"))


def by_extxyz(path):
    return len(read_dicts(str(path)))


ROUTES = {
    "phutils": by_phutils,
    "phutils, checked and converted": converted,
    "extxyz": by_extxyz,
    "ASE": by_ase,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--output", type=Path, help="also write the table as JSON")
    options = parser.parse_args()
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.xyz")
        write_archive(path, options.frames)
        megabytes = path.stat().st_size / 1e6
        for _ in range(2):
            for name, read in ROUTES.items():
                start = time.process_time()
                read(path)
                spent = time.process_time() - start
                seconds[name] = min(spent, seconds.get(name, np.inf))
    print(f"{options.frames} frames of 216 atoms, {megabytes:.0f} MB, one core, CPU time")
    table = {name: options.frames / spent for name, spent in seconds.items()}
    for name, rate in table.items():
        print(f"{name:32} {rate:8.0f} frames/s {rate / table['ASE']:6.1f} times ASE")
    if options.output:
        text = json.dumps({"frames": options.frames, "frames/s": table}, indent=1)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
