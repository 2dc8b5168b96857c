"""Folders walked in threads, held against what fsspec finds alone."""

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError
from transforms.corpora.files import scan_files
from transforms.corpora.listing import walk_folder, walk_pattern

_PATHS = (
    *("a.txt", "b.jsonl", "x/a.txt", "x/b.txt", "x/y/a.txt", "x/y/z/c.txt", "x1/a.txt", "x1/y/b.txt"),
    *("year=1/month=2/p.txt", "year=1/month=3/p.txt", "year=2/month=2/p.txt", "q[1]/a.txt", ".h/a.txt", "_t/a.txt"),
)
_PARTS = st.sampled_from(["*", "**", "?", "x", "x?", "y", "*.txt", "a.txt", "year=*", "month=2", "[xy]", "[!x]", "p.*"])


@pytest.fixture(scope="module", params=["local", "memory"])
def tree(request, tmp_path_factory):
    """A file system and a folder in it with files at several depths."""
    root = str(tmp_path_factory.mktemp("tree")) if request.param == "local" else "/listing"
    fs = fsspec.filesystem(request.param)
    for path in _PATHS:
        fs.makedirs(f"{root}/{path.rpartition('/')[0]}", exist_ok=True)
        fs.pipe_file(f"{root}/{path}", path.encode())
    yield fs, root
    fs.rm(root, recursive=True)


@settings(deadline=None, max_examples=150)
@given(parts=st.lists(_PARTS, min_size=1, max_size=4))
def test_walk_pattern_finds_what_fsspec_finds(tree, parts):
    fs, root = tree
    pattern = f"{root}/{'/'.join(parts)}"
    found = sorted(entry["name"] for entry in walk_pattern(fs, pattern))
    expected = fs.glob(pattern, detail=True)
    assert found == sorted(name for name, info in expected.items() if info["type"] != "directory")


@pytest.mark.parametrize("tree", ["memory"], indirect=True)
def test_walk_pattern_looks_into_folders_only_that_may_hold_a_match(tree, monkeypatch):
    fs, root = tree
    asked, ls = [], fs.ls
    monkeypatch.setattr(fs, "ls", lambda path, **options: asked.append(path) or ls(path, **options))
    found = [entry["name"] for entry in walk_pattern(fs, f"{root}/year=*/month=2/*.txt")]
    assert sorted(found) == [f"{root}/year={year}/month=2/p.txt" for year in (1, 2)]
    assert sorted(asked) == [
        root,
        *(f"{root}/year={year}{tail}" for year in (1, 2) for tail in ("", "/month=2")),
    ]


def test_walk_folder_leaves_hidden_folders_unasked(tree):
    fs, root = tree
    names = {entry["name"].removeprefix(f"{root}/") for entry in walk_folder(fs, root)}
    assert names == {path for path in _PATHS if not path.startswith((".", "_"))}


def test_walk_folder_of_nothing_is_empty(tree):
    fs, root = tree
    assert list(walk_folder(fs, f"{root}/gone")) == []


@pytest.fixture
def linked(tmp_path):
    """A folder with a file, and with links to it, to folders inside and outside, to itself and to nothing."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.txt").touch()
    folder = tmp_path / "inside"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.txt").touch()
    links = {"file.txt": "sub/a.txt", "sub.txt": "sub", "out.txt": "../outside", "self": ".", "loop": "loop"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return folder


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["file.txt", "loop", "sub/a.txt"]),
        ("*", ["file.txt", "loop"]),
        ("*.txt", ["file.txt"]),
        ("*/*", ["sub/a.txt"]),
        ("**", ["file.txt", "loop", "sub/a.txt"]),
        ("**/b.txt", []),
        ("self/*.txt", ["self/file.txt"]),
    ],
)
def test_a_link_to_a_folder_is_no_file_and_is_followed_only_where_it_is_named(linked, pattern, expected):
    fs = fsspec.filesystem("local")
    entries = walk_pattern(fs, f"{linked}/{pattern}") if pattern else walk_folder(fs, str(linked))
    assert sorted(entry["name"].removeprefix(f"{linked}/") for entry in entries) == expected


def test_scan_files_of_thousands_is_in_order_and_says_how_far_it_is(tmp_path):
    for folder in range(20):
        (tmp_path / f"{folder:02d}").mkdir()
        for name in range(500):
            (tmp_path / f"{folder:02d}" / f"{name:03d}.txt").touch()
    told = []
    files = scan_files([str(tmp_path)], tell=told.append)
    assert files.column("uri").to_pylist() == sorted(str(path) for path in tmp_path.rglob("*.txt"))
    assert (told[0], told[-1]) == (8192, 10_000)


def test_scan_files_names_a_file_whose_name_is_no_text(tmp_path):
    (tmp_path / "bad-\udcff.txt").write_text("")
    with pytest.raises(ConfigError, match="expected names of files in UTF-8"):
        scan_files([str(tmp_path)])
