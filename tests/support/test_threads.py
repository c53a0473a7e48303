"""What is shared among threads is done once, as one thread would do it (`in_threads`)."""

import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minilift.support import backend
from minilift.support.backend import blas_threads, in_threads


def test_as_many_as_blas_may_use():
    with threadpool_limits(1):
        assert blas_threads() == 1


@pytest.mark.parametrize(("threads", "items", "least", "expected"), [
    (1, 100, 1, 1), (3, 100, 1, 3), (3, 100, 50, 2), (3, 100, 51, 1), (3, 7, 2, 3), (2, 0, 1, 1),
])
def test_each_item_is_given_once_and_no_thread_has_less_than_is_worth_it(threads, items, least, expected, monkeypatch):
    monkeypatch.setattr(backend, "blas_threads", lambda: threads)
    parts = []
    in_threads(parts.append, range(items), least)
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert len(parts) == expected
    assert expected == 1 or min(map(len, parts)) >= least


def test_an_error_in_a_thread_is_raised_and_settings_of_errors_hold_there(monkeypatch):
    monkeypatch.setattr(backend, "blas_threads", lambda: 2)

    def divide(part):
        assert threading.current_thread() is not threading.main_thread()
        np.ones(1) / np.zeros(1)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        in_threads(divide, range(2), least=1)
