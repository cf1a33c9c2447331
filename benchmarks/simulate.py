"""Time steps of molecular dynamics with NEP89: calorine's evaluation and `phutils.fast_nep`.

    python benchmarks/simulate.py [--steps 30] [--output FILE.json]

The last frame of one run of three densities, 216 and 512 atoms, is heated to 5000 K and moved by
the same driver with both potentials in turn. A step is CPU time of this process, best of three
rounds, driver and neighbour lists included. The largest differences of energies and forces on that
frame stand beside it. Needs the extra `simulate`.
"""

import argparse
import json
import os
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from ase import units  # noqa: E402
from ase.md.bussi import Bussi  # noqa: E402
from ase.md.velocitydistribution import thermalize_momenta  # noqa: E402

from phutils import fast_nep, potential, simulate  # noqa: E402
from phutils.dataset import load  # noqa: E402

TEMPERATURE = 5000  # K
ROUTES = {"calorine": potential.calculator, "fast_nep": fast_nep.calculator}


def step_cost(atoms, steps):
    """CPU milliseconds of a step; the first steps are not counted."""
    relaxation = simulate.RELAXATION * units.fs
    rng = np.random.default_rng(0)
    thermalize_momenta(atoms, TEMPERATURE, rng=rng)
    md = Bussi(atoms, simulate.TIMESTEP * units.fs, TEMPERATURE, relaxation, rng=rng)
    md.run(2)
    begin = time.process_time()
    md.run(steps)
    return 1000 * (time.process_time() - begin) / steps


def difference(atoms):
    """Largest differences of energies of atoms (eV) and forces (eV/Å) between the two."""
    found = []
    for make in ROUTES.values():
        other = atoms.copy()
        other.calc = make()
        found.append((other.get_potential_energies(), other.get_forces()))
    return [float(np.abs(a - b).max()) for a, b in zip(*found, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--output", help="also write the result there, as JSON")
    options = parser.parse_args()
    rows = []
    for part in ("amorphous", "large"):
        structures = load("embedded", part)
        for density in (1.5, 2.4, 3.5):
            frame = structures[int(np.flatnonzero(structures.density == density)[-1])]
            best = dict.fromkeys(ROUTES, np.inf)
            for _ in range(3):
                for name, make in ROUTES.items():
                    atoms = frame.copy()
                    atoms.calc = make()
                    best[name] = min(best[name], step_cost(atoms, options.steps))
            energy, force = difference(atoms)
            row = {"atoms": len(atoms), "density": density, **best}
            row |= {"ratio": best["calorine"] / best["fast_nep"]}
            row |= {"energy difference": energy, "force difference": force}
            rows.append(row)
            print(json.dumps(row))
    if options.output:
        found = {"steps": options.steps, "rows": rows}
        Path(options.output).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
