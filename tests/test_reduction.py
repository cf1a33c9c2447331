import numpy as np
import pytest

from phutils.alpha import alpha_filtration
from phutils.reduction import reduce_filtration, reduce_pairs


def by_columns(values, boundaries):
    """All pairs by the plain algorithm: add columns over Z2 until all lowest ones differ."""
    value = np.concatenate(values)
    dimension = np.repeat(np.arange(4), [len(v) for v in values])
    order = np.lexsort((dimension, value))
    rank = np.argsort(order)
    start = np.cumsum([0, *map(len, values)])
    lowest, pairs = {}, set()
    for j in order:
        d = dimension[j]
        column = set()
        for face in boundaries[d - 1][j - start[d]] if d else ():
            column ^= {rank[start[d - 1] + face]}
        while column and max(column) in lowest:
            column ^= lowest[max(column)]
        if column:
            lowest[max(column)] = column
            pairs.add((d - 1, order[max(column)], j))
    return pairs


def box(n, length, seed=0):
    positions = np.random.default_rng(seed).random((n, 3)) * length
    return alpha_filtration(positions, [length, 1.1 * length, 0.9 * length])


@pytest.mark.parametrize("n, length", [(60, 8.0), (150, 11.0), (8, 4.0), (4, 2.5), (1, 2.0)])
def test_pairs_are_those_of_the_plain_algorithm(n, length):
    filtration = box(n, length)
    found = reduce_pairs(*filtration)
    assert set(map(tuple, found[found[:, 0] > 0].tolist())) == {
        pair for pair in by_columns(*filtration) if pair[0] > 0
    }
    # among atoms, all born at 0, the order of the list is arbitrary, and so is which one goes on
    deaths = {pair[2] for pair in by_columns(*filtration) if pair[0] == 0}
    assert set(found[found[:, 0] == 0, 2].tolist()) == deaths


def test_classes_that_never_die_are_those_of_the_torus():
    values, boundaries = box(90, 9.0)
    pairs = reduce_pairs(values, boundaries)
    n = [len(v) for v in values]
    births = np.bincount(pairs[:, 0], minlength=3)
    for degree, essential in enumerate((1, 3, 3, 1)):
        ended = births[degree] if degree < 3 else 0
        negative = births[degree - 1] if degree else 0
        assert n[degree] - negative - ended == essential


def test_every_simplex_is_in_one_pair_and_enters_after_the_face_it_fills():
    values, boundaries = box(120, 10.0)
    pairs = reduce_pairs(values, boundaries)
    assert len(np.unique(pairs[:, 1:])) == 2 * len(pairs)
    value = np.concatenate(values)
    assert (value[pairs[:, 2]] >= value[pairs[:, 1]]).all()


def test_parallel_edges_and_loops():
    """One atom: every edge joins it with itself, so that nothing dies in degree 0."""
    cell = [[2.0, 0.3, 0.1], [0.4, 2.2, 0.2], [0.1, 0.5, 1.9]]
    values, boundaries = alpha_filtration(np.zeros((1, 3)), cell)
    assert (boundaries[0] == 0).all()
    found = reduce_filtration(values, boundaries)
    assert len(found[0]) == 0 and len(found[1]) > 0


def test_pairs_of_zero_lifetime_are_left_out():
    values, boundaries = box(100, 9.0)
    found = reduce_filtration(values, boundaries)
    assert all((pairs[:, 1] > pairs[:, 0]).all() for pairs in found.values())
    flat = [np.zeros(len(v)) for v in values]
    assert all(len(pairs) == 0 for pairs in reduce_filtration(flat, boundaries).values())
