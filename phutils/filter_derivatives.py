"""Derivatives of tabulated convolutions in the distances, compiled for the CPU.

Forces are derivatives of the energy in the distances, and a network that is trained on forces needs
their derivatives in the weights: second derivatives of the energy. Only one combination of them is
asked for, the change of the energy when each distance changes at a given rate. So these rates are
carried along through the network beside the values (a forward derivative), and one ordinary
backward pass of the result gives all derivatives in the weights. Nothing is approximated, and
nothing of the size [pairs, features] is ever stored.

Both operations interpolate as `phutils.tabulated_filters` does, and list each pair once.
"""

from functools import cache

import torch
from torch.autograd.function import once_differentiable

from phutils.compiled import compiled
from phutils.tabulated_filters import QUICK, _kernels, _stencil


def _silu_slope(x):
    return torch.sigmoid(x) * (1 + x * torch.sigmoid(-x))


# Derivatives of the activations that SchNetPack's SchNet has: of its blocks, and of its output.
SLOPES = {"shifted_softplus": torch.sigmoid, "silu": _silu_slope, "Identity": torch.ones_like}


def convolve_for_slopes(table, features, first, second, distance, cutoff):
    """As `phutils.tabulated_filters.convolve`, with first derivatives in features and distances.

    The table takes no part in the differentiation.

    Parameters
    ----------
    table, features, first, second, distance, cutoff
        As there, on the CPU.

    Returns
    -------
    Tensor [atoms, width]
    """
    spacing = cutoff / (len(table) - 1)
    return _WithSlopes.apply(table.detach(), features, first, second, distance, spacing)


def convolve_with_rates(table, features, first, second, distance, rate, cutoff):
    """Sum over neighbours, and the rate at which it changes.

    Parameters
    ----------
    table, first, second, distance, cutoff
        As for `phutils.tabulated_filters.convolve`, on the CPU.
    features : Tensor [atoms, 2, width]
        Values, and their rates of change.
    rate : Tensor [pairs]
        Rates of change of the distances.

    Returns
    -------
    Tensor [atoms, 2, width]
        The sums and their rates; differentiable once, in table and features.
    """
    spacing = cutoff / (len(table) - 1)
    return _WithRates.apply(table, features, first, second, distance, rate, spacing)


def push(layers, values):
    """Values and their rates of change through layers of SchNetPack.

    Parameters
    ----------
    layers : iterable of schnetpack.nn.Dense
        Without activation or with one of those in `SLOPES`.
    values : Tensor [..., 2, features]
        Values, and their rates of change.

    Returns
    -------
    Tensor [..., 2, features]

    Raises
    ------
    TypeError
        If a layer has another activation.
    """
    for layer in layers:
        name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
        values = torch.nn.functional.linear(values, layer.weight)
        value, rate = values.unbind(dim=-2)
        value = value if layer.bias is None else value + layer.bias
        if name not in SLOPES:
            raise TypeError(f"activation {name}: slopes are known for {', '.join(SLOPES)}")
        rate = rate * SLOPES[name](value)
        values = torch.stack([layer.activation(value), rate], dim=-2)
    return values


# --- compiled ------------------------------------------------------------------------------------


@compiled(**QUICK)
def _slope_stencil(distance, spacing, points, real):
    """Derivatives of the four weights of `_stencil` in the distance."""
    place = distance / spacing
    t = place - (min(max(int(place) - 1, 0), points - 4) + 1)
    a = real(-(3 * t * t - 6 * t + 2) / (6 * spacing))
    b = real((3 * t * t - 4 * t - 1) / (2 * spacing))
    c = real(-(3 * t * t - 2 * t - 2) / (2 * spacing))
    d = real((3 * t * t - 1) / (6 * spacing))
    return a, b, c, d


@compiled(**QUICK)
def along_pairs(first, second, unit, vectors, out):
    """``out[p] = (vectors[i] - vectors[j]) . unit[p]``: what the vectors do to distances, negative.

    Arrays: unit [pairs, 3], from the first to the second atom; vectors [atoms, 3]; out [pairs].
    """
    for p in range(len(first)):
        i, j = first[p], second[p]
        total = (vectors[i, 0] - vectors[j, 0]) * unit[p, 0]
        total += (vectors[i, 1] - vectors[j, 1]) * unit[p, 1]
        total += (vectors[i, 2] - vectors[j, 2]) * unit[p, 2]
        out[p] = total


@compiled(**QUICK)
def add_pair_forces(first, second, unit, slope, out):
    """Forces of pairs: ``slope[p] * unit[p]`` is added to ``out[i]`` and taken from ``out[j]``."""
    for p in range(len(first)):
        i, j = first[p], second[p]
        for axis in range(3):
            force = slope[p] * unit[p, axis]
            out[i, axis] += force
            out[j, axis] -= force


