"""Output files read again in full and held against the commit record of their slice.

    receipt ──> is each file there ──> size, SHA-256 ──> rows, page checksums, the slice that it names ──> findings

What is found is told of, never mended here.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import StorageError
from schemas.manifest import explain_json
from schemas.receipts import Receipt
from schemas.slices import Slice
from transforms.storage.commits import COMMITS, DATA, DEAD, DamagedRecordError, read_receipt
from transforms.storage.manifests import MANIFEST, SUCCESS, OutputFiles, read_outputs
from transforms.storage.store import Store

_CHUNK_BYTES = 1 << 20
_BATCH_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it was committed.

    Attributes:
      name: the file, relative to the run.
      problem: what was expected and found.
    """

    name: str
    problem: str


def find_receipt(store: Store, slice_: Slice) -> tuple[Receipt | None, list[Finding]]:
    """The receipt of a slice, with what is wrong with it; none of either for a slice that is not committed."""
    name = f"{COMMITS}/{slice_.slice_id}"
    try:
        receipt = read_receipt(store, slice_.slice_id)
    except DamagedRecordError as error:
        return None, [Finding(name, f"expected a commit record, found {error.found}")]
    if receipt is None:
        return None, []
    told = receipt.tally.documents + receipt.tally.dead_rows
    if (receipt.slice_id, receipt.rows, told) != (slice_.slice_id, slice_.rows, slice_.rows):
        found = f"slice {receipt.slice_id} with {receipt.rows} documents, {told} of them accounted for"
        return None, [Finding(name, f"expected {slice_.rows} documents of slice {slice_.slice_id}, found {found}")]
    return receipt, []


def check_files(store: Store, receipt: Receipt) -> list[Finding]:
    """What is wrong with the files of a committed slice; one that waits for its final name is looked at where it is."""
    found = []
    for file in receipt.files:
        name = file["final"] if store.size(file["final"]) is not None else file["attempt"]
        found += [Finding(file["final"], problem) for problem in _check_file(store, name, file, receipt.slice_id)]
    return found


def find_strangers(store: Store, outputs: OutputFiles) -> list[Finding]:
    """Files among the output that no commit record names."""
    names = (f"{folder}/{name}" for folder in (DATA, DEAD) for name in outputs.find_foreign(folder, store.list(folder)))
    return [Finding(name, "no commit record names it; move it away") for name in names]


def check_manifest(store: Store, outputs: OutputFiles) -> list[Finding]:
    """What the manifest of a finished run says otherwise than the commit records do."""
    if store.size(SUCCESS) is None:
        return []
    try:
        told = read_outputs(store)
    except OSError:
        return [Finding(MANIFEST, "expected the manifest of a finished run, found none that can be read")]
    except StorageError as error:
        return [Finding(MANIFEST, str(error))]
    except (ValueError, KeyError, TypeError) as error:
        return [Finding(MANIFEST, f"expected the manifest of a finished run, found {explain_json(error)}")]
    if told.equals(outputs.table):
        return []
    lines, known = ({tuple(row.values()) for row in table.to_pylist()} for table in (told, outputs.table))
    different = sorted(str(line[0]) for line in lines ^ known) or ["another order"]
    return [Finding(MANIFEST, f"expected the files that were committed, found {different[0]!r} otherwise")]


def check_finished(store: Store) -> list[Finding]:
    """That a run whose slices are all committed was not finished, where it was not."""
    if store.size(SUCCESS) is not None:
        return []
    return [Finding(SUCCESS, "every slice is committed, but the run was not finished: expected _SUCCESS, found none")]


def digest_file(raw: Any) -> str:
    """SHA-256 of what is left of an open file, hex."""
    digest = hashlib.sha256()
    while chunk := raw.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _check_file(store: Store, name: str, file: Mapping[str, Any], slice_id: str) -> Iterator[str]:
    size = store.size(name)
    if size is None:
        yield "lost: neither it nor the attempt that it was made of exists"
        return
    try:
        with store.open(name) as raw:
            digest = digest_file(raw)
    except OSError as error:
        yield f"cannot be read: {error.strerror or 'its store gives no reason'}"
        return
    except StorageError as error:
        yield f"cannot be read: {error}"
        return
    if (size, digest) != (file["size_bytes"], file["sha256"]):
        expected = f"{file['size_bytes']:,} bytes with SHA-256 {file['sha256'][:16]}"
        yield f"expected {expected}, found {size:,} with {digest[:16]}"
        return
    try:
        rows, owner = _read_rows(store, name, slice_id)
    except (pa.ArrowException, OSError, ValueError):
        yield f"expected {'JSON lines' if name.endswith('.jsonl') else 'Parquet'}, found something else"
        return
    if (rows, owner) != (file["rows"], slice_id):
        yield f"expected {file['rows']:,} rows of slice {slice_id}, found {rows:,} of {owner}"


def _read_rows(store: Store, name: str, slice_id: str) -> tuple[int, str]:
    """How many rows a file holds, every page of it read, and the slice that its footer names."""
    with store.open(name) as raw:
        if name.endswith(".jsonl"):
            return sum(isinstance(json.loads(line), dict) for line in raw), slice_id
        parquet = pq.ParquetFile(raw, page_checksum_verification=True)
        rows = sum(batch.num_rows for batch in parquet.iter_batches(batch_size=_BATCH_ROWS))
        metadata = parquet.schema_arrow.metadata or {}
        return rows, metadata.get(b"spanmill.slice", b"").decode(errors="replace")
