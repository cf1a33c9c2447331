import numpy as np
import pytest
import torch

from phutils import artifacts, networks, perceptron
from phutils.checkpoints import Checkpoint
from phutils.perceptron import PAPER, AtomPerceptron

SMALL = PAPER | {"hidden": (8, 6), "epochs": 30, "learning_rate": 0.01, "batch_size": 8}
N, ATOMS, K = 60, 5, 4


def toy(seed=0):
    """Features of atoms whose energy is a smooth function of them, and the structures' means."""
    generator = np.random.default_rng(seed)
    spread = np.array([1, 50, 1e-3, 2]) * generator.normal(size=(N, 1, K))
    features = np.array([5, -300, 0.02, 0]) + spread + 0.3 * generator.normal(size=(N, ATOMS, K))
    features[..., 2] = 0.02 + 1e-3 * generator.normal(size=(N, ATOMS))
    energy = -7 + 0.1 * np.tanh((features[..., 0] - 5) + (features[..., 1] + 300) / 50).mean(axis=1)
    return features.astype(np.float32), energy


FEATURES, ENERGY = toy()
TRAIN, TEST = np.arange(0, 45), np.arange(45, 55)  # and five that are on neither side

pytestmark = pytest.mark.usefixtures("build_folder")


def fit(**changed):
    data = {"features": FEATURES, "energy": ENERGY, "train": TRAIN, "test": TEST}
    options = {k: changed.pop(k) for k in list(changed) if k in (*data, "seed", "checkpoints")}
    return perceptron.train_on_features(**(data | options), settings=SMALL | changed)


def weights_of(found):
    return np.concatenate([v.ravel() for k, v in found.items() if k.startswith("weights/")])


def on_disk(path, features):
    np.save(path, features)
    return np.load(path, mmap_mode="r")


@pytest.fixture(scope="module")
def found():
    return fit()


# --- the network ---------------------------------------------------------------------------------


def test_the_network_of_the_paper():
    network = AtomPerceptron()
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes == {
        "layers.0.weight": (40, 360),
        "layers.0.bias": (40,),
        "layers.1.weight": (40, 40),
        "layers.1.bias": (40,),
        "layers.2.weight": (1, 40),
        "layers.2.bias": (1,),
    }
    assert sum(p.numel() for p in network.parameters()) == 360 * 40 + 40 + 1600 + 40 + 41
    assert network(torch.zeros(3, 216, 360)).shape == network(torch.zeros(3, 360)).shape == (3,)


def test_energy_is_the_mean_over_atoms_of_one_network():
    network = AtomPerceptron(K, (3, 2), ("relu", "tanh"))
    network.mean[:], network.std[:] = torch.randn(K), torch.rand(K) + 0.5
    features = torch.randn(2, ATOMS, K)
    values = (features - network.mean) / network.std
    values = torch.tanh(network.layers[1](torch.relu(network.layers[0](values))))
    atoms = network.layers[2](values)[..., 0]
    torch.testing.assert_close(network(features), atoms.mean(dim=1))
    torch.testing.assert_close(network(features[:, 0]), atoms[:, 0])
    shuffled = features[:, torch.randperm(ATOMS)]
    torch.testing.assert_close(network(shuffled), network(features))
    both = torch.cat([features, features], dim=1)  # twice the cell
    torch.testing.assert_close(network(both), network(features))


def test_activations_are_named():
    assert "('relu', 'tanh')" in str(AtomPerceptron(K, (3, 2), ("relu", "tanh")))
    with pytest.raises(ValueError, match="unknown activation 'softplus': choose among relu"):
        AtomPerceptron(K, (3, 2), ("relu", "softplus"))
    with pytest.raises(ValueError, match="2 hidden layers, but 1 activations"):
        AtomPerceptron(K, (3, 2), ("relu",))


def test_settings_of_the_paper():
    milestones = [round(f * PAPER["epochs"]) for f in PAPER["milestones"]]
    assert (PAPER["epochs"], milestones) == (2000, [200, 500, 1000])
    assert (PAPER["learning_rate"], PAPER["factor"]) == (0.001, 0.5)
    assert PAPER["hidden"] == (40, 40)


def test_optimiser_of_the_paper(monkeypatch):
    given = {}

    def keep(model, inputs, targets, **options):
        given.update(options)
        raise InterruptedError

    monkeypatch.setattr(perceptron.networks, "train", keep)
    with pytest.raises(InterruptedError):
        perceptron.train_on_features(FEATURES, ENERGY, TRAIN, TEST, PAPER)
    assert given["optimiser"] == {"name": "Adam", "lr": 0.001, "weight_decay": 0, "fused": True}
    assert given["milestones"] == [200, 500, 1000] and given["factor"] == 0.5
    assert given["epochs"] == 2000 and given["precision"] == "float32"


