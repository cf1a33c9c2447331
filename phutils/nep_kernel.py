"""Energy and forces of a tabulated NEP4 potential of one element: the compiled loop of `fast_nep`.

Invariants and network: Fan et al., doi:10.1063/5.0106617 and GPUMD's manual. With
S_nlm = sum_j g_n(r_ij) Y_lm(r_ij) over the neighbours, real orthonormal Y: the three-body terms are
sum_m S_nlm^2 (l = 1..4), the four-body term is tr(Q^3) of the quadrupole, the five-body term
(v.v)^2 of the dipole; every atom's energy is a network of one hidden layer of them.
"""

import numpy as np
from numba import njit

from phutils.compiled import compiled

SPACING = 0.002  # Å, between the nodes of the tables
CLOSEST = 0.4  # Å; nearer atoms are an error of the simulation

N_ANGLES = 24  # harmonics of l = 1..4
FOUR_BODY = -9 / np.sqrt(70) * (5 / (4 * np.pi)) ** 1.5  # of tr(Q^3)
FIVE_BODY = 7 / 15 * (3 / (4 * np.pi)) ** 2  # of |v|^4

# squares of the normalisation constants of the harmonics, in the order of `_harmonics`
NORMS = (
    np.array(
        [3 / 4] * 3
        + [5 / 16, 15 / 4, 15 / 4, 15 / 16, 15 / 4]
        + [7 / 16, 21 / 32, 21 / 32, 105 / 16, 105 / 4, 35 / 32, 35 / 32]
        + [9 / 256, 45 / 32, 45 / 32, 45 / 64, 45 / 16, 315 / 32, 315 / 32, 315 / 256, 315 / 16]
    )
    / np.pi
)
DEGREES = np.repeat(np.arange(4), [3, 5, 7, 9])  # l - 1 of each harmonic


@njit(inline="always")
def _look_up(table, r, values, slopes):
    """Cubic Hermite interpolation of all functions of a table, and of their derivatives."""
    position = r / SPACING
    node = int(position)
    t = position - node
    u = 1.0 - t
    a, b, c, d = (1 + 2 * t) * u * u, t * u * u, (1 + 2 * u) * t * t, -u * t * t
    e, f, g = 6 * t * u / SPACING, u * (1 - 3 * t) / SPACING, t * (3 * t - 2) / SPACING
    left, right = table[node], table[node + 1]
    for n in range(table.shape[2]):
        v0, m0, v1, m1 = left[0, n], left[1, n], right[0, n], right[1, n]
        values[n] = a * v0 + b * m0 + c * v1 + d * m1
        slopes[n] = e * (v1 - v0) + f * m0 + g * m1


@njit(inline="always")
def _harmonics(x, y, z, p):
    """Harmonics of l = 1..4 at a unit vector, without their normalisation."""
    xx, yy, zz = x * x, y * y, z * z
    p[0], p[1], p[2] = z, x, y
    p[3], p[4], p[5], p[6], p[7] = 3 * zz - 1, x * z, y * z, xx - yy, x * y
    p[8], p[9], p[10] = z * (5 * zz - 3), x * (5 * zz - 1), y * (5 * zz - 1)
    p[11], p[12] = z * (xx - yy), x * y * z
    p[13], p[14] = x * (xx - 3 * yy), y * (3 * xx - yy)
    p[15] = (35 * zz - 30) * zz + 3
    p[16], p[17] = x * z * (7 * zz - 3), y * z * (7 * zz - 3)
    p[18], p[19] = (xx - yy) * (7 * zz - 1), x * y * (7 * zz - 1)
    p[20], p[21] = x * z * (xx - 3 * yy), y * z * (3 * xx - yy)
    p[22], p[23] = xx * xx - 6 * xx * yy + yy * yy, x * y * (xx - yy)


