"""What must be known to trust a measurement: processor, BLAS, threads, versions, date and commit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from minilift.support.processes import cores


def machine():
    """Return what a measurement depends on: processor, BLAS, threads, versions, date and commit."""
    loaded = [sys.modules[name] for name in ("minilift", "numpy", "scipy", "torch", "sklearn", "cupy")
              if name in sys.modules]
    return {"processor": processor(), "cores": cores(),
            "threads": os.environ.get("OPENBLAS_NUM_THREADS", "not set"),
            "blas": blas(), "system": platform.platform(), "python": platform.python_version(),
            "versions": {module.__name__: module.__version__ for module in loaded}, "commit": commit(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None}


def blas():
    """Return the BLAS libraries that are loaded, such as 'openblas 0.3.31 Haswell', or the one NumPy was built with."""
    from threadpoolctl import threadpool_info

    loaded = [f"{one['internal_api']} {one['version']} {one.get('architecture', '')}".rstrip()
              for one in threadpool_info() if one["user_api"] == "blas"]
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # Accelerate, say, is not among those loaded
    return ", ".join(dict.fromkeys(loaded)) or f"{built['name']} {built['version']}"


def processor():
    """Return the name of the processor's model."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit():
    """Return the commit of this module's source tree, with '+' if the tree was changed; None outside a checkout."""
    folder = Path(__file__).resolve().parent.parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        return subprocess.run(["git", "-C", folder, "describe", "--always", "--abbrev=12", "--dirty=+"],
                              capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def crowd(threads):
    """Return how much longer `threads` threads take on this machine than alone, given how busy it has just been."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1.0, (load + min(threads, cores())) / cores())
