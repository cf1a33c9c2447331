import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from sklearn.linear_model import LinearRegression

from phutils import baselines
from phutils.dataset import load
from phutils.diagrams import Diagrams, persistence_diagrams
from phutils.structure import local_order, radial_distribution


@pytest.fixture(scope="module")
def structures():
    every = load("embedded")
    return every[:: len(every) // 6]


@pytest.fixture(scope="module")
def diagrams(structures):
    return persistence_diagrams(structures, (1,), n_jobs=1, progress=False)


def test_all_baselines_have_one_row_a_frame(structures, diagrams):
    features = baselines.baseline_features(structures, diagrams, n_jobs=1)
    n_stages = len(np.unique(structures.stage))
    assert {name: x.shape[1] for name, x in features.items()} == {
        "mean": 1,
        "number of pairs": 1,
        "density": 2,
        "density and stage only": 3 * n_stages,
        "eight numbers": 8,
        "eight numbers, products": 44,
        "distances": 50,
    }
    assert all(len(x) == len(structures) for x in features.values())
    pairs = [len(diagrams[i][1]) for i in range(3)]
    np.testing.assert_allclose(features["number of pairs"][:3, 0] * 216, pairs)
    assert np.ptp(features["mean"]) == 0
    eight = features["eight numbers"]
    np.testing.assert_array_equal(eight[:, 0], structures.density)
    order = local_order(structures)
    np.testing.assert_allclose(eight[:, 1:6], order["coordination"][:, 1:])
    np.testing.assert_allclose(eight[:, 6:].T, [order["bond_mean"], order["bond_std"]])
    centred = (eight - eight.mean(axis=0)) / eight.std(axis=0)
    with_products = features["eight numbers, products"]
    np.testing.assert_array_equal(with_products[:, :8], eight)
    np.testing.assert_allclose(with_products[:, 8 + 7], centred[:, 0] * centred[:, 7])
    np.testing.assert_allclose(with_products[:, -1], centred[:, 7] ** 2)


def test_neighbours_agree_with_the_structure_module(structures):
    found = baselines.neighbours(structures, n_jobs=1)
    for name, values in local_order(structures).items():
        np.testing.assert_allclose(found[name], values, atol=1e-12)
    g = radial_distribution([structures[2]], baselines.R_MAX, baselines.R_BINS)
    shells = 4 / 3 * np.pi * np.diff(np.linspace(0, 5, 51) ** 3)
    per_volume = 216 / structures.cell[2].prod()
    np.testing.assert_allclose(found["distances"][2], g["g"] * per_volume * shells, atol=1e-9)


def test_neighbours_are_kept_and_found_again(structures, tmp_path):
    first = baselines.neighbours(structures[:2], folder=tmp_path, n_jobs=1)
    assert len(list(tmp_path.glob("cache/neighbour_shard-*.npz"))) == 1
    again = baselines.neighbours(structures[:2], folder=tmp_path, n_jobs=1)
    np.testing.assert_array_equal(first["distances"], again["distances"])


def test_a_bond_longer_than_half_the_box_counts_images(structures):
    found = baselines.neighbours(structures[:1], bond=9.0, n_jobs=1)
    edges = np.sort(structures[0].cell.lengths())
    assert edges[0] / 2 < 9.0 and found["coordination"][0, -1] == 1
    expected = len(neighbor_list("i", structures[0], 9.0)) / len(structures[0])
    assert found["distances"][0].sum() == pytest.approx(expected)


def test_density_and_stage_fit_what_depends_on_them_alone():
    structures = load("embedded")
    features = baselines.density_stage_features(structures)
    stages = np.unique(structures.stage)
    assert features.shape == (len(structures), 3 * len(stages))
    index = np.searchsorted(stages, structures.stage)
    energy = (index + 1) * (structures.density - 2 * index) ** 2
    fitted = LinearRegression(fit_intercept=False).fit(features, energy).predict(features)
    np.testing.assert_allclose(fitted, energy, atol=1e-8)


def test_the_model_is_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal([0, 100, 0], [1, 1, 0], (40, 3))  # a constant column is harmless
    energy = 2 * x[:, 0] - 3 * x[:, 1] + 5
    np.testing.assert_allclose(baselines.model().fit(x, energy).predict(x), energy, atol=1e-3)


def test_teaching_images_are_homclouds():
    import homcloud.interface as hc
    from homcloud.pdgm import SimplePDGM

    rng = np.random.default_rng(1)
    births = rng.random(200) * 4.2  # some beyond the window, some at its edges
    pairs = np.stack([births, births + rng.random(200) * 2], axis=1)
    pairs[:3] = [[0.0, 4.0], [4.0, 4.0], [1 / 32, 1 / 32]]
    mesh = hc.PIVectorizerMesh((0, 4), 128, sigma=0.08, weight="none")
    expected = mesh.vectorize(SimplePDGM(0, *pairs.T.tolist()))
    images = baselines.teaching_images(Diagrams.from_frames([{1: pairs}], (1,)))
    assert images.shape == (1, len(expected))
    vector = np.sort(images[0])
    np.testing.assert_allclose(vector, np.sort(expected), atol=1e-12)
    mirrored = mesh.histogram_from_vector(expected).values.T  # HomCloud's first axis is death
    np.testing.assert_allclose(mirrored[np.triu_indices(128)], images[0], atol=1e-12)