@njit(inline="always")
def _gradient(x, y, z, w):
    """Gradient of sum_m w_m p_m(x, y, z), the polynomials of `_harmonics`."""
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    five, seven = 5 * zz - 1, 7 * zz - 1
    gx = w[1] + w[4] * z + 2 * w[6] * x + w[7] * y
    gy = w[2] + w[5] * z - 2 * w[6] * y + w[7] * x
    gz = w[0] + 6 * w[3] * z + w[4] * x + w[5] * y
    gx += w[9] * five + 2 * w[11] * xz + w[12] * yz + 3 * w[13] * (xx - yy) + 6 * w[14] * xy
    gy += w[10] * five - 2 * w[11] * yz + w[12] * xz - 6 * w[13] * xy + 3 * w[14] * (xx - yy)
    gz += w[8] * (15 * zz - 3) + 10 * z * (w[9] * x + w[10] * y) + w[11] * (xx - yy) + w[12] * xy
    gx += w[16] * z * (7 * zz - 3) + 2 * w[18] * x * seven + w[19] * y * seven
    gx += 3 * w[20] * z * (xx - yy) + 6 * w[21] * xy * z
    gx += 4 * w[22] * x * (xx - 3 * yy) + w[23] * y * (3 * xx - yy)
    gy += w[17] * z * (7 * zz - 3) - 2 * w[18] * y * seven + w[19] * x * seven
    gy += -6 * w[20] * xy * z + 3 * w[21] * z * (xx - yy)
    gy += 4 * w[22] * y * (yy - 3 * xx) + w[23] * x * (xx - 3 * yy)
    gz += w[15] * z * (140 * zz - 60) + (w[16] * x + w[17] * y) * (21 * zz - 3)
    gz += 14 * z * (w[18] * (xx - yy) + w[19] * xy)
    gz += w[20] * x * (xx - 3 * yy) + w[21] * y * (3 * xx - yy)
    return gx, gy, gz


@njit(inline="always")
def _invariants(s, n, q, n_angular):
    """Three-, four- and five-body terms of one radial function, into ``q``."""
    for degree in range(4):
        q[degree * n_angular + n] = 0.0
    for m in range(N_ANGLES):
        q[DEGREES[m] * n_angular + n] += NORMS[m] * s[m] * s[m]
    zz, xz, yz, xy = s[3] / 3, s[4], s[5], s[7]
    xx, yy = 0.5 * (s[6] - zz), -0.5 * (s[6] + zz)
    cube = xx**3 + yy**3 + zz**3 + 6 * xy * xz * yz
    cube += 3 * (xx + yy) * xy * xy + 3 * (xx + zz) * xz * xz + 3 * (yy + zz) * yz * yz
    q[4 * n_angular + n] = FOUR_BODY * cube
    square = s[0] * s[0] + s[1] * s[1] + s[2] * s[2]
    q[5 * n_angular + n] = FIVE_BODY * square * square


@njit(inline="always")
def _back(s, n, dq, n_angular):
    """Replace the sums ``s`` by the derivatives of the energy with respect to them."""
    zz, xz, yz, xy = s[3] / 3, s[4], s[5], s[7]
    xx, yy = 0.5 * (s[6] - zz), -0.5 * (s[6] + zz)
    four = 3 * FOUR_BODY * dq[4 * n_angular + n]
    square = s[0] * s[0] + s[1] * s[1] + s[2] * s[2]
    five = 4 * FIVE_BODY * square * dq[5 * n_angular + n]
    q_xx, q_yy = xx * xx + xy * xy + xz * xz, yy * yy + xy * xy + yz * yz
    q_zz = zz * zz + xz * xz + yz * yz
    q_xy, q_xz = xy * (xx + yy) + xz * yz, xz * (xx + zz) + xy * yz
    q_yz = yz * (yy + zz) + xy * xz
    vx, vy, vz = s[1], s[2], s[0]
    for m in range(N_ANGLES):
        s[m] *= 2 * NORMS[m] * dq[DEGREES[m] * n_angular + n]
    s[0] += five * vz
    s[1] += five * vx
    s[2] += five * vy
    s[3] += four / 3 * (q_zz - 0.5 * (q_xx + q_yy))
    s[4] += 2 * four * q_xz
    s[5] += 2 * four * q_yz
    s[6] += four * 0.5 * (q_xx - q_yy)
    s[7] += 2 * four * q_xy


