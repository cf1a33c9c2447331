import numba
import pytest

from phutils.compiled import compiled


@compiled
def double(x):
    return 2 * x


@compiled(nogil=True)
def triple(x):
    return 3 * x


def test_with_and_without_options():
    assert double(3) == 6 and triple(3) == 9
    assert triple.targetoptions["nogil"] and not double.targetoptions.get("nogil")


def test_code_is_kept_for_the_next_process():
    double(1.5)
    assert double.stats.cache_path
    assert sum(double.stats.cache_hits.values()) + sum(double.stats.cache_misses.values()) > 0


def test_nowhere_to_keep_compiled_code(monkeypatch):
    plain = numba.njit

    def refuse(cache=False, **options):
        if cache:
            raise RuntimeError("no locator available")
        return plain(**options)

    monkeypatch.setattr(numba, "njit", refuse)
    assert compiled(lambda x: x + 1)(2) == 3


def test_an_error_of_the_function_is_not_hidden():
    with pytest.raises(numba.TypingError):
        double(None)
