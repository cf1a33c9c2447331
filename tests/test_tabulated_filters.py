import numpy as np
import pytest
import torch

from phutils import tabulated_filters
from phutils.tabulated_filters import (
    GaussianBasis,
    convolve,
    effective_rank,
    points_for,
    stencil,
)

CUTOFF = 5.0


def problem(points=30, atoms=7, pairs=40, width=5, dtype=torch.float64, seed=0):
    """Random table, features and pairs; among the pairs an atom with itself, twice."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(points, width, generator=generator, dtype=dtype)
    features = torch.randn(atoms, width, generator=generator, dtype=dtype)
    first, second = torch.randint(0, atoms, (2, pairs), generator=generator, dtype=torch.int32)
    first[3] = second[3] = first[6] = second[6] = 2
    distance = CUTOFF * torch.rand(pairs, generator=generator, dtype=dtype)
    return table, features, first, second, distance


def by_hand(function, features, first, second, distance):
    """Sum over pairs, one at a time; `function` gives the filter of a distance."""
    out = torch.zeros_like(features)
    for i, j, d in zip(first.tolist(), second.tolist(), distance, strict=True):
        out[i] += function(d) * features[j]
        out[j] += function(d) * features[i]
    return out


def cubic(distance):
    d = distance[..., None]
    return torch.cat([d**0, d, d**2, d**3, (d - 2) * (d - 1) * (d - 4.5)], dim=-1)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("points", [4, 5, 30])
def test_cubic_filters_are_exact(fused, points):
    _, features, first, second, distance = problem()
    distance[:4] = torch.tensor([0.0, CUTOFF, 1e-9, CUTOFF - 1e-9])
    table = cubic(torch.linspace(0, CUTOFF, points, dtype=torch.float64))
    found = convolve(table, features, first, second, distance, CUTOFF, fused)
    expected = by_hand(cubic, features, first, second, distance)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("fused", [True, False])
def test_error_falls_with_the_fourth_power_of_the_spacing(fused):
    _, features, first, second, distance = problem(pairs=300)

    def wave(d):
        return torch.sin(3 * d[..., None] + torch.arange(5.0))

    expected, errors = by_hand(wave, features, first, second, distance), []
    for points in (101, 201, 401):
        table = wave(torch.linspace(0, CUTOFF, points, dtype=torch.float64))
        found = convolve(table, features, first, second, distance, CUTOFF, fused)
        errors.append(float((found - expected).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(16, rel=0.4)
    assert errors[1] / errors[2] == pytest.approx(16, rel=0.4)


def test_both_ways_agree_in_value_and_gradient():
    found = {}
    for fused in (True, False):
        table, features, *pairs = problem(width=100, pairs=500, dtype=torch.float32)
        table.requires_grad_(), features.requires_grad_()
        out = convolve(table, features, *pairs, CUTOFF, fused)
        (out.sin() * torch.arange(100)).sum().backward()
        found[fused] = out.detach(), table.grad, features.grad
    for one, other in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("fused", [True, False])
def test_gradients(fused):
    table, features, *pairs = problem(points=6, atoms=4, pairs=9, width=3)
    table.requires_grad_(), features.requires_grad_()
    # pairs[0] is an atom with itself in three places
    assert torch.autograd.gradcheck(
        lambda t, x: convolve(t, x, *pairs, CUTOFF, fused), (table, features)
    )


def test_derivatives_in_the_distances():
    table, features, first, second, distance = problem(points=60, pairs=9)
    distance.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda d: convolve(table, features, first, second, d, CUTOFF), (distance,)
    )


@pytest.mark.parametrize("fused", [True, False])
def test_not_contiguous(fused):
    table, features, first, second, distance = problem()
    expected = convolve(table, features, first, second, distance, CUTOFF, fused)
    strided = [x.T.contiguous().T for x in (table, features)]
    pairs = [torch.stack([x, x], dim=1)[:, 0] for x in (first, second, distance)]
    assert not any(x.is_contiguous() for x in (*strided, *pairs))
    torch.testing.assert_close(convolve(*strided, *pairs, CUTOFF, fused), expected)


@pytest.mark.parametrize("fused", [True, False])
def test_no_pairs(fused):
    table, features, *pairs = problem()
    table.requires_grad_(), features.requires_grad_()
    out = convolve(table, features, *(x[:0] for x in pairs), CUTOFF, fused)
    assert out.shape == features.shape and not out.any()
    out.sum().backward()
    assert not table.grad.any() and not features.grad.any()


def test_default_way(monkeypatch):
    used = []
    apply = tabulated_filters._Fused.apply
    monkeypatch.setattr(
        tabulated_filters._Fused, "apply", lambda *a: (used.append(1), apply(*a))[1]
    )
    arguments = problem()
    convolve(*arguments, CUTOFF)
    assert used == [1]
    arguments[-1].requires_grad_()
    convolve(*arguments, CUTOFF)
    convolve(*(x.detach() for x in arguments), CUTOFF, fused=False)
    assert used == [1]


def test_weights_sum_to_one():
    row, weights = stencil(torch.linspace(0, CUTOFF, 77), CUTOFF / 19, 20)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(77))
    assert row.min() == 0 and row.max() == 16


def test_too_few_points():
    with pytest.raises(ValueError, match="3 points"):
        convolve(*problem(points=3), CUTOFF)


# --- the basis -----------------------------------------------------------------------------------


def test_gaussians_of_the_paper():
    basis = GaussianBasis(60, 5.0, 0.1)
    distance = torch.tensor([0.3, 1.42, 5.0])
    expected = np.exp(-0.1 * (distance.numpy()[:, None] - np.linspace(0, 5, 60)) ** 2)
    np.testing.assert_allclose(basis(distance).numpy(), expected, rtol=1e-5)
    assert basis.n_rbf == 60 and basis.width == pytest.approx(2.236, abs=1e-3)
    assert GaussianBasis(60, 5.0).width == pytest.approx(5 / 59)


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan")])
def test_gamma_is_positive(gamma):
    with pytest.raises(ValueError, match="gamma is"):
        GaussianBasis(gamma=gamma)


def test_effective_rank_grows_with_gamma():
    ranks = [effective_rank(gamma=gamma) for gamma in (0.1, 10.0, None)]
    assert ranks[0] <= 5 < 15 < ranks[1] < 40 < ranks[2] <= 60
    assert effective_rank(gamma=1e3) == 60  # they hardly overlap
    assert effective_rank(gamma=1e-9) == 1  # all of them are constant


def test_points_follow_the_width():
    assert points_for(0.5, 5.0) == 101 and points_for(10.0, 5.0) == 64
    assert points_for(5 / 59, 5.0) == 591
