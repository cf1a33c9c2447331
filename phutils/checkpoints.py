"""Checkpoints of a training: whose they are, and what they hold.

A checkpoint belongs to one run alone: its name is a digest of the code, the weights at the start,
the data and the settings, so that a run never goes on from another one's.
"""

import inspect

import numpy as np
import torch

from phutils.artifacts import atomic_write, fingerprint

BLOCK = 1024  # frames that are hashed at a time


def run_key(function, model, inputs, targets, watched, content, settings):
    """Digest of all that decides a run, with the weights it begins with, str.

    Parameters
    ----------
    function : callable
        That trains; its code counts.
    model, inputs, targets, watched, content
        As for `phutils.networks.train`; targets as a tensor.
    settings : list
        The remaining arguments.

    Raises
    ------
    ValueError
        If the inputs are a function and `content` does not tell what it reads.
    """
    if callable(inputs) and content is None:
        raise ValueError("checkpoints of a batch function need `content`: what the function reads")
    weights = {k: v.detach().cpu().numpy() for k, v in model.state_dict().items()}
    data = [content, targets.numpy()]
    for values in (inputs, watched[0] if watched else None):
        if values is not None and not callable(values):
            data += [np.asarray(values[i : i + BLOCK]) for i in range(0, len(values), BLOCK)]
    classes = sorted({type(m) for m in model.modules()}, key=lambda c: c.__qualname__)
    own = [c for c in classes if not c.__module__.startswith("torch.")]
    code = [c if c.__module__.startswith("phutils.") else _source(c) for c in own]
    parts = (function, code, str(model), weights, data, settings, torch.__version__)
    return fingerprint(parts)[:32]


def _source(cls):
    """Source of a class; its name where Python cannot find the source (typed into a shell)."""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return cls.__qualname__


class Checkpoint:
    """What a run goes on from. Written beside and renamed; read without running any code in it.

    Parameters
    ----------
    file : pathlib.Path or None
        None: nothing is kept.
    model, stepper, schedule
        Network, optimiser and schedule of the learning rate.
    shuffle : torch.Generator
        Of the order of the batches.
    history : dict
        Lists that grow with every epoch.
    """

    def __init__(self, file, model, stepper, schedule, shuffle, history):
        self.file, self.history, self.shuffle, self.seconds = file, history, shuffle, 0.0
        self.parts = {"model": model, "optimiser": stepper, "schedule": schedule}

    def save(self, seconds):
        """Keep the state after so many seconds of training."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"history": self.history, "seconds": seconds}
        state["random"] = {"shuffle": self.shuffle.get_state(), "cpu": torch.get_rng_state()}
        if torch.cuda.is_initialized():
            state["random"]["cuda"] = torch.cuda.get_rng_state()
        if self.file:
            with atomic_write(self.file) as opened:
                torch.save(state, opened)

    def load(self):
        """Continue from the file, if there is one that can be read."""
        if not self.file or not self.file.exists():
            return
        try:
            state = torch.load(self.file, map_location="cpu", weights_only=True)
        except Exception:  # damaged on disk: torch has no one kind of error for it
            return
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.history |= state["history"]
        self.shuffle.set_state(state["random"]["shuffle"])
        torch.set_rng_state(state["random"]["cpu"])
        if "cuda" in state["random"] and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(state["random"]["cuda"])
        self.seconds = state["seconds"]
