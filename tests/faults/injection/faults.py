"""What the world does to a run: it dies, stops, runs out of something, or is given nonsense."""

import errno
import functools
import itertools
import os
import signal
import time
from pathlib import Path

from tests.faults.injection.hooks import Patches, is_first, tell, wrap


def _send_before(owner, method, prefix, number, nth):
    """Sends this process a signal before the nth call of a method of a store about a name with a prefix."""
    calls = itertools.count(1)

    def around(real, self, name, *arguments):
        if name.startswith(prefix) and next(calls) == int(nth or 1):
            os.kill(os.getpid(), number)
        return real(self, name, *arguments)

    wrap(owner, method, around)


def kill_before_commit(posix, nth):
    _send_before(posix.PosixStore, "put_if_absent", "_commits/", signal.SIGKILL, nth)


def kill_once_before_commit(posix, _):
    """One worker, the first to come to a commit, dies there."""

    def around(put, self, name, content):
        if name.startswith("_commits/") and is_first("kill-once"):
            os.kill(os.getpid(), signal.SIGKILL)
        return put(self, name, content)

    wrap(posix.PosixStore, "put_if_absent", around)


def harm_by_text(annotator, how):
    """A document with the word `Harm` does something to the process that annotates it."""

    def around(begin, self, documents, *, failures=None, **options):
        texts = documents.column("text").to_pylist()
        if any("Harm" in (text or "") and at not in (failures or {}) for at, text in enumerate(texts)):
            _HARMS[how]()
        return begin(self, documents, failures=failures, **options)

    wrap(annotator.Annotator, "begin", around)


def kill_at_reading(read, name):
    """Whoever reads a file of this name dies of it."""

    def around(read_slice, slice_, *arguments, **options):
        if slice_.file.uri.endswith(name) and not slice_.error:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_slice(slice_, *arguments, **options)

    wrap(read, "read_slice", around)


def _lose_device():
    from schemas.errors import DeviceError

    raise DeviceError("the device failed and must be restarted: device-side assert triggered")


_HARMS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(1000),
    "exhaust": lambda: bytearray(1 << 60),
    "device": _lose_device,
}


def stop_before_commit(posix, nth):
    _send_before(posix.PosixStore, "put_if_absent", "_commits/", signal.SIGSTOP, nth)


def kill_before_publish(posix, nth):
    _send_before(posix.PosixStore, "publish", "_attempts/", signal.SIGKILL, nth)


def kill_before_success(posix, _):
    _send_before(posix.PosixStore, "put", "_SUCCESS", signal.SIGKILL, 1)


def meet_before_commit(posix, n_drivers):
    """Waits before the first commit until as many drivers as are wanted are there."""

    def around(put, self, name, content):
        if name.startswith("_commits/"):
            marks = Path(os.environ["SPANMILL_MARKS"])
            (marks / f"meet-{os.getpid()}").touch()
            deadline = time.monotonic() + 30
            while len(list(marks.glob("meet-*"))) < int(n_drivers) and time.monotonic() < deadline:
                time.sleep(0.001)
        return put(self, name, content)

    wrap(posix.PosixStore, "put_if_absent", around)


def fail_after_commit(commits, nth):
    """The nth commit succeeds, and then an error is raised; once."""
    calls = itertools.count(1)

    def around(commit, self):
        receipt = commit(self)
        if next(calls) == int(nth) and is_first("fail-after-commit"):
            raise OSError(errno.EIO, "Input/output error")
        return receipt

    wrap(commits.SliceWriter, "commit", around)


def slow_down(annotator, seconds):
    """Every part of a slice takes longer."""

    def around(finish, *arguments):
        time.sleep(float(seconds))
        return finish(*arguments)

    wrap(annotator.Annotator, "_finish", around)


def fill_disk(posix, size_bytes):
    """The disk has room for so many bytes of slices."""
    room = [int(size_bytes)]

    def around(write, self, data):
        room[0] -= len(data)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    wrap(posix._SyncedFile, "write", around)


