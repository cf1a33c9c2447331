import numpy as np
import pytest
import torch
from test_networks import X, Y, build

from phutils.checkpoints import run_key
from phutils.networks import train


def test_another_forward_does_not_continue(tmp_path):
    """Same weights, same layers, same description; only the code differs."""
    first = build()
    second = build()

    class Net(type(first.network)):
        def forward(self, x):
            return super().forward(x) ** 2

    second.network.__class__ = Net
    assert str(first) == str(second)
    keys = [run_key(train, m, X, torch.as_tensor(Y), None, None, []) for m in (first, second)]
    assert keys[0] != keys[1] == run_key(train, second, X, torch.as_tensor(Y), None, None, [])


def test_every_part_of_a_run_is_in_its_key():
    model, targets = build(), torch.as_tensor(Y)
    usual = run_key(train, model, X, targets, None, None, [1])
    assert usual == run_key(train, model, X.copy(), targets, None, None, [1])
    other = X.copy()
    other[140, 3] += 1e-3
    keys = [
        run_key(train, model, other, targets, None, None, [1]),
        run_key(train, model, X, targets + 1, None, None, [1]),
        run_key(train, model, X, targets, (X, Y), None, [1]),
        run_key(train, model, X, targets, None, "toy", [1]),
        run_key(train, model, X, targets, None, None, [2]),
        run_key(np.mean, model, X, targets, None, None, [1]),
    ]
    assert len({usual, *keys}) == 7


def test_a_function_without_its_content_has_no_key():
    with pytest.raises(ValueError, match="need `content`"):
        run_key(train, build(), lambda batch: X[batch], torch.as_tensor(Y), None, None, [])
