"""Files that are replaced as a whole, whatever call of the system fails and whenever a process is
killed."""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from fastmlp import whole_files
from fastmlp.whole_files import replaced
from tests.figures import Count

CALLS = ("open", "fchmod", "fsync", "close", "replace")


def write(path, content=b"new"):
    with replaced(path) as unfinished:
        unfinished.write_bytes(content)


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "a file"
    write(path, b"1")
    write(path, b"22")
    assert path.read_bytes() == b"22"
    assert os.listdir(tmp_path) == ["a file"]


def test_an_error_of_the_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted():
        with replaced(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


class Faults:
    """Calls of `os` counted, the one number `failing` of which raises OSError in its place."""

    def __init__(self, monkeypatch, failing):
        self.names, self._failing = [], failing
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name, call):
        def counted(*args, **kwargs):
            self.names.append(name)
            if len(self.names) == self._failing:
                if name == "close":
                    call(*args, **kwargs)  # Linux closes a file whose close fails
                raise OSError(5, f"{name} failed")
            return call(*args, **kwargs)

        return counted


def test_every_call_that_can_fail_is_made_to(tmp_path, monkeypatch, record_property):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    failing, seen = 1, []
    while True:
        path.write_bytes(b"old")
        with monkeypatch.context() as patched:
            faults = Faults(patched, failing)
            try:
                write(path)
            except OSError as error:
                seen.append(error.args[1])
        if len(faults.names) < failing:
            break
        # Once it has been renamed the new file is whole, whatever fails then.
        after = "replace" in faults.names[: failing - 1]
        assert path.read_bytes() == (b"new" if after else b"old"), seen[-1]
        assert os.listdir(tmp_path) == ["a"], seen[-1]
        failing += 1
    assert {said.split()[0] for said in seen} == set(CALLS)
    record_property("calls made to fail", Count(len(seen)))


def test_the_content_and_the_name_are_brought_to_the_disk(tmp_path, monkeypatch):
    synced = []

    def fsync(handle):
        synced.append((os.fstat(handle).st_ino, os.listdir(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "a")
    (of_file, before), (of_folder, after) = synced
    assert of_file == (tmp_path / "a").stat().st_ino
    assert of_folder == tmp_path.stat().st_ino
    assert before != ["a"]
    assert after == ["a"]


KILLED = """
import sys, pathlib
from fastmlp.whole_files import replaced
with replaced(pathlib.Path(sys.argv[1])) as unfinished:
    unfinished.write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing tmp_path / "a"."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, writer):
    (tmp_path / ".a.mine").write_bytes(b"a user's")
    (tmp_path / ".ab.x.unfinished").write_bytes(b"of another file")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(os.listdir(tmp_path)) == 3
    write(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == [".a.mine", ".ab.x.unfinished", "a"]


def test_what_another_process_still_writes_is_left_alone(tmp_path, writer):
    write(tmp_path / "a", b"ours")
    assert len(os.listdir(tmp_path)) == 2
    assert (tmp_path / "a").read_bytes() == b"ours"
    writer.communicate(b"")
    assert writer.returncode == 0
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"half"


def test_permissions(tmp_path):
    path = tmp_path / "a"
    mask = os.umask(0o027)
    try:
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with replaced(path) as unfinished:
            assert stat.S_IMODE(unfinished.stat().st_mode) == 0o604
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(mask)


def test_many_writers_of_one_name(tmp_path):
    """Each removes what the others left, and never what they still write."""
    code = (
        "import sys, pathlib\nfrom fastmlp.whole_files import replaced\n"
        "for i in range(100):\n"
        "    with replaced(pathlib.Path(sys.argv[1])) as unfinished:\n"
        "        unfinished.write_bytes(sys.argv[2].encode() * 1000)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    processes = [subprocess.Popen([*command, letter]) for letter in "xyz"]
    deadline_s = time.monotonic() + 60
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < deadline_s
        if (tmp_path / "a").exists():
            content = (tmp_path / "a").read_bytes()
            assert content in (b"x" * 1000, b"y" * 1000, b"z" * 1000)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_that_lost_its_file_before_it_was_locked_makes_another(tmp_path, monkeypatch):
    """Another process may take an unlocked file for one of a dead writer, and remove it."""
    lock, removed = whole_files._lock, []

    def late(handle, waits=False):
        if not removed:
            (path,) = tmp_path.iterdir()
            path.unlink()
            removed.append(path)
        return lock(handle, waits)

    monkeypatch.setattr(whole_files, "_lock", late)
    write(tmp_path / "a")
    assert len(removed) == 1
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("missing", ["module", "call"])
def test_without_locks_nothing_of_others_is_removed(tmp_path, monkeypatch, missing):
    def refused(handle, how):
        raise OSError(errno.ENOLCK, "no locks")

    if missing == "module":
        monkeypatch.setattr(whole_files, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", refused)
    (tmp_path / ".a.x.unfinished").write_bytes(b"perhaps somebody's")
    write(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == [".a.x.unfinished", "a"]


def test_a_folder_that_cannot_be_listed_is_written_to(tmp_path, monkeypatch):
    def refused(folder):
        raise PermissionError(13, "no")

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", refused)
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize(("number", "counts"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_sync_folders(tmp_path, monkeypatch, number, counts):
    """Has names on the disk in its own time; an error of the disk is an error."""
    fsync = os.fsync

    def sync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, "not done")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="not done") if counts else contextlib.nullcontext():
        write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_text_goes_to_a_file_or_into_a_pipe(tmp_path):
    path, pipe, texts = tmp_path / "a", tmp_path / "pipe", []
    path.write_text("old")
    whole_files.write_text(path, "ä")
    assert path.read_bytes() == "ä".encode()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: texts.append(pipe.read_bytes()), daemon=True)
    reader.start()
    whole_files.write_text(pipe, "ä")
    reader.join(60)
    assert texts == ["ä".encode()]
    assert pipe.is_fifo()


def n_descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_no_descriptor_stays_open(tmp_path):
    (tmp_path / ".a.x.unfinished").write_bytes(b"of a dead process")
    before = n_descriptors()
    write(tmp_path / "a")

    def fails():
        with replaced(tmp_path / "a"):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert n_descriptors() == before


@pytest.mark.parametrize(("mask", "mode"), [(0, 0o666), (0o077, 0o600), (0o022, 0o644)])
def test_what_the_umask_leaves_a_new_file(tmp_path, mask, mode):
    old = os.umask(mask)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_the_new_form_of_a_private_file_is_private_from_the_first_byte_on(tmp_path, monkeypatch):
    path, fchmod, seen = tmp_path / "a", os.fchmod, []
    path.write_bytes(b"old")
    path.chmod(0o640)

    def watched(handle, mode):
        seen.append((stat.S_IMODE(os.fstat(handle).st_mode), mode))
        fchmod(handle, mode)

    monkeypatch.setattr(os, "fchmod", watched)
    write(path)
    assert seen == [(0o600, 0o640)]
