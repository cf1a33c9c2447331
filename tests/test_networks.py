import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from phutils import networks
from phutils.checkpoints import Checkpoint
from phutils.networks import Scaled, predict, train

SGD = {"name": "SGD", "lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(150, 6)).astype(np.float32)
Y = -7.5 + 0.5 * np.sin(X[:, 0]) + 0.3 * X[:, 1] * X[:, 2]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.05), nn.Linear(24, 24), nn.ReLU()
        )
        self.last = nn.Linear(24, 1)

    def forward(self, x):
        return self.last(self.layers(x))[:, 0]


def build(seed=0):
    torch.manual_seed(seed)
    return Scaled(Net(), Y.mean(), Y.std())


def run(model=None, inputs=X, targets=Y, **options):
    """Train with defaults; returns the model's numbers and the history."""
    model = model or build()
    options = {"epochs": 8, "optimiser": SGD, "progress": False, "device": "cpu"} | options
    history = train(model, inputs, targets, **options)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), history


@pytest.fixture(scope="module")
def unbroken():
    return run()


def test_learns(unbroken):
    model = build()
    before = np.sqrt(np.mean((predict(model, X) - Y) ** 2))
    _, history = run(model, epochs=40)
    after = np.sqrt(np.mean((predict(model, X) - Y) ** 2))
    assert after < 0.4 * before
    assert history["rmse"][-1] < 0.6 * history["rmse"][0] and len(history["rmse"]) == 40
    assert after == pytest.approx(history["rmse"][-1], rel=0.5)  # same units: eV


def test_same_seed_same_weights(unbroken):
    weights, history = run()
    assert torch.equal(weights, unbroken[0]) and history["rmse"] == unbroken[1]["rmse"]
    assert not torch.equal(run(seed=1)[0], weights)


def test_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = build()
    torch.manual_seed(5)
    run(model, epochs=2)
    assert torch.equal(torch.rand(3), expected)


def test_learning_rate_is_halved_after_the_milestones():
    _, history = run(epochs=9, milestones=(2, 4, 8))
    expected = np.array([1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125]) * SGD["lr"]
    np.testing.assert_allclose(history["learning_rate"], expected)


def test_schedule_acts_on_the_weights(unbroken):
    assert not torch.equal(run(milestones=(1,))[0], unbroken[0])


def test_batch_function_is_the_same_as_tensors(unbroken):
    tensor = torch.as_tensor(X)
    assert torch.equal(run(inputs=lambda batch: tensor[batch])[0], unbroken[0])

    class Two(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, left, right):
            return self.model(torch.cat([left, right], dim=1))

    halves = lambda batch: (tensor[batch, :2], tensor[batch, 2:])  # noqa: E731
    model = Two(build())
    assert torch.equal(run(model, inputs=halves)[0], unbroken[0])
    np.testing.assert_array_equal(predict(model, halves, len(X)), predict(model.model, X))


def test_held_out_data_are_watched_and_decide_nothing(unbroken):
    weights, history = run(watched=(X[:20], Y[:20] + 9))
    assert torch.equal(weights, unbroken[0])
    assert history["watched_epoch"] == list(range(1, 9))
    assert history["watched_rmse"][-1] == pytest.approx(9, abs=0.5)


def test_other_optimisers():
    weights, history = run(epochs=3, optimiser={"name": "Adam", "lr": 0.01})
    assert torch.isfinite(weights).all() and history["rmse"][-1] < history["rmse"][0]


def test_progress_goes_to_stderr(capsys):
    run(epochs=2, progress="per-atom network")
    printed = capsys.readouterr()
    assert printed.out == "" and "per-atom network: 100%" in printed.err and "rmse=" in printed.err


# --- checkpoints ---------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import torch
from test_networks import X, Y, build, run

calls, tensor = 0, torch.as_tensor(X)

def fetch(batch):  # five batches an epoch: dies in the middle of the sixth epoch
    global calls
    calls += 1
    if calls == 28:
        os.kill(os.getpid(), signal.SIGKILL)
    return tensor[batch]

