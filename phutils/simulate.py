"""How the embedded dataset was made: the paper's melt-quench protocol, labelled by NEP89.

The paper ran VASP (LDA); that needs a licence and some hundred thousand core hours. The embedded
dataset follows the same protocol (Sec. II.A) with NEP89, a machine-learned potential fitted to
PBE-like calculations of 89 elements. `phutils.fast_nep` moves the atoms (about 5 ms a step),
calorine labels the frames that are kept. The energies are therefore *not* the paper's, and no file
here calls them DFT.

Thermostat
    Stochastic velocity rescaling (Bussi, Donadio & Parrinello, doi:10.1063/1.2408420) with a
    relaxation time of 10 fs, where the paper used Nosé-Hoover. Both sample the canonical
    ensemble through one global coupling. The last quench removes 2.35 K every femtosecond, and a
    coupling of time constant tau lags behind such a ramp by roughly twice 2.35 K/fs x tau,
    because the potential energy has to follow too: 10 fs keeps that near 50 K. Rescaling has no
    hidden state beyond its random generator, so that a run can be continued exactly.

Command line
    ``python -m phutils.simulate --out data -n 2`` makes whatever is missing, one process per
    trajectory. A killed run continues from its last checkpoint, at most a minute old, and ends in
    the same frames as an unbroken one.

Needs the optional extra ``simulate`` (calorine, and NepTrainKit as the carrier of ``nep89.txt``).
"""

import argparse
import json
import multiprocessing
import os
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from tqdm import tqdm

from phutils import fast_nep, potential
from phutils.artifacts import atomic_write
from phutils.dataset import cell_length, frame_dtype, pack_frame, unpack_atoms, write_checksums

TIMESTEP = 1.0  # fs
RELAXATION = 10.0  # fs, of the thermostat
SEED = 20230822
CHECKPOINT_EVERY = 60.0  # s of wall time
WRAP_EVERY = 100  # steps

DENSITIES = (1.5, 1.7, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.5)  # g/cm3
CRYSTAL_DENSITIES = (2.4, 2.6, 2.8, 3.0, 3.2, 3.4, 3.5)  # g/cm3
RUNS = 6
CONTINUOUS_RUNS = 64


class Stage(NamedTuple):
    """One leg of a protocol: a linear temperature ramp with evenly spaced snapshots."""

    name: str
    start: float  # K
    end: float  # K
    steps: int
    snapshots: int


MELT_QUENCH = (
    Stage("heat", 300, 9000, 2000, 0),
    Stage("buffer_high", 9000, 9000, 3000, 30),
    Stage("quench1", 9000, 5000, 2000, 100),
    Stage("buffer_low", 5000, 5000, 2000, 25),
    Stage("quench2", 5000, 300, 2000, 100),
)
CONTINUOUS = (  # the same rates, less time in the liquids
    Stage("heat", 300, 9000, 1000, 0),
    Stage("buffer_high", 9000, 9000, 1000, 4),
    Stage("quench1", 9000, 5000, 2000, 5),
    Stage("buffer_low", 5000, 5000, 500, 4),
    Stage("quench2", 5000, 300, 2000, 7),
)
CRYSTAL = (
    Stage("equilibrate", 300, 300, 1000, 0),
    Stage("crystal", 300, 300, 2000, 80),
)


class Trajectory(NamedTuple):
    """One simulation; its file is ``<folder>/<density>_run<run>.npy``.

    Densities of the paper's grid have one decimal in file names and seeds, others have three.
    """

    folder: str
    n_atoms: int
    density: float  # g/cm3
    run: int
    stages: tuple = MELT_QUENCH

    @property
    def decimals(self):
        return 1 if round(self.density, 1) == self.density else 3

    @property
    def path(self):
        return Path(self.folder) / f"{self.density:.{self.decimals}f}_run{self.run}.npy"

    @property
    def seed(self):
        return [SEED, self.n_atoms, round(10**self.decimals * self.density), self.run]

    @property
    def steps(self):
        return sum(stage.steps for stage in self.stages)


