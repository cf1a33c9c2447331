import hashlib
import os
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.data import atomic_masses


def frame_dtype(n_atoms):
    return np.dtype(
        [
            ("energy", "<f8"),
            ("density", "<f8"),
            ("cell", "<f8", (3,)),
            ("time", "<f4"),
            ("temperature", "<f4"),
            ("run", "<i2"),
            ("stage", "<U11"),
            ("scaled_positions", "<u2", (n_atoms, 3)),
        ]
    )


def cell_length(n_atoms, density, number=6):
    mass = n_atoms * atomic_masses[number] * units._amu * 1e3  # g
    return (mass / density) ** (1 / 3) * 1e8


def pack_frame(atoms, density, run, stage, time, temperature, energy=np.nan):
    frame = np.zeros((), frame_dtype(len(atoms)))
    cell = atoms.cell.lengths()
    scaled = np.rint(atoms.positions / cell * 2**16).astype(np.int64) % 2**16
    fields = dict(energy=energy, density=density, cell=cell, time=time, temperature=temperature)
    for name, value in (fields | dict(run=run, stage=stage, scaled_positions=scaled)).items():
        frame[name] = value
    return frame


def unpack_atoms(frame):
    positions = frame["scaled_positions"] * (frame["cell"] / 2**16)
    return Atoms(f"C{len(positions)}", positions=positions, cell=frame["cell"], pbc=True)


def write_checksums(root):
    root = Path(root)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root).as_posix()}\n"
        for path in sorted(root.glob("*/*.npy"))
        if path.parent.name != ".partial"
    ]
    partial = root / f"SHA256SUMS.{os.getpid()}.tmp"
    partial.write_text("".join(lines))
    partial.replace(root / "SHA256SUMS")
