"""Continuous-filter convolutions whose filters are tabulated over the distance.

A SchNet filter is a function of one variable, the distance between two atoms, whatever the atoms
are. Instead of evaluating its network for each of some ten thousand pairs a frame, we evaluate it
at a few hundred distances and interpolate by cubic polynomials through the four nearest ones. The
error falls with the fourth power of the spacing.

`convolve` does this with plain PyTorch operations, on any device and to any order of derivative.
On a CPU, where only first derivatives in the table and the features are needed, it uses kernels
compiled by numba: each pair is interpolated once for both directions, and nothing of the size
[pairs, features] is ever stored.
"""

from functools import cache

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from phutils.compiled import compiled


class GaussianBasis(nn.Module):
    """Gaussians of the distance, ``exp(-gamma (d - mu)^2)`` (paper, Eq. 1).

    SchNetPack's own basis ties the width to the spacing of the centres; the paper gives both.

    Parameters
    ----------
    n_rbf : int
        Number of centres, evenly spaced from 0 to the cutoff.
    cutoff : float
        Å.
    gamma : float or None
        In 1/Å². None: SchNetPack's choice, a standard deviation of one spacing.

    Raises
    ------
    ValueError
        If gamma is not positive.
    """

    def __init__(self, n_rbf=60, cutoff=5.0, gamma=None):
        super().__init__()
        if gamma is not None and not gamma > 0:
            raise ValueError(f"gamma is {gamma} 1/Å^2, and must be positive")
        self.n_rbf = n_rbf
        self.gamma = 0.5 * ((n_rbf - 1) / cutoff) ** 2 if gamma is None else float(gamma)
        self.register_buffer("centres", torch.linspace(0, cutoff, n_rbf))

    @property
    def width(self):
        """Standard deviation of a Gaussian, Å."""
        return (2 * self.gamma) ** -0.5

    def forward(self, distances):
        """Distances [...] in Å to [..., n_rbf]."""
        return torch.exp(-self.gamma * (distances[..., None] - self.centres).square())

    def extra_repr(self):
        return f"{self.n_rbf}, gamma={self.gamma:g}"


def effective_rank(gaussians=60, cutoff=5.0, gamma=None, threshold=0.01):
    """Number of directions that the basis functions span on distances up to the cutoff.

    Parameters
    ----------
    gaussians, cutoff, gamma
        See `GaussianBasis`.
    threshold : float
        A direction counts if its singular value is above this fraction of the largest.

    Returns
    -------
    int
    """
    basis = GaussianBasis(gaussians, cutoff, gamma).double()
    grid = torch.linspace(0, cutoff, 1001, dtype=torch.float64)
    values = torch.linalg.svdvals(basis(grid))
    return int((values > threshold * values[0]).sum())


def points_for(width, cutoff):
    """How many points a table needs for filters made of Gaussians of a width.

    Ten to a standard deviation, and 64 at least.

    Parameters
    ----------
    width : float
        Standard deviation of the narrowest Gaussian, Å.
    cutoff : float
        Å.

    Returns
    -------
    int
    """
    return max(64, int(np.ceil(10 * cutoff / width)) + 1)


def convolve(table, features, first, second, distance, cutoff, fused=None):
    """Sum over neighbours: ``out[i] = sum_j filter(d_ij) * features[j]`` (paper, Eq. 2).

    Parameters
    ----------
    table : Tensor [points, width]
        The filters at `points` distances, evenly spaced from 0 to the cutoff; at least 4 points.
    features : Tensor [atoms, width]
    first, second : Tensor [pairs] of int32 or int64
        Each pair of atoms once. A pair of an atom with itself stands for two opposite images.
    distance : Tensor [pairs]
        Å, from 0 to the cutoff.
    cutoff : float
        Å.
    fused : bool, optional
        Use the compiled kernels. Default: on a CPU, unless derivatives in the distances are wanted.

    Returns
    -------
    Tensor [atoms, width]

    Raises
    ------
    ValueError
        If the table has fewer than 4 points.
    """
    if len(table) < 4:
        raise ValueError(f"a table of {len(table)} points: cubic interpolation needs 4")
    if fused is None:
        fused = table.device.type == "cpu" and not distance.requires_grad
    spacing = cutoff / (len(table) - 1)
    if fused:
        return _Fused.apply(table, features, first, second, distance, spacing)
    first, second = first.long(), second.long()
    row, weights = stencil(distance, spacing, len(table))
    filters = sum(weights[:, m, None] * table[row + m] for m in range(4))
    out = torch.zeros_like(features).index_add(0, first, filters * features[second])
    return out.index_add(0, second, filters * features[first])