def log_calls(_, __):
    """What is asked of the kernel, told to the meter."""
    for name, told in (("fsync", "fsync"), ("link", "link"), ("replace", "rename")):
        wrap(os, name, functools.partial(_tell_call, told))


def _tell_call(told, real, *paths):
    tell("call", told, *(Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else path for path in paths))
    return real(*paths)


def rewrite_input(read, path):
    """A file is written over with as many bytes when it is about to be read for the first time."""

    def around(read_slice, slice_, *arguments, **options):
        target = Path(path.replace("|", "/"))
        if slice_.file.uri == str(target) and is_first("rewrite-input"):
            target.write_bytes(target.read_bytes().replace(b"Anna", b"Emma"))
        return read_slice(slice_, *arguments, **options)

    wrap(read, "read_slice", around)


def run_out_of_memory(torch_classifier, most_tokens):
    """Batches of more padded tokens do not fit."""

    def around(submit, self, ids, lengths):
        if ids.size > int(most_tokens):
            raise MemoryError
        return submit(self, ids, lengths)

    wrap(torch_classifier.TorchClassifier, "submit", around)


def answer_nan(torch_classifier, nth):
    """The nth pass gives a number that is none, for a real token."""
    calls = itertools.count(1)

    def spoil(probabilities):
        probabilities[0, 1] = float("nan")
        return probabilities

    _answer(torch_classifier, lambda answer: spoil(answer) if next(calls) == int(nth) else answer)


def answer_short(torch_classifier, nth):
    """The nth pass leaves out a window."""
    calls = itertools.count(1)
    _answer(torch_classifier, lambda answer: answer[:-1] if next(calls) == int(nth) else answer)


def _answer(torch_classifier, change):
    def around(submit, self, ids, lengths):
        fetch = submit(self, ids, lengths)
        return lambda: change(fetch())

    wrap(torch_classifier.TorchClassifier, "submit", around)


def answer_by_rule(torch_classifier, token):
    """A model that takes one token of the vocabulary for its first label, and nothing else for anything."""
    import numpy as np

    def around(_, self, ids, lengths):
        tags = self.tag_set.tags
        first = next(at for at, tag in enumerate(tags) if tag.startswith("B-"))
        probabilities = np.full((*ids.shape, len(tags)), 0.01, dtype=np.float32)
        probabilities[..., tags.index("O")] = 0.9
        is_found = ids == int(token)
        probabilities[is_found] = 0.01
        probabilities[is_found, first] = 0.9
        return lambda: probabilities

    wrap(torch_classifier.TorchClassifier, "submit", around)


FAULTS: Patches = {
    "kill_before_commit": (("transforms.storage.posix", kill_before_commit),),
    "kill_once_before_commit": (("transforms.storage.posix", kill_once_before_commit),),
    "kill_at_reading": (("transforms.read", kill_at_reading),),
    "harm_by_text": (("transforms.models.annotator", harm_by_text),),
    "stop_before_commit": (("transforms.storage.posix", stop_before_commit),),
    "kill_before_publish": (("transforms.storage.posix", kill_before_publish),),
    "kill_before_success": (("transforms.storage.posix", kill_before_success),),
    "meet_before_commit": (("transforms.storage.posix", meet_before_commit),),
    "fail_after_commit": (("transforms.storage.commits", fail_after_commit),),
    "slow_down": (("transforms.models.annotator", slow_down),),
    "fill_disk": (("transforms.storage.posix", fill_disk),),
    "log_calls": (("transforms.storage.posix", log_calls),),
    "rewrite_input": (("transforms.read", rewrite_input),),
    "run_out_of_memory": (("transforms.models.torch_classifier", run_out_of_memory),),
    "answer_nan": (("transforms.models.torch_classifier", answer_nan),),
    "answer_short": (("transforms.models.torch_classifier", answer_short),),
    "answer_by_rule": (("transforms.models.torch_classifier", answer_by_rule),),
}