run(inputs=fetch, content="toy", checkpoints=sys.argv[1], save_every=0)
"""


def test_resumes_bit_for_bit_after_kill(tmp_path, unbroken):
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "PYTHONPATH": f"{here.parent}{os.pathsep}{here}",
    }
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    ended = subprocess.run(command, env=environment, cwd=here.parent)
    assert ended.returncode == -signal.SIGKILL
    (file,) = tmp_path.iterdir()
    done = len(torch.load(file, weights_only=True)["history"]["rmse"])
    assert done == 5

    batches, tensor = [], torch.as_tensor(X)

    def fetch(batch):
        batches.append(len(batch))
        return tensor[batch]

    options = {"content": "toy", "checkpoints": tmp_path, "save_every": 0}
    weights, history = run(inputs=fetch, **options)
    assert len(batches) == 5 * (8 - done)  # nothing done before is done again
    assert torch.equal(weights, unbroken[0])
    assert history["rmse"] == unbroken[1]["rmse"]
    assert history["learning_rate"] == unbroken[1]["learning_rate"]
    assert not list(tmp_path.iterdir())  # complete: nothing to resume


def interrupted(folder, stop=3):
    """A run that raises in its fourth epoch, after three checkpoints."""
    tensor, calls = torch.as_tensor(X), []

    def fetch(batch):
        calls.append(1)
        if len(calls) > 5 * stop:
            raise KeyboardInterrupt
        return tensor[batch]

    options = {"content": "toy", "checkpoints": folder, "save_every": 0}
    with pytest.raises(KeyboardInterrupt):
        run(inputs=fetch, **options)
    (file,) = Path(folder).iterdir()
    return file


@pytest.mark.parametrize(
    "changed",
    [
        {"optimiser": SGD | {"lr": 0.03}},
        {"epochs": 9},
        {"milestones": (4,)},
        {"factor": 0.9},
        {"batch_size": 16},
        {"seed": 3},
        {"targets": Y + 1e-6},
        {"content": "other"},
        {"model": 1},
        {"precision": "bfloat16"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_run_does_not_continue_this_one(tmp_path, changed):
    file = interrupted(tmp_path)
    tensor, calls = torch.as_tensor(X), []

    def fetch(batch):
        calls.append(1)
        return tensor[batch]

    options = {"content": "toy", "checkpoints": tmp_path, "epochs": 8, "batch_size": 32} | changed
    if "model" in changed:
        options["model"] = build(1)
    run(inputs=fetch, **options)
    assert len(calls) == options["epochs"] * -(-len(X) // options["batch_size"])
    assert file.exists()  # the other run's checkpoint waits for it


@pytest.mark.parametrize("clip", [None, 0.01])
def test_a_clipped_step_is_as_long_as_allowed(clip):
    model = build()
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    plain = {"name": "SGD", "lr": 0.5}
    after, _ = run(model, epochs=1, batch_size=len(X), optimiser=plain, clip=clip)
    step = (after - before).norm().item()
    if clip:
        assert step == pytest.approx(0.5 * clip, rel=1e-3)
    else:
        assert step > 0.05


def test_history_is_reported_after_each_epoch():
    seen = []
    run(epochs=4, report=lambda history: seen.append(len(history["rmse"])))
    assert seen == [1, 2, 3, 4]


def test_other_inputs_do_not_continue(tmp_path):
    class Stop(Exception):
        pass

    def stop(self, *_):
        save(self, 1.0)
        raise Stop

    save = Checkpoint.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(Stop):
            run(checkpoints=tmp_path, save_every=0)
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    other = X.copy()
    other[140, 3] += 1e-3
    run(inputs=other, checkpoints=tmp_path)
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [before]
    run(checkpoints=tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_checkpoint_starts_afresh(tmp_path, unbroken):
    file = interrupted(tmp_path)
    file.write_bytes(file.read_bytes()[:-500])
    tensor = torch.as_tensor(X)
    fetch = lambda batch: tensor[batch]  # noqa: E731
    weights, _ = run(inputs=fetch, content="toy", checkpoints=tmp_path)
    assert torch.equal(weights, unbroken[0])


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_code_in_a_checkpoint_is_run(tmp_path, unbroken):
    file = interrupted(tmp_path / "runs")
    torch.save({"model": Harmful(tmp_path / "harm")}, file)
    tensor = torch.as_tensor(X)
    fetch = lambda batch: tensor[batch]  # noqa: E731
    weights, _ = run(inputs=fetch, content="toy", checkpoints=tmp_path / "runs")
    assert not (tmp_path / "harm").exists() and torch.equal(weights, unbroken[0])
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()  # it would have been


def test_killed_while_writing_a_checkpoint(tmp_path, unbroken, monkeypatch):
    def half(state, opened):
        opened.write(b"half of a checkpoint")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoints=tmp_path, save_every=0)
    assert not list(tmp_path.iterdir())


def test_default_folder_of_checkpoints(tmp_path, monkeypatch):
    monkeypatch.setenv("PHUTILS_BUILD", str(tmp_path))
    seen = []
    save = Checkpoint.save
    monkeypatch.setattr(
        Checkpoint, "save", lambda self, s: (save(self, s), seen.append(self.file.exists()))
    )
    run(checkpoints=True, save_every=0, epochs=2)
    assert seen == [True] and not list((tmp_path / "checkpoints").iterdir())


def test_batch_function_without_content_has_no_checkpoints(tmp_path):
    with pytest.raises(ValueError, match="content"):
        run(inputs=lambda batch: torch.as_tensor(X)[batch], checkpoints=tmp_path)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"inputs": np.where(np.arange(900).reshape(150, 6) == 63, np.nan, X)}, "frame 10 .*nan"),
        ({"targets": np.where(np.arange(150) == 7, np.inf, Y)}, "target of frame 7 holds inf"),
        ({"targets": Y[:-1]}, "150 inputs, but 149 targets"),
        ({"inputs": X[:0], "targets": Y[:0]}, "nothing to train on"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"epochs": 0}, "epochs 0"),
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"optimiser": SGD | {"lr": 1e9}, "epochs": 3}, "loss of epoch . is not finite"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        run(**change)


def test_predict_refuses_nan():
    with pytest.raises(ValueError, match="input of frame 0 holds nan"):
        predict(build(), np.full((1, 6), np.nan, np.float32))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_named():
    with pytest.raises(ValueError, match="'cuda' was asked for"):
        run(device="cuda")
    assert networks.choose_device() == "cpu"


def test_bfloat16_is_used_and_close(unbroken):
    weights, history = run(precision="bfloat16")
    assert not torch.equal(weights, unbroken[0])
    assert history["rmse"][-1] == pytest.approx(unbroken[1]["rmse"][-1], rel=0.1)


def test_predict_in_batches():
    model = build()
    np.testing.assert_allclose(predict(model, X, batch_size=7), predict(model, X), rtol=1e-6)
    model.eval()
    expected = model.network(torch.as_tensor(X)) * model.scale + model.offset
    np.testing.assert_allclose(predict(model, X), expected.detach().numpy(), rtol=1e-6)
