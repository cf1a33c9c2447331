"""Time the paper's CNN on a CPU: plain PyTorch against convolutions around filled pixels only.

    python benchmarks/cnn.py [--frames 32] [--rounds 7] [--bins 128 64] [--threads 1]

One batch of frames, forward and backward, all ways in turn in one process, round after round;
what is counted is CPU time, and the shortest round of each way, so that a busy machine changes
little. Beside the time stands by how much outputs and gradients differ from those of the plain
network in float64, relative to the largest of each: the largest such difference of any parameter.
``--train EPOCHS`` also trains a small network in float32 and in bfloat16 and compares the errors.
"""

import argparse
import copy
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from phutils import artifacts, cnn
from phutils.cnn import PAPER, HistogramNetwork
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams
from phutils.histograms import PersistenceHistogram, Standardise
from phutils.splits import random_split


def ways(network, empty):
    """The same network in every way that is compared: {name: (network, dtype)}."""
    contiguous = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    sparse = copy.deepcopy(network)
    sparse.empty = empty
    return {
        "plain, float32": (contiguous, torch.float32),
        "plain, channels last": (last, torch.float32),
        "plain, channels last, bfloat16": (copy.deepcopy(last), torch.bfloat16),
        "around filled pixels": (sparse, torch.float32),
    }


def step(network, dtype, images, energy):
    """Forward and backward pass; CPU seconds, outputs and gradients."""
    network.zero_grad()
    begin = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = network(images)
    (output.float() - energy).square().mean().backward()
    spent = time.process_time() - begin
    return spent, output.detach(), [p.grad.clone() for p in network.parameters()]


def compare(images, energy, bins, channels, rounds):
    """One table: {way: {"ms", "ratio", "outputs", "gradients"}}."""
    torch.manual_seed(0)
    network = HistogramNetwork(bins, channels, PAPER["hidden"])
    every = ways(network, cnn.find_empty(images.numpy()))
    spent, found = {name: [] for name in every}, {}
    for _ in range(rounds):
        for name, (model, dtype) in every.items():
            seconds, *found[name] = step(model, dtype, images, energy)
            spent[name].append(1000 * seconds / len(images))
    exact = copy.deepcopy(network).double()
    _, outputs, gradients = step(exact, torch.float64, images.double(), energy)
    table = {}
    for name in every:
        pairs = zip(found[name][1], gradients, strict=True)
        table[name] = {
            "ms": min(spent[name]),
            "ratio": min(spent["plain, float32"]) / min(spent[name]),
            "outputs": float((found[name][0] - outputs).abs().max() / outputs.abs().max()),
            "gradients": max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs),
        }
    return table


def show(table):
    """Print one table."""
    print(f"{'':32}{'CPU ms a frame':>15}{'faster':>8}{'outputs':>10}{'gradients':>11}")
    for name, row in table.items():
        print(
            f"{name:32}{row['ms']:15.2f}{row['ratio']:8.1f}"
            f"{row['outputs']:10.0e}{row['gradients']:11.0e}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=32, help="in the batch, evenly spread")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bins", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--channels", type=int, nargs="+", default=list(PAPER["channels"]))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--train", type=int, default=0, help="epochs in float32 and bfloat16")
    parser.add_argument("--every", type=int, default=20, help="frames of the dataset to take")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the tables as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    structures = load(options.dataset)[:: options.every]
    diagrams = persistence_diagrams(structures, folder=artifacts.folder(options.dataset))
    chosen = np.linspace(0, len(structures) - 1, options.frames).astype(int)
    tables = {}
    for bins in options.bins:
        histograms = PersistenceHistogram(bins=bins, sparse=True).fit_transform(diagrams)
        images = torch.as_tensor(Standardise().fit(histograms).transform(histograms[chosen]))
        energy = torch.as_tensor(structures.energy_per_atom[chosen]).float()
        filled = (images != cnn.find_empty(images.numpy())).float().mean().item()
        table = compare(images, energy, bins, options.channels, options.rounds)
        print(f"\n{bins} x {bins} bins, {100 * filled:.1f} % filled, channels {options.channels}")
        show(table)
        tables[f"{bins} bins"] = table
    if options.train:
        histograms = PersistenceHistogram(bins=64, sparse=True).fit_transform(diagrams)
        train, test = random_split(structures)
        settings = PAPER | {"channels": (16, 16, 8), "epochs": options.train}
        settings["learning_rate"] = 0.015
        data = (histograms, structures.energy_per_atom, train, test, settings)
        for precision in ("float32", "bfloat16"):
            found = cnn.train_on_histograms(*data, precision=precision, sparse=False)
            tables[precision] = {side: float(found[side]) for side in ("train", "test")}
            print(f"{precision}: test RMSE {found['test']:.1f} meV/atom, 64 bins, (16, 16, 8)")
    if options.output:
        options.output.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
