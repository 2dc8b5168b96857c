"""The command line with the workers of Beam's local runner, for which it has its own otherwise."""

import sys

import pipelines.workers.local
from pipelines.__main__ import main

if __name__ == "__main__":
    pipelines.workers.local.choose_supervision = lambda *_: None
    sys.exit(main())
