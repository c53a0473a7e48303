"""Files are written whole or not at all, whatever goes wrong on the way, and nothing unfinished stays."""

import builtins
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from minilift.support import files
from minilift.support.files import (
    HOST,
    checksum,
    read_npz,
    read_text,
    remove_stale,
    whole_file,
    write_bytes,
    write_npz,
    write_text,
)

OPEN = builtins.open
ARRAYS = {"a": np.arange(5000.0), "b": np.array("text")}


@pytest.fixture
def old(tmp_path):
    """Return the path of a file that is there already."""
    path = tmp_path / "file.npz"
    path.write_bytes(b"old")
    return path


def assert_untouched(path):
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


def dead_process():
    """Return the number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def part(name="file.npz", host=HOST, process=0, token="0123abcd"):
    return f".{name}.{host}.{process}.{token}.part"


def test_process_numbers_of_another_container_are_none_of_ours(tmp_path, monkeypatch):
    """Though its host be called as ours."""
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[1]")
    theirs, ours = (tmp_path / part(host=host, process=dead_process()) for host in (files.host(), HOST))
    for path in (theirs, ours):
        path.write_bytes(b"begun")
    remove_stale(tmp_path)
    assert [theirs.exists(), ours.exists()] == [True, False]


# ---- a write that fails


class Failing:
    """A file that fails in one of its steps."""

    def __init__(self, file, step, error):
        self.file, self.step, self.error = file, step, error

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def __getattr__(self, name):
        if name == self.step:
            raise self.error
        return getattr(self.file, name)


def fail_in(step, error, monkeypatch):
    """Let a step of writing fail."""
    def fail(*arguments, **options):
        raise error

    if step in ("write", "flush", "fileno"):
        monkeypatch.setattr(files, "open", lambda *a: Failing(OPEN(*a), step, error), raising=False)
    elif step == "open":
        monkeypatch.setattr(files, "open", fail, raising=False)
    else:
        monkeypatch.setattr(os, step, fail)


@pytest.mark.parametrize("step", ["scandir", "open", "write", "flush", "fileno", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(),
                                   MemoryError()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("write", [lambda path: write_bytes(path, b"new"), lambda path: write_npz(path, ARRAYS)],
                         ids=["bytes", "npz"])
def test_a_failure_in_any_step_leaves_the_old_file_and_nothing_else(step, error, write, old, monkeypatch):
    with monkeypatch.context() as patch:
        fail_in(step, error, patch)
        with pytest.raises(type(error)) as caught:
            write(old)
    if isinstance(error, OSError):
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(old))
        assert "cannot be written (No space left on device)" in str(caught.value)
    assert_untouched(old)


def test_a_failure_after_the_last_step_leaves_the_new_file(old, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_folder", lambda folder: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_bytes(old, b"new")
    assert old.read_bytes() == b"new"
    assert os.listdir(old.parent) == [old.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device_is_an_error_that_names_the_file(old, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(files, "open", lambda path, mode: path.touch() or OPEN("/dev/full", "wb"), raising=False)
        for write in (lambda: write_bytes(old, b"new"), lambda: write_npz(old, ARRAYS)):
            with pytest.raises(OSError, match=r"cannot be written \(No space left on device\): '.*file\.npz'"):
                write()
    assert_untouched(old)


def test_a_limit_of_the_file_size_is_met_in_the_middle(old):
    """The kernel itself refuses what is beyond a thousand bytes, as on a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot be written \(File too large\): '.*file\.npz'"):
            write_npz(old, ARRAYS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_untouched(old)


def test_a_folder_is_no_place_for_a_file(tmp_path):
    (tmp_path / "run.npz").mkdir()
    with pytest.raises(IsADirectoryError, match=r"run\.npz: cannot be written, it is a folder"):
        write_bytes(tmp_path / "run.npz", b"new")
    with pytest.raises(FileNotFoundError, match=r"cannot be written .*'.*nowhere/run\.npz'"):
        write_bytes(tmp_path / "nowhere" / "run.npz", b"new")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        write_bytes(tmp_path / "file" / "run.npz", b"new")
    assert sorted(os.listdir(tmp_path)) == ["file", "run.npz"]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(OSError, match=r"/dev/null: cannot be written, it is not a regular file"):
        write_bytes("/dev/null", b"new")
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_is_read_only(old):
    old.parent.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\): '.*file\.npz'"):
            write_bytes(old, b"new")
    finally:
        old.parent.chmod(0o755)
    assert_untouched(old)