def trajectories():
    """Every trajectory of the embedded dataset, run 1 of all densities first.

    The paper's set, and short runs at densities drawn at random, one from each of 64 equal parts of
    the range: a control for what depends on the paper's eleven values.
    """
    small = [
        Trajectory("216atom_amorphous", 216, density, run)
        for run in range(1, RUNS + 1)
        for density in DENSITIES
    ]
    crystal = [
        Trajectory("216atom_crystal", 216, density, 1, CRYSTAL) for density in CRYSTAL_DENSITIES
    ]
    large = [Trajectory("512atom_amorphous", 512, density, 1) for density in DENSITIES]
    places = np.arange(CONTINUOUS_RUNS) + np.random.default_rng(SEED).random(CONTINUOUS_RUNS)
    low, high = DENSITIES[0], DENSITIES[-1]
    drawn = np.round(low + (high - low) * places / CONTINUOUS_RUNS, 3)
    continuous = [
        Trajectory("216atom_continuous", 216, float(density), 1, CONTINUOUS) for density in drawn
    ]
    spread = [t for start in range(4) for t in continuous[start::4]]  # any part covers the range
    return small[: len(DENSITIES)] + crystal + small[len(DENSITIES) :] + large + spread


# --- one trajectory ------------------------------------------------------------------------------


def initial_structure(trajectory):
    """Simple cubic lattice (melt-quench) or diamond (crystal) at the trajectory's density."""
    length = cell_length(trajectory.n_atoms, trajectory.density)
    if trajectory.stages == CRYSTAL:
        n = round((trajectory.n_atoms / 8) ** (1 / 3))
        return bulk("C", "diamond", a=length / n, cubic=True).repeat(n)
    n = round(trajectory.n_atoms ** (1 / 3))
    grid = (np.stack(np.indices((n, n, n)), axis=-1).reshape(-1, 3) + 0.5) * (length / n)
    return Atoms(f"C{n**3}", positions=grid, cell=[length] * 3, pbc=True)


def schedule(stages):
    """Target temperature [K] and the stage name of the snapshot (or None) after every step."""
    targets, snapshots = [], []
    for stage in stages:
        k = np.arange(1, stage.steps + 1)
        targets.append(stage.start + (stage.end - stage.start) * k / stage.steps)
        take = (k * stage.snapshots) // stage.steps > ((k - 1) * stage.snapshots) // stage.steps
        snapshots += [stage.name if t else None for t in take]
    return np.concatenate(targets), snapshots


