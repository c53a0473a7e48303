"""A killed run loses what `fit` promises and no more, and ends bit for bit as if it had not been killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("kills", "every"), [(5, 1), pytest.param(100, 1, marks=pytest.mark.slow),
                                              pytest.param(40, 3, marks=pytest.mark.slow)])
def test_kills_at_random_moments(kills, every, tmp_path):
    command = [sys.executable, str(KILLS), str(tmp_path), str(kills), str(kills), str(every)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(result.stdout)
    print(found)
    assert len(found["lost"]) == kills
    assert all(0 <= lost <= every for lost in found["lost"])
    assert max(found["parts"]) <= 1, "each run sweeps what the one before it left"
    assert found["left"] == []
    assert found["epochs"] > kills / 5, "nearly nothing was trained"
    assert found["same"]
