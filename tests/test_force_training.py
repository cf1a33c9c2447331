import numpy as np
import pytest
import torch
from test_network_forces import BASE, ENERGY, FORCES, FRAMES, SETTINGS, TEST, TRAIN, stock_forces

from phutils import force_training, networks, schnet
from phutils.force_training import predict_forces
from phutils.neighbours import find_neighbours
from phutils.network_forces import batch, forces_of

pytestmark = pytest.mark.usefixtures("build_folder", "one_thread")


@pytest.fixture(scope="module")
def near():
    return find_neighbours(FRAMES, progress=False)


def fit(near, **changed):
    data = {"energy": ENERGY, "forces": FORCES, "train": TRAIN, "test": TEST}
    data |= {"structures": FRAMES, "progress": False}
    data |= {k: changed.pop(k) for k in list(changed) if k in (*data, "seed", "route")}
    return force_training.train_on_forces(near, settings=SETTINGS | changed, **data)


@pytest.fixture(scope="module")
def found(near):
    return fit(near)


# --- training ------------------------------------------------------------------------------------


def test_forces_are_learnt(near, found):
    blind = fit(near, force_weight=0.0)
    spread = 1000 * FORCES[TEST].std()
    assert found["forces_test"] < 0.6 * spread and found["forces_test"] < 0.7 * blind["forces_test"]
    assert len(found["epoch_train"]) == SETTINGS["epochs"]
    predicted = predict_forces(found, near, FRAMES, BASE, TEST)
    error = 1000 * np.sqrt(np.mean((predicted - FORCES[TEST]) ** 2))
    assert found["forces_test"] == pytest.approx(error, rel=1e-5)


def test_without_weight_it_is_the_usual_training(near):
    plain = schnet.train_on_neighbours(near, ENERGY, TRAIN, TEST, BASE, progress=False)
    blind = fit(near, force_weight=0.0)
    np.testing.assert_array_equal(blind["predicted"], plain["predicted"][: len(ENERGY)])


def test_same_call_same_result(near, found):
    again = fit(near)
    for name in set(found) - {"seconds"}:
        np.testing.assert_array_equal(again[name], found[name])


def test_held_out_labels_have_no_influence(near, found):
    energy, forces = ENERGY.copy(), FORCES.copy()
    energy[26:] += 3
    forces[26:] *= -1
    again = fit(near, energy=energy, forces=forces)
    np.testing.assert_array_equal(again["predicted"], found["predicted"])


def test_both_routes_train_alike(near, found):
    stock = fit(near, route="stock")
    np.testing.assert_allclose(stock["epoch_train"][0], found["epoch_train"][0], rtol=1e-3)
    assert stock["forces_test"] == pytest.approx(float(found["forces_test"]), rel=0.05)


