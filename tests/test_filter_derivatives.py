import pytest
import torch
from test_tabulated_filters import CUTOFF, problem

from phutils import schnet
from phutils.filter_derivatives import (
    add_pair_forces,
    along_pairs,
    convolve_for_slopes,
    convolve_with_rates,
    push,
)
from phutils.tabulated_filters import convolve


def rates_problem(**options):
    """`problem`, its features with rates, rates of the distances."""
    table, features, first, second, distance = problem(**options)
    generator = torch.Generator().manual_seed(1)
    rates = torch.randn(features.shape, generator=generator, dtype=features.dtype)
    rate = torch.randn(distance.shape, generator=generator, dtype=features.dtype)
    return table, torch.stack([features, rates], dim=1), first, second, distance, rate


@pytest.mark.parametrize("points", [4, 30])
def test_slopes_are_those_of_automatic_differentiation(points):
    table, features, first, second, distance = problem(points=points)
    features.requires_grad_(), distance.requires_grad_()
    distance.data[:4] = torch.tensor([1e-9, CUTOFF - 1e-9, 0.3, 2.0])
    weights = torch.arange(5.0, dtype=torch.float64)
    found, expected = [
        torch.autograd.grad((way.sin() * weights).sum(), (features, distance))
        for way in (
            convolve_for_slopes(table, features, first, second, distance, CUTOFF),
            convolve(table, features, first, second, distance, CUTOFF, fused=False),
        )
    ]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_features_without_gradient():
    table, features, first, second, distance = problem()
    distance.requires_grad_()
    convolve_for_slopes(table, features, first, second, distance, CUTOFF).sum().backward()
    assert features.grad is None and distance.grad.abs().min() > 0


def test_rates_are_forward_derivatives():
    table, features, first, second, distance, rate = rates_problem()
    found = convolve_with_rates(table, features, first, second, distance, rate, CUTOFF)
    value, change = torch.func.jvp(
        lambda x, d: convolve(table, x, first, second, d, CUTOFF, fused=False),
        (features[:, 0], distance),
        (features[:, 1], rate),
    )
    torch.testing.assert_close(found, torch.stack([value, change], dim=1))


def test_gradients_of_rates():
    table, features, *rest = rates_problem(points=6, atoms=4, pairs=9, width=3)
    table.requires_grad_(), features.requires_grad_()
    # an atom with itself is among the pairs
    assert torch.autograd.gradcheck(
        lambda t, x: convolve_with_rates(t, x, *rest, CUTOFF), (table, features)
    )


def test_single_precision_and_any_memory_layout():
    table, features, *rest = rates_problem(width=100, pairs=500, dtype=torch.float32)
    exact = convolve_with_rates(*(x.double() for x in (table, features)), *rest, CUTOFF)
    strided = features.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    found = convolve_with_rates(table, strided, *rest, CUTOFF)
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4 * exact.abs().max())


def test_no_pairs():
    table, features, *rest = rates_problem()
    out = convolve_with_rates(table, features, *(x[:0] for x in rest), CUTOFF)
    assert out.shape == features.shape and not out.any()


def test_pairs_and_vectors():
    _, _, first, second, _ = problem()
    unit = torch.nn.functional.normalize(torch.randn(40, 3), dim=1)
    vectors, slope = torch.randn(7, 3), torch.randn(40)
    along, forces = torch.empty(40), torch.zeros(7, 3)
    arrays = [x.numpy() for x in (first, second, unit)]
    along_pairs(*arrays, vectors.numpy(), along.numpy())
    i, j = first.long(), second.long()
    torch.testing.assert_close(along, ((vectors[i] - vectors[j]) * unit).sum(dim=1))
    add_pair_forces(*arrays, slope.numpy(), forces.numpy())
    pulled = slope[:, None] * unit
    expected = torch.zeros(7, 3).index_add(0, i, pulled).index_add(0, j, -pulled)
    torch.testing.assert_close(forces, expected)


def test_push_is_a_forward_derivative():
    """Through every kind of layer that SchNetPack's SchNet has, its output included."""
    network = schnet.build(schnet.PAPER | {"features": 12}).network
    block = network.representation.interactions[0]
    values = torch.randn(5, 2, 12)
    for layers in ([block.in2f], block.f2out, network.output.outnet):
        stacked = torch.nn.Sequential(*layers)
        expected = torch.func.jvp(stacked, (values[:, 0],), (values[:, 1],))
        torch.testing.assert_close(push(layers, values), torch.stack(expected, dim=1))
    block.in2f.activation = torch.nn.ReLU()
    with pytest.raises(TypeError, match="activation ReLU: slopes are known for shifted_softplus"):
        push([block.in2f], values)
