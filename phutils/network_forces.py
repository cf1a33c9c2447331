"""Forces of a SchNet with tabulated filters, and the gradient of their error in its weights.

A force is a sum over pairs of slopes dE/dd along the directions of the pairs. On a CPU both slopes
and the gradient of a loss of the forces come exactly from `phutils.filter_derivatives`, in two
passes over a batch: the first gives the slopes, so the forces, and with them the rate at which the
loss changes with each slope; the second carries these rates through the network as if they were
those of the distances, and one backward pass of it gives the gradient. On a GPU, and for
SchNetPack's own forward (route ``stock``), PyTorch differentiates twice.
"""

import numpy as np
import torch
from vesin import NeighborList

from phutils import schnet
from phutils.filter_derivatives import (
    add_pair_forces,
    along_pairs,
    convolve_for_slopes,
    convolve_with_rates,
    push,
)

# --- where pairs point to ------------------------------------------------------------------------


def pair_directions(atoms, pairs, cutoff):
    """Unit vectors from the first to the second atom of each pair.

    Where the cell is a box of more than twice the cutoff, a pair is the nearest image; else the
    neighbours are searched again.

    Parameters
    ----------
    atoms : ase.Atoms
    pairs : ndarray of ``phutils.neighbours.PAIR``
        Of this frame.
    cutoff : float
        Å; the one that the pairs were found with.

    Returns
    -------
    ndarray [n_pairs, 3] of float32

    Raises
    ------
    ValueError
        If the pairs are those of another frame.
    """
    positions, cell = atoms.positions, atoms.cell.array
    first, second = pairs["first"].astype(int), pairs["second"].astype(int)
    edges = cell.diagonal()
    box = np.array_equal(cell, np.diag(edges)) and atoms.pbc.all()
    if (
        box
        and edges.min() > 2 * cutoff
        and len(pairs)
        and max(first.max(), second.max()) < len(atoms)
    ):
        vectors = positions[second] - positions[first]
        vectors -= edges * np.rint(vectors / edges)
    else:
        search = NeighborList(cutoff=cutoff, full_list=False, n_threads=1)
        *found, distance, vectors = search.compute(positions, cell, atoms.pbc, "ijdD", copy=True)
        order = np.argsort(distance, kind="stable")
        vectors = vectors[order]
        same = [np.array_equal(a[order], b) for a, b in zip(found, (first, second), strict=True)]
        if not all(same):
            raise ValueError("the pairs belong to another frame")
    length = np.linalg.norm(vectors, axis=1)
    if not np.allclose(length, pairs["distance"], atol=1e-4):
        raise ValueError("the pairs belong to another frame")
    return (vectors / length[:, None]).astype(np.float32)


def batch(neighbours, structures, frames):
    """Frames joined into one system, with directions.

    Parameters
    ----------
    neighbours : phutils.neighbours.Neighbours
    structures : phutils.dataset.Structures or list of ase.Atoms
        The same frames.
    frames : sequence of int

    Returns
    -------
    tuple of Tensor
        ``numbers``, ``frame``, ``first``, ``second``, ``distance`` as from `Neighbours.batch`, and
        ``unit`` [pairs, 3] as from `pair_directions`.
    """
    units = [np.empty((0, 3), np.float32)]
    for i in map(int, frames):
        try:
            units.append(pair_directions(structures[i], neighbours[i], neighbours.cutoff))
        except ValueError as error:
            raise ValueError(f"frame {i}: {error}") from None
    return *schnet.tensors(neighbours, frames), torch.from_numpy(np.concatenate(units))


# --- forces --------------------------------------------------------------------------------------


def forces_of(model, numbers, frame, first, second, distance, unit, differentiable=False):
    """Forces of a model on the atoms of a batch, the negative derivatives of the total energies.

    Parameters
    ----------
    model : phutils.networks.Scaled
        Of a `phutils.schnet.SchNetEnergy`; by the route that it has.
    numbers, frame, first, second, distance, unit : Tensor
        See `batch`.
    differentiable : bool
        Whether the forces will be differentiated in the weights, by PyTorch.

    Returns
    -------
    Tensor [atoms, 3]
        eV/Å.
    """
    distance = distance.detach().requires_grad_()
    pairs = first, second, distance
    if _compiled(model, distance) and not differentiable:
        slope = _slopes(model, numbers, pairs)
        forces = distance.new_zeros(len(numbers), 3)
        add_pair_forces(*(x.numpy() for x in (first, second, unit, slope, forces)))
        return forces
    with torch.enable_grad():
        total = (model(numbers, frame, *pairs) * frame.bincount()).sum()
        (slope,) = torch.autograd.grad(total, distance, create_graph=differentiable)
    force = slope[:, None] * unit
    forces = distance.new_zeros(len(numbers), 3).index_add(0, first.long(), force)
    return forces.index_add(0, second.long(), -force)


def _compiled(model, distance):
    return model.network.route == "tabulated" and distance.device.type == "cpu"


def _slopes(model, numbers, pairs):
    """Derivatives of the total energy in the distances, [pairs], in eV/Å."""
    network = model.network
    with torch.enable_grad():
        x = network.representation.embedding(numbers).detach()
        for k, (block, table) in enumerate(
            zip(network.representation.interactions, network.tables(), strict=True)
        ):
            y = block.in2f(x)
            y = y if k else y.detach()  # the first atoms' features know of no distance
            x = x + block.f2out(convolve_for_slopes(table, y, *pairs, network.cutoff))
        total = network.output.outnet(x).sum() * model.scale
        return torch.autograd.grad(total, pairs[-1])[0]


def energies_and_loss(model, numbers, frame, first, second, distance, unit, forces):
    """Energies, and something with the gradient of the error of the forces in the weights.

    Parameters
    ----------
    model, numbers, frame, first, second, distance, unit
        As for `forces_of`.
    forces : Tensor [atoms, 3]
        What they should be, eV/Å.

    Returns
    -------
    energy : Tensor [frames]
        eV/atom.
    loss : Tensor
        Scalar whose gradient is that of the mean squared error of the forces; its value is that
        error only where PyTorch differentiates twice.
    """
    if not _compiled(model, distance):
        found = forces_of(model, numbers, frame, first, second, distance, unit, True)
        return model(numbers, frame, first, second, distance), (found - forces).square().mean()
    found = forces_of(model, numbers, frame, first, second, distance, unit)
    by_force = 2 * (found - forces) / forces.numel()
    rate = torch.empty_like(distance)
    along_pairs(*(x.numpy() for x in (first, second, unit, by_force, rate)))
    network, width = model.network, forces.new_zeros(1)
    x = network.representation.embedding(numbers)
    x = torch.stack([x, torch.zeros_like(x)], dim=1)
    for block, table in zip(network.representation.interactions, network.tables(), strict=True):
        y = push([block.in2f], x)
        y = convolve_with_rates(table, y, first, second, distance, rate, network.cutoff)
        x = x + push(block.f2out, y)
    value, change = push(network.output.outnet, x)[..., 0].unbind(dim=1)
    count = frame.bincount()
    mean = width.new_zeros(len(count)).index_add(0, frame, value) / count
    return mean * model.scale + model.offset, change.sum() * model.scale