def run_trajectory(trajectory, out, advance=lambda n: None, checkpoint_every=CHECKPOINT_EVERY):
    """Simulate one trajectory and store its snapshots; a finished file is left alone.

    Parameters
    ----------
    trajectory : Trajectory
    out : path-like
        Root of the dataset; the file goes to ``out / trajectory.path``.
    advance : callable
        Called with the number of new atom-steps, for progress.
    checkpoint_every : float
        Seconds of wall time between checkpoints.

    Returns
    -------
    pathlib.Path
        The finished file.
    """
    path = Path(out) / trajectory.path
    if path.exists():
        return path
    checkpoint = Path(out) / ".partial" / trajectory.path.with_suffix(".npz")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)

    atoms = initial_structure(trajectory)
    rng = np.random.default_rng(trajectory.seed)
    first = trajectory.stages[0].start
    # An ideal lattice has no potential energy to share yet: twice the kinetic energy.
    thermalize_momenta(atoms, 2 * first if trajectory.stages == CRYSTAL else first, rng=rng)
    Stationary(atoms)
    frames, done = np.empty(0, frame_dtype(trajectory.n_atoms)), 0
    if checkpoint.exists():
        with np.load(checkpoint, allow_pickle=False) as state:
            atoms.positions, done = state["positions"], int(state["step"])
            atoms.set_momenta(state["momenta"])
            frames = state["frames"]
            rng.bit_generator.state = json.loads(str(state["rng"]))
        advance(done * trajectory.n_atoms)

    atoms.calc, labeller = fast_nep.calculator(), potential.calculator()
    md = Bussi(atoms, TIMESTEP * units.fs, first, RELAXATION * units.fs, rng=rng)
    targets, snapshots = schedule(trajectory.stages)
    frames, forces, saved = list(frames), None, time.monotonic()
    for step in range(done, trajectory.steps):
        md.target_kinetic_energy = 0.5 * md.ndof * units.kB * targets[step]
        forces = md.step(forces)
        if snapshots[step] is not None:
            frames.append(_snapshot(atoms, trajectory, snapshots[step], step + 1, labeller))
        if (step + 1) % WRAP_EVERY == 0:
            atoms.wrap()
            forces = None
            atoms.calc.reset()  # a continued run starts with a new list of neighbours, too
            advance(WRAP_EVERY * trajectory.n_atoms)
            if time.monotonic() - saved > checkpoint_every:
                saved = time.monotonic()
                state = json.dumps(rng.bit_generator.state)
                arrays = dict(positions=atoms.positions, momenta=atoms.get_momenta())
                stored = np.array(frames, frame_dtype(trajectory.n_atoms))
                with atomic_write(checkpoint) as file:
                    np.savez(file, frames=stored, step=step + 1, rng=state, **arrays)
    with atomic_write(path) as file:
        np.save(file, np.array(frames, frame_dtype(trajectory.n_atoms)), allow_pickle=False)
    checkpoint.unlink(missing_ok=True)
    return path


def _snapshot(atoms, trajectory, stage, step, labeller):
    """Pack one frame; the label is the energy of the positions as they are stored."""
    frame = pack_frame(
        atoms,
        density=trajectory.density,
        run=trajectory.run,
        stage=stage,
        time=step * TIMESTEP / 1000,
        temperature=atoms.get_temperature(),
    )
    stored = unpack_atoms(frame)
    stored.calc = labeller
    frame["energy"] = stored.get_potential_energy()
    return frame


# --- command line --------------------------------------------------------------------------------


def _start_worker(counter):
    global _progress
    _progress = counter
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)  # or a killed run would go on unseen, twice once it is started again


def _advance(n):
    with _progress.get_lock():
        _progress.value += n


def _work(trajectory, out):
    return run_trajectory(trajectory, out, _advance)


def main(arguments=None):
    """Make every missing trajectory that the options select, then the checksum file."""
    parser = argparse.ArgumentParser("phutils.simulate", description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    parser.add_argument("--folder", help="only this folder, for example 216atom_amorphous")
    parser.add_argument("--runs", type=int, nargs="+", help="only these runs, for example 1 2")
    parser.add_argument("--densities", type=float, nargs="+", help="only these densities in g/cm3")
    parser.add_argument("-n", "--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args(arguments)
    selected = [
        t
        for t in trajectories()
        if (options.folder in (None, t.folder))
        and (options.runs is None or t.run in options.runs)
        and (options.densities is None or t.density in options.densities)
        and not (Path(options.out) / t.path).exists()
    ]
    if not selected:
        print("nothing to do: every selected trajectory is there")
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    total = sum(t.steps * t.n_atoms for t in selected)
    with (
        ProcessPoolExecutor(options.jobs, context, _start_worker, (counter,)) as pool,
        tqdm(total=total, unit="atom-step", unit_scale=True, mininterval=10) as bar,
    ):
        pending = {pool.submit(_work, t, options.out) for t in selected}
        while pending:
            finished, pending = wait(pending, timeout=10, return_when=FIRST_COMPLETED)
            bar.update(counter.value - bar.n)
            for future in finished:
                bar.write(f"finished {future.result()}")
    write_checksums(options.out)


if __name__ == "__main__":
    main()
