"""HomCloud in a process of its own, because it may abort or never return.

HomCloud's periodic triangulation ends the whole process on some cells (a box more than 1.7 times as
long as wide, a layer of vacuum) and hangs on others. Here that costs one worker and becomes a
`FrameError`.
"""

import os
import signal

import numpy as np
from joblib.externals.loky.backend import get_context

from phutils.frames import FrameError

LIMIT = 60.0  # s a frame


def _serve(connection):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import homcloud.interface as hc

    while True:
        try:
            positions, cell = connection.recv()
        except (EOFError, ConnectionError):  # the parent is gone
            return
        try:
            box = tuple((0.0, float(length)) for length in cell)
            found = hc.PDList.from_alpha_filtration(positions, periodicity=box)
            points = {k: np.stack([found[k].births, found[k].deaths], axis=1) for k in (0, 1, 2)}
            connection.send({k: p[np.lexsort(p.T[::-1])] for k, p in points.items()})
        except Exception as error:  # any failure goes back to the caller by name
            connection.send(f"{type(error).__name__}: {error}")


_worker = None


def homcloud_diagrams(positions, cell, limit=None):
    """HomCloud's diagrams of one frame, from a worker that is replaced when it dies or hangs.

    Parameters
    ----------
    positions : ndarray [n, 3]
        Coordinates in Å, inside the box.
    cell : ndarray [3] or [3, 3]
        Edge lengths of an orthorhombic box, or its vectors along the axes, in Å.
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
    global _worker
    cell = np.asarray(cell, float)
    if cell.ndim == 2:
        slant = np.abs(cell - np.diag(np.diag(cell))).max()
        if slant > 1e-9:
            raise FrameError(f"HomCloud needs an orthorhombic cell (off-diagonal {slant:.3g} Å)")
        cell = np.diag(cell)
    if _worker is None or not _worker[0].is_alive():
        context = get_context("loky")  # unlike "spawn", does not run the caller's script again
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there,), daemon=True)
        process.start()
        there.close()
        _worker = process, here
    process, connection = _worker
    limit = LIMIT if limit is None else limit
    try:
        connection.send((positions, cell))
        if not connection.poll(limit):
            raise FrameError(f"HomCloud took longer than {limit:g} s")
        answer = connection.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise FrameError(f"HomCloud's process died (exit code {process.exitcode})") from None
    except BaseException:
        process.terminate()
        process.join()
        raise
    if isinstance(answer, str):
        raise FrameError(f"HomCloud refused the frame: {answer}")
    return answer