@cache
def _more_kernels(width):
    """Kernels for one number of features, on flat arrays; see `tabulated_filters._kernels`."""

    @compiled(**QUICK)
    def find_slopes(table, features, grad, first, second, distance, spacing, out):
        """Derivative in each distance, from the gradient in the sums."""
        real, points = table.dtype.type, len(table) // width
        for p in range(len(first)):
            row = _stencil(distance[p], spacing, points, real)[0]
            a, b, c, d = _slope_stencil(distance[p], spacing, points, real)
            k, i, j = row * width, first[p] * width, second[p] * width
            t, x_i, x_j = table[k : k + 4 * width], features[i : i + width], features[j : j + width]
            g_i, g_j = grad[i : i + width], grad[j : j + width]
            total = real(0)
            for f in range(width):
                w = a * t[f] + b * t[f + width] + c * t[f + 2 * width] + d * t[f + 3 * width]
                total += w * (g_i[f] * x_j[f] + g_j[f] * x_i[f])
            out[p] = total

    @compiled(**QUICK)
    def add_with_rates(table, features, first, second, distance, rate, spacing, out):
        """Sums over neighbours and their rates; an atom has 2 * width numbers."""
        real, points = table.dtype.type, len(table) // width
        for p in range(len(first)):
            row, a, b, c, d = _stencil(distance[p], spacing, points, real)
            e, g, h, o = _slope_stencil(distance[p], spacing, points, real)
            e, g, h, o = e * rate[p], g * rate[p], h * rate[p], o * rate[p]
            k, i, j = row * width, 2 * first[p] * width, 2 * second[p] * width
            t = table[k : k + 4 * width]
            x_i, x_j = features[i : i + 2 * width], features[j : j + 2 * width]
            out_i, out_j = out[i : i + 2 * width], out[j : j + 2 * width]
            for f in range(width):
                r, s, u, v = t[f], t[f + width], t[f + 2 * width], t[f + 3 * width]
                w, q = a * r + b * s + c * u + d * v, e * r + g * s + h * u + o * v
                x, y = w * x_j[f], w * x_j[f + width] + q * x_j[f]
                out_j[f + width] += w * x_i[f + width] + q * x_i[f]
                out_j[f] += w * x_i[f]
                out_i[f] += x
                out_i[f + width] += y

    @compiled(**QUICK)
    def add_to_table(features, grad, first, second, distance, rate, spacing, by_table):
        """Gradient in the table, from the gradient in the output of `add_with_rates`."""
        real, points = by_table.dtype.type, len(by_table) // width
        for p in range(len(first)):
            row, a, b, c, d = _stencil(distance[p], spacing, points, real)
            e, g, h, o = _slope_stencil(distance[p], spacing, points, real)
            e, g, h, o = e * rate[p], g * rate[p], h * rate[p], o * rate[p]
            k, i, j = row * width, 2 * first[p] * width, 2 * second[p] * width
            t = by_table[k : k + 4 * width]
            x_i, x_j = features[i : i + 2 * width], features[j : j + 2 * width]
            g_i, g_j = grad[i : i + 2 * width], grad[j : j + 2 * width]
            for f in range(width):
                x = g_i[f] * x_j[f] + g_j[f] * x_i[f]
                x += g_i[f + width] * x_j[f + width] + g_j[f + width] * x_i[f + width]
                y = g_i[f + width] * x_j[f] + g_j[f + width] * x_i[f]
                t[f] += a * x + e * y
                t[f + width] += b * x + g * y
                t[f + 2 * width] += c * x + h * y
                t[f + 3 * width] += d * x + o * y

    return find_slopes, add_with_rates, add_to_table


def _flat(*tensors):
    return [x.detach().contiguous().numpy().ravel() for x in tensors]


class _WithSlopes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, features, first, second, distance, spacing):
        ctx.arrays, ctx.spacing = _flat(table, features, first, second, distance), spacing
        out = torch.zeros_like(features, memory_format=torch.contiguous_format)
        _kernels(features.shape[1])[0](*ctx.arrays, spacing, out.numpy().ravel())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        table, features, *pairs = ctx.arrays
        (flat,), width, by_features = _flat(grad), grad.shape[1], None
        if ctx.needs_input_grad[1]:
            by_features = torch.zeros_like(grad, memory_format=torch.contiguous_format)
            _kernels(width)[0](table, flat, *pairs, ctx.spacing, by_features.numpy().ravel())
        slopes = torch.zeros(len(pairs[0]), dtype=grad.dtype)
        _more_kernels(width)[0](table, features, flat, *pairs, ctx.spacing, slopes.numpy())
        return None, by_features, None, None, slopes, None


class _WithRates(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, features, first, second, distance, rate, spacing):
        ctx.arrays, ctx.spacing = _flat(table, features, first, second, distance, rate), spacing
        out = torch.zeros_like(features, memory_format=torch.contiguous_format)
        _more_kernels(features.shape[2])[1](*ctx.arrays, spacing, out.numpy().ravel())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        table, features, *pairs = ctx.arrays
        width = grad.shape[2]
        _, add_with_rates, add_to_table = _more_kernels(width)
        by_table = torch.zeros(len(table) // width, width, dtype=grad.dtype)
        add_to_table(features, *_flat(grad), *pairs, ctx.spacing, by_table.numpy().ravel())
        turned = torch.zeros_like(grad, memory_format=torch.contiguous_format)
        flat = _flat(grad.flip(1))[0]  # the transpose of the sum: values and rates change places
        add_with_rates(table, flat, *pairs, ctx.spacing, turned.numpy().ravel())
        return by_table, turned.flip(1), None, None, None, None, None
