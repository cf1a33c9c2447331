"""Machine code for loops that NumPy cannot express, kept between processes where possible."""

import numba


def compiled(function=None, **options):
    """Compile a function with numba and keep the result on disk, next to the source.

    Where there is no folder to keep it in, as in an installation that cannot be written to, it is
    compiled anew in every process.

    Parameters
    ----------
    function : callable, optional
        Without it, a decorator with these options.
    **options
        For `numba.njit`, such as ``nogil`` or ``fastmath``.

    Returns
    -------
    callable
        Compiled when first called, once for every combination of types.
    """
    if function is None:
        return lambda function: compiled(function, **options)
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        return numba.njit(**options)(function)
