"""What chapters share on the smallest sets a reader may bring, and files of other programs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import iread, write

from phutils import baselines, correlation, rings, splits, structure
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams

ROOT = Path(__file__).resolve().parents[1]
SETS = {
    "diamond": (bulk("C", "diamond", a=3.57, cubic=True), 8),
    "SiC": (bulk("SiC", "zincblende", a=4.36, cubic=True), 12),
    "silicon": (bulk("Si", "diamond", a=5.43, cubic=True).repeat(2), 12),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "cache"))


@pytest.fixture(params=SETS)
def own(request, tmp_path):
    """Rattled frames of one set, loaded from a file without anything but energies."""
    cell, n = SETS[request.param]
    frames = []
    for seed in range(n):
        frames.append(cell.copy())
        frames[-1].rattle(0.03, seed=seed)
        frames[-1].info["energy"] = -7.0 * len(cell) + 0.1 * seed**2
    write(tmp_path / "own.extxyz", frames)
    return load(tmp_path / "own.extxyz")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_chapters_share_takes_small_sets(own, tmp_path):
    assert set(own.stage) == {""} and len(np.unique(own.trajectory)) == 1
    named = splits.named_splits(own, repeats=2)
    assert set(named) == {"random", "by trajectory"}
    assert all(len(train) and len(test) for pairs in named.values() for train, test in pairs)
    hot, cold = splits.hot_and_cold(own).values()
    assert own.energy_per_atom[hot].min() > own.energy_per_atom[cold].max()

    order = structure.local_order(own)
    np.testing.assert_allclose(order["coordination"][:, 4], 1)
    assert order["bond_std"].max() < 0.1
    network = rings.bond_network(own)
    np.testing.assert_allclose(network["rings"], [[0, 0, 0, 1, 0, 0]] * len(own))
    g = structure.radial_distribution(own)
    near = g["r"] < structure.longest_bond(own[0].numbers).max()
    first = g["r"][near][g["g"][near].argmax()]
    assert first == pytest.approx(order["bond_mean"].mean(), abs=0.1)

    series, step, unit = correlation.legs(own, "")
    assert (len(series), step, unit) == (1, 1.0, "frames")
    lags = np.arange(31)
    assert np.isnan(correlation.rms_change(series, lags[1:])[len(own) - 1 :]).all()
    assert len(correlation.autocorrelation(series, lags)) == 31

    diagrams = persistence_diagrams(own, n_jobs=1, progress=False)
    features = baselines.baseline_features(own, diagrams, n_jobs=1)
    assert all(np.isfinite(x).all() and len(x) == len(own) for x in features.values())
    np.testing.assert_allclose(features["eight numbers"][:, 4], 1)  # all atoms have four bonds


def test_energies_are_joined_to_a_dump_as_the_page_says(tmp_path):
    cell = bulk("C", "diamond", a=3.57, cubic=True).repeat(2)
    text = ""
    for step in range(3):
        atoms = cell.copy()
        atoms.rattle(0.05, seed=step)
        text += f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n64\nITEM: BOX BOUNDS pp pp pp\n"
        text += "0.0 7.14\n" * 3 + "ITEM: ATOMS id type x y z\n"
        rows = enumerate(atoms.get_positions(wrap=True).round(5).tolist(), 1)
        text += "".join(f"{i} 1 {x} {y} {z}\n" for i, (x, y, z) in rows)
    (tmp_path / "run.lammpstrj").write_text(text)
    (tmp_path / "energies.txt").write_text("# step eV\n0 -450.5\n1 -451.5\n2 -452.5\n")
    with pytest.raises(ValueError, match="run.lammpstrj, frame 0: no energy"):
        load(tmp_path / "run.lammpstrj")
    page = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\{code-block\} python\n(.*?)```", page, re.S)
    (code,) = (block for block in blocks if "lammps-dump-text" in block)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    joined = load(tmp_path / "run.extxyz")
    np.testing.assert_allclose(joined.energy_per_atom * 64, [-450.5, -451.5, -452.5])
    assert joined[0].get_chemical_formula() == "C64"
    dumped = next(iread(tmp_path / "run.lammpstrj", format="lammps-dump-text"))
    np.testing.assert_allclose(joined[0].positions, dumped.positions, atol=1e-5)


def vasprun(frames, energies):
    """A vasprun.xml with no more than ASE needs: atoms, then cell, positions and energy."""

    def rows(values, tag="v"):
        return "".join(f"<{tag}>{' '.join(map(str, row))}</{tag}>" for row in values)

    def shape(atoms):
        basis = f'<crystal><varray name="basis">{rows(atoms.cell.array)}</varray></crystal>'
        places = rows(atoms.get_scaled_positions())
        return f'<structure>{basis}<varray name="positions">{places}</varray></structure>'

    first = frames[0]
    atoms = "".join(f"<rc><c>{symbol}</c><c>1</c></rc>" for symbol in first.symbols)
    start = shape(first).replace("<structure>", '<structure name="initialpos">')
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><modeling><kpoints>'
    text += '<varray name="kpointlist"><v>0 0 0</v></varray>'
    text += '<varray name="weights"><v>1</v></varray></kpoints><atominfo>'
    text += f"<atoms>{len(first)}</atoms>"
    text += f'<array name="atoms"><set>{atoms}</set></array></atominfo>{start}'
    for frame, energy in zip(frames, energies, strict=True):
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        total = "".join(f'<i name="{name}">{energy}</i>' for name in names)
        step = f"<scstep><energy>{total}</energy></scstep>"
        forces = f'<varray name="forces">{rows(np.zeros((len(frame), 3)))}</varray>'
        text += f"<calculation>{step}{shape(frame)}{forces}<energy>{total}</energy></calculation>"
    return text + "</modeling>"


def test_vasprun_is_loaded(tmp_path):
    cell, _ = SETS["SiC"]
    frames = [cell.copy() for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.03, seed=seed)
    energies = [-60.25, -60.5, -60.75]
    (tmp_path / "vasprun.xml").write_text(vasprun(frames, energies))
    found = load(tmp_path / "vasprun.xml")
    np.testing.assert_allclose(found.energy_per_atom * 8, energies)
    assert found[0].get_chemical_formula() == "C4Si4" and found.labels == "user"
    for atoms, original in zip(found, frames, strict=True):
        apart = atoms.get_scaled_positions() - original.get_scaled_positions()
        np.testing.assert_allclose(apart - np.round(apart), 0, atol=1e-6)
    (tmp_path / "vasprun.xml").write_text(vasprun(frames, [-60.25, "nan", -60.75]))
    with pytest.raises(ValueError, match="vasprun.xml, frame 1: energy is nan"):
        load(tmp_path / "vasprun.xml")
