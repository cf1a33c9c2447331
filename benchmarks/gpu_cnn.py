"""Train the paper's CNN in full, on a GPU where there is one: wall time, errors, loss curve.

    python benchmarks/gpu_cnn.py [--epochs 1600] [--output gpu_cnn.json]

Everything as in Sec. II.F of the paper, on a random 80/20 split of the dataset. It can be killed:
the next call with the same arguments continues. Without a GPU it runs too: try ``--epochs 1
--every 50``.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from phutils import artifacts, cnn
from phutils.cnn import PAPER
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams
from phutils.histograms import PersistenceHistogram
from phutils.networks import choose_device, choose_precision
from phutils.splits import random_split


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=PAPER["epochs"])
    parser.add_argument("--batch-size", type=int, default=PAPER["batch_size"])
    parser.add_argument("--bins", type=int, default=128)
    parser.add_argument("--every", type=int, default=1, help="take every k-th frame")
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and order")
    parser.add_argument("--by", choices=("frame", "trajectory"), default="frame", help="split")
    parser.add_argument("--device", help="default: cuda where there is one")
    parser.add_argument("--precision", choices=("float32", "bfloat16"))
    parser.add_argument("--sparse", action="store_true", help="around filled pixels, on a GPU too")
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the result as JSON")
    options = parser.parse_args()

    folder = artifacts.folder(options.dataset)
    structures = load(options.dataset)[:: options.every]
    energy = structures.energy_per_atom
    by = None if options.by == "frame" else "trajectory"
    train, test = random_split(structures, seed=options.seed, by=by)
    diagrams = persistence_diagrams(structures, degrees=(0, 1, 2), folder=folder)
    histograms = PersistenceHistogram(bins=options.bins, sparse=True).fit_transform(diagrams)
    settings = PAPER | {"epochs": options.epochs, "batch_size": options.batch_size}
    device = choose_device(options.device)
    torch.backends.cudnn.benchmark = True
    begin = time.perf_counter()
    found = cnn.train_on_histograms(
        histograms,
        energy,
        train,
        test,
        settings,
        seed=options.seed,
        checkpoints=folder / "checkpoints",
        device=device,
        precision=options.precision,
        sparse=options.sparse or None,
    )
    wall = time.perf_counter() - begin
    result = {
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
        "precision": str(choose_precision(options.precision, device)).removeprefix("torch."),
        "frames": [len(train), len(test)],
        "split by": options.by,
        "bins": options.bins,
        "settings": settings,
        "labels": structures.labels,
        "wall / s": wall,
        "training / s": float(found["seconds"]),
        "ms a frame and epoch": 1000 * float(found["seconds"]) / options.epochs / len(train),
        "train RMSE / meV/atom": float(found["train"]),
        "test RMSE / meV/atom": float(found["test"]),
        "standard deviation / meV/atom": 1000 * float(np.std(energy)),
        "epochs": found["watched_epoch"].tolist(),
        "test curve / meV/atom": found["watched_test"].round(2).tolist(),
        "train curve / meV/atom": found["epoch_train"].round(2).tolist(),
    }
    shown = {k: v for k, v in result.items() if "curve" not in k and k != "epochs"}
    print("\n".join(f"{name:30} {value}" for name, value in shown.items()))
    print(f"\n{'epoch':>8}{'train':>10}{'test':>10}   meV/atom")
    for epoch, error in zip(result["epochs"], result["test curve / meV/atom"], strict=True):
        print(f"{epoch:8d}{result['train curve / meV/atom'][epoch - 1]:10.1f}{error:10.1f}")
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
