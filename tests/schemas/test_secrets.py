"""Passwords that travel in memory only."""

import pickle

import pytest

from schemas.secrets import Secrets
from schemas.slices import FileRef

_GIVEN = [
    FileRef("ftp://me:secret@host/a.txt", 1, "1"),
    FileRef("ftp://you:secret@host/b.txt", 1, "1"),
    FileRef("https://host/c.txt?sig=secret", 1, "1"),
    FileRef("https://me:secret@host:8080/d.txt?sig=secret", 1, "1"),
    FileRef("s3://bucket/e.txt", 1, "1"),
    FileRef("/data/f.txt", 1, "1"),
]


@pytest.mark.parametrize("file", _GIVEN)
def test_restore_gives_a_file_as_it_was_given(file):
    secrets = pickle.loads(pickle.dumps(Secrets.of(_GIVEN)))
    restored = secrets.restore(file.without_secret())
    assert (restored.uri, restored.lacks_secret) == (file.uri, False)


def test_restore_leaves_a_file_that_nothing_is_known_of():
    kept = FileRef("ftp://other/a.txt", 1, "1", lacks_secret=True)
    assert Secrets.of(_GIVEN).restore(kept) is kept


def test_restore_leaves_a_file_that_was_given_without_a_secret():
    plain = FileRef("ftp://host/z.txt", 1, "1")
    assert Secrets.of(_GIVEN).restore(plain) is plain


def test_many_files_of_one_user_are_one_secret():
    secrets = Secrets.of(FileRef(f"ftp://me:secret@host/{number}.txt", 1, "1") for number in range(1000))
    assert (len(secrets.hosts), len(secrets.files)) == (1, 0)


def test_secrets_do_not_show():
    assert "secret@" not in repr(Secrets.of(_GIVEN))