# --- training ------------------------------------------------------------------------------------


def test_learns(found):
    spread = 1000 * ENERGY[TEST].std()
    assert found["test"] < 0.4 * spread
    assert found["epoch_train"][-1] < 0.3 * found["epoch_train"][0]
    error = np.sqrt(np.mean((found["predicted"][TEST] - ENERGY[TEST]) ** 2))
    assert found["test"] == pytest.approx(1000 * error)
    assert found["watched_test"][-1] == pytest.approx(found["test"], rel=1e-4)
    assert len(found["predicted"]) == N and np.isfinite(found["predicted"]).all()


def test_a_few_test_frames_are_watched(monkeypatch, found):
    monkeypatch.setattr(perceptron, "WATCHED", 4)
    fewer = fit()
    error = np.sqrt(np.mean((fewer["predicted"][TEST[::3]] - ENERGY[TEST[::3]]) ** 2))
    assert fewer["watched_test"][-1] == pytest.approx(1000 * error, rel=1e-4)
    np.testing.assert_array_equal(weights_of(fewer), weights_of(found))


def test_features_are_standardised_within_the_first_layer():
    flat = FEATURES[TRAIN].reshape(-1, K).astype(float)
    standardised = torch.as_tensor((FEATURES - flat.mean(axis=0)) / flat.std(axis=0)).float()
    network = AtomPerceptron(K, (3, 2), ("tanh", "tanh"))
    gradients = []
    for mean, std, features in ((0.0, 1.0, standardised), (flat.mean(0), flat.std(0), FEATURES)):
        network.mean[:], network.std[:] = torch.as_tensor(mean), torch.as_tensor(std)
        network.zero_grad()
        output = network(torch.as_tensor(features))
        output.square().mean().backward()
        gradients.append([output.detach(), *(p.grad.clone() for p in network.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    found = fit(epochs=1)
    np.testing.assert_allclose(found["weights/network.mean"], flat.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["weights/network.std"], flat.std(axis=0), rtol=1e-5)


def test_same_seed_same_result(found):
    again, other = fit(), fit(seed=1)
    assert set(found) == set(again)
    for name in set(found) - {"seconds"}:
        np.testing.assert_array_equal(found[name], again[name])
    assert not np.array_equal(weights_of(found), weights_of(other))


def test_only_training_frames_decide(found):
    energy, features = ENERGY.copy(), FEATURES.copy()
    energy[TEST], features[45:] = 99.0, 1.0
    again = fit(energy=energy, features=features)
    np.testing.assert_array_equal(weights_of(again), weights_of(found))


def test_a_memory_map_is_read_batch_by_batch(tmp_path, monkeypatch):
    for module in ("features", "perceptron"):
        monkeypatch.setattr(f"phutils.{module}.BLOCK", 8)
    features, read = on_disk(tmp_path / "features.npy", FEATURES), []

    def watch(self, key):
        read.append(len(np.arange(N)[key]))
        return np.ndarray.__getitem__(self, key)

    monkeypatch.setattr(np.memmap, "__getitem__", watch, raising=False)
    mapped, found = fit(features=features), fit()
    assert max(read) <= len(TEST) and len(read) > SMALL["epochs"] * len(TRAIN) / 8
    for name in set(found) - {"seconds"}:
        np.testing.assert_array_equal(mapped[name], found[name])


def test_half_precision(tmp_path):
    scaled = (FEATURES - FEATURES.mean(axis=(0, 1))) / FEATURES.std(axis=(0, 1))
    half = on_disk(tmp_path / "half.npy", scaled.astype(np.float16))
    first, second = fit(features=scaled), fit(features=half)
    np.testing.assert_allclose(second["predicted"], first["predicted"], atol=2e-3)
    assert second["test"] == pytest.approx(float(first["test"]), rel=0.05)


def test_a_memory_map_lies_on_a_gpu_where_it_fits(tmp_path, monkeypatch):
    features = on_disk(tmp_path / "features.npy", FEATURES)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * FEATURES.nbytes, 0))
    assert perceptron._is_resident(features, N - 1, "cuda")
    assert not perceptron._is_resident(features, N, "cuda")
    assert not perceptron._is_resident(features, 1, "cpu")
    assert perceptron._is_resident(FEATURES, N, "cpu")


def test_averaged_features():
    mean = FEATURES.mean(axis=1)
    one, same = fit(features=mean), fit(features=mean[:, None])
    np.testing.assert_allclose(one["predicted"], same["predicted"], atol=1e-6)
    assert one["test"] < 0.5 * 1000 * ENERGY[TEST].std()


def test_result_is_stored_and_restored(found, tmp_path):
    arguments = (FEATURES, ENERGY, TRAIN, TEST, SMALL)
    stored = artifacts.cached(tmp_path, perceptron.train_on_features, *arguments, seed=0)
    np.testing.assert_array_equal(stored["predicted"], found["predicted"])
    model = perceptron.restore(stored, SMALL)
    predicted = perceptron.predict_features(model, FEATURES)
    np.testing.assert_array_equal(predicted, found["predicted"])
    larger = np.concatenate([FEATURES, FEATURES], axis=1)  # another number of atoms
    predicted = perceptron.predict_features(model, larger)
    np.testing.assert_allclose(predicted, found["predicted"], atol=1e-6)
    with pytest.raises(ValueError, match="3 features, but the network was trained on 4"):
        perceptron.predict_features(model, FEATURES[..., :3])


def test_splits_are_trained_as_one_by_one(tmp_path):
    splits = [(TRAIN, TEST), (TEST, TRAIN)]
    features = on_disk(tmp_path / "features.npy", FEATURES)
    arguments = (tmp_path, features, ENERGY, splits, SMALL)
    _, second = perceptron.train_on_splits(*arguments, n_jobs=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = fit(train=TEST, test=TRAIN, seed=1)
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(second["predicted"], expected["predicted"])
    again = perceptron.train_on_splits(*arguments, n_jobs=1, label="again")  # from disk
    assert again[1]["seconds"] == second["seconds"]
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2


def test_networks_that_have_nothing_in_common(found, tmp_path):
    settings = SMALL | {"activations": ("tanh", "relu"), "epochs": 3}
    calls = [
        ((FEATURES, ENERGY, TRAIN, TEST, SMALL), 0),
        ((FEATURES[:, 0, :3], ENERGY, TRAIN, TEST, settings), 5),
    ]
    one, two = perceptron.train_each(tmp_path, calls, n_jobs=2)
    np.testing.assert_allclose(one["predicted"], found["predicted"], atol=1e-4)
    expected = fit(features=FEATURES[:, 0, :3], seed=5, activations=("tanh", "relu"), epochs=3)
    np.testing.assert_allclose(two["predicted"], expected["predicted"], atol=1e-5)


def test_resumes_from_a_checkpoint(found, tmp_path, monkeypatch):
    features = on_disk(tmp_path / "features.npy", FEATURES)
    monkeypatch.setattr(
        networks.train, "__kwdefaults__", {**networks.train.__kwdefaults__, "save_every": 0}
    )
    save, checkpoints = Checkpoint.save, tmp_path / "checkpoints"

    def save_and_stop(self, seconds):
        save(self, seconds)
        raise KeyboardInterrupt

    for _ in range(3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Checkpoint, "save", save_and_stop)
            fit(features=features, checkpoints=checkpoints)
        assert len(list(checkpoints.iterdir())) == 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # other content
        patch.setattr(Checkpoint, "save", save_and_stop)
        other = on_disk(tmp_path / "other.npy", FEATURES[::-1])
        fit(features=other, checkpoints=checkpoints)
    assert len(list(checkpoints.iterdir())) == 2
    resumed = fit(features=features, checkpoints=checkpoints)
    np.testing.assert_array_equal(weights_of(resumed), weights_of(found))


# --- data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"energy": np.where(np.arange(N) == 3, np.nan, ENERGY)}, "frame 3 is nan"),
        ({"energy": ENERGY[:-1]}, r"60 structures, but energies of shape \(59,\)"),
        ({"features": np.zeros((N, 3), int)}, r"features are int64 of shape \(60, 3\)"),
        ({"features": FEATURES[:, 0, 0]}, r"features are float32 of shape \(60,\)"),
        ({"test": np.arange(44, 50)}, "frame 44 is both trained on and tested"),
        ({"dropout": 0.5}, "unknown: dropout"),
        ({"train": TRAIN[:0]}, "0 training and 10 test frames"),
        ({"test": TEST[:0]}, "45 training and 0 test frames"),
    ],
)
def test_bad_input(changed, message):
    with pytest.raises(ValueError, match=message):
        fit(**changed)


@pytest.mark.parametrize("frame", [7, 50, 58])  # trained on, tested, only predicted
def test_nan_in_features_is_refused(frame):
    features = FEATURES.copy()
    features[frame, 2, 1] = np.nan
    with pytest.raises(ValueError, match=f"frame {frame} hold a value that is not finite"):
        fit(features=features)