@compiled(fastmath=True, nogil=True)
def evaluate(positions, first, second, shifts, radial, angular, cutoffs, weights, biases, output):
    """Energies [n] without the common bias (eV), forces [n, 3] (eV/Å), smallest distance (Å)."""
    n_atoms, n_neurons, n_all = len(positions), weights.shape[0], weights.shape[1]
    n_radial, n_angular = radial.shape[2], angular.shape[2] - 1
    most = np.max(first[1:] - first[:-1])
    energies, forces = np.zeros(n_atoms), np.zeros((n_atoms, 3))
    g, slope = np.empty(n_radial), np.empty((most, n_radial))
    h, h_slope = np.empty((most, n_angular + 1)), np.empty((most, n_angular + 1))
    p, unit = np.empty((most, N_ANGLES)), np.empty((most, 3))
    distance, neighbour = np.empty(most), np.empty(most, np.int64)
    q, dq = np.empty(n_all), np.empty(n_all)
    s, w, w_slope = (
        np.empty((n_angular + 1, N_ANGLES)),
        np.empty((most, N_ANGLES)),
        np.empty((most, N_ANGLES)),
    )
    smallest = cutoffs[0] * cutoffs[0]
    for i in range(n_atoms):
        q[:] = 0.0
        s[:] = 0.0
        repulsion = 0.0
        n = first[i + 1] - first[i]
        near, far = 0, n - 1  # neighbours of the angular functions first, the others from the end
        for k in range(first[i], first[i + 1]):
            j = second[k]
            x = positions[j, 0] - positions[i, 0] + shifts[k, 0]
            y = positions[j, 1] - positions[i, 1] + shifts[k, 1]
            z = positions[j, 2] - positions[i, 2] + shifts[k, 2]
            square = x * x + y * y + z * z
            if square >= cutoffs[0] * cutoffs[0]:
                continue
            smallest = min(smallest, square)
            if square < cutoffs[1] * cutoffs[1]:
                slot = near
                near += 1
            else:
                slot = far
                far -= 1
            r = np.sqrt(square)
            distance[slot], neighbour[slot] = r, j
            unit[slot, 0], unit[slot, 1], unit[slot, 2] = x / r, y / r, z / r
            _look_up(radial, r, g, slope[slot])
            for a in range(n_radial):
                q[a] += g[a]
            if slot < near:
                _look_up(angular, r, h[slot], h_slope[slot])
                _harmonics(x / r, y / r, z / r, p[slot])
                repulsion += h[slot, n_angular]
        if smallest < CLOSEST * CLOSEST:
            break
        np.dot(h[:near].T, p[:near], s)
        for a in range(n_angular):
            _invariants(s[a], a, q[n_radial:], n_angular)

        energy = repulsion
        dq[:] = 0.0
        for neuron in range(n_neurons):
            x = -biases[neuron]
            for d in range(n_all):
                x += weights[neuron, d] * q[d]
            x = 1.0 - 2.0 / (np.exp(2.0 * x) + 1.0)  # tanh, in half the time
            energy += output[neuron] * x
            x = output[neuron] * (1.0 - x * x)
            for d in range(n_all):
                dq[d] += x * weights[neuron, d]
        energies[i] = energy

        for a in range(n_angular):
            _back(s[a], a, dq[n_radial:], n_angular)
        s[n_angular] = 0.0
        np.dot(h[:near], s, w[:near])
        np.dot(h_slope[:near], s, w_slope[:near])
        for k in range(n):
            if near <= k <= far:
                continue
            x, y, z = unit[k, 0], unit[k, 1], unit[k, 2]
            along = 0.0
            for a in range(n_radial):
                along += dq[a] * slope[k, a]
            fx, fy, fz = 0.0, 0.0, 0.0
            if k < near:
                for m in range(N_ANGLES):
                    along += w_slope[k, m] * p[k, m]
                along += h_slope[k, n_angular]
                gx, gy, gz = _gradient(x, y, z, w[k])
                parallel = gx * x + gy * y + gz * z
                fx = (gx - parallel * x) / distance[k]
                fy = (gy - parallel * y) / distance[k]
                fz = (gz - parallel * z) / distance[k]
            fx += along * x
            fy += along * y
            fz += along * z
            j = neighbour[k]
            forces[i, 0] += fx
            forces[i, 1] += fy
            forces[i, 2] += fz
            forces[j, 0] -= fx
            forces[j, 1] -= fy
            forces[j, 2] -= fz
    return energies, forces, np.sqrt(smallest)
