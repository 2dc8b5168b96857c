"""Corpus files made by hand, and one way to read them whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import FORMATS, format_of, survey_file

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_file(tmp_path):
    """Name and content in, the written and listed file out."""

    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        return stat_file(str(path))

    return make


@pytest.fixture
def read_corpus():
    """File in; rows of documents, dead letters and slices out, as planning and reading give them."""

    def read(file, config=None, slice_bytes=1 << 20):
        config = config or CorpusConfig()
        survey = survey_file(file, config, slice_bytes)
        documents, rejects = [], []
        for slice_ in survey.slices:
            parts = list(FORMATS[format_of(file, config)].read_parts(slice_, config))
            n_rows = sum(part.documents.num_rows + len(part.rejects) for part in parts)
            assert n_rows == slice_.rows
            documents += [row for part in parts for row in part.documents.to_pylist()]
            rejects += [letter for part in parts for letter in part.rejects]
        return documents, rejects, survey.slices

    return read


@pytest.fixture
def measure_memory():
    """Code in; what it printed and by how many bytes its peak memory grew over `ready()` out.

    The peak of a child counts the parent's pages until exec, so the code runs in a fresh interpreter that is asked
    for its own high-water mark. pyarrow imports pandas with the first array, where that is installed; what this takes
    is no part of what is measured.
    """

    def measure(code, *arguments):
        prelude = (
            "import re, sys\n"
            "import pyarrow\n"
            "def peak():\n"
            "    return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"
            "def ready():\n"
            "    global base\n"
            "    pyarrow.array(['a'])\n"
            "    open('/proc/self/clear_refs', 'w').write('5')\n"
            "    base = peak()\n"
        )
        program = f"{prelude}{code}\nprint(peak() - base)\n"
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        *printed, grown = done.stdout.split()
        return printed, int(grown)

    return measure
