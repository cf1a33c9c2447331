"""Quantum-mechanical energies for a part of the embedded dataset.

The embedded energies (NEP89) are a sum of local terms, which flatters local descriptors. Here a
stratified subset of the 216-atom melt-quench frames gets energies whose electrons are solved for
the whole cell:

``gfn1``
    GFN1-xTB (Grimme, Bannwarth & Shushkov, doi:10.1021/acs.jctc.7b00118) by tblite: 17 frames of
    every trajectory.
``lda``
    LDA in a double-zeta polarised basis by GPAW (doi:10.1063/5.0182685), as the paper's
    functional: one frame of every density. An anchor, not a training set.

Both at the Gamma point of the 216-atom cell, as in the paper (Sec. II.A), and of the positions as
they are stored. Electrons have a temperature there, without which the liquids do not converge. The
label is the energy extrapolated to 0 K of the electrons, half the sum of internal and free energy
(Gillan, doi:10.1088/0953-8984/1/4/005); the free energy is kept beside it.

Command line
    ``python -m phutils.labels --out data -n 2`` computes what is missing. A killed run loses only
    the frames that were being computed. Needs the optional extra ``labels``, and runs several
    times faster where an OpenBLAS library is installed (see `fast_blas`).
"""

import argparse
import ctypes
import ctypes.util
import json
import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from importlib import metadata
from pathlib import Path

import numpy as np
from ase import units
from filelock import FileLock, Timeout
from tqdm import tqdm

from phutils.artifacts import atomic_write
from phutils.store import LABEL_DTYPE, list_files, read_records, unpack_atoms, write_checksums

FOLDER = "216atom_amorphous"
STAGES = ("quench2", "buffer_high", "quench1", "buffer_low")
STAGGERED = 6  # runs of a density, together evenly spaced
PER_STAGE = 4  # frames a trajectory and stage; the last frame of the trajectory comes on top
DAMPINGS = (0.08, 0.03, 0.01)  # of the charge mixer, each tried when the one before fails

# All that the energies depend on; kept beside them, and compared before any are added.
SETTINGS = {
    "gfn1": {
        "hamiltonian": "GFN1-xTB",
        "distribution": "tblite",
        "electronic temperature / K": 5000,
        "accuracy": 20,
        "k-points": "gamma",
    },
    "lda": {
        "hamiltonian": "LDA, PAW",
        "distribution": "gpaw",
        "basis": "dzp",
        "grid spacing / angstrom": 0.2,
        "fermi-dirac width / eV": 0.1,
        "convergence": {"energy": 1e-4, "density": 5e-3},  # eV and electrons a valence electron
        "k-points": "gamma",
    },
}


# --- which frames --------------------------------------------------------------------------------


def choose_gfn1(records):
    """Rows of one trajectory to label: evenly spaced in every stage, and the last one.

    The six runs of a density are staggered, so that together they cover 24 instants of a stage.

    Parameters
    ----------
    records : ndarray
        Frames of one trajectory, in order of time.

    Returns
    -------
    ndarray of int
        Ascending row numbers.
    """
    phase = 2 * ((int(records["run"][0]) - 1) % STAGGERED) + 1  # in units of half a stagger
    rows = [len(records) - 1]
    for stage in np.unique(records["stage"]):
        of_stage = np.flatnonzero(records["stage"] == stage)
        n = min(PER_STAGE, len(of_stage))
        k = (2 * STAGGERED * np.arange(n) + phase) * len(of_stage) // (2 * STAGGERED * n)
        rows.extend(of_stage[k])
    return np.unique(rows)


def choose_lda(records):
    """One row of a first run: the last one labelled by GFN1 in a stage that changes by density."""
    from phutils.simulate import DENSITIES

    if records["run"][0] != 1:
        return np.empty(0, int)
    density = int(np.searchsorted(DENSITIES, records["density"][0] - 1e-6))
    rows = choose_gfn1(records)
    return rows[records["stage"][rows] == STAGES[density % len(STAGES)]][-1:]


# --- one frame -----------------------------------------------------------------------------------