def stencil(distance, spacing, points):
    """Rows and weights of cubic interpolation in a table.

    Parameters
    ----------
    distance : Tensor [pairs]
    spacing : float
        Between the points of the table, which begins at 0.
    points : int

    Returns
    -------
    row : Tensor [pairs] of int64
        First one of four consecutive rows.
    weights : Tensor [pairs, 4]
        Lagrange polynomials.
    """
    place = distance / spacing
    row = place.detach().floor().long().sub(1).clamp(0, points - 4)
    t = place - (row + 1)
    weights = [
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    ]
    return row, torch.stack(weights, dim=1)


# --- compiled ------------------------------------------------------------------------------------


QUICK = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


@compiled(**QUICK)
def _stencil(distance, spacing, points, real):
    """First one of four rows of a table, and their weights; as `stencil` for one distance."""
    place = distance / spacing
    row = min(max(int(place) - 1, 0), points - 4)
    t = place - (row + 1)
    a = real(-t * (t - 1) * (t - 2) / 6)
    b = real((t + 1) * (t - 1) * (t - 2) / 2)
    c = real(-(t + 1) * t * (t - 2) / 2)
    d = real((t + 1) * t * (t - 1) / 6)
    return row, a, b, c, d


@cache
def _kernels(width):
    """Both kernels for one number of features; all arrays are flat.

    The width is a constant for the compiler, and the loops touch few arrays each: only then does
    it find out that these do not overlap, and uses vector instructions.
    """

    @compiled(**QUICK)
    def add_neighbours(table, features, first, second, distance, spacing, out):
        """out[i] += filter * features[j], and with i and j exchanged."""
        real, points = table.dtype.type, len(table) // width
        for p in range(len(first)):
            row, a, b, c, d = _stencil(distance[p], spacing, points, real)
            k, i, j = row * width, first[p] * width, second[p] * width
            t, x_i, x_j = table[k : k + 4 * width], features[i : i + width], features[j : j + width]
            out_i, out_j = out[i : i + width], out[j : j + width]
            for f in range(width):
                w = a * t[f] + b * t[f + width] + c * t[f + 2 * width] + d * t[f + 3 * width]
                x = w * x_j[f]
                out_j[f] += w * x_i[f]
                out_i[f] += x

    @compiled(**QUICK)
    def add_to_table(features, grad, first, second, distance, spacing, by_table):
        """Gradient in the table, from the gradient in the output of `add_neighbours`."""
        real, points = by_table.dtype.type, len(by_table) // width
        for p in range(len(first)):
            row, a, b, c, d = _stencil(distance[p], spacing, points, real)
            k, i, j = row * width, first[p] * width, second[p] * width
            t, x_i, x_j = (
                by_table[k : k + 4 * width],
                features[i : i + width],
                features[j : j + width],
            )
            grad_i, grad_j = grad[i : i + width], grad[j : j + width]
            for f in range(width):
                g = grad_i[f] * x_j[f] + grad_j[f] * x_i[f]
                t[f] += a * g
                t[f + width] += b * g
                t[f + 2 * width] += c * g
                t[f + 3 * width] += d * g

    return add_neighbours, add_to_table


class _Fused(torch.autograd.Function):
    """The compiled kernels as one differentiable operation."""

    @staticmethod
    def forward(ctx, table, features, first, second, distance, spacing):
        tensors = [x.detach().contiguous() for x in (table, features, first, second, distance)]
        ctx.save_for_backward(*tensors)
        ctx.spacing = spacing
        return _sum_over_neighbours(*tensors, spacing)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        table, features, *pairs = ctx.saved_tensors
        grad, by_table = grad.contiguous(), torch.zeros_like(table)
        arrays = [x.numpy().ravel() for x in (features, grad, *pairs)]
        _, add_to_table = _kernels(table.shape[1])
        add_to_table(*arrays, ctx.spacing, by_table.numpy().ravel())
        by_features = _sum_over_neighbours(table, grad, *pairs, ctx.spacing)  # pairs have no order
        return by_table, by_features, None, None, None, None


def _sum_over_neighbours(table, features, first, second, distance, spacing):
    out = torch.zeros_like(features)
    arrays = [x.numpy().ravel() for x in (table, features, first, second, distance)]
    add_neighbours, _ = _kernels(table.shape[1])
    add_neighbours(*arrays, spacing, out.numpy().ravel())
    return out
