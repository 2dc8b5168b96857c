"""The three stores that the contract is tested on, and slices to commit in them."""

import uuid

import fsspec
import pyarrow as pa
import pytest
import s3fs
from moto.server import ThreadedMotoServer

from schemas.annotations import annotation_schema
from schemas.dead_letters import dead_letter
from schemas.errors import ParseError
from schemas.manifest import Manifest
from schemas.receipts import Tally
from schemas.slices import FileRef, Slice
from transforms.storage.commits import SliceWriter
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


@pytest.fixture
def make_annotations():
    """Ids in, a row for each out: two entities, one of them below its threshold if those are kept."""

    def make(*ids, has_below=False, source="/in/0.jsonl"):
        anna = {"start": 0, "end": 4, "label": "PER", "score": 0.75, "text": "Anna"}
        bonn = {"start": 9, "end": 13, "label": "LOC", "score": 0.25, "text": "Bonn"}
        row = {"source": source, "digest": "0" * 64, "windows": 1, "tokens": 5, "model": "m"}
        row |= {"entities": [anna], "below": [bonn]} if has_below else {"entities": [anna, bonn]}
        rows = [{**row, "id": id_, "row": at} for at, id_ in enumerate(ids)]
        return pa.Table.from_pylist(rows, schema=annotation_schema(has_below=has_below))

    return make


@pytest.fixture
def make_letter():
    """Row in, a dead letter out."""

    def make(row):
        return dead_letter("/in/0.jsonl", ParseError("bad_utf8", "expected UTF-8"), stage="read", row=row)

    return make


@pytest.fixture
def make_writer(make_annotations):
    """Store and slice in, an attempt that holds all of the slice's documents and is not committed out."""

    def make(store, slice_, *, output_format="parquet", layout="document", attempts=1, id_="id"):
        options = {"output_format": output_format, "layout": layout, "metadata": {"model": "m"}}
        writer = SliceWriter(store, slice_, attempts=attempts, **options)
        ids = [f"{id_}-{slice_.number}-{row}" for row in range(slice_.rows)]
        writer.write(make_annotations(*ids), (), Tally(documents=slice_.rows))
        return writer

    return make


@pytest.fixture
def make_manifest():
    """An empty manifest."""

    def make():
        return Manifest("f" * 16, {}, {}, (), (), {}, 0.0)

    return make
