"""What a chapter's text says: values put into its sentences, or why it says nothing."""

from IPython.display import display
from myst_nb import glue


def tell(**values):
    """Give names to values, so that the text can hold them as ``{glue:text}`name```.

    Parameters
    ----------
    **values
        Shown as they are: numbers are to be formatted beforehand.
    """
    for name, value in values.items():
        glue(name, value, display=False)


def span(values, digits=2):
    """The lowest and the highest of some numbers as text; one of them where both look the same.

    Parameters
    ----------
    values : sequence of float
    digits : int
        Behind the point.

    Returns
    -------
    str
        "1.47 to 1.52", "unknown" where there is none; NaN are left out.
    """
    known = [float(value) for value in values if value == value]
    if not known:
        return "unknown"
    low, high = f"{min(known):.{digits}f}", f"{max(known):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def skip(reason):
    """End a chapter that cannot be made from this dataset; the build is not a failure.

    Cells after the one that calls this are not run, and `phutils.pipeline` leaves of the page its
    title and the reason. A chapter that is skipped publishes nothing: call this first.

    Parameters
    ----------
    reason : str
        A whole sentence: what the chapter needs, and what the dataset has.

    Raises
    ------
    SystemExit
        Always, with status 0: papermill and JupyterLab stop there without a failure.
    """
    said = {"text/markdown": f"**Skipped.** {reason}", "text/plain": f"Skipped. {reason}"}
    display(said, raw=True, metadata={"phutils": {"skip": reason}})
    raise SystemExit(0)
