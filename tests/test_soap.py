import multiprocessing
import os
import signal

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from phutils import soap
from phutils.frames import FrameError
from phutils.soap import PAPER, soap_features

SMALL = PAPER | {"r_cut": 2.5, "n_max": 3, "l_max": 2}
QUIET = {"n_jobs": 1, "progress": False}


def crystal(seed=0, edge=3.57, symbol="C"):
    """A cubic cell of eight atoms, each a little off its place: most cutoffs exceed the cell."""
    atoms = bulk(symbol, "diamond", a=edge, cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


CRYSTALS = [crystal(seed, 3.4 + 0.02 * seed) for seed in range(40)]


def dscribe(atoms, settings, **options):
    from dscribe.descriptors import SOAP

    return SOAP(species=["C"], periodic=True, **settings, **options).create(atoms)


def fork(function, *args):
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


def ended(process):
    process.join(60)
    return process.exitcode


# --- descriptors ---------------------------------------------------------------------------------


def test_360_features():
    assert soap.n_features(PAPER) == 360
    assert soap_features([crystal()], **QUIET).shape == (1, 360)
    settings = SMALL | {"n_max": 5, "l_max": 4}
    assert soap_features([crystal()], settings, **QUIET).shape == (1, soap.n_features(settings))


def test_averaged_descriptors_are_those_of_dscribe():
    found = soap_features(CRYSTALS[:3], **QUIET)
    expected = [dscribe(atoms, PAPER, average="outer") for atoms in CRYSTALS[:3]]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_a_cutoff_beyond_half_the_cell_sees_the_images():
    atoms = crystal()
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), -1).reshape(-1, 3) @ atoms.cell.array
    order = np.argsort(np.linalg.norm(shifts, axis=1))  # the home cell first
    positions = (atoms.positions + shifts[order][:, None]).reshape(-1, 3)
    cluster = Atoms(numbers=[6] * len(positions), positions=positions)
    from dscribe.descriptors import SOAP

    expected = SOAP(species=["C"], periodic=False, **PAPER).create(cluster, centers=list(range(8)))
    scale = np.stack([np.zeros(360), np.ones(360)])
    found = soap.soap_shard([(atoms.positions, atoms.cell.array)], PAPER, scale)
    np.testing.assert_allclose(found["mean"][0], expected.mean(axis=0), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found["atoms"][0], expected, rtol=1e-3, atol=1e-7)


def test_neither_cell_nor_origin_nor_order_nor_rotation_matter():
    atoms = crystal()
    other = atoms.copy()
    other.positions += [1.0, -7.0, 0.3]
    other = other[np.random.default_rng(0).permutation(8)]
    other.set_cell(np.array([[1, 0, 0], [3, 1, 0], [-2, 5, 1]]) @ other.cell.array)  # slanted
    other.rotate(40, (1, 2, 3), rotate_cell=True)
    larger = atoms.repeat((2, 1, 1))
    found = soap_features([atoms, other, larger], SMALL, **QUIET)
    np.testing.assert_allclose(found[1:], found[[0, 0]], rtol=1e-4, atol=1e-7)


def test_one_element_whichever():
    silicon = crystal(symbol="Si", edge=3.57)
    found = soap_features([silicon], SMALL, **QUIET)
    np.testing.assert_array_equal(found, soap_features([crystal()], SMALL, **QUIET))


def test_descriptors_of_atoms(tmp_path):
    scale = soap.soap_scale(CRYSTALS, SMALL, tmp_path, n_jobs=1)
    bare = np.array([dscribe(atoms, SMALL) for atoms in CRYSTALS])
    flat = bare.reshape(-1, bare.shape[-1])
    np.testing.assert_allclose(scale, [flat.mean(axis=0), flat.std(axis=0)], rtol=1e-4)
    found = soap_features(CRYSTALS, SMALL, tmp_path, per_atom=True, **QUIET)
    assert isinstance(found, np.memmap) and found.mode == "r" and found.dtype == np.float16
    exact = (bare - scale[0]) / scale[1]
    np.testing.assert_allclose(found, exact, rtol=2**-11, atol=2e-4)
    assert np.abs(found.mean(axis=(0, 1), dtype=float)).max() < 1e-3
    same = soap_features(CRYSTALS, SMALL, None, per_atom=True, scale=scale, **QUIET)
    np.testing.assert_allclose(same, found, rtol=2**-10, atol=1e-6)


