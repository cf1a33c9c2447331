"""HomCloud in a process of its own, because it may abort or never return.

HomCloud's periodic triangulation ends the whole process on some cells, like one with a layer of
vacuum, and hangs on others. Here that costs one worker and becomes a `FrameError`. Boxes more than
1.5 times as long as wide, of which it finishes some, are refused at once.

Points without a unique triangulation are moved by 1e-8 Å first. As they are, HomCloud may find 236
rings in perfect diamond where there are 214, depending on the origin, or never end.
"""

import math
import os
import signal

import numpy as np
from joblib.externals.loky.backend import get_context

from phutils.alpha import JITTER, DegenerateError, alpha_filtration
from phutils.frames import FrameError, cell_matrix

LIMIT = 60.0  # s a frame
START_LIMIT = 300.0  # s; HomCloud's import alone takes 5 s of CPU time
LONGEST = 1.5  # longest edge over the shortest
INSTEAD = "backend='fast' can do it"


def _serve(connection):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import homcloud.interface as hc

    connection.send("ready")
    while True:
        try:
            positions, lengths, limit = connection.recv()
        except (EOFError, ConnectionError):  # the parent is gone
            return
        if hasattr(signal, "alarm"):  # the system ends a hanging worker whose parent was killed
            signal.alarm(math.ceil(limit) + 5)
        try:
            box = tuple((0.0, float(length)) for length in lengths)
            found = hc.PDList.from_alpha_filtration(positions, periodicity=box)
            points = {k: np.stack([found[k].births, found[k].deaths], axis=1) for k in (0, 1, 2)}
            connection.send({k: p[np.lexsort(p.T[::-1])] + 0.0 for k, p in points.items()})
        except Exception as error:  # any failure goes back to the caller by name
            connection.send(f"{type(error).__name__}: {error}")
        if hasattr(signal, "alarm"):
            signal.alarm(0)


_worker = None


def _running_worker():
    """The worker process and the connection to it; a new one if the last one ended."""
    global _worker
    if _worker is None or not _worker[0].is_alive():
        context = get_context("loky")  # unlike "spawn", does not run the caller's script again
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there,), daemon=True)
        process.start()
        there.close()
        _worker = process, here
        try:
            if not here.poll(START_LIMIT):
                raise EOFError
            here.recv()
        except (EOFError, ConnectionError):
            process.terminate()
            process.join()
            raise FrameError(f"HomCloud did not start (exit code {process.exitcode})") from None
    return _worker


def _in_box(positions, cell):
    """Positions in a box along the axes, and its edge lengths, in Å."""
    lengths = np.linalg.norm(cell, axis=1)
    axes = cell / lengths[:, None]
    angles = np.degrees(np.arccos(np.clip(axes @ axes.T, -1, 1)))[np.triu_indices(3, 1)]
    if np.abs(angles - 90).max() > 1e-6:
        angles = ", ".join(f"{angle:g}" for angle in angles)
        raise FrameError(f"HomCloud needs an orthorhombic cell, not angles of {angles}°; {INSTEAD}")
    if lengths.max() > LONGEST * lengths.min() * (1 + 1e-9):
        longest = f"{lengths.max() / lengths.min():.3g}"
        raise FrameError(
            f"HomCloud fails in boxes more than {LONGEST:g} times as long as wide, "
            f"and this one is {longest} times; {INSTEAD}"
        )
    return positions @ axes.T % lengths, lengths


def _in_general_position(positions, cell):
    try:
        alpha_filtration(positions, cell, jitter=0)
    except DegenerateError:
        rng = np.random.default_rng(0)
        return positions + rng.uniform(-JITTER, JITTER, positions.shape)
    return positions


def homcloud_diagrams(positions, cell, limit=None):
    """HomCloud's diagrams of one frame, from a worker that is replaced when it dies or hangs.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å, inside the box.
    cell : ndarray [3] or [3, 3]
        Edge lengths of an orthorhombic box, or its three orthogonal vectors as rows, in Å.
    limit : float, optional
        Seconds before the worker is given up, default 60.

    Returns
    -------
    dict
        {degree: ndarray [n_pairs, 2]} of degrees 0, 1, 2: births and deaths in Å², sorted.

    Raises
    ------
    FrameError
        If HomCloud refuses the frame, dies, or takes too long.
    """
    positions, lengths = _in_box(np.asarray(positions, float), cell_matrix(cell))
    positions = _in_general_position(positions, lengths)
    limit = LIMIT if limit is None else limit
    box = " x ".join(f"{length:g}" for length in lengths)
    what = f"{len(positions)} atoms in a box of {box} Å"
    process, connection = _running_worker()
    try:
        connection.send((positions, lengths, limit))
        if not connection.poll(limit):
            raise FrameError(f"HomCloud took longer than {limit:g} s for {what}; {INSTEAD}")
        answer = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        died = f"HomCloud's process died (exit code {process.exitcode})"
        raise FrameError(f"{died} from {what}; {INSTEAD}") from None
    except BaseException:
        process.terminate()
        process.join()
        raise
    if isinstance(answer, str):
        if "too few" in answer:
            raise FrameError(f"{what} are too few for HomCloud; {INSTEAD}")
        raise FrameError(f"HomCloud refused {what}: {answer}")
    return answer