def gfn1(atoms):
    """GFN1-xTB energies of a periodic structure.

    Parameters
    ----------
    atoms : ase.Atoms

    Returns
    -------
    energy, free_energy : float
        eV: extrapolated to 0 K of the electrons, and at their temperature.

    Raises
    ------
    RuntimeError
        If the charges converge with none of `DAMPINGS`.
    """
    from scipy.special import entr
    from tblite.interface import Calculator

    temperature = SETTINGS["gfn1"]["electronic temperature / K"] * units.kB  # eV
    structure = atoms.numbers, atoms.positions / units.Bohr
    for damping in DAMPINGS:
        calculator = Calculator("GFN1-xTB", *structure, lattice=atoms.cell.array / units.Bohr)
        calculator.set("verbosity", 0)
        calculator.set("temperature", temperature / units.Hartree)
        calculator.set("accuracy", SETTINGS["gfn1"]["accuracy"])
        calculator.set("max-iter", 200)
        calculator.set("mixer-damping", damping)
        try:
            result = calculator.singlepoint()
        except RuntimeError as error:
            failure = error
            continue
        free_energy = result.get("energy") * units.Hartree
        filled = result.get("orbital-occupations") / 2
        entropy = 2 * (entr(filled) + entr(np.clip(1 - filled, 0, 1))).sum()
        return free_energy + temperature * entropy / 2, free_energy
    raise failure


def lda(atoms):
    """LDA energies by GPAW, relative to its neutral reference atoms; as for `gfn1`."""
    from gpaw import GPAW, ConvergenceError, FermiDirac, Mixer

    settings = SETTINGS["lda"]
    atoms = atoms.copy()
    atoms.calc = GPAW(
        mode="lcao",
        basis=settings["basis"],
        xc="LDA",
        h=settings["grid spacing / angstrom"],
        kpts=(1, 1, 1),
        occupations=FermiDirac(settings["fermi-dirac width / eV"]),
        convergence=settings["convergence"],
        mixer=Mixer(0.05, 5, 50),  # the default one overshoots in the thin liquids
        txt=None,
    )
    try:
        energy = atoms.get_potential_energy()
    except ConvergenceError as error:
        raise RuntimeError(str(error)) from error
    return energy, atoms.get_potential_energy(force_consistent=True)


METHODS = {"gfn1": (gfn1, choose_gfn1), "lda": (lda, choose_lda)}


