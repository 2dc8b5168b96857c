"""Runs one contender in this process, and prints what it says of itself as one line of JSON.

    python -m benchmarks.peers NAME --input FILE --output FOLDER --model FOLDER

`most_tokens` is how much of a document it reads at most, null for all of it; `seconds` is there only where a contender
takes its own time. Everything else is measured from outside, alike for all (see benchmarks.peers.processes).
"""

import argparse
import json
from pathlib import Path

from benchmarks.peers.contenders import CONTENDERS, run_contender


def main():
    """Runs it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name for name, contender in CONTENDERS.items() if contender.module]
    parser.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    for flag in ("--input", "--output", "--model"):
        parser.add_argument(flag, type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(run_contender(options.name, options.input, options.output, options.model)))


if __name__ == "__main__":
    main()