def test_a_scale_can_be_shared(tmp_path):
    scale = soap.soap_scale(CRYSTALS, SMALL, n_jobs=1)
    larger = [atoms.repeat((2, 1, 1)) for atoms in CRYSTALS[:2]]
    found = soap_features(larger, SMALL, tmp_path, per_atom=True, scale=scale, **QUIET)
    assert found.shape == (2, 16, soap.n_features(SMALL))
    same = soap_features(CRYSTALS[:2], SMALL, tmp_path, per_atom=True, scale=scale, **QUIET)
    np.testing.assert_allclose(found.mean(axis=1), same.mean(axis=1), atol=2e-3)


def test_a_descriptor_that_never_varies_has_unit_scale():
    scale = soap.soap_scale([crystal()] * 3, SMALL, n_jobs=1)
    alone = Atoms("C", positions=[[0, 0, 0]], cell=[20, 20, 20], pbc=True)
    assert (soap.soap_scale([alone], SMALL, n_jobs=1)[1] == 1).all() and (scale[1] > 0).all()


# --- files ---------------------------------------------------------------------------------------


def count_calls(monkeypatch):
    calls, shard = [], soap.run_shards

    def counting(structures, **options):
        calls.append(len(structures))
        return shard(structures=structures, **options)

    monkeypatch.setattr(soap, "run_shards", counting)
    return calls


def test_descriptors_are_kept(tmp_path, monkeypatch):
    scale = soap.soap_scale(CRYSTALS, SMALL, n_jobs=1)
    atoms = soap_features(CRYSTALS, SMALL, tmp_path, True, scale, **QUIET)
    calls = count_calls(monkeypatch)
    mean = soap_features(CRYSTALS, SMALL, tmp_path, **QUIET)  # came with those of the atoms
    again = soap_features(CRYSTALS, SMALL, tmp_path, True, scale, **QUIET)
    assert not calls
    np.testing.assert_array_equal(again, atoms)
    np.testing.assert_array_equal(mean, soap_features(CRYSTALS, SMALL, **QUIET))
    assert sorted(p.suffix for p in (tmp_path / "cache").iterdir()) == [".npy", ".npy"]


def test_another_frame_or_setting_is_another_file(tmp_path, monkeypatch):
    soap_features(CRYSTALS[:2], SMALL, tmp_path, **QUIET)
    calls = count_calls(monkeypatch)
    soap_features([CRYSTALS[0], CRYSTALS[2]], SMALL, tmp_path, **QUIET)
    soap_features(CRYSTALS[:2], SMALL | {"sigma": 0.2}, tmp_path, **QUIET)
    assert calls == [2, 2]


def test_a_damaged_file_is_made_again(tmp_path):
    expected = soap_features(CRYSTALS[:3], SMALL, tmp_path, **QUIET)
    (file,) = (tmp_path / "cache").glob("soap_mean-*.npy")
    file.write_bytes(file.read_bytes()[:-40])
    np.testing.assert_array_equal(soap_features(CRYSTALS[:3], SMALL, tmp_path, **QUIET), expected)


