"""The descriptors whose spaces the paper compares: SOAP, SchNet's latent vectors, and diagrams.

Each is one vector a frame; SOAP and SchNet are averaged over the atoms (paper, Sec. II.C and II.D).
"""

import json
import zipfile
from pathlib import Path

import numpy as np

from phutils.artifacts import cached
from phutils.diagrams import persistence_diagrams
from phutils.frames import FrameError
from phutils.histograms import PersistenceHistogram
from phutils.latents import averaged_latents
from phutils.neighbours import find_neighbours
from phutils.soap import soap_features

NETWORK = "schnet_latents.npz"  # what the chapter on SchNet leaves in the folder of a profile


def find_network(folder, profile, structures):
    """The SchNet that was trained on frames of a dataset, as the chapter on SchNet left it.

    Only a network whose latent vectors belong to exactly these frames counts. Where the run of
    this profile has left none, that of another profile serves, with its own settings: so a
    chapter that is opened in JupyterLab has one. A page has to say so, see `origin`.

    Parameters
    ----------
    folder : path-like
        Artifacts of the dataset (`phutils.artifacts.folder`).
    profile : str
        Looked into first, then all others.
    structures : phutils.dataset.Structures
        Frames of which it must hold the latent vectors.

    Returns
    -------
    dict
        ``latents`` [n, features] of these frames, ``settings`` (JSON), ``species`` and
        ``weights/<name>``, ndarray; ``profile``, the one it was found in. Empty where there is
        none.
    """
    own, other = Path(NETWORK), f"{Path(NETWORK).stem}_*.npz"  # of other labels, see chapter 6
    paths = [Path(folder, profile), *sorted(Path(folder).glob("*"))]
    for path in [file for at in paths for file in (at / own, *sorted(at.glob(other)))]:
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["fingerprint"]) == structures.fingerprint:
                    return dict(file) | {"profile": path.parent.name}
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):  # none, or not a whole one
            continue
    return {}


def origin(network, profile):
    """A sentence for the page where a network is that of another profile; else nothing.

    Parameters
    ----------
    network : dict
        From `find_network`.
    profile : str
        Of the page.

    Returns
    -------
    str
    """
    if not network or network["profile"] == profile:
        return ""
    return (
        f"The SchNet is that of profile {network['profile']}, trained with its settings: a run of "
        f"profile {profile} has left none for these frames."
    )


def shown_frames(network, n, limit=0):
    """Frames that a map is made of: those with latent vectors, if there are any, evenly spread.

    Parameters
    ----------
    network : dict
        From `find_network`, perhaps empty.
    n : int
        Number of all frames.
    limit : int
        At most so many; 0: no limit.

    Returns
    -------
    ndarray of int
    """
    rows = np.flatnonzero(np.isfinite(network["latents"][:, 0])) if network else np.arange(n)
    return rows[:: -(-len(rows) // limit) if limit else 1]


def latent_vectors(network, structures, folder):
    """Averaged latent vectors of other frames.

    Parameters
    ----------
    network : dict
        From `find_network`, with weights.
    structures : phutils.dataset.Structures
    folder : path-like

    Returns
    -------
    ndarray [n, features]

    Raises
    ------
    ValueError
        If a frame has an element that was not trained.
    """
    settings = json.loads(str(network["settings"]))
    found = {k: v for k, v in network.items() if k.startswith("weights/") or k == "species"}
    pairs = find_neighbours(structures, settings["cutoff"], folder=folder)
    return cached(folder, averaged_latents, found, pairs, settings)["latents"]


def descriptors(structures, folder, latents=None, coarse=32, diagrams=None):
    """Descriptors of frames, not standardised.

    Parameters
    ----------
    structures : phutils.dataset.Structures
    folder : path-like
        Artifacts of the dataset.
    latents : ndarray [n, features], optional
        SchNet's vectors of these frames.
    coarse : int
        Bins of the smoothed histogram.
    diagrams : phutils.diagrams.Diagrams, optional
        Of these frames, where they are known.

    Returns
    -------
    found : dict
        {"SOAP", "SchNet", "PH", "PH, smoothed": array or sparse matrix}. PH is the paper's
        histogram, 128 x 128 on [0, 8] x [0, 8] Å² and a probability; the smoothed one has fewer
        bins and a Gaussian filter of one bin.
    missing : dict
        {name: reason} of those that these frames do not have.
    """
    found, missing = {}, {}
    try:
        found["SOAP"] = soap_features(structures, folder=folder)
    except FrameError as error:
        missing["SOAP"] = str(error)
    if latents is None:
        missing["SchNet"] = "chapter 6 has left no network for these frames"
    else:
        found["SchNet"] = latents
    if diagrams is None:
        diagrams = persistence_diagrams(structures, folder=folder)
    found["PH"] = PersistenceHistogram(sparse=True).fit_transform(diagrams)
    smooth = PersistenceHistogram(bins=coarse, smoothing=1.0).fit_transform(diagrams)
    found["PH, smoothed"] = smooth.reshape(len(smooth), -1)
    return found, missing


def matched(stage, other):
    """Frames of two sets such that both have as many of each stage, evenly spread.

    Parameters
    ----------
    stage, other : array of str
        Stage of each frame of either set.

    Returns
    -------
    tuple of ndarray
        Sorted indices into the one and into the other set.

    Raises
    ------
    ValueError
        If they have no stage in common.
    """
    sides = [np.empty(0, int)], [np.empty(0, int)]
    for name in np.intersect1d(stage, other):
        places = [np.flatnonzero(s == name) for s in (stage, other)]
        number = min(map(len, places))
        for side, at in zip(sides, places, strict=True):
            side.append(at[np.linspace(0, len(at) - 1, number).astype(int)])
    if len(sides[0]) == 1:
        raise ValueError("the two sets have no stage in common")
    return tuple(np.sort(np.concatenate(side)) for side in sides)
