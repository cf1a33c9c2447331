"""Diagrams to the paper's descriptor: a 2D histogram, made a probability and standardised.

Both steps are scikit-learn transformers, so that a descriptor is the first half of a pipeline and
is fitted on training frames alone.
"""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array, csr_array, issparse, vstack
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

NORMALISATIONS = ("probability", "per_atom", "none")
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
    normalise : {"probability", "per_atom", "none"}
        Divide each histogram by its sum, as the paper does, or by the number of atoms; both make
        systems of different size alike, but only counts per atom keep how many pairs there are.
        ``none``: plain counts.
    sparse : bool
        Give a sparse matrix: without smoothing about 250 of 16,384 bins of a frame are filled.

    References
    ----------
    Minamitani et al., J. Chem. Phys. 159, 084101 (2023), doi:10.1063/5.0159349.
    """

    def __init__(
        self,
        bins=128,
        window=(0.0, 8.0),
        degree=1,
        smoothing=0.0,
        normalise="probability",
        sparse=False,
    ):
        self.bins = bins
        self.window = window
        self.degree = degree
        self.smoothing = smoothing
        self.normalise = normalise
        self.sparse = sparse

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
            For fewer than one bin, an empty window or an unknown normalisation.
        """
        if self.normalise not in NORMALISATIONS:
            raise ValueError(f"unknown {self.normalise!r}: choose one of {NORMALISATIONS}")
        if self.bins < 1 or not self.window[1] > self.window[0]:
            raise ValueError(f"no histogram with {self.bins} bins on {self.window} Å²")
        return self

    def transform(self, diagrams):
        """Histograms of diagrams.

        Parameters
        ----------
        diagrams : phutils.diagrams.Diagrams or iterable of these
            An iterable, like `phutils.diagrams.iter_diagrams`, is taken a block at a time, with
            nothing but the histograms kept; of many frames they should be sparse.

        Returns
        -------
        ndarray [n, bins, bins] of float32, or scipy.sparse.csr_array [n, bins * bins]
            The first mesh axis is birth, the second death.

        Raises
        ------
        KeyError
            If the diagrams were computed without this degree.
        ValueError
            If a frame has no pair inside the window and a probability is wanted, or if its number
            of atoms is wanted and not known.
        """
        self.fit(None)
        if hasattr(diagrams, "pairs"):
            return self._histograms(diagrams, 0)
        empty = np.empty((0, self.bins, self.bins), np.float32)
        parts, start = [csr_array(empty.reshape(0, self.bins**2)) if self.sparse else empty], 0
        for block in diagrams:
            parts.append(self._histograms(block, start))
            start += len(block)
        return vstack(parts, "csr") if self.sparse else np.concatenate(parts)

    def _histograms(self, diagrams, start):
        """Histograms of one block, of which the first frame has the index `start`."""
        if self.degree not in diagrams.pairs:
            raise KeyError(f"the diagrams hold degrees {diagrams.degrees}, not {self.degree}")
        inside, pixel = self._pixels(diagrams.pairs[self.degree])
        frame = np.repeat(np.arange(len(diagrams)), diagrams.counts(self.degree))[inside]
        shape = len(diagrams), self.bins**2
        counts = coo_array((np.ones(len(pixel), np.float32), (frame, pixel)), shape).tocsr()
        if self.normalise != "none":
            per_atom = self.normalise == "per_atom"
            total = diagrams.n_atoms if per_atom else np.bincount(frame, minlength=shape[0])
            for i in np.flatnonzero(total == 0)[:1]:
                problem = f"no pair of degree {self.degree} in the window"
                problem = "no known number of atoms" if per_atom else problem
                problem = f"no diagram: {diagrams.failed[i]}" if i in diagrams.failed else problem
                raise ValueError(f"frame {start + i} has {problem}")
            counts.data /= np.repeat(total, np.diff(counts.indptr)).astype(np.float32)
        if self.smoothing:
            counts = self._smooth(counts)
        if self.sparse:
            return csr_array(counts)
        dense = counts if isinstance(counts, np.ndarray) else counts.toarray()
        return dense.reshape(-1, self.bins, self.bins)

    def _smooth(self, counts):
        """Gaussian filter on the mesh, a few frames at a time; the sum of each frame stays."""
        smooth = np.empty(counts.shape, np.float32)
        sigma = (0, self.smoothing, self.smoothing)
        for start in range(0, len(smooth), CHUNK):
            part = counts[start : start + CHUNK].toarray()
            mesh = part.reshape(-1, self.bins, self.bins)
            filtered = gaussian_filter(mesh, sigma, mode="constant").reshape(part.shape)
            lost = part.sum(axis=1) / np.maximum(filtered.sum(axis=1), 1e-30)
            smooth[start : start + CHUNK] = filtered * lost[:, None]
        return smooth

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
    drop_empty : bool
        Leave out the bins that no training frame fills. They are constant, so that a linear model
        learns nothing from them, and they are seven in eight.
    """

    def __init__(self, reading="global", drop_empty=False):
        self.reading = reading
        self.drop_empty = drop_empty

    def fit(self, histograms, y=None):
        """Learn mean and standard deviation from the training frames.

        Parameters
        ----------
        histograms : ndarray [n, ...] or sparse matrix [n, pixels]

        Raises
        ------
        ValueError
            For an unknown reading, values that are not finite, or constant input.
        """
        if self.reading not in READINGS:
            raise ValueError(f"unknown reading {self.reading!r}: choose one of {READINGS}")
        flat = self._flat(histograms)
        values = flat.data if issparse(flat) else flat
        if not np.isfinite(values).all():
            bad = flat.toarray() if issparse(flat) else flat
            frame = int(np.flatnonzero(~np.isfinite(bad).all(axis=1))[0])
            raise ValueError(f"histogram {frame} holds a value that is not finite")
        self.n_features_in_ = flat.shape[1]
        filled = np.ones(flat.shape[1], bool)
        if self.drop_empty:
            filled = np.asarray((flat != 0).sum(axis=0)).ravel() > 0
        self.support_ = np.flatnonzero(filled)
        self.mean_, self.std_ = 0.0, 1.0
        if self.reading == "pixel":
            block = self._block(flat)
            self.mean_, self.std_ = block.mean(axis=0, dtype=float), block.std(axis=0, dtype=float)
            self.std_[np.ptp(block, axis=0) == 0] = 1.0
        elif self.reading in ("global", "scale"):
            size = flat.shape[0] * flat.shape[1]
            mean = values.sum(dtype=float) / size
            self.mean_ = mean if self.reading == "global" else 0.0
            self.std_ = np.sqrt(np.square(values, dtype=float).sum() / size - mean**2)
            if not self.std_ > 1e-12 * abs(mean):
                raise ValueError("all pixels of all histograms are equal: nothing to standardise")
        return self

    def transform(self, histograms):
        """Standardised histograms, ndarray [n, pixels kept] of float32.

        Raises
        ------
        ValueError
            If the histograms have another number of pixels than those of `fit`.
        """
        check_is_fitted(self, "support_")
        flat = self._flat(histograms)
        if flat.shape[1] != self.n_features_in_:
            raise ValueError(f"{flat.shape[1]} pixels, but {self.n_features_in_} were fitted")
        mean, std = self.mean_, self.std_
        if self.reading == "sample":
            mean = np.asarray(flat.sum(axis=1, dtype=float)).reshape(-1, 1) / flat.shape[1]
            squares = np.asarray((flat * flat).sum(axis=1, dtype=float)).reshape(-1, 1)
            std = np.sqrt(squares / flat.shape[1] - mean**2)
        standardised = self._block(flat)
        standardised -= np.asarray(mean, np.float32)
        standardised /= np.asarray(std, np.float32)
        return standardised

    def on_mesh(self, coefficients):
        """Coefficients of the kept pixels on the square mesh, [bins, bins]; NaN where dropped."""
        mesh = np.full(self.n_features_in_, np.nan)
        mesh[self.support_] = coefficients
        bins = round(self.n_features_in_**0.5)
        return mesh.reshape(bins, bins)

    def _block(self, flat):
        """A dense float32 copy of the kept pixels."""
        block = flat[:, self.support_] if len(self.support_) < flat.shape[1] else flat
        return (block.toarray() if issparse(block) else block).astype(np.float32)

    @staticmethod
    def _flat(histograms):
        if issparse(histograms):
            return histograms.tocsr()
        histograms = np.asarray(histograms)
        return histograms.reshape(len(histograms), -1)
