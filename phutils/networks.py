"""One training loop for every network of the book: seeds, schedule, checkpoints, progress.

A run is decided by its arguments alone. On one machine with one number of threads, the same call
gives the same weights to the last bit, also when the process is killed and started again. Nothing
but the training data is used to train or to stop; the weights are those of the last epoch, as in
the paper.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from phutils.artifacts import folder as artifacts_folder
from phutils.checkpoints import Checkpoint, run_key

BLOCK = 1024  # frames that are checked at a time


class Scaled(nn.Module):
    """A network whose output is multiplied by `scale` and shifted by `offset`, as eV/atom.

    The network itself then learns a quantity of mean zero and standard deviation one.

    Parameters
    ----------
    network : torch.nn.Module
    offset, scale : float
        Mean and standard deviation of the training targets.
    """

    def __init__(self, network, offset, scale):
        super().__init__()
        self.network = network
        self.register_buffer("offset", torch.tensor(float(offset), dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(float(scale), dtype=torch.float32))

    def forward(self, *inputs):
        return self.network(*inputs) * self.scale + self.offset


def train(
    model,
    inputs,
    targets,
    *,
    epochs,
    optimiser,
    batch_size=32,
    milestones=(),
    factor=0.5,
    clip=None,
    seed=0,
    watched=None,
    device=None,
    precision=None,
    checkpoints=None,
    content=None,
    save_every=30.0,
    progress="training",
    report=None,
):
    """Train a network in place on the mean squared error.

    Parameters
    ----------
    model : torch.nn.Module
        Maps a batch of inputs to [batch], in the units of the targets; see `Scaled`. Its weights
        at the beginning belong to the run: seed them before you build it.
    inputs : Tensor or ndarray [n, ...], or callable
        Moved to the device once; or a function from an index tensor on the CPU to the inputs of
        those frames: a tensor, or a tuple of tensors for ``model(*inputs)``.
    targets : array [n]
        For example eV/atom.
    epochs : int
    optimiser : dict
        ``name`` of a class in `torch.optim`, and its arguments; ``lr`` among them.
    batch_size : int
        The last batch of an epoch may be smaller.
    milestones : sequence of int
        Epochs after which the learning rate is multiplied by `factor`.
    factor : float
    clip : float, optional
        Longest gradient, over all weights, of the squared error in units of the targets' variance;
        longer ones are shortened to it. An early batch with a huge error may otherwise switch off
        all units of a layer for good.
    seed : int
        Of the order of the frames and of dropout.
    watched : tuple (inputs, targets), optional
        Held-out data whose error is recorded on the way, about 50 times. It decides nothing.
    device : str, optional
        Default: ``cuda`` where there is one, else ``cpu``.
    precision : {"float32", "bfloat16"}, optional
        Of the network's products; default: bfloat16 on a GPU that has it, else float32.
    checkpoints : path-like or True, optional
        Folder; True for ``checkpoints`` in the build folder. A run that was killed continues from
        its last checkpoint there; a run with any other argument does not. The file is removed when
        the run is complete.
    content : optional
        Where `inputs` is a function: what it reads, as arrays, text or numbers (for the key).
    save_every : float
        Seconds between checkpoints, which are written at the end of an epoch.
    progress : str or bool
        Label of the progress bar; False for none.
    report : callable, optional
        Called with the history so far after each epoch.

    Returns
    -------
    dict
        ``rmse`` [epochs], the error over each epoch's batches in the units of the targets;
        ``learning_rate`` [epochs]; ``watched_epoch``, ``watched_rmse``; ``seconds``, which
        includes interrupted runs up to their last checkpoint.

    Raises
    ------
    ValueError
        If an input or a target is not finite (naming frame and value), the numbers of inputs and
        targets differ, or the loss stops being finite.
    """
    device = choose_device(device)
    dtype = choose_precision(precision, device)
    targets = torch.as_tensor(np.asarray(targets, np.float32))
    _check(inputs, targets, batch_size, epochs)
    settings = [epochs, optimiser, batch_size, list(milestones), factor, clip, seed]
    settings += [device, str(dtype)]
    file = None
    if checkpoints:
        if checkpoints is True:
            checkpoints = artifacts_folder().parents[1] / "checkpoints"
        key = run_key(train, model, inputs, targets, watched, content, settings)
        file = Path(checkpoints) / f"{key}.pt"
    scale = float(targets.double().std(correction=0)) or 1.0
    fetch, targets = _resident(inputs, device), targets.to(device)
    model.to(device).train()
    options = {k: v for k, v in optimiser.items() if k != "name"}
    stepper = getattr(torch.optim, optimiser["name"])(model.parameters(), **options)
    schedule = torch.optim.lr_scheduler.MultiStepLR(stepper, list(milestones), factor)
    shuffle = torch.Generator().manual_seed(seed)
    history = {"rmse": [], "learning_rate": [], "watched_epoch": [], "watched_rmse": []}
    state = Checkpoint(file, model, stepper, schedule, shuffle, history)

    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        state.load()
        first, started = len(history["rmse"]), time.monotonic() - state.seconds
        saved = time.monotonic()
        label = progress if isinstance(progress, str) else "training"
        bar = tqdm(
            total=epochs,
            initial=first,
            desc=label,
            unit="epoch",
            mininterval=2 if sys.stderr.isatty() else 10,
            disable=not progress,
        )
        for epoch in range(first, epochs):
            history["learning_rate"].append(stepper.param_groups[0]["lr"])
            total = torch.zeros((), device=device)
            order = torch.randperm(len(targets), generator=shuffle)
            for batch in order.split(batch_size):
                stepper.zero_grad(set_to_none=True)
                with _autocast(device, dtype):
                    predicted = model(*fetch(batch))
                error = predicted.float() - targets[batch.to(device)]
                loss = (error / scale).square().mean()
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                stepper.step()
                total += error.detach().square().sum()
            schedule.step()
            history["rmse"].append((total.item() / len(targets)) ** 0.5)
            if not np.isfinite(history["rmse"][-1]):
                raise ValueError(f"the loss of epoch {epoch + 1} is not finite: lower lr")
            if watched and (epoch + 1) % max(1, epochs // 50) == 0:
                error = predict(
                    model, watched[0], len(watched[1]), device=device, precision=precision
                )
                error -= np.asarray(watched[1], float)
                history["watched_epoch"].append(epoch + 1)
                history["watched_rmse"].append(float(np.sqrt(np.mean(error**2))))
                model.train()
            bar.set_postfix(rmse=f"{history['rmse'][-1]:.4f}", refresh=False)
            bar.update()
            if report:
                report(history)
            if time.monotonic() - saved >= save_every and epoch + 1 < epochs:
                state.save(time.monotonic() - started)
                saved = time.monotonic()
        bar.close()
    model.eval()
    if file:
        file.unlink(missing_ok=True)
    return history | {"seconds": time.monotonic() - started}


@torch.no_grad()
def predict(model, inputs, n=None, batch_size=256, device=None, precision=None):
    """Outputs of a network.

    Parameters
    ----------
    model : torch.nn.Module
    inputs
        As for `train`.
    n : int, optional
        Number of frames, where `inputs` is a function.
    batch_size : int
    device, precision
        As for `train`.

    Returns
    -------
    ndarray [n] of float64

    Raises
    ------
    ValueError
        If an input is not finite.
    """
    device = choose_device(device)
    dtype = choose_precision(precision, device)
    if not callable(inputs):
        inputs, n = torch.as_tensor(inputs), len(inputs)
        _check_finite("input", inputs)
    model.to(device).eval()
    outputs = []
    for batch in torch.arange(n).split(batch_size):
        given = inputs(batch) if callable(inputs) else (inputs[batch],)
        given = given if isinstance(given, tuple) else (given,)
        with _autocast(device, dtype):
            outputs.append(model(*(x.to(device) for x in given)).double().cpu())
    return torch.cat(outputs).numpy() if outputs else np.empty(0)


# --- device and precision ------------------------------------------------------------------------


def choose_device(device=None):
    """``cuda`` where there is one, else ``cpu``; a name that is given is checked.

    Raises
    ------
    ValueError
        If a GPU is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if device and device.startswith("cuda") and not found:
        raise ValueError(f"device {device!r} was asked for, but no GPU can be used")
    return device or ("cuda" if found else "cpu")


