"""Write files completely or not at all, read texts and `.npz` files with one clear error, and checksum arrays."""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import stat
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from minilift.support.backend import to_numpy


def host():
    """Return a name for this machine since its last boot, and for the container whose process numbers we share."""
    known = [platform.node()]
    for look, path in ((lambda path: Path(path).read_text(), "/proc/sys/kernel/random/boot_id"),
                       (os.readlink, "/proc/self/ns/pid")):
        with suppress(OSError):  # not Linux
            known.append(look(path))
    return re.sub(r"[^0-9A-Za-z]", "-", f"{known[0]}-{zlib.crc32(repr(known).encode()):08x}")


HOST = host()
PART = re.compile(r"\..+\.(?P<host>[-0-9A-Za-z]*)\.(?P<process>\d+)\.[0-9a-f]{8}\.part")
STALE_AFTER = 86_400  # seconds after which an unfinished file is stale, whoever began it


@contextmanager
def whole_file(path):
    """Open a file to write bytes into; a reader sees the old content or the new, never a part of it.

    The content goes to a file beside `path`, which replaces it at the end. If anything fails on the way, the old file
    stays as it was, and the unfinished one is removed. A killed process cannot do that; the next one that writes into
    the folder does it (see `remove_stale`). The new file has the access permissions of the old one.

    Raises
    ------
    OSError
        If the file cannot be written: no folder, no permission, a full disk, or something other than a file at `path`.
    """
    target, part = target_and_part(path)
    try:
        remove_stale(target.parent)
        with open(part, "xb") as file:
            if target.exists():
                os.chmod(part, stat.S_IMODE(target.stat().st_mode))  # while there is nothing to read yet
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def target_and_part(path):
    """Return the file that a path names, with links resolved, and the unfinished one beside it, not yet created."""
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        kind = IsADirectoryError if target.is_dir() else OSError
        raise kind(f"{path}: cannot be written, it is {'a folder' if target.is_dir() else 'not a regular file'}")
    return target, target.with_name(f".{target.name}.{HOST}.{os.getpid()}.{os.urandom(4).hex()}.part")


def check_writable(path):
    """Raise now the `OSError` that `whole_file` would raise later; an existing file is not touched."""
    _, part = target_and_part(path)
    try:
        open(part, "xb").close()
    except OSError as error:
        raise OSError(error.errno, f"cannot be written ({error.strerror})", os.fspath(path)) from error
    finally:  # also if a signal comes in between
        with suppress(OSError):  # it has not been made
            part.unlink()


def moved_aside(path):
    """Rename a file to the first of path~, path~2, … that is free, and return that name."""
    names = (f"{os.fspath(path)}~{'' if number == 1 else number}" for number in itertools.count(1))
    kept = next(name for name in names if not os.path.lexists(name))
    os.replace(path, kept)
    return kept


def sync_folder(folder):
    """Make a new name in a folder survive a power failure, if the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported, as on some network file systems
            raise
    finally:
        os.close(descriptor)


def remove_stale(folder):
    """Remove the unfinished files that dead processes left in a folder.

    The name of such a file contains its machine and process. A file from another machine, or from a process whose
    number is in use (again), is only removed when it is a day old.
    """
    for entry in os.scandir(folder):
        began = PART.fullmatch(entry.name)
        if began and is_stale(Path(entry.path), began["host"], int(began["process"])):
            with suppress(PermissionError):  # another user's file, in a folder like /tmp, does no harm
                Path(entry.path).unlink(missing_ok=True)


def is_stale(part, host, process):
    """Whether nobody is writing to an unfinished file any more."""
    if host == HOST and not is_alive(process):
        return True
    try:
        return time.time() - part.stat().st_mtime > STALE_AFTER
    except FileNotFoundError:  # its process has just finished it
        return False


def is_alive(process):
    """Whether a process with this number runs on this machine; True on Windows, which has no harmless way to ask."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process; or a number that cannot be a process's
        return True
    return True


def write_bytes(path, data):
    """Write bytes to a file, completely or not at all."""
    with whole_file(path) as file:
        file.write(data)


def write_text(path, text):
    """Write a text in UTF-8 to a file, completely or not at all; a missing folder is created."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # the name of a file need not be in Unicode


def read_text(path):
    """Return the text of a UTF-8 file; raise one clear error if it is of another kind."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a text in UTF-8 ({error})") from error


def write_npz(path, arrays):
    """Write arrays, given by name, to an `.npz` file, completely or not at all."""
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_npz(path):
    """Return all arrays of an `.npz` file as a dict; raise one clear error if it cannot be read."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("one array, as numpy.save writes it; numpy.savez writes several by name")
        with file:
            arrays = {name: file[name] for name in file.files}
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy have their own errors; NumPy calls other objects "pickled"
        if str(error).startswith("Object arrays"):
            raise ValueError(f"{path}: an array in it holds objects of Python where numbers or texts are expected; of "
                             "a table of pandas save table.to_numpy(float)") from error
        why = "" if "pickle" in str(error) else f" ({error})"
        raise ValueError(f"{path}: cannot be read as .npz, the file is damaged or of another kind{why}") from error
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise ValueError(f"{path}: cannot be read as .npz, the file is damaged or of another kind "
                         f"({', '.join(map(repr, strange))} is no array)")
    return arrays


def checksum(*values):
    """Return one checksum of arrays, with their shapes and dtypes, and of texts, in the order given."""
    total = 0
    for value in values:
        if isinstance(value, str):
            total = zlib.crc32(value.encode(), total)
            continue
        array = np.ascontiguousarray(to_numpy(value))
        data = array if array.dtype.kind in "biufc" else array.tobytes()  # a text, say, has no view of its bytes
        total = zlib.crc32(data, zlib.crc32(f"{array.shape}{array.dtype}".encode(), total))
    return total
