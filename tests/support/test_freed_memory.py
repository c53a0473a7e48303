"""What a training step frees serves the next one: glibc is told to keep it (`keep_freed_memory`)."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
import minilift as ml

ml.mlp([2, 1])
def step():
    [np.ones(40_000, np.float32) for _ in range(20)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""
OWN = ("MALLOC_", "GLIBC_TUNABLES")  # how the names of such settings begin


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
@pytest.mark.parametrize("settings", [{}, {"MALLOC_TOP_PAD_": "131072"}], ids=["none", "glibc's default"])
def test_no_page_is_cleared_anew_unless_the_user_has_settings_of_his_own(settings):
    """Twenty arrays of 160 kB are 780 pages of 4 kB."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OWN)} | settings
    found = subprocess.run([sys.executable, "-c", FAULTS], env=environment, check=True, capture_output=True, text=True)
    faults = float(found.stdout)
    assert faults > 100 if settings else faults < 10, faults
