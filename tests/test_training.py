import numpy as np
import pytest
import torch

from phutils import training
from phutils.networks import Scaled

ENERGY = np.array([-7.0, -7.5, -8.0, -8.5])
TRAIN, TEST = np.array([0, 1]), np.array([2, 3])


def small(seed=0):
    torch.manual_seed(seed)
    return Scaled(torch.nn.Linear(3, 1), -7.0, 0.5)


def test_result_is_in_mev_and_its_weights_can_be_put_back():
    model = small()
    predicted = ENERGY + [0.01, -0.01, 0.02, 0.02]
    history = {"rmse": [0.5], "watched_epoch": [1], "watched_rmse": [0.25], "seconds": 3.0}
    found = training.result(model, history, predicted, ENERGY, TRAIN, TEST)
    assert found["train"] == pytest.approx(10) and found["test"] == pytest.approx(20)
    assert found["epoch_train"].tolist() == [500] and found["watched_test"].tolist() == [250]
    other = training.load_weights(small(1), found)
    assert not other.training
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


@pytest.mark.parametrize(
    "energy, train, test, message",
    [
        (ENERGY, TRAIN[:0], TEST, "0 training and 2 test frames: a side is empty"),
        (ENERGY, np.array([0, 2]), TEST, "frame 2 is both trained on and tested"),
        (np.where(ENERGY < -8, np.nan, ENERGY), TRAIN, TEST, "energy of frame 3 is nan"),
    ],
)
def test_bad_sides(energy, train, test, message):
    with pytest.raises(ValueError, match=message):
        training.check_sides(energy, train, test)


def test_bad_settings():
    training.check_settings({"a": 1}, {"a": 2})
    with pytest.raises(ValueError, match="missing or unknown: b, c"):
        training.check_settings({"a": 1, "c": 1}, {"a": 1, "b": 1})


def test_one_thread_inside_and_as_many_as_before_outside(monkeypatch, tmp_path):
    def threads(folder, function, *arguments, **options):
        return torch.get_num_threads(), folder, arguments, options

    monkeypatch.setattr(training, "cached", threads)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = training.on_one_core(tmp_path, None, (1, 2), {"seed": 3}, report=4)
        assert found == (1, tmp_path, (1, 2), {"seed": 3, "report": 4})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