def test_frames_of_different_sizes():
    frames = [a if k % 2 else a * (1, 1, 2) for k, a in enumerate(FRAMES[:8])]
    near = find_neighbours(frames, progress=False)
    forces = np.full((8, 16, 3), np.nan, np.float32)
    for k, atoms in enumerate(frames):
        forces[k, : len(atoms)] = np.tile(FORCES[k], (len(atoms) // 8, 1))
    sides = {"train": np.arange(5), "test": np.arange(5, 8)}
    data = {"structures": frames, "energy": ENERGY[:8], "forces": forces}
    found = fit(near, **sides, **data, epochs=2)
    predicted = predict_forces(found, near, frames, BASE, [5, 6])
    assert predicted.shape == (2, 16, 3)
    assert np.isnan(predicted[0, 8:]).all() and np.isfinite(predicted[1]).all()
    assert np.isfinite(found["forces_test"])


def test_on_splits_and_from_disk(near, tmp_path, monkeypatch):
    jobs = [(TRAIN, TEST, SETTINGS | {"epochs": 2}, seed) for seed in (0, 1)]
    data = (tmp_path / "artifacts", near, FRAMES, ENERGY, FORCES, jobs)
    trained = force_training.train_on_splits(*data, n_jobs=1)
    np.testing.assert_array_equal(trained[1]["predicted"], fit(near, epochs=2, seed=1)["predicted"])
    monkeypatch.setattr(networks, "train", None)
    again = force_training.train_on_splits(*data, n_jobs=1)
    np.testing.assert_array_equal(again[0]["predicted"], trained[0]["predicted"])


def test_gradient_of_the_whole_loss(near):
    """What `networks.train` descends: its own loss of the energies, and ours of the forces."""
    model = schnet.build(BASE)
    inputs = [*batch(near, FRAMES, [1, 2]), torch.tensor(FORCES[[1, 2]]).reshape(-1, 3).float()]
    target, grads = torch.tensor(ENERGY[[1, 2]]).float(), []
    both = force_training.EnergyAndForces(model, 0.3).train()
    (both(*inputs) - target).square().mean().backward()
    grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    model.zero_grad()
    forces = forces_of(model, *inputs[:-1], differentiable=True)
    loss = (model(*inputs[:5]) - target).square().mean()
    (loss + 0.3 * (forces - inputs[-1]).square().mean()).backward()
    grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5 * float(grads[1].abs().max()))


@pytest.mark.parametrize("gamma", [0.1, 10.0, None])
def test_forces_before_and_after_training(gamma, near):
    settings = {"gamma": gamma, "features": 100, "epochs": 8}
    base = BASE | settings
    found = fit(near, **settings)
    before = {f"weights/{k}": v for k, v in schnet.build(base).state_dict().items()}
    for weights in (before, found):
        forces = predict_forces(weights, near, FRAMES, base, TEST).reshape(-1, 3)
        exact = stock_forces(schnet.restore(weights, base), [FRAMES[i] for i in TEST])
        assert np.abs(forces - exact).max() < 1e-4
        assert np.abs(exact).max() > 0.3
        model = schnet.restore(weights, base)
        model.network.points *= force_training.FINER["training"]
        forces = forces_of(model, *batch(near, FRAMES, TEST)).numpy()
        assert np.abs(forces - exact).max() < 1e-4 + 1e-4 * np.abs(exact).max()


# --- bad input -----------------------------------------------------------------------------------


def spoilt(frame, atom, value):
    forces = FORCES.copy()
    forces[frame, atom] = value
    return forces


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"forces": None}, "these frames have no forces"),
        ({"forces": FORCES[1:]}, r"forces of shape \(35, 8, 3\), expected \(36, 8, 3\)"),
        ({"forces": FORCES[:, :7]}, r"forces of shape \(36, 7, 3\)"),
        ({"forces": FORCES[..., 0]}, r"forces of shape \(36, 8\)"),
        ({"forces": spoilt(7, slice(None), np.nan)}, "frame 7 has no forces"),
        ({"forces": spoilt(30, 2, np.inf)}, r"force on atom 2 of frame 30 is \[inf"),
        ({"structures": FRAMES[1:]}, "35 structures, but neighbours of 36"),
        ({"structures": FRAMES[::-1]}, "frame .*: the pairs belong to another frame"),
        ({"force_weight": -1.0}, "force_weight is -1.0, and must be positive"),
        ({"energy_weight": 0.0}, "energy_weight is 0.0, and must be positive"),
        ({"momentum": 0.9}, "missing or unknown: momentum"),
        ({"cutoff": 4.0}, "cutoff is 4.0 Å, but neighbours were found within 5.0 Å"),
        ({"test": np.array([30, 25])}, "frame 25 is both"),
    ],
)
def test_bad_input(near, changed, message):
    with pytest.raises(ValueError, match=message):
        fit(near, **changed)


def test_verdict_is_of_the_last_kind_of_split():
    errors = {
        ("energies", "random"): [(70.0, 3000.0)],
        ("both", "random"): [(60.0, 2000.0)],
        ("energies", "by trajectory"): [(80.0, 4000.0), (90.0, 4200.0)],
        ("both", "by trajectory"): [(100.0, 2500.0), (110.0, 2500.0)],
    }
    text = force_training.verdict(errors, ("energies", "both"))
    assert "(by trajectory), the error of the forces is 2500 meV/Å in place of 4100" in text
    assert text.endswith("that of the energy 105 meV/atom in place of 85.")
    assert force_training.verdict({}, ("energies", "both")) == ""
