import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from phutils import artifacts, cnn, networks
from phutils.checkpoints import Checkpoint
from phutils.cnn import PAPER, HistogramNetwork
from phutils.histograms import READINGS, Standardise

SMALL = PAPER | {"channels": (8, 8, 4), "hidden": 16, "epochs": 4, "learning_rate": 0.01}
BINS, N = 32, 60


def toy(seed=0):
    """Sparse histograms whose energy is the mean death of their points: learnable, not linear."""
    generator = np.random.default_rng(seed)
    birth = generator.integers(0, 20, (N, 12))
    death = birth + generator.integers(0, 8, (N, 1)) + generator.integers(0, 3, (N, 12))
    frame = np.repeat(np.arange(N), 12)
    pixel = (birth * BINS + death).ravel()
    histograms = csr_array((np.full(N * 12, 1 / 12), (frame, pixel)), shape=(N, BINS**2))
    return histograms, -7 + 0.1 * (death - birth).mean(axis=1) ** 1.5


HISTOGRAMS, ENERGY = toy()
TRAIN, TEST = np.arange(0, 45), np.arange(45, 55)  # and five that are on neither side

pytestmark = pytest.mark.usefixtures("build_folder")


def fit(**changed):
    data = {"histograms": HISTOGRAMS, "energy": ENERGY, "train": TRAIN, "test": TEST}
    options = {k: changed.pop(k) for k in list(changed) if k in (*data, "seed", "checkpoints")}
    return cnn.train_on_histograms(**(data | options), settings=SMALL | changed)


def weights_of(found):
    return np.concatenate([v.ravel() for k, v in found.items() if k.startswith("weights/")])


@pytest.fixture(scope="module")
def found():
    return fit()


# --- the network ---------------------------------------------------------------------------------


def test_the_network_of_the_paper():
    network = HistogramNetwork()
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert shapes == {
        "convolutions.0.weight": (64, 1, 3, 3),
        "convolutions.0.bias": (64,),
        "convolutions.1.weight": (64, 64, 3, 3),
        "convolutions.1.bias": (64,),
        "convolutions.2.weight": (32, 64, 3, 3),
        "convolutions.2.bias": (32,),
        "hidden.weight": (128, 32 * 16 * 16),
        "hidden.bias": (128,),
        "output.weight": (1, 128),
        "output.bias": (1,),
    }
    by_hand = 640 + 36928 + 18464 + 8192 * 128 + 128 + 129
    assert sum(p.numel() for p in network.parameters()) == by_hand == 1_104_865
    assert network(torch.zeros(3, 128, 128)).shape == network(torch.zeros(3, 128**2)).shape == (3,)


def test_forward_is_convolution_relu_pooling_three_times():
    network = HistogramNetwork(32, (4, 5, 3), 6)
    image = torch.randn(2, 32, 32)
    features = image[:, None]
    for layer in network.convolutions:
        features = torch.max_pool2d(torch.relu(layer(features)), 2)
    expected = network.output(torch.relu(network.hidden(features.flatten(1))))[:, 0]
    torch.testing.assert_close(network(image), expected)


def test_products_of_both_ways():
    from torch.utils.flop_counter import FlopCounterMode

    images = torch.as_tensor(Standardise().fit_transform(toy()[0])).view(N, BINS, BINS)
    images = torch.nn.functional.pad(images, (0, 96, 0, 96), value=float(images.min()))[:4]
    spent = {}
    for empty in (None, float(images.min())):
        network = HistogramNetwork(128, empty=empty)
        with FlopCounterMode(display=False) as counter:
            network(images).sum().backward()
        spent[empty is None] = counter.get_total_flops() / len(images)
    forward = 2 * 9 * (128**2 * 64 + 64**2 * 64 * 64 + 32**2 * 64 * 32) + 2 * (8192 * 128 + 128)
    images_have_no_gradient = 2 * 9 * 128**2 * 64
    assert spent[True] == pytest.approx(3 * forward - images_have_no_gradient, rel=1e-3)
    assert spent[True] == pytest.approx(1.06e9, rel=0.01)
    assert spent[False] < spent[True] / 10


@pytest.mark.parametrize("bins", [100, 4])
def test_bins_that_cannot_be_halved(bins):
    with pytest.raises(ValueError, match=f"{bins} bins cannot be halved 3 times"):
        HistogramNetwork(bins)


