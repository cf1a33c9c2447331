import time

import numpy as np
from ase.build import bulk
from ase.io import read, write
from fake_zenodo import xyz_frame
from test_readers import frame

from phutils import formats, readers


def test_both_readers_give_the_same_frames(tmp_path):
    frames = [frame(-60 - k, seed=k, density=0.9, process=f"s {k}", run=k) for k in range(3)]
    frames.append(frame(-99.5, bulk("SiC", "zincblende", a=4.36, cubic=True), note="a=b c"))
    path = tmp_path / "some.xyz"
    write(path, frames, format="extxyz")
    path.write_text(path.read_text() + "\n\n")  # a tail of empty lines is no frame
    assert formats.is_extxyz(path)
    fast, ase = list(formats.read_extxyz(path)), list(formats.read_ase(path))
    assert len(fast) == len(ase) == 4
    for one, other in zip(fast, ase, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.cell, other.cell)
        assert one.pbc == other.pbc == (True,) * 3
        for key in ("energy", "density", "run"):
            assert float(one.info.get(key, 0)) == float(other.info.get(key, 0))
        assert one.info.get("process") == other.info.get("process")


def test_columns_in_any_order(tmp_path):
    path = tmp_path / "odd.xyz"
    head = '2\nenergy = -3.5 flag Properties=tag:I:1:pos:R:3:forces:R:3:species:S:1 pbc="T T T" '
    rows = "7 0.5 1.0 1.5 9 9 9 Si\n8 2.5 2.0 1e-1 9 9 9 C\n"
    path.write_text(head + "Lattice='4 0 0 0 5 0 0 0 6'\n" + rows)
    (only,) = formats.read_extxyz(path)
    assert only.numbers.tolist() == [14, 6]
    assert only.positions.tolist() == [[0.5, 1.0, 1.5], [2.5, 2.0, 0.1]]
    assert only.cell.diagonal().tolist() == [4, 5, 6]
    assert readers.read_records(path)[2]["energy"] == [-3.5]


def test_the_fast_reader_is_fast(tmp_path):
    rng = np.random.default_rng(0)
    text = [xyz_frame(216, 2.4, "quench2", -1900 - k, rng) for k in range(200)]
    path = tmp_path / "some.xyz"
    path.write_text("".join(text))

    def best(function):
        times = []
        for _ in range(3):
            start = time.process_time()
            assert sum(1 for _ in function(path)) == 200
            times.append(time.process_time() - start)
        return min(times)

    assert best(formats.read_extxyz) < 0.6 * best(lambda path: read(path, index=":"))