def fast_blas():
    """Let tblite use OpenBLAS where the system has it, one thread; returns its name or None.

    The wheel of tblite 0.8.0 for Linux brings the reference BLAS, which takes 80 % of the time.
    Its functions give way to those of a library that is loaded globally before.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if name := ctypes.util.find_library("openblas"):
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    return name


# --- one trajectory ------------------------------------------------------------------------------


def _paths(file, out, method):
    name = Path("labels") / method / file.path.name
    return Path(out) / name, Path(out) / ".partial" / name


def known_labels(file, out, method):
    """Labels there are of this very trajectory, finished or not: {row: record}."""
    found = {}
    for path in _paths(file, out, method):
        if path.exists():
            records = np.load(path, allow_pickle=False)
            mine = records["trajectory"] == file.digest.encode()
            found |= {int(record["row"]): record for record in records[mine]}
    return found


def label_trajectory(file, out, method, advance=lambda: None):
    """Label the chosen frames of one trajectory; those that are known are not computed again.

    Parameters
    ----------
    file : StoreFile
        Of the trajectory.
    out : path-like
        Root of the dataset; the labels go to ``labels/<method>/`` there.
    method : {"gfn1", "lda"}
    advance : callable
        Called after every new label, for progress.

    Returns
    -------
    pathlib.Path
        The finished file.

    Raises
    ------
    RuntimeError
        If a frame does not converge; names file and row.
    """
    path, partial = _paths(file, out, method)
    compute, choose = METHODS[method]
    frames, known, done = read_records(file), known_labels(file, out, method), []
    for row in choose(frames).tolist():
        if row not in known:
            try:
                energies = compute(unpack_atoms(frames[row]))
            except RuntimeError as error:
                raise RuntimeError(f"{file.path}, row {row}: {method} failed: {error}") from error
            known[row] = np.array((row, *energies, file.digest), LABEL_DTYPE)
            with atomic_write(partial) as checkpoint:
                np.save(checkpoint, np.stack(list(known.values())), allow_pickle=False)
            advance()
        done.append(known[row])
    with atomic_write(path) as target:
        np.save(target, np.stack(done), allow_pickle=False)
    partial.unlink(missing_ok=True)
    return path


# --- command line --------------------------------------------------------------------------------


def _start_worker(counter):
    global _progress
    _progress = counter
    fast_blas()
    parent = multiprocessing.parent_process()
    # A killed parent cannot say so: its workers would go on, or wait for ever.
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _advance():
    with _progress.get_lock():
        _progress.value += 1


def _work(file, out, method):
    return label_trajectory(file, out, method, _advance)


def _record_settings(out, method):
    """Keep the settings beside the labels, or check that they are those of the labels there."""
    settings = dict(SETTINGS[method])
    try:
        settings["version"] = metadata.version(settings["distribution"])
    except metadata.PackageNotFoundError:
        raise ModuleNotFoundError(
            f"{settings['distribution']} is missing: see data/README.md for how to install it"
        ) from None
    path = Path(out) / "labels" / method / "settings.json"
    if not path.exists():
        with atomic_write(path, "w") as file:
            json.dump(settings, file, indent=1)
    elif (found := json.loads(path.read_text(encoding="utf-8"))) != settings:
        raise ValueError(
            f"{path} says {found}, but these would be {settings}: labels of two kinds do not mix, "
            f"use the same settings or delete {path.parent}"
        )


def _missing(options):
    """[(trajectory, number of its frames without label)], first runs of all densities first."""
    choose, missing = METHODS[options.method][1], []
    for file in list_files(options.out):
        if file.folder != FOLDER:
            continue
        frames = read_records(file)
        run, density = int(frames["run"][0]), float(frames["density"][0])
        if options.runs and run not in options.runs:
            continue
        rows = set(choose(frames).tolist())
        left = len(rows - set(known_labels(file, options.out, options.method)))
        if rows and (left or not _paths(file, options.out, options.method)[0].exists()):
            missing.append((run, density, file, left))
    return [(file, left) for _, _, file, left in sorted(missing)]


def _list_finished(options):
    home = Path(options.out) / "labels"
    if any(home.glob("*/*.npy")):
        write_checksums(home)


def _label_all(missing, options):
    """Label the frames of `_missing` in parallel; returns the messages of what failed."""
    context = multiprocessing.get_context("spawn")
    counter, failures = context.Value("q", 0), []
    with (
        ProcessPoolExecutor(options.jobs, context, _start_worker, (counter,)) as pool,
        tqdm(total=sum(n for _, n in missing), unit="frame", mininterval=10, smoothing=0) as bar,
    ):
        pending = {pool.submit(_work, file, options.out, options.method) for file, _ in missing}
        while pending:
            finished, pending = wait(pending, timeout=10, return_when=FIRST_COMPLETED)
            bar.update(counter.value - bar.n)
            for future in finished:
                try:
                    bar.write(f"finished {future.result()}")
                except (RuntimeError, OSError, ValueError) as error:  # the others go on
                    failures.append(str(error))
                    bar.write(f"failed: {error}")
                _list_finished(options)
    return failures


def main(arguments=None):
    """Label what is missing of the chosen frames, then write the checksums of the labels."""
    parser = argparse.ArgumentParser("phutils.labels", description=main.__doc__)
    parser.add_argument("--out", default="data", help="root of the dataset (default: data)")
    parser.add_argument("--method", choices=METHODS, default="gfn1", help="default: gfn1")
    parser.add_argument("--runs", type=int, nargs="+", help="only these runs, for example 1 2")
    parser.add_argument("-n", "--jobs", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args(arguments)
    partial = Path(options.out) / ".partial"
    partial.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial / f"labels-{options.method}.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        parser.exit(1, f"another run writes {options.method} labels below {options.out}\n")
    with lock:
        missing, failures = _missing(options), []
        if missing:
            _record_settings(options.out, options.method)
            failures = _label_all(missing, options)
        else:
            print("nothing to do: every chosen frame has its label")
        _list_finished(options)
    if failures:
        parser.exit(1, "\n".join(["not labelled:", *dict.fromkeys(failures), ""]))


if __name__ == "__main__":
    main()
