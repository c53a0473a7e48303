"""Files that are written whole or not at all, and texts and `.npz` files read with one clear error."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def whole_file(path):
    """Open a file to write bytes into: a reader sees the old content or the new, never a part.

    The content goes to a file beside `path`, which takes its place at the end; if anything fails on the way the old
    file stays as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path, data):
    """Write bytes to a file, whole or not at all."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path, text):
    """Write a text, in UTF-8, to a file, whole or not at all; its folder is made where it is missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode("utf-8"))


def read_text(path):
    """Return the text of a file in UTF-8; one clear error if it is of another kind."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a text in UTF-8 ({error})") from error


def write_npz(path, arrays):
    """Write arrays, by name, to an `.npz` file, whole or not at all."""
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_npz(path):
    """Return all arrays of an `.npz` file as a dict; one clear error if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise ValueError(f"{path}: cannot be read as .npz, the file is damaged or of another kind ({error})") from error
