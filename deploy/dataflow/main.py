"""What Dataflow's launcher starts in the image `flex`."""

import sys

from pipelines.flex_template import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
