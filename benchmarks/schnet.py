"""Time the training of SchNet on a CPU: SchNetPack's own loop against ours.

    python benchmarks/schnet.py [--frames 32] [--rounds 4] [--batch-size 4 8] [--compile] [--forces]

All ways train the same network (60 Gaussians, 100 features) on the same frames with Adam, one epoch
of each way in turn, round after round, in one process. What is counted is CPU time, and the
shortest epoch of each way, so that a busy machine changes little:

``SchNetPack loop``
    ``ASEAtomsData``, ``AtomsDataModule`` with ``MatScipyNeighborList``, ``AtomisticTask`` and
    Lightning's ``Trainer``, as in SchNetPack's tutorials.
``stock forward``
    SchNetPack's forward in our loop, neighbours from disk.
``tabulated, PyTorch``
    Filters tabulated, plain PyTorch operations; with ``--compile`` also by ``torch.compile``.
``tabulated``
    Filters tabulated, compiled kernels: what the book uses.

With ``--forces``, on frames that have forces (``phutils.force_training``):

``double backward, stock forward``
    Energies and forces through SchNetPack's forward; PyTorch differentiates twice.
``double backward, tabulated``
    The same with tabulated filters in plain PyTorch.
``tabulated, exact rates``
    Compiled kernels that carry rates of change along: what the book uses.
``tabulated, energies alone``
    What the forces cost is the difference from this one.

Beside the times stands by how much energies differ from those of the stock forward, in units of
the standard deviation of the energies.
"""

import argparse
import json
import logging
import os
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from phutils import artifacts, force_training, network_forces, schnet, tabulated_filters
from phutils.dataset import load
from phutils.neighbours import find_neighbours