@pytest.mark.parametrize("torn", [0, 3])
def test_a_killed_run_goes_on(tmp_path, monkeypatch, torn):
    monkeypatch.setattr(soap, "SHARD", 8)
    scale = soap.soap_scale(CRYSTALS, SMALL, n_jobs=1)
    expected = np.array(soap_features(CRYSTALS, SMALL, tmp_path / "whole", True, scale, **QUIET))
    run = soap.run_shards

    def dying(**options):
        for i, shard in enumerate(run(**options)):
            if i == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield shard

    def die():
        soap.run_shards = dying
        soap_features(CRYSTALS, SMALL, tmp_path, True, scale, **QUIET)

    assert ended(fork(die)) == -signal.SIGKILL
    partial = sorted((tmp_path / "cache").glob("*.partial"))
    assert len(partial) == 2 and not list((tmp_path / "cache").glob("*.npy"))
    for path in partial[:1]:
        with path.open("r+b") as file:  # the disk was full, or power failed
            file.truncate(path.stat().st_size - torn)
    calls = count_calls(monkeypatch)
    found = soap_features(CRYSTALS, SMALL, tmp_path, True, scale, **QUIET)
    assert calls == [40 - 24 + (torn > 0)]
    np.testing.assert_array_equal(found, expected)
    mean = soap_features(CRYSTALS, SMALL, tmp_path, **QUIET)
    np.testing.assert_array_equal(mean, soap_features(CRYSTALS, SMALL, **QUIET))
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_shards_go_to_disk_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(soap, "SHARD", 8)
    sizes, run = [], soap.run_shards

    def watched(**options):
        for shard in run(**options):
            yield shard
            sizes.append([p.stat().st_size for p in (tmp_path / "cache").glob("*.partial")])

    monkeypatch.setattr(soap, "run_shards", watched)
    soap_features(CRYSTALS, SMALL, tmp_path, **QUIET)
    grown = np.diff(np.array(sizes)[:, 0])
    assert (grown == 8 * 4 * soap.n_features(SMALL)).all() and len(grown) == 4


# --- bad input -----------------------------------------------------------------------------------


def test_two_elements_are_refused_before_anything_is_computed(tmp_path, monkeypatch):
    calls = count_calls(monkeypatch)
    mixed = crystal(5)
    mixed.numbers[3] = 14
    for bad, message in (
        ([*CRYSTALS[:4], mixed], "^frame 4: it holds Si, but these descriptors are of C alone"),
        ([*CRYSTALS[:2], crystal(symbol="Si")], "^frame 2: it holds Si"),
    ):
        with pytest.raises(FrameError, match=message):
            soap_features(bad, SMALL, tmp_path, **QUIET)
    with pytest.raises(FrameError, match="^frame 0: it holds C, but these .* of Si alone"):
        soap_features(CRYSTALS, SMALL, tmp_path, element="Si", **QUIET)
    assert not calls


def test_sizes_do_not_mix_by_atom(tmp_path):
    mixed = [CRYSTALS[0], CRYSTALS[1].repeat((1, 1, 2))]
    with pytest.raises(FrameError, match="^frame 1: 16 atoms after frames of 8"):
        soap_features(mixed, SMALL, tmp_path, per_atom=True, **QUIET)
    assert soap_features(mixed, SMALL, tmp_path, **QUIET).shape == (2, soap.n_features(SMALL))


def test_a_bad_frame_is_named_also_after_a_killed_run(tmp_path, monkeypatch):
    monkeypatch.setattr(soap, "SHARD", 8)
    bad = CRYSTALS[:30]
    bad[27] = bad[27].copy()
    bad[27].positions[2, 1] = np.nan
    for done in (3, 0):
        calls = count_calls(monkeypatch)
        with pytest.raises(FrameError, match="^frame 27: position of atom 2 is"):
            soap_features(bad, SMALL, tmp_path, **QUIET)
        assert calls[-1] == (30 if done else 30 - 24)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"cutoff": 4.0}, "missing or unknown: cutoff"),
        ({"r_cut": 0.5}, "bigger than 1 angstrom"),
        ({"l_max": 30}, "maximum available l_max"),
        ({"sigma": -1}, "positive gaussian width"),
    ],
)
def test_impossible_settings(changed, message):
    with pytest.raises(ValueError, match=message):
        soap_features(CRYSTALS, SMALL | changed, **QUIET)


def test_no_frames():
    with pytest.raises(ValueError, match="no frames"):
        soap_features([], SMALL, **QUIET)


def test_a_value_beyond_half_precision_names_the_frame():
    scale = soap.soap_scale(CRYSTALS, SMALL, n_jobs=1)
    scale[1] *= 1e-6
    with pytest.raises(FrameError, match="^frame 0: a descriptor is too large for half"):
        soap_features(CRYSTALS[:2], SMALL, per_atom=True, scale=scale, **QUIET)
