"""Beam's own job service, with two workers for each environment, for which it has no flag."""

import sys

from apache_beam.runners.portability import local_job_service_main
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_make = FnApiRunner.__init__


def _make_with_two_workers(self, *args, **kwargs):
    _make(self, *args, **kwargs)
    self._num_workers = 2


if __name__ == "__main__":
    FnApiRunner.__init__ = _make_with_two_workers
    local_job_service_main.run(sys.argv[1:])