def test_settings_of_the_paper():
    milestones = [round(f * PAPER["epochs"]) for f in PAPER["milestones"]]
    assert (PAPER["epochs"], milestones) == (1600, [200, 400, 800, 1200])
    assert (PAPER["learning_rate"], PAPER["factor"]) == (0.0015, 0.5)
    assert (PAPER["momentum"], PAPER["weight_decay"]) == (0.9, 0.001)
    assert PAPER["channels"] == (64, 64, 32)


def test_optimiser_of_the_paper(monkeypatch):
    given = {}

    def keep(model, inputs, targets, **options):
        given.update(options)
        raise InterruptedError

    monkeypatch.setattr(cnn.networks, "train", keep)
    with pytest.raises(InterruptedError):
        cnn.train_on_histograms(HISTOGRAMS, ENERGY, TRAIN, TEST, PAPER)
    assert given["optimiser"] == {
        "name": "SGD",
        "lr": 0.0015,
        "momentum": 0.9,
        "weight_decay": 0.001,
        "nesterov": True,
        "fused": True,
    }
    assert given["milestones"] == [200, 400, 800, 1200] and given["factor"] == 0.5
    assert given["epochs"] == 1600


# --- the empty pixel -----------------------------------------------------------------------------


@pytest.mark.parametrize("reading", READINGS)
def test_empty_pixel(reading):
    images = Standardise(reading).fit_transform(HISTOGRAMS)
    empty = cnn.find_empty(images)
    if reading == "sample":  # another value in every frame
        assert empty is None
    else:
        never_filled = np.asarray(HISTOGRAMS.sum(axis=0)).ravel() == 0
        assert (images[:, never_filled] == np.float32(empty)).all()


def test_smoothed_histograms_have_no_empty_pixel():
    assert cnn.find_empty(np.random.default_rng(0).random((4, 64)).astype(np.float32)) is None


# --- training ------------------------------------------------------------------------------------


def test_learns(found):
    spread = 1000 * ENERGY[TEST].std()
    longer = fit(epochs=25)
    assert longer["test"] < found["test"] and longer["test"] < 0.5 * spread
    assert longer["epoch_train"][-1] < 0.5 * longer["epoch_train"][0]
    error = np.sqrt(np.mean((longer["predicted"][TEST] - ENERGY[TEST]) ** 2))
    assert longer["test"] == pytest.approx(1000 * error)
    assert longer["watched_test"][-1] == pytest.approx(longer["test"], rel=1e-5)
    assert len(longer["predicted"]) == N and np.isfinite(longer["predicted"]).all()


def test_same_seed_same_result(found):
    again, other = fit(), fit(seed=1)
    assert set(found) == set(again)
    for name in set(found) - {"seconds"}:
        np.testing.assert_array_equal(found[name], again[name])
    assert not np.array_equal(weights_of(found), weights_of(other))


def test_only_training_frames_decide(found):
    energy, histograms = ENERGY.copy(), HISTOGRAMS.toarray()
    energy[TEST], histograms[45:] = 99.0, 1 / BINS**2
    again = fit(energy=energy, histograms=histograms)
    np.testing.assert_array_equal(weights_of(again), weights_of(found))


def test_both_ways_train_to_the_same_network(found, monkeypatch):
    monkeypatch.setattr(cnn, "find_empty", lambda images: None)
    plain = fit()
    np.testing.assert_allclose(plain["predicted"], found["predicted"], atol=2e-5)
    assert not np.array_equal(plain["predicted"], found["predicted"])


def test_dense_and_sparse_histograms_are_the_same(found):
    dense = HISTOGRAMS.toarray().reshape(N, BINS, BINS)
    np.testing.assert_allclose(fit(histograms=dense)["predicted"], found["predicted"], atol=2e-5)


def test_result_is_stored_and_restored(found, tmp_path):
    arguments = (HISTOGRAMS, ENERGY, TRAIN, TEST, SMALL)
    stored = artifacts.cached(tmp_path, cnn.train_on_histograms, *arguments, seed=0)
    np.testing.assert_array_equal(stored["predicted"], found["predicted"])
    model = cnn.restore(stored, BINS**2, SMALL)
    images = Standardise("global").fit(HISTOGRAMS[TRAIN]).transform(HISTOGRAMS)
    predicted = model(torch.as_tensor(images)).detach().numpy()
    np.testing.assert_allclose(predicted, found["predicted"], atol=1e-5)