def choose_precision(precision, device):
    """The dtype of products: bfloat16 on a GPU that has it, else float32; a name decides."""
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"unknown precision {precision!r}: choose float32 or bfloat16")
    if precision is None:
        fast = device.startswith("cuda") and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if fast else "float32"
    return getattr(torch, precision)


def _autocast(device, dtype):
    kind = device.split(":")[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


# --- data ----------------------------------------------------------------------------------------


def _check(inputs, targets, batch_size, epochs):
    if batch_size < 1 or epochs < 1:
        raise ValueError(f"batch_size {batch_size} and epochs {epochs} must be at least 1")
    if not len(targets):
        raise ValueError("there is nothing to train on")
    _check_finite("target", targets)
    if not callable(inputs):
        if len(inputs) != len(targets):
            raise ValueError(f"{len(inputs)} inputs, but {len(targets)} targets")
        _check_finite("input", torch.as_tensor(inputs))


def _check_finite(name, values):
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK].reshape(len(values[start : start + BLOCK]), -1)
        bad = ~torch.isfinite(block)
        if bad.any():
            row, column = bad.nonzero()[0].tolist()
            raise ValueError(f"{name} of frame {start + row} holds {block[row, column].item()}")


def _resident(inputs, device):
    """A function from an index tensor to a tuple of tensors on the device."""
    if not callable(inputs):
        inputs = torch.as_tensor(inputs).to(device)
        return lambda batch: (inputs[batch.to(device)],)

    def fetch(batch):
        found = inputs(batch)
        return tuple(x.to(device) for x in (found if isinstance(found, tuple) else (found,)))

    return fetch