READ_ONLY = """
import os, sys
from minilift.support.files import write_bytes
os.setuid(65534)
try:
    write_bytes(sys.argv[1], b"new")
except PermissionError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="changes the user")
def test_a_folder_of_somebody_else(tmp_path):
    path, folders = tmp_path / "file.npz", [tmp_path, *tmp_path.parents[:3]]
    path.write_bytes(b"old")
    for folder in folders:
        folder.chmod(0o755)
    result = subprocess.run([sys.executable, "-c", READ_ONLY, path], capture_output=True, text=True, check=True)
    assert result.stdout == f"[Errno 13] cannot be written (Permission denied): {str(path)!r}\n"
    assert_untouched(path)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "files" / "one")
    write_text(tmp_path / "latest", "new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "files" / "one").read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_who_may_read_the_old_file_may_read_the_new_one(old):
    for mode in (0o600, 0o640):
        old.chmod(mode)
        with whole_file(old) as file:
            (unfinished,) = [entry for entry in os.scandir(old.parent) if entry.name.endswith(".part")]
            assert unfinished.stat().st_mode & 0o777 == mode
            file.write(b"new")
        assert old.stat().st_mode & 0o777 == mode


def test_many_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path, failures = tmp_path / "file", []

    def write(content):
        try:
            for _ in range(20):
                write_bytes(path, content * 10_000)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(set(path.read_bytes())) == 1
    assert os.listdir(tmp_path) == ["file"]


# ---- what dead processes have left


def test_what_dead_processes_left_is_swept_by_the_next_write(tmp_path):
    dead, day = dead_process(), time.time() - 86_500
    stale = [part(process=dead), part("other.json", process=dead, token="ffffffff")]
    stale_by_age = [part(process=os.getpid()), part(host="elsewhere", process=dead)]
    alive = [part(process=os.getpid(), token="00000000"), part(host="elsewhere", process=dead, token="00000000")]
    others = ["file.part", f".file.npz.{dead}.part", f".mine.{HOST}.{dead}.part", f"x{part(process=dead)}",
              f"{part(process=dead)}.bak"]
    for name in stale + stale_by_age + alive + others:
        (tmp_path / name).write_bytes(b"")
    for name in stale_by_age + others:
        os.utime(tmp_path / name, (day, day))
    write_bytes(tmp_path / "file.npz", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted(["file.npz", *alive, *others])


def test_a_killed_writer_leaves_one_unfinished_file_until_the_next_write(tmp_path):
    path = tmp_path / "file"
    program = (f"from minilift.support.files import whole_file\n"
               f"with whole_file({str(path)!r}) as file:\n"
               f"    print('now', flush=True); input()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], text=True, **pipes) as process:
        assert process.stdout.readline() == "now\n"
        remove_stale(tmp_path)
        left = os.listdir(tmp_path)
        assert len(left) == 1, "a living process's file is left alone"
        process.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path) == left
    write_bytes(path, b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_may_not_be_removed_does_not_hinder(tmp_path, monkeypatch):
    stale, unlink = tmp_path / part(process=dead_process()), Path.unlink
    stale.write_bytes(b"")

    def refuse(path, missing_ok=False):
        if path == stale:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_folder_is_synchronized_after_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        done = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, done=done: calls.append(name) or done(*a))
    with whole_file(tmp_path / "file") as file:
        file.write(b"new")
    assert calls == ["fsync", "replace", "fsync"]


# ---- reading


def test_what_is_no_array_is_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", b"no array")
    with pytest.raises(ValueError, match=r"a\.npz: cannot be read as \.npz, .*\('a' is no array\)"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(IsADirectoryError):
        read_npz(tmp_path)
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match=r"of another kind \(one array, as numpy\.save writes it; numpy\.savez writes"):
        read_npz(tmp_path / "a.npz")


def test_a_text_may_hold_the_name_of_a_file_that_is_no_unicode(tmp_path):
    """JSON gives it back."""
    write_text(tmp_path / "x.json", json.dumps("käse\udcfc.npz", ensure_ascii=False))
    assert json.loads(read_text(tmp_path / "x.json")) == "käse\udcfc.npz"


def test_a_table_of_mixed_columns_is_told_how_it_is_saved(tmp_path):
    """As numpy.savez writes what pandas gives of columns of different kinds: pickled, which is not read."""
    np.savez(tmp_path / "a.npz", X=np.array([[1, "a"], [2.5, None]], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: an array in it holds objects .* save table\.to_numpy\(float\)"):
        read_npz(tmp_path / "a.npz")


def test_a_checksum_tells_values_shapes_dtypes_texts_and_their_order():
    a, b = np.arange(4.0), np.arange(4.0)[::-1]
    known = [(a,), (b,), (a.reshape(2, 2),), (a.astype(np.float32),), (a, b), (b, a), ("a", a), ("b", a),
             (np.array("a"),), ()]
    assert len({checksum(*values) for values in known}) == len(known)
    assert checksum(a, "a", b) == checksum(a.copy(), "a", b.copy())


def test_a_signal_while_it_is_looked_whether_a_file_can_be_written_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(path, mode):
        builtins.open(path, mode).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "open", interrupted, raising=False)
    with pytest.raises(KeyboardInterrupt):
        files.check_writable(tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []
