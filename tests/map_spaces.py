"""Spaces that fall into islands by density, and one cloud, for the tests of what measures them."""

import numpy as np

from phutils import islands

GENERATOR = np.random.default_rng(0)
DENSITY = np.repeat([1.5, 2.0, 2.5, 3.0], 60)
LABELS = np.repeat(range(4), 60)
GROUPS = np.repeat(np.arange(12), 20)  # three trajectories of each density
ENERGY = GENERATOR.normal(size=240)
NOISE = GENERATOR.normal(size=(240, 3))
ISLANDS = NOISE * 0.1 + np.eye(4)[LABELS][:, :3] * 10
ONE = NOISE + 0.0


def measured(space, labels=LABELS, groups=GROUPS, density=DENSITY, energy=ENERGY, **options):
    """Measures of all frames, as floats."""
    found = islands.neighbours(space, labels, groups, **options)
    return {name: v[0] for name, v in islands.measures(found, density, energy).items()}
