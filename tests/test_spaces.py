import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from phutils import latents as latent_vectors
from phutils import schnet, spaces
from phutils.dataset import load
from phutils.diagrams import persistence_diagrams
from phutils.neighbours import find_neighbours


@pytest.fixture
def structures(tmp_path, monkeypatch):
    """Eight disordered cells of 64 carbon atoms, through the door that users take."""
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "downloads"))
    frames = []
    for seed in range(8):
        atoms = bulk("C", "diamond", a=3.6 + 0.02 * seed, cubic=True).repeat(2)
        atoms.rattle(0.2, seed=seed)
        atoms.info["energy"] = -7.0 * len(atoms) + seed
        frames.append(atoms)
    write(tmp_path / "some.extxyz", frames)
    return load(tmp_path / "some.extxyz")


@pytest.fixture
def network(structures, tmp_path):
    """An untrained SchNet, left in the way the chapter on SchNet does."""
    settings = schnet.PAPER | {"gamma": 10.0, "features": 16, "interactions": 1}
    model = schnet.build(settings, seed=1)
    weights = {f"weights/{k}": v.numpy() for k, v in model.state_dict().items()}
    weights |= {"species": np.array([6]), "settings": json.dumps(settings)}
    pairs = find_neighbours(structures, 5.0, progress=False)
    latents = latent_vectors.averaged_latents(weights, pairs, settings)["latents"]
    (tmp_path / "art" / "quick").mkdir(parents=True)
    weights |= {"latents": latents, "fingerprint": structures.fingerprint}
    np.savez(tmp_path / "art" / "quick" / spaces.NETWORK, **weights)
    return weights


def test_network_is_found_for_its_own_frames_only(structures, network, tmp_path):
    for profile in ("quick", "default"):
        found = spaces.find_network(tmp_path / "art", profile, structures)
        np.testing.assert_array_equal(found["latents"], network["latents"])
        assert found["profile"] == "quick"
    assert spaces.find_network(tmp_path / "art", "quick", structures[1:]) == {}
    assert spaces.find_network(tmp_path / "nowhere", "quick", structures) == {}
    file = tmp_path / "art" / "quick" / spaces.NETWORK
    file.write_bytes(file.read_bytes()[:200])  # cut short
    assert spaces.find_network(tmp_path / "art", "quick", structures) == {}


def test_own_profile_comes_first(structures, network, tmp_path):
    (tmp_path / "art" / "a").mkdir()
    other = dict(network) | {"latents": network["latents"] + 1}
    np.savez(tmp_path / "art" / "a" / spaces.NETWORK, **other)
    found = spaces.find_network(tmp_path / "art", "quick", structures)
    np.testing.assert_array_equal(found["latents"], network["latents"])


def test_network_of_other_labels_does_not_take_the_place_of_the_usual(
    structures, network, tmp_path
):
    path = tmp_path / "art" / "quick" / spaces.NETWORK
    other = dict(network) | {"fingerprint": "of other labels", "latents": network["latents"] + 1}
    np.savez(path.with_stem(f"{path.stem}_gfn1"), **other)
    found = spaces.find_network(tmp_path / "art", "quick", structures)
    np.testing.assert_array_equal(found["latents"], network["latents"])
    path.rename(path.with_stem(f"{path.stem}_gfn1"))
    found = spaces.find_network(tmp_path / "art", "quick", structures)
    np.testing.assert_array_equal(found["latents"], network["latents"])
    assert found["profile"] == "quick"


def test_network_of_another_profile_is_named(structures, network, tmp_path):
    found = spaces.find_network(tmp_path / "art", "interactive", structures)
    text = spaces.origin(found, "interactive")
    assert "that of profile quick" in text and "run of profile interactive has left none" in text
    assert spaces.origin(found, "quick") == "" == spaces.origin({}, "interactive")


def test_maps_are_made_of_frames_with_latent_vectors():
    latents = np.ones((20, 3))
    latents[[2, 3, 11]] = np.nan
    rows = spaces.shown_frames({"latents": latents}, 20)
    assert rows.tolist() == sorted(set(range(20)) - {2, 3, 11})
    assert spaces.shown_frames({"latents": latents}, 20, 6).tolist() == rows[::3].tolist()
    assert spaces.shown_frames({}, 20).tolist() == list(range(20))
    assert spaces.shown_frames({}, 20, 20).tolist() == list(range(20))
    assert spaces.shown_frames({}, 20, 19).tolist() == list(range(0, 20, 2))


def test_latent_vectors_of_other_frames(structures, network, tmp_path):
    found = spaces.find_network(tmp_path / "art", "quick", structures)
    some = spaces.latent_vectors(found, structures[2:5], tmp_path / "art")
    np.testing.assert_allclose(some, network["latents"][2:5], rtol=1e-5, atol=1e-6)


def test_descriptors(structures, network, tmp_path):
    found, missing = spaces.descriptors(structures, tmp_path, network["latents"], coarse=16)
    assert {k: x.shape for k, x in found.items()} == {
        "SOAP": (8, 360),
        "SchNet": (8, 16),
        "PH": (8, 128 * 128),
        "PH, smoothed": (8, 256),
    }
    assert not missing
    np.testing.assert_allclose(found["PH"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found["PH, smoothed"].sum(axis=1), 1, rtol=1e-5)
    assert list(tmp_path.glob("cache/soap_mean-*.npy"))
    some = persistence_diagrams(structures, folder=tmp_path, progress=False)[2:4]
    part, _ = spaces.descriptors(structures[2:4], tmp_path, diagrams=some)
    np.testing.assert_array_equal(part["PH"].toarray(), found["PH"][2:4].toarray())


def test_what_frames_do_not_have_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_DATA", str(tmp_path / "downloads"))
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True).repeat(2)
    atoms.rattle(0.1, seed=0)
    atoms.info["energy"] = -400.0
    write(tmp_path / "sic.extxyz", [atoms])
    found, missing = spaces.descriptors(load(tmp_path / "sic.extxyz"), tmp_path)
    assert set(found) == {"PH", "PH, smoothed"} and set(missing) == {"SOAP", "SchNet"}
    assert "one element at a time" in missing["SOAP"] and "chapter 6" in missing["SchNet"]


def test_matched_stages():
    one = np.array(["hot"] * 6 + ["cold"] * 3 + ["mine"] * 4)
    other = np.array(["cold"] * 9 + ["hot"] * 2 + ["yours"])
    a, b = spaces.matched(one, other)
    assert sorted(one[a]) == sorted(other[b]) == ["cold"] * 3 + ["hot"] * 2
    assert a.tolist() == [0, 5, 6, 7, 8] and b.tolist() == [0, 4, 8, 9, 10]
    with pytest.raises(ValueError, match="no stage in common"):
        spaces.matched(["a"], ["b"])
