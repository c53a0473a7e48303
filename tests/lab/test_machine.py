"""What is written beside a measurement: the BLAS that is loaded, and NumPy's own word where that is not known."""

import numpy as np
import threadpoolctl

from minilift.lab.machine import blas


def test_the_blas_is_the_one_that_is_loaded(monkeypatch):
    found = [{"user_api": "openmp", "internal_api": "openmp", "version": None},
             {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "architecture": "Haswell"},
             {"user_api": "blas", "internal_api": "mkl", "version": "2025.1"}]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [*found, found[1]])
    assert blas() == "openblas 0.3.30 Haswell, mkl 2025.1"


def test_a_blas_that_is_not_known_is_named_by_numpy(monkeypatch):
    monkeypatch.setattr(threadpoolctl, "threadpool_info", list)
    assert blas().split()[0] == np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