def stock_loop(structures, settings, rounds, batch_size):
    """CPU seconds of every epoch of SchNetPack's own training loop, the first one left out."""
    spk = schnet.import_schnetpack()
    import pytorch_lightning as lightning

    class Clock(lightning.Callback):
        def __init__(self):
            self.seconds = []

        def on_train_epoch_start(self, *_):
            self.begin = time.process_time()

        def on_train_epoch_end(self, *_):
            self.seconds.append(time.process_time() - self.begin)

    n, home, clock = len(structures), Path.cwd(), Clock()
    for name in ("pytorch_lightning", "lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)  # it leaves files where it is called
        try:
            file = str(Path(folder, "frames.db"))
            data = spk.data.ASEAtomsData.create(file, "Ang", {"energy": "eV"})
            frames = list(structures)
            for atoms in frames:
                atoms.info = {}
            energies = [{"energy": np.array([e])} for e in structures.energy_per_atom]
            data.add_systems(energies, frames)
            module = spk.data.AtomsDataModule(
                file,
                batch_size=batch_size,
                num_train=n - 1,
                num_val=1,
                num_test=0,
                split_file=None,
                num_workers=0,
                transforms=[
                    spk.transform.MatScipyNeighborList(settings["cutoff"]),
                    spk.transform.RemoveOffsets("energy", remove_mean=True, is_extensive=False),
                    spk.transform.CastTo32(),
                ],
            )
            network = schnet.build(settings).network
            potential = spk.model.NeuralNetworkPotential(
                representation=network.representation,
                input_modules=[spk.atomistic.PairwiseDistances()],
                output_modules=[network.output],
                postprocessors=[
                    spk.transform.CastTo64(),
                    spk.transform.AddOffsets("energy", add_mean=True, is_extensive=False),
                ],
            )
            output = spk.task.ModelOutput("energy", nn.MSELoss(), metrics={})
            task = spk.task.AtomisticTask(
                potential, [output], torch.optim.Adam, {"lr": settings["learning_rate"]}
            )
            trainer = lightning.Trainer(
                max_epochs=rounds + 1,
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
                callbacks=[clock],
            )
            trainer.fit(task, datamodule=module)
        finally:
            os.chdir(home)
    return [seconds / (n - 1) for seconds in clock.seconds[1:]]


class Loop:
    """Our training step on fixed frames by one route."""

    def __init__(self, neighbours, energy, settings, batch_size, route="tabulated", fused=None):
        self.model = schnet.build(settings)
        self.model.network.route, self.fused = route, fused
        self.neighbours, self.batch_size = neighbours, batch_size
        self.energy = torch.as_tensor((energy - energy.mean()) / energy.std()).float()
        rate = settings["learning_rate"]
        self.optimiser = torch.optim.Adam(self.model.parameters(), rate, fused=True)
        self.call = self.model

    def epoch(self):
        """CPU seconds a frame."""
        convolve = tabulated_filters.convolve
        if self.fused is not None:
            schnet.convolve = lambda *arguments: convolve(*arguments, fused=self.fused)
        begin = time.process_time()
        for batch in torch.arange(len(self.energy)).split(self.batch_size):
            self.optimiser.zero_grad()
            inputs = [torch.from_numpy(x) for x in self.neighbours.batch(batch.numpy())]
            (self.call(*inputs) - self.energy[batch]).square().mean().backward()
            self.optimiser.step()
        schnet.convolve = convolve
        return (time.process_time() - begin) / len(self.energy)

    def predict(self):
        with torch.no_grad():
            every = range(len(self.energy))
            inputs = ([torch.from_numpy(x) for x in self.neighbours.batch([i])] for i in every)
            return torch.cat([self.model(*x) for x in inputs])


def compare(structures, neighbours, settings, rounds, batch_size, with_compile):
    """One table: {way: {"ms", "ratio", "off"}}, times a frame and epoch."""
    energy = structures.energy_per_atom
    data = (neighbours, energy, settings, batch_size)
    loops = {
        "stock forward": Loop(*data, route="stock"),
        "tabulated, PyTorch": Loop(*data, fused=False),
        "tabulated": Loop(*data),
    }
    if with_compile:
        loops["tabulated, torch.compile"] = compiled = Loop(*data, fused=False)
        compiled.call = torch.compile(compiled.model, dynamic=True)
    spent = {name: [] for name in loops}
    for name, loop in loops.items():  # warm up: kernels are compiled
        begin = time.process_time()
        loop.epoch()
        print(f"first epoch, {name}: {time.process_time() - begin:.1f} CPU s", flush=True)
    for _ in range(rounds):
        for name, loop in loops.items():
            spent[name].append(loop.epoch())
    spent["SchNetPack loop"] = stock_loop(structures, settings, rounds, batch_size)
    exact = schnet.restore(
        {f"weights/{k}": v for k, v in loops["tabulated"].model.state_dict().items()}, settings
    )
    exact.network.route = "stock"
    reference = Loop(*data)
    reference.model = exact
    off = float((loops["tabulated"].predict() - reference.predict()).abs().max())
    table = {}
    for name in ("SchNetPack loop", *loops):
        ms = 1000 * min(spent[name])
        table[name] = {"ms": ms, "ratio": 1000 * min(spent["SchNetPack loop"]) / ms}
    table["tabulated"]["off"] = off
    return table


class ForceLoop:
    """Our training step on energies and forces of fixed frames."""

    def __init__(self, neighbours, structures, settings, batch_size, route="tabulated", factor=0.1):
        self.model = schnet.build(settings)
        self.model.network.route = route
        self.both = force_training.EnergyAndForces(self.model, factor).train()
        self.neighbours, self.structures = neighbours, structures
        self.batches = torch.arange(len(structures)).split(batch_size)
        energy = structures.energy_per_atom
        self.energy = torch.as_tensor((energy - energy.mean()) / energy.std()).float()
        self.forces = torch.as_tensor(structures.forces)
        rate = settings["learning_rate"]
        self.optimiser = torch.optim.Adam(self.model.parameters(), rate, fused=True)

    def epoch(self, compiled=True):
        """CPU seconds a frame, and the gradient of the first batch."""
        usual = network_forces._compiled
        if not compiled:
            network_forces._compiled = lambda *_: False
        begin, first = time.process_time(), None
        for batch in self.batches:
            self.optimiser.zero_grad()
            inputs = network_forces.batch(self.neighbours, self.structures, batch.numpy())
            found = self.both(*inputs, self.forces[batch].flatten(0, 1))
            (found - self.energy[batch]).square().mean().backward()
            if first is None:
                first = torch.cat([p.grad.flatten() for p in self.model.parameters()])
            self.optimiser.step()
        network_forces._compiled = usual
        return (time.process_time() - begin) / len(self.energy), first


def compare_forces(options, settings):
    """{way: {"ms", "ratio", "off"}}; off: of the first gradient, by its largest element."""
    structures = load(options.dataset)
    structures = structures[structures.with_forces]
    chosen = np.linspace(0, len(structures) - 1, options.force_frames).astype(int)
    data = structures[chosen]
    near = find_neighbours(data, progress=False, n_jobs=1)
    given = (near, data, settings, options.batch_size[0])
    loops = {
        "double backward, stock forward": (ForceLoop(*given, route="stock"), True),
        "double backward, tabulated": (ForceLoop(*given), False),
        "tabulated, exact rates": (ForceLoop(*given), True),
        "tabulated, energies alone": (ForceLoop(*given, factor=0.0), True),
    }
    first = {name: loop.epoch(compiled)[1] for name, (loop, compiled) in loops.items()}
    spent = {name: [] for name in loops}
    for _ in range(options.rounds):
        for name, (loop, compiled) in loops.items():
            spent[name].append(loop.epoch(compiled)[0])
    slowest, table = min(spent["double backward, stock forward"]), {}
    exact = first["double backward, stock forward"]
    for name, seconds in spent.items():
        off = float((first[name] - exact).abs().max() / exact.abs().max())
        table[name] = {"ms": 1000 * min(seconds), "ratio": slowest / min(seconds), "off": off}
    table["tabulated, energies alone"].pop("off")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=32, help="evenly spread")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--interactions", type=int, default=3)
    parser.add_argument("--gamma", type=float, default=10.0, help="1/Å^2; 0: SchNetPack's own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="also torch.compile; needs g++")
    parser.add_argument("--forces", action="store_true", help="energies and forces, these alone")
    parser.add_argument("--force-frames", type=int, default=8)
    parser.add_argument("--dataset", default="embedded")
    parser.add_argument("--output", type=Path, help="also write the tables as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    if options.forces:
        basis = {"gamma": options.gamma or None, "interactions": options.interactions}
        table = compare_forces(options, schnet.PAPER | basis)
        print(f"energies and forces, batches of {options.batch_size[0]}")
        print(f"{'':32}{'CPU ms a frame':>15}{'faster':>8}{'gradient off':>14}")
        for name, row in table.items():
            off = f"{row['off']:14.0e}" if "off" in row else ""
            print(f"{name:32}{row['ms']:15.1f}{row['ratio']:8.1f}{off}")
        if options.output:
            text = json.dumps({"energies and forces": table}, indent=1)
            options.output.write_text(text + "\n", encoding="utf-8")
        return
    structures = load(options.dataset)
    chosen = np.linspace(0, len(structures) - 1, options.frames).astype(int)
    structures = structures[chosen]
    neighbours = find_neighbours(structures, folder=artifacts.folder(options.dataset), n_jobs=1)
    settings = schnet.PAPER | {
        "gamma": options.gamma or None,
        "interactions": options.interactions,
    }
    tables = {}
    for size in options.batch_size:
        data = (structures, neighbours, settings, options.rounds, size, options.compile)
        tables[f"batches of {size}"] = table = compare(*data)
        print(f"\nbatches of {size}{'':14}{'CPU ms a frame':>15}{'faster':>8}")
        for name, row in table.items():
            print(f"{name:26}{row['ms']:15.2f}{row['ratio']:8.1f}")
        print(f"energies off by {table['tabulated']['off']:.0e} standard deviations\n")
    if options.output:
        options.output.write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
