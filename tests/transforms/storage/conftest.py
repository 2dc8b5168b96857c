"""The three stores that the contract is tested on, and slices to commit in them."""

import uuid

import fsspec
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from schemas.slices import FileRef, Slice
from transforms.storage.objects import ObjectStore
from transforms.storage.posix import PosixStore

KEYS = {"key": "testing", "secret": "testing"}


@pytest.fixture(scope="session")
def s3_endpoint():
    """A real server that speaks S3, on a port of its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3fs.S3FileSystem(**KEYS, endpoint_url=endpoint).mkdir("bucket")
    yield endpoint
    server.stop()


@pytest.fixture
def posix_store(tmp_path):
    return PosixStore(str(tmp_path / "run"))


@pytest.fixture
def memory_store():
    fs = fsspec.filesystem("memory")
    root = f"/runs-{uuid.uuid4().hex}/run"
    yield ObjectStore(fs, root)
    if fs.exists(root):
        fs.rm(root, recursive=True)


@pytest.fixture
def s3_store(s3_endpoint):
    return ObjectStore(s3fs.S3FileSystem(**KEYS, endpoint_url=s3_endpoint), f"bucket/{uuid.uuid4().hex}/run")


@pytest.fixture(params=["posix", "memory", "s3"])
def store(request):
    """Each store in turn."""
    return request.getfixturevalue(f"{request.param}_store")


@pytest.fixture
def make_slice():
    """A slice of `rows` documents, another file for each number."""

    def make(rows=2, number=0, version="1"):
        file = FileRef(f"/in/{number}.jsonl", 100, version)
        return Slice(file, "jsonl", 0, 100, 0, rows, number)

    return make
