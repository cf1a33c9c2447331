"""Diagrams to the paper's descriptor: a 2D histogram, made a probability and standardised.

Both steps are scikit-learn transformers, so that a descriptor is the first half of a pipeline and
is fitted on training frames alone.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

READINGS = ("global", "pixel", "sample", "scale", "none")
CHUNK = 1024  # frames


class PersistenceHistogram(TransformerMixin, BaseEstimator):
    """Two-dimensional histogram of birth-death pairs (paper, Sec. II.B).

    Parameters
    ----------
    bins : int
        Bins along each axis; the paper has 128.
    window : tuple of float
        Range of births and of deaths in Å²; the paper has [0, 8]. Pairs outside do not count.
    degree : int
        Homology degree; the paper has 1.
    smoothing : float
        Standard deviation of a Gaussian filter, in bins; the paper has none.
    probability : bool
        Divide each histogram by its sum, as the paper does, so that it does not depend on the
        size of the system; otherwise counts.

    References
    ----------
    Minamitani et al., J. Chem. Phys. 159, 084101 (2023), doi:10.1063/5.0159349.
    """

    def __init__(self, bins=128, window=(0.0, 8.0), degree=1, smoothing=0.0, probability=True):
        self.bins = bins
        self.window = window
        self.degree = degree
        self.smoothing = smoothing
        self.probability = probability

    def __sklearn_is_fitted__(self):
        return True

    @property
    def edges(self):
        """Bin edges in Å², ndarray [bins + 1]."""
        return np.linspace(*self.window, self.bins + 1)

    def fit(self, diagrams, y=None):
        """Nothing to learn; the parameters are checked.

        Raises
        ------
        ValueError
            For fewer than one bin or an empty window.
        """
        if self.bins < 1 or not self.window[1] > self.window[0]:
            raise ValueError(f"no histogram with {self.bins} bins on {self.window} Å²")
        return self

    def transform(self, diagrams):
        """Histograms of diagrams.

        Parameters
        ----------
        diagrams : phutils.diagrams.Diagrams

        Returns
        -------
        ndarray [n, bins, bins] of float32
            Axis 1 is birth, axis 2 is death.

        Raises
        ------
        KeyError
            If the diagrams were computed without this degree.
        ValueError
            If a frame has no pair inside the window and a probability is wanted.
        """
        if self.degree not in diagrams.pairs:
            raise KeyError(f"the diagrams hold degrees {diagrams.degrees}, not {self.degree}")
        offsets, size = diagrams.offsets[self.degree], self.bins**2
        histograms = np.empty((len(diagrams), self.bins, self.bins), np.float32)
        for start in range(0, len(diagrams), CHUNK):
            stop = min(start + CHUNK, len(diagrams))
            pairs = diagrams.pairs[self.degree][offsets[start] : offsets[stop]]
            frame = np.repeat(np.arange(stop - start), np.diff(offsets[start : stop + 1]))
            inside, pixel = self._pixels(pairs)
            counts = np.bincount(frame[inside] * size + pixel, minlength=(stop - start) * size)
            histograms[start:stop] = counts.reshape(-1, self.bins, self.bins)
            if self.smoothing:
                sigma = (0, self.smoothing, self.smoothing)
                gaussian_filter(
                    histograms[start:stop], sigma, output=histograms[start:stop], mode="constant"
                )
        if self.probability:
            total = histograms.sum(axis=(1, 2), keepdims=True)
            if (total == 0).any():
                empty = int(np.flatnonzero(total.ravel() == 0)[0])
                raise ValueError(f"frame {empty} has no pair of degree {self.degree} in the window")
            histograms /= total
        return histograms

    def _pixels(self, pairs):
        """Which pairs lie in the window, and the flat pixel of those that do."""
        low, high = self.window
        inside = ((pairs >= low) & (pairs <= high)).all(axis=1)
        bins = np.searchsorted(self.edges, pairs[inside], side="right") - 1
        birth, death = np.minimum(bins, self.bins - 1).T  # the last bin includes its upper edge
        return inside, birth * self.bins + death

    def fraction_outside(self, diagrams):
        """Fraction of all pairs that the window leaves out."""
        return 1 - float(self._pixels(diagrams.pairs[self.degree])[0].mean())


class Standardise(TransformerMixin, BaseEstimator):
    """Flatten histograms and standardise them, by any reading of the paper's "z-score".

    Parameters
    ----------
    reading : {"global", "pixel", "sample", "scale", "none"}
        ``global``: subtract the mean and divide by the standard deviation of all pixels of all
        training frames. ``pixel``: the same for each pixel over the training frames. ``sample``:
        for each histogram over its own pixels, which undoes the step to a probability and depends
        on the number of pairs. ``scale``: divide by the global standard deviation and do not
        centre, the only reading for which "all the input values were non-negative" (paper,
        Sec. II.E) holds. ``none``: the bare probabilities.
    """

    def __init__(self, reading="global"):
        self.reading = reading

    def fit(self, histograms, y=None):
        """Learn mean and standard deviation from the training frames.

        Parameters
        ----------
        histograms : ndarray [n, ...]

        Raises
        ------
        ValueError
            For an unknown reading, values that are not finite, or constant input.
        """
        if self.reading not in READINGS:
            raise ValueError(f"unknown reading {self.reading!r}: choose one of {READINGS}")
        flat = self._flat(histograms)
        if not np.isfinite(flat).all():
            frame = int(np.flatnonzero(~np.isfinite(flat).all(axis=1))[0])
            raise ValueError(f"histogram {frame} holds a value that is not finite")
        if self.reading == "pixel":
            self.mean_ = flat.mean(axis=0, dtype=float)
            self.std_ = flat.std(axis=0, dtype=float)
            self.std_[np.ptp(flat, axis=0) == 0] = 1.0
        elif self.reading in ("global", "scale"):
            self.mean_ = flat.mean(dtype=float) if self.reading == "global" else 0.0
            self.std_ = flat.std(dtype=float)
            if self.std_ == 0:
                raise ValueError("all pixels of all histograms are equal: nothing to standardise")
        else:
            self.mean_, self.std_ = 0.0, 1.0
        self.n_features_in_ = flat.shape[1]
        return self

    def transform(self, histograms):
        """Standardised histograms, ndarray [n, pixels] of float32.

        Raises
        ------
        ValueError
            If the histograms have another number of pixels than those of `fit`.
        """
        check_is_fitted(self, "n_features_in_")
        flat = self._flat(histograms)
        if flat.shape[1] != self.n_features_in_:
            raise ValueError(f"{flat.shape[1]} pixels, but {self.n_features_in_} were fitted")
        if self.reading == "sample":
            mean = flat.mean(axis=1, keepdims=True, dtype=float)
            std = flat.std(axis=1, keepdims=True, dtype=float)
        else:
            mean, std = self.mean_, self.std_
        standardised = np.subtract(flat, mean, dtype=np.float32, casting="same_kind")
        standardised /= np.asarray(std, np.float32)
        return standardised

    @staticmethod
    def _flat(histograms):
        histograms = np.asarray(histograms)
        return histograms.reshape(len(histograms), -1)
