"""Which way imports go, and what the command line may load."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import JOBS

ROOT = Path(__file__).parents[1]
HEAVY = ("accelerate", "apache_beam", "matplotlib", "seqeval", "torch", "transformers")

SHOW_HELP = f"""
import contextlib, sys
from pipelines.__main__ import main
with contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print("loaded:", *sorted(sys.modules.keys() & {set(HEAVY)}), file=sys.stderr)
"""


LINT_IMPORTS = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename="pyproject.toml", no_cache=True, no_logo=True))
"""


def test_imports_go_one_way():
    # A process of its own, since the linter switches off every logger that there is.
    done = subprocess.run([sys.executable, "-c", LINT_IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [[], ["--help"], *([job, "--help"] for job in JOBS)], ids=" ".join)
def test_help_loads_no_model_and_no_runner(words):
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.startswith("usage: spanmill")
    assert done.stderr.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_ends_quietly_where_its_reader_goes_away(words):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", *words], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, timeout=60
    )
    os.close(writer)

    assert done.stderr == b""
