import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from phutils import formats, readers

CUBE = Atoms(
    "C8",
    scaled_positions=np.stack(np.indices((2, 2, 2)), axis=-1).reshape(-1, 3) / 2 + 0.1,
    cell=[4.0, 5.0, 6.0],
    pbc=True,
)


def frame(energy=-60.0, atoms=CUBE, rattle=0.05, seed=0, **info):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(0, rattle, atoms.positions.shape)
    atoms.info = info
    if energy is not None:
        forces = np.zeros((len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


@pytest.fixture
def xyz(tmp_path):
    """Write frames, read them back through the checks."""

    def save(frames, name="some.xyz"):
        write(tmp_path / name, frames, format="extxyz")
        return tmp_path / name

    return save


def test_records_of_mixed_sizes_and_elements(xyz):
    silicon_carbide = bulk("SiC", "zincblende", a=4.36, cubic=True)
    frames = [
        frame(-60, run=1, stage="a", temperature=300),
        frame(-70, silicon_carbide.repeat((1, 1, 2)), run=1),
        frame(-61, seed=1, run=2, config_type="b"),
        frame(-62, seed=2, run=1),
    ]
    records = readers.read_records(xyz(frames))
    assert {n: len(own) for n, own in records.items()} == {8: 3, 16: 1}
    small = records[8]
    assert small["frame"].tolist() == [0, 2, 3]
    assert small["energy"].tolist() == [-60, -61, -62]
    assert small["stage"].tolist() == ["a", "b", ""]
    assert small["run"].tolist() == [1, 2, 1]
    assert small["trajectory"][0] == small["trajectory"][2] != small["trajectory"][1]
    assert records[16]["trajectory"][0] not in small["trajectory"]
    assert small["temperature"][0] == 300
    assert np.isnan(small["temperature"][1])
    assert np.isnan(small["time"]).all()
    assert small["density"] == pytest.approx(8 * 12.011 * 1.66053907 / 120)
    assert set(records[16]["numbers"][0]) == {6, 14}
    # a density that the file states is kept, and tells trajectories apart
    given = readers.read_records(xyz([frame(density=d) for d in (1.33, 1.32)]))[8]
    assert given["density"].tolist() == [1.33, 1.32]
    assert len(set(given["trajectory"])) == 2


@pytest.mark.parametrize("ending", ["traj", "db", "json", "extxyz.gz"])
def test_other_formats_of_ase(tmp_path, ending):
    frames = [frame(-60 - k, seed=k) for k in range(3)]
    path = tmp_path / f"some.{ending}"
    write(path, frames)
    assert not formats.is_extxyz(path)
    records = readers.read_records(path)[8]
    assert records["energy"].tolist() == [-60, -61, -62]
    np.testing.assert_allclose(records["positions"][2], frames[2].positions, atol=1e-7)


def test_database_columns(tmp_path):
    from ase.db import connect

    with connect(tmp_path / "some.db") as db:
        for k in range(2):
            db.write(frame(None, seed=k), dft_energy=-50.0 - k, run=k + 1)
    records = readers.read_records(tmp_path / "some.db")[8]
    assert records["energy"].tolist() == [-50, -51]
    assert records["run"].tolist() == [1, 2]


def test_database_with_arrays_as_schnetpack_writes_it(tmp_path):
    from ase.db import connect

    with connect(tmp_path / "some.db") as db:
        db.write(frame(None), data={"energy": np.array([-50.5]), "forces": np.zeros((8, 3))})
    assert readers.read_records(tmp_path / "some.db")[8]["energy"] == [-50.5]


def test_forces_belong_to_the_energy(tmp_path):
    """From every reader: columns, calculators, and the data of a row."""
    from ase.db import connect

    ours, theirs = np.random.default_rng(0).normal(size=(2, 8, 3))
    atoms = frame(-60, dft_energy=-61.0, ml_energy=-62.0)
    atoms.calc.results["forces"] = ours
    atoms.arrays["dft_forces"] = theirs
    write(tmp_path / "two.xyz", atoms, format="extxyz")
    with connect(tmp_path / "two.db") as db:
        db.write(frame(None), dft_energy=-61.0, data={"dft_force": theirs})
    for name, key, expected in (
        ("two.xyz", "energy", ours),
        ("two.xyz", "dft_energy", theirs),
        ("two.db", "dft_energy", theirs),
    ):
        found = readers.read_records(tmp_path / name, key)[8]["forces"]
        np.testing.assert_allclose(found[0], expected, atol=1e-6, err_msg=f"{name} {key}")
    records = readers.read_records(tmp_path / "two.xyz", "ml_energy")[8]
    assert "forces" not in records.dtype.names  # those of another calculation
    (other,) = formats.read_ase(tmp_path / "two.xyz")
    np.testing.assert_allclose(other.arrays["forces"], ours, atol=1e-6)
    np.testing.assert_allclose(other.arrays["dft_forces"], theirs, atol=1e-6)


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints><varray name="kpointlist"><v> 0 0 0 </v></varray>
  <varray name="weights"><v> 1 </v></varray></kpoints>
 <atominfo><atoms>2</atoms><array name="atoms"><set>
  <rc><c>C </c><c> 1</c></rc><rc><c>C </c><c> 1</c></rc></set></array></atominfo>
 <structure name="initialpos"><crystal><varray name="basis">
  <v> 3.0 0.0 0.0 </v><v> 0.0 4.0 0.0 </v><v> 0.0 0.0 5.0 </v></varray></crystal>
  <varray name="positions"><v> 0.0 0.0 0.0 </v><v> 0.4 0.5 0.5 </v></varray></structure>
 <calculation>
  <structure><crystal><varray name="basis">
   <v> 3.0 0.0 0.0 </v><v> 0.0 4.0 0.0 </v><v> 0.0 0.0 5.0 </v></varray></crystal>
   <varray name="positions"><v> 0.0 0.0 0.0 </v><v> 0.5 0.5 0.5 </v></varray></structure>
  <varray name="forces"><v> 0 0 0 </v><v> 0 0 0 </v></varray>
  <varray name="stress"><v> 0 0 0 </v><v> 0 0 0 </v><v> 0 0 0 </v></varray>
  <scstep><energy><i name="e_fr_energy"> -18.2 </i>
   <i name="e_0_energy"> -18.1 </i></energy></scstep>
  <energy><i name="e_fr_energy"> -18.2 </i><i name="e_wo_entrp"> -18.0 </i>
   <i name="e_0_energy"> -18.1 </i></energy>
 </calculation>
</modeling>
"""


def test_vasprun(tmp_path):
    (tmp_path / "vasprun.xml").write_text(VASPRUN)
    records = readers.read_records(tmp_path / "vasprun.xml")[2]
    assert records["energy"][0] == pytest.approx(-18.1)
    np.testing.assert_allclose(records["positions"][0, 1], [1.5, 2.0, 2.5])


@pytest.mark.parametrize("key", readers.ENERGY_KEYS)
def test_common_names_of_the_energy(tmp_path, key):
    text = "".join(TEXT.replace("energy=-3", f"{key}={energy}") for energy in (-12.5, -13.5))
    (tmp_path / "some.xyz").write_text(text)
    records = readers.read_records(tmp_path / "some.xyz")
    assert records[2]["energy"].tolist() == [-12.5, -13.5]


def test_energy_key_is_chosen_once(xyz):
    both = [frame(-60, my_energy=-1.0), frame(-61, my_energy=-2.0)]
    path = xyz(both)
    assert readers.read_records(path)[8]["energy"].tolist() == [-60, -61]
    assert readers.read_records(path, "my_energy")[8]["energy"].tolist() == [-1, -2]
    with pytest.raises(ValueError, match=r"frame 0: no energy under 'nope' \(keys there: .*my_en"):
        readers.read_records(path, "nope")
    mixed = xyz([frame(None, REF_energy=-60.0), frame(-61)])
    with pytest.raises(ValueError, match="frame 1: no energy under 'REF_energy'"):
        readers.read_records(mixed)


def spoiled(change, energy):
    atoms = frame(None, seed=4)
    change(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


BAD = {
    "nan position": (
        lambda a: a.positions.__setitem__((3, 1), np.nan),
        r"position of atom 3 is \[.*nan",
    ),
    "infinite position": (lambda a: a.positions.__setitem__((2, 0), np.inf), r"atom 2 is \[inf"),
    "no pbc": (lambda a: a.set_pbc([True, True, False]), "pbc is T T F"),
    "flat": (lambda a: a.set_cell([4, 5, 0]), "the cell has no volume"),
    "skew": (lambda a: a.set_cell([[4, 0, 0], [0.5, 5, 0], [0, 0, 6]]), "not orthorhombic.*alpha"),
    "turned": (lambda a: a.set_cell([[0, 4, 0], [5, 0, 0], [0, 0, -6]]), "not orthorhombic"),
    "close": (lambda a: a.positions.__setitem__(5, a.positions[1] + 0.2), "atoms 1 and 5 are 0.34"),
    "close image": (
        lambda a: a.positions.__setitem__(slice(0, 2), [[0.1, 0, 0], [3.9, 0, 0]]),
        r"atoms 0 and 1 are 0\.200 Å apart",
    ),
    "same place": (lambda a: a.positions.__setitem__(7, a.positions[0]), "atoms 0 and 7 are 0.000"),
    "unknown element": (lambda a: a.numbers.__setitem__(0, 0), "unknown element"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("ending", ["xyz", "traj"])
def test_one_bad_frame_among_many(tmp_path, name, ending):
    change, message = BAD[name]
    frames = [frame(-60 - k, seed=k) for k in range(6)]
    frames[4] = spoiled(change, -64)
    if ending == "traj":  # ASE leaves out the results of a frame with nan
        frames[4].info["energy"] = -64.0
    path = tmp_path / f"some.{ending}"
    write(path, frames, format="extxyz" if ending == "xyz" else "traj")
    with pytest.raises(ValueError, match=rf"some\.{ending}, frame 4: .*{message}"):
        readers.read_records(path)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"energy": np.nan}, "energy is nan"),
        ({"energy": -np.inf}, "energy is -inf"),
        ({"energy": None}, "no energy"),
        ({"energy": None, "REF_energy": "low"}, "REF_energy is 'low', expected a number"),
        ({"density": 2.4}, "density is given as 2.4 g/cm3, but masses and cell make 1.33 g/cm3"),
        ({"density": "high"}, "density is 'high', expected a number"),
        ({"run": 1.5}, "run is 1.5, expected an integer"),
        ({"stage": "x" * 40}, "more than 32 characters"),
    ],
)
def test_bad_labels(xyz, info, message):
    with pytest.raises(ValueError, match=f"frame 0: .*{message}"):
        readers.read_records(xyz([frame(**info)]))


def test_a_cell_smaller_than_an_atom(xyz):
    tiny = Atoms("C", positions=[[0.1, 0.1, 0.1]], cell=[0.4, 5, 5], pbc=True)
    with pytest.raises(ValueError, match=r"frame 0: cell edge of 0\.4 Å"):
        readers.read_records(xyz([frame(-9, tiny)]))


def test_positions_outside_the_cell_are_fine(xyz):
    outside = frame()
    outside.positions += [-1e-17, 400.0, -60.0]
    outside.positions[0] = [-1e-17, 0, 0]
    np.testing.assert_allclose(
        readers.read_records(xyz([outside]))[8]["positions"][0], outside.positions, atol=1e-8
    )


TEXT = '2\nLattice="4 0 0 0 5 0 0 0 6" Properties=species:S:1:pos:R:3 energy=-3\nC 0 0 0\nC 2 2 2\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT + TEXT[:-9], "frame 1: the file ends within the frame"),
        (TEXT + TEXT.replace("C 2 2 2", "C 2 2"), "frame 1: expected 4 fields on atom line 1"),
        (TEXT + TEXT.replace("2 2 2", "2 2 x"), "frame 1: invalid field 'x' for property 'pos'"),
        (TEXT + "C 1 1 1\n" + TEXT, "frame 1: Failed to parse int natoms from 'C 1 1 1'"),
        (TEXT + TEXT.replace("species", "spices"), "frame 1: atom 0 is of unknown element"),
        (TEXT + TEXT.replace("C 2 2 2", "Cq 2 2 2"), "frame 1: atom 1 is of unknown element 'Cq'"),
        (TEXT + TEXT.replace("Lattice", "Latex"), "frame 1: pbc is F F F"),
        (TEXT + TEXT.replace(" 6", " 1 2 3"), "frame 1: Lattice has wrong shape"),
        (TEXT + TEXT.replace("Prop", 'pbc="" Prop'), "frame 1: pbc is F F F"),
        ("hello\nworld\n", "frame 0: ASE cannot read it"),
        ("2\n\nC 0 0 0\nC 2 2 2\n", "frame 0: no energy"),
        ("2\nenergy=-3\nC 0 0 0\nC 2 2 2\n", "frame 0: pbc is F F F"),
    ],
)
def test_broken_text(tmp_path, text, message):
    (tmp_path / "some.xyz").write_text(text)
    with pytest.raises(ValueError, match=rf"some\.xyz, {message}"):
        readers.read_records(tmp_path / "some.xyz")


def test_files_that_hold_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.xyz does not exist"):
        readers.read_records(tmp_path / "gone.xyz")
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(ValueError, match=r"empty\.xyz is empty"):
        readers.read_records(tmp_path / "empty.xyz")


def test_formats_without_energies_say_so(tmp_path):
    write(tmp_path / "POSCAR", frame())
    with pytest.raises(ValueError, match=r"POSCAR, frame 0: no energy; set energy_key"):
        readers.read_records(tmp_path / "POSCAR")
    dump = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n"
    dump += "0 5\n0 5\n0 5\nITEM: ATOMS id type x y z\n1 1 1 1 1\n"
    (tmp_path / "some.lammpstrj").write_text(dump)
    with pytest.raises(ValueError, match=r"some\.lammpstrj, frame 0: no energy"):
        readers.read_records(tmp_path / "some.lammpstrj")


class _Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was loaded')",))


@pytest.mark.parametrize("name", ["some.pckl", "some.traj", "some.npy", "some.xyz"])
def test_pickles_are_never_loaded(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ValueError, match="ASE cannot read it"):
        readers.read_records(tmp_path / name)
