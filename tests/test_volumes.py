import numpy as np
import pytest

from phutils.volumes import boundary, mesh_of, ring_order, smallest_volume, solver


@pytest.mark.parametrize("n, expected", [(5, 0), (6, 6)], ids=["half a twist", "no twist"])
def test_a_band_has_a_volume_only_if_it_is_orientable(n, expected):
    """Triangles (i, i+1, i+2) modulo n form a Moebius band for odd n and a plain one for even n."""
    angle = 2 * np.pi * np.arange(n) / n
    positions = np.stack([np.cos(angle), np.sin(angle), np.cos(3 * angle)], axis=1) + 5
    inner = [tuple(sorted((i, (i + 1) % n))) for i in range(n)]
    rim = [tuple(sorted((i, (i + 2) % n))) for i in range(n)]
    triangles = np.array([sorted((i, (i + 1) % n, (i + 2) % n)) for i in range(n)])
    edges = np.array(sorted(inner + rim))
    late = np.array([tuple(edge) in inner for edge in edges.tolist()])
    index = {tuple(edge): k for k, edge in enumerate(edges.tolist())}
    faces = np.array([[index[a, b], index[a, c], index[b, c]] for a, b, c in triangles.tolist()])
    values = [np.zeros(n), np.where(late, 2.0, 1.0), 3.0 + np.arange(n), np.empty(0)]
    none = np.empty(0, int)
    mesh, *_ = mesh_of(positions, np.eye(3) * 10, values, [edges, faces], none, none)
    volume, size = smallest_volume(mesh, n - 1, 1.5, solver())
    assert len(volume) == expected
    assert size == (expected or np.inf)


def test_boundary_is_what_an_odd_number_of_triangles_share():
    np.testing.assert_array_equal(boundary(np.array([[2, 0, 1]])), [0, 1, 2])
    np.testing.assert_array_equal(boundary(np.array([[0, 1, 2], [2, 3, 4]])), [0, 1, 3, 4])


def test_only_one_closed_loop_has_an_order():
    square = np.array([[0, 1], [2, 3], [1, 2], [0, 3]])
    assert ring_order(square) == [0, 1, 2, 3]
    assert ring_order(square[:3]) is None
    triangles = np.array([[0, 1], [1, 2], [0, 2], [5, 6], [6, 7], [5, 7]])
    assert ring_order(triangles) is None
    assert ring_order(np.empty((0, 2), int)) is None
