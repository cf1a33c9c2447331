import copy

import pytest
import torch
from torch import nn

from phutils import sparse_convolution
from phutils.sparse_convolution import convolve_and_pool, convolve_and_pool_sparse


def network(channels=(1, 16, 12, 8), seed=0):
    torch.manual_seed(seed)
    pairs = zip(channels[:-1], channels[1:], strict=True)
    return nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)


def band(n=6, size=64, empty=-0.09, seed=0):
    """Images like diagrams: points above the diagonal, in every corner and on every edge."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.full((n, 1, size, size), empty)
    birth = (torch.rand(n, 40, generator=generator) * size * 0.6).long()
    death = (birth + torch.randint(0, size // 8, birth.shape, generator=generator)).clamp(
        0, size - 1
    )
    frame = torch.arange(n)[:, None].expand_as(birth)
    images[frame, 0, birth, death] = torch.rand(birth.shape, generator=generator) * 9
    images[0, 0, [0, 0, -1, -1, 0, 7, 21], [0, -1, 0, -1, 33, 0, -1]] = 3.0
    images[-1] = empty  # a frame with no pair at all
    return images


def outcome(way, convolutions, *arguments):
    """Features, and gradients of the weights under a loss that weighs every feature."""
    convolutions.zero_grad()
    features = way(convolutions, *arguments)
    weights = torch.linspace(-1, 2, features.numel()).view(features.shape)
    (features * weights).sum().backward()
    return features.detach(), [p.grad.clone() for p in convolutions.parameters()]


def assert_same(convolutions, images, empty, tolerance=1e-5):
    plain, plain_gradients = outcome(convolve_and_pool, convolutions, images)
    sparse, gradients = outcome(convolve_and_pool_sparse, convolutions, images, empty)
    assert sparse.shape == plain.shape
    assert (sparse - plain).abs().max() <= tolerance * plain.abs().max().clamp(min=1)
    for found, expected in zip(gradients, plain_gradients, strict=True):
        assert (found - expected).abs().max() <= 2 * tolerance * expected.abs().max()


@pytest.mark.parametrize("empty", [-0.09, 0.0, 0.7])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_equals_the_plain_network(empty, layers):
    assert_same(network((1, 16, 12, 8)[: layers + 1]), band(empty=empty), empty)


def test_equals_the_plain_network_of_the_paper():
    assert_same(network((1, 64, 64, 32)), band(4, 128), -0.09)


def test_exact_in_double_precision():
    images = band(2).double()
    images[images < 0] = -0.1
    convolutions = network((1, 6, 4, 3)).double()
    plain, plain_gradients = outcome(convolve_and_pool, convolutions, images)
    sparse, gradients = outcome(convolve_and_pool_sparse, convolutions, images, -0.1)
    torch.testing.assert_close(sparse, plain, rtol=0, atol=1e-13)
    for found, expected in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_it_is_the_sparse_way_that_is_compared(monkeypatch):
    convolutions, images = network(), band()
    monkeypatch.setattr(sparse_convolution, "convolve_and_pool", None)
    convolve_and_pool_sparse(convolutions, images, -0.09)
    with pytest.raises(TypeError):  # every pixel differs from this value: the plain way is taken
        convolve_and_pool_sparse(convolutions, images, 0.5)


def test_a_wrong_empty_value_costs_nothing_but_time():
    assert_same(network(), band(), 0.123)


def test_dense_images_are_right_too():
    torch.manual_seed(1)
    assert_same(network(), torch.randn(3, 1, 64, 64), 0.0)


def test_frames_do_not_depend_on_their_batch():
    convolutions, images = network(), band()
    whole = convolve_and_pool_sparse(convolutions, images, -0.09)
    alone = [convolve_and_pool_sparse(convolutions, image[None], -0.09) for image in images]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=0, atol=2e-6)


@pytest.mark.parametrize("chunk", [1, 5000])
def test_chunks_change_nothing(chunk, monkeypatch):
    convolutions, images = network(), band()
    expected = outcome(convolve_and_pool_sparse, convolutions, images, -0.09)
    monkeypatch.setattr(sparse_convolution, "CHUNK", chunk)
    found = outcome(convolve_and_pool_sparse, convolutions, images, -0.09)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_several_channels():
    convolutions = network((3, 8, 8, 4))
    images = torch.cat([band(seed=s) for s in range(3)], dim=1)
    assert_same(convolutions, images, -0.09)


def test_images_that_want_a_gradient_get_the_right_one():
    convolutions, gradients = network(), []
    for way, more in ((convolve_and_pool, ()), (convolve_and_pool_sparse, (-0.09,))):
        images = band().requires_grad_()
        way(convolutions, images, *more).square().sum().backward()
        gradients.append(images.grad)
    torch.testing.assert_close(gradients[1], gradients[0])


def test_after_training_steps_the_weights_are_the_same():
    images, trained = band(), []
    first = network()
    for way, more in ((convolve_and_pool, ()), (convolve_and_pool_sparse, (-0.09,))):
        convolutions = copy.deepcopy(first)
        stepper = torch.optim.SGD(convolutions.parameters(), lr=1e-3, momentum=0.9)
        for _ in range(20):
            stepper.zero_grad()
            (way(convolutions, images, *more).mean(dim=(1, 2, 3)) - 1).square().mean().backward()
            stepper.step()
        trained.append(torch.cat([p.detach().flatten() for p in convolutions.parameters()]))
    assert (
        trained[0] - torch.cat([p.detach().flatten() for p in first.parameters()])
    ).abs().max() > 1e-3
    torch.testing.assert_close(trained[1], trained[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 64, 32), (2, 1, 60, 60), (2, 1, 16, 16)])
def test_sizes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="pixels, 3 layers"):
        convolve_and_pool_sparse(network(), torch.zeros(shape), 0.0)
