"""Beam's external pool of workers, for callers on this machine alone: `python deploy/flink/worker_pool.py PORT`.

Beam's own program for it listens on every interface, and whoever reaches a pool can have it run code of theirs.
"""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer

# As Beam's: callers may ping an idle channel as often as they like.
_OPTIONS = [("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]


def main(arguments: Sequence[str]) -> int:
    """Starts a process for each worker that is asked for, until it is ended."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        print("usage: worker_pool.py PORT", file=sys.stderr)
        return 2
    # Beam starts workers by the name `python`, which has to be the one that has spanmill.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    server = grpc.server(ThreadPoolExecutor(), options=_OPTIONS)
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"localhost:{arguments[0]}")
    server.start()
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
