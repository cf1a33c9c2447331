"""Several trainings at a time: one progress bar, and in JupyterLab their curves as they grow.

Each training runs in a process of its own and leaves its history in a small file now and then,
which this process reads. Nothing depends on it: a training that cannot write goes on.
"""

import json
import os
import sys
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from phutils.artifacts import atomic_write
from phutils.frames import forget_processes, processes

EVERY = 1.0  # s between two looks


def train_all(calls, epochs, label="training", n_jobs=None, live=None):
    """Run trainings, several at a time, and show how far they are.

    Parameters
    ----------
    calls : sequence of (function, arguments)
        Called as ``function(*arguments, report=report)``; `phutils.networks.train` takes such a
        `report`. A function that finds its result on disk need not use it.
    epochs : int
        Of each training.
    label : str
        Of the progress bar.
    n_jobs : int, optional
        Trainings at a time; default: one per core. One alone runs in this process.
    live : bool, optional
        Draw the curves while they grow; default: in JupyterLab and the like, not in a book.

    Returns
    -------
    list
        What the functions return, in order.
    """
    calls = list(calls)
    if not calls:
        return []
    n_jobs = min(n_jobs or os.cpu_count() or 1, len(calls))
    draw = _curves() if (in_jupyter() if live is None else live) else None
    found = [None] * len(calls)
    slow = 2 if sys.stderr.isatty() or draw else 10  # s between two lines of the bar
    with (
        warnings.catch_warnings(),
        TemporaryDirectory() as folder,
        tqdm(total=epochs * len(calls), desc=label, unit="epoch", mininterval=slow) as bar,
    ):
        # a process that has grown is replaced by a fresh one: no news
        warnings.filterwarnings("ignore", "A worker stopped", UserWarning)
        files = [Path(folder, f"{i}.json") for i in range(len(calls))]
        done = set()

        def look():
            histories = [_read(file) for file in files]
            finished = [epochs if i in done else len(h["rmse"]) for i, h in enumerate(histories)]
            running = [
                h["rmse"][-1] for i, h in enumerate(histories) if h["rmse"] and i not in done
            ]
            if running:
                error = 1000 * sum(running) / len(running)
                bar.set_postfix_str(f"training RMSE {error:.0f} meV/atom", refresh=False)
            bar.update(sum(finished) - bar.n)
            if draw:
                draw(histories)

        if n_jobs == 1:
            for i, (function, arguments) in enumerate(calls):
                found[i] = function(*arguments, report=_Report(files[i], look))
                done.add(i)
                look()
            return found
        pool = processes(n_jobs)
        futures = {}
        for i, (function, arguments) in enumerate(calls):
            futures[pool.submit(function, *arguments, report=_Report(files[i]))] = i
        try:
            while futures:
                for future in wait(futures, EVERY, FIRST_COMPLETED).done:
                    i = futures.pop(future)
                    found[i] = future.result()
                    done.add(i)
                look()
        except BrokenProcessPool:
            forget_processes()
            raise
        finally:
            for future in futures:
                future.cancel()
    return found


def in_jupyter():
    """Whether a person is likely to look on: a kernel that a Jupyter server started."""
    return "ipykernel" in sys.modules and "JPY_SESSION_NAME" in os.environ


class _Report:
    """Leaves a training's history in a file, once a second at most; can be sent to a process."""

    def __init__(self, file, then=None):
        self.file, self.then, self.last = file, then, 0.0

    def __call__(self, history):
        if time.monotonic() - self.last < EVERY:
            return
        with atomic_write(self.file, "w") as file:
            json.dump(history, file)
        if self.then:
            self.then()
        self.last = time.monotonic()


def _read(file):
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"rmse": [], "watched_epoch": [], "watched_rmse": []}


def _curves():
    """A function that draws histories again and again in one place of a notebook."""
    from IPython.display import HTML, display
    from matplotlib import pyplot as plt

    place = display(HTML(""), display_id=True)

    def draw(histories):
        fig, ax = plt.subplots(figsize=(6, 3.2))
        for i, history in enumerate(histories):
            epoch = range(1, len(history["rmse"]) + 1)
            ax.plot(epoch, [1000 * e for e in history["rmse"]], f"C{i}", lw=0.7)
            held_out = [1000 * e for e in history["watched_rmse"]]
            ax.plot(history["watched_epoch"], held_out, f"C{i}", lw=1.6)
        ax.set(xlabel="epoch", ylabel="RMSE / meV atom$^{-1}$", yscale="log")
        ax.set_title("training (thin) and held-out frames (thick)", fontsize="small")
        place.update(fig)
        plt.close(fig)

    return draw
