"""Diagrams of many structures on many machines: parts of a dataset, done by whoever joblib names.

A shard of 51 frames is the unit of work, and its file in the shared folder is all that a machine
leaves behind: it is the file that `phutils.diagrams.persistence_diagrams` looks for. So parts can
be computed anywhere, in any order, killed and repeated; a chapter started afterwards only reads.

The command line does one part, for a queue of jobs (see ``cluster/Snakefile``)::

    python -m phutils.cluster store FILE                         # read and convert FILE, once
    python -m phutils.cluster diagrams FILE --part 3 20 --output 3.json

`fill` leaves the choice of workers to joblib, so that ``joblib.parallel_config(backend="dask")``
hands the shards to a Dask cluster (extra ``cluster``). Every machine must see the folder of the
artifacts and the stored structures (``PHUTILS_DATA``) under the same paths.
"""

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

import joblib
from tqdm import tqdm

from phutils import artifacts, dataset
from phutils.diagrams import MIN_LIFETIME, SHARD, persistence_diagrams
from phutils.frames import FrameError


def part_of(n_frames, part, parts, size=SHARD):
    """Frames of one part: whole shards, so that all parts together have those of the whole.

    Parameters
    ----------
    n_frames : int
        Of the dataset.
    part : int
        Counted from 1.
    parts : int
        Into how many the dataset is cut; with more parts than shards some are empty.
    size : int
        Frames a shard.

    Returns
    -------
    slice

    Raises
    ------
    ValueError
        If there is no such part.
    """
    if not 1 <= part <= parts:
        raise ValueError(f"part {part} of {parts}: count from 1 to the number of parts")
    shards = -(-n_frames // size)
    begin, end = (size * (k * shards // parts) for k in (part - 1, part))
    return slice(min(begin, n_frames), min(end, n_frames))


def fill(
    structures,
    folder,
    degrees=(0, 1, 2),
    backend="fast",
    min_lifetime=MIN_LIFETIME,
    errors="raise",
    n_jobs=None,
    progress=True,
):
    """Compute diagrams into the shared folder, through the workers that joblib is configured for.

    Only the indices of frames go to the workers and only counts come back; structures are read and
    diagrams written where the work is done.

    Parameters
    ----------
    structures : Structures or sequence of ase.Atoms
        A sequence of atoms travels to the workers, a `phutils.dataset.Structures` does not.
    folder : path-like
        Artifacts of the dataset, see `phutils.artifacts.folder`; seen by all workers.
    degrees, backend, min_lifetime, errors
        As for `phutils.diagrams.persistence_diagrams`.
    n_jobs : int, optional
        As for `joblib.Parallel`: without a ``parallel_config`` one process, with Dask all workers.
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        ``frames``, ``shards``, ``pairs`` (counts), ``cpu_s`` (seconds of the workers' CPU; little
        for shards that were there) and ``failed``, {frame: message}.

    Raises
    ------
    FrameError
        Naming the frame and what is wrong with it, unless `errors` is ``skip``.
    """
    if errors not in ("raise", "skip"):
        raise ValueError(f"unknown errors {errors!r}: choose raise or skip")
    settings = {"degrees": tuple(degrees), "backend": backend, "min_lifetime": min_lifetime}
    starts = range(0, len(structures), SHARD)
    calls = (joblib.delayed(_shard)(structures[i : i + SHARD], folder, settings) for i in starts)
    parallel = joblib.Parallel(n_jobs=n_jobs, batch_size=1, return_as="generator")
    total = {"frames": 0, "shards": 0, "pairs": 0, "cpu_s": 0.0, "failed": {}}
    with tqdm(total=len(structures), unit="frame", mininterval=2, disable=not progress) as bar:
        for first, note in zip(starts, parallel(calls), strict=True):
            for frame, message in note.pop("failed").items():
                if errors == "raise":
                    raise FrameError(f"frame {first + frame}: {message}")
                total["failed"][first + frame] = message
            bar.update(note["frames"])
            for name, value in note.items():
                total[name] += value
    return total


def _shard(structures, folder, settings):
    """Diagrams of one shard, in the process of a worker; what they cost and which frames failed."""
    begin = time.process_time()
    options = {"n_jobs": 1, "folder": folder, "progress": False, "errors": "skip"}
    found = persistence_diagrams(structures, **settings, **options)
    return {
        "frames": len(found),
        "shards": 1,
        "pairs": sum(len(pairs) for pairs in found.pairs.values()),
        "cpu_s": time.process_time() - begin,
        "failed": found.failed,
    }


@contextlib.contextmanager
def workers(address=None, n_jobs=1):
    """Let joblib send work to a Dask scheduler, or to processes of this machine without one.

    Parameters
    ----------
    address : str, optional
        Of the scheduler, such as ``tcp://node:8786``; needs the extra ``cluster``.
    n_jobs : int
        Processes, where there is no address.
    """
    if address is None:
        with joblib.parallel_config(backend="loky", n_jobs=n_jobs):
            yield
        return
    from distributed import Client

    with Client(address), joblib.parallel_config(backend="dask"):
        yield


# --- command line --------------------------------------------------------------------------------


def _store(structures, options):
    return {"frames": len(structures), "fingerprint": structures.fingerprint}


def _diagrams(structures, options):
    part, parts = options.part
    frames = structures[part_of(len(structures), part, parts)]
    folder = options.folder or artifacts.folder(options.source)
    with workers(options.dask, options.jobs):
        found = fill(frames, folder, errors="skip", progress=sys.stderr.isatty())
    return {"source": options.source, "part": part, "parts": parts, "folder": str(folder)} | found


def main(arguments=None):
    """Entry point of ``python -m phutils.cluster``."""
    parser = argparse.ArgumentParser("phutils.cluster", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for name, function, line in (
        ("store", _store, "read, check and convert the structures; later jobs map them from disk"),
        ("diagrams", _diagrams, "compute the diagrams of one part into the shared folder"),
    ):
        command = commands.add_parser(name, help=line, description=line)
        command.set_defaults(function=function)
        command.add_argument("source", help="embedded, zenodo or a path")
        command.add_argument("--system", default="amorphous", help="part of the data to load")
        command.add_argument("--energy-key", help="key of the energies of a file")
        command.add_argument("--output", type=Path, help="write the summary here, too, as JSON")
        if name == "diagrams":
            command.add_argument("--part", nargs=2, type=int, default=(1, 1), metavar=("K", "N"))
            command.add_argument("--folder", type=Path, help="default: the artifacts of the source")
            command.add_argument("--jobs", type=int, default=1, help="processes of this machine")
            command.add_argument("--dask", metavar="ADDRESS", help="scheduler to send the work to")
    options = parser.parse_args(arguments)
    try:
        structures = dataset.load(options.source, options.system, energy_key=options.energy_key)
        summary = options.function(structures, options)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    text = json.dumps(summary, indent=1) + "\n"
    print(text, end="")
    if options.output:
        with artifacts.atomic_write(options.output, "w") as file:
            file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