def test_splits_are_trained_as_one_by_one(found, tmp_path):
    splits = [(TRAIN, TEST), (TEST, TRAIN)]
    arguments = (tmp_path, HISTOGRAMS, ENERGY, splits, SMALL)
    first, second = cnn.train_on_splits(*arguments, n_jobs=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = fit(train=TEST, test=TRAIN, seed=1)
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(second["predicted"], expected["predicted"])
    np.testing.assert_allclose(first["predicted"], found["predicted"], atol=1e-5)
    again = cnn.train_on_splits(*arguments, n_jobs=1, label="again")  # from disk
    assert [a["seconds"] for a in again] == [first["seconds"], second["seconds"]]


def test_resumes_from_a_checkpoint(found, tmp_path, monkeypatch):
    import phutils.networks as networks

    monkeypatch.setattr(
        networks.train, "__kwdefaults__", {**networks.train.__kwdefaults__, "save_every": 0}
    )
    save = Checkpoint.save

    def save_and_stop(self, seconds):
        save(self, seconds)
        raise KeyboardInterrupt

    for _ in range(SMALL["epochs"] - 1):  # killed after every epoch but the last
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Checkpoint, "save", save_and_stop)
            fit(checkpoints=tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
    resumed = fit(checkpoints=tmp_path)
    np.testing.assert_array_equal(weights_of(resumed), weights_of(found))
    assert not list(tmp_path.iterdir())


def test_mean_gradient_is_the_coefficient_of_a_linear_model():
    model = torch.nn.Sequential(torch.nn.Linear(16, 1), torch.nn.Flatten(0))
    images = np.random.default_rng(0).random((10, 16)).astype(np.float32)
    filled = images > 0.3
    filled[:, 5] = False
    found = cnn.mean_gradient(model, images, filled, batch_size=4)
    expected = model[0].weight[0].detach().numpy().copy()
    expected[5] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_mean_gradient_agrees_with_finite_differences(found):
    model = cnn.restore(found, BINS**2, SMALL).double()
    scaler = Standardise("global").fit(HISTOGRAMS[TRAIN])
    images = scaler.transform(HISTOGRAMS).astype(float)
    filled = HISTOGRAMS.toarray() > 0
    gradient = cnn.mean_gradient(model, images, filled)
    for pixel in np.argsort(filled.sum(axis=0))[-3:]:
        moved = torch.as_tensor(images[filled[:, pixel]])
        before = model(moved)
        moved[:, pixel] += 1e-6
        expected = (model(moved) - before).mean().item() / 1e-6
        assert gradient[pixel] == pytest.approx(expected, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"energy": np.where(np.arange(N) == 3, np.nan, ENERGY)}, "frame 3 is nan"),
        ({"test": np.arange(44, 50)}, "frame 44 is both trained on and tested"),
        ({"dropout": 0.5}, "unknown: dropout"),
        ({"train": TRAIN[:0]}, "0 training and 10 test frames"),
        ({"test": TEST[:0]}, "45 training and 0 test frames"),
    ],
)
def test_bad_input(changed, message):
    with pytest.raises(ValueError, match=message):
        fit(**changed)


def test_nan_in_a_histogram_is_refused():
    histograms = HISTOGRAMS.toarray()
    histograms[7, 3] = np.nan
    with pytest.raises(ValueError, match="frame 7 holds a value that is not finite"):
        fit(histograms=histograms)
    histograms = HISTOGRAMS.toarray()
    histograms[50, 3] = np.nan  # a test frame
    with pytest.raises(ValueError, match="frame 50 holds"):
        fit(histograms=histograms)


def test_histograms_of_other_bins_are_refused(found):
    """Four images of half the bins would pass for one."""
    pixels = HISTOGRAMS.shape[1]
    model, bins = cnn.restore(found, pixels, SMALL), round(pixels**0.5)
    with pytest.raises(ValueError, match=f"are not of {bins} x {bins} bins"):
        networks.predict(model, np.zeros((4, pixels // 4), np.float32))
