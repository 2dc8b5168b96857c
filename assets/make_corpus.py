"""Makes the sample corpus: a file of Universal NER to Parquet with one document per row.

python -m assets.make_corpus data/uner_en_ewt/dev.iob2 assets/corpus/uner-ewt-dev.parquet
"""

import sys
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.documents import GOLD_TYPE
from transforms.corpora.conll import cut_slices, read_parts
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import list_files

LICENCE = "CC BY-SA 4.0"
SOURCE = "Universal NER, English EWT, dev (https://www.universalner.org)"
_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("gold", GOLD_TYPE), ("licence", pa.string())])
_ROW_GROUP = 64


def build_corpus(source: str) -> pa.Table:
    """A CoNLL file with marks of documents to a table of id, text, gold and licence."""
    config = CorpusConfig(format="conll")
    parts = [
        part.documents
        for file in list_files([source])
        for slice_ in cut_slices(file, config, slice_bytes=1 << 30)
        for part in read_parts(slice_, config)
    ]
    documents = pa.concat_tables(parts)
    columns = [documents["id"], documents["text"].cast(pa.string()), documents["gold"]]
    table = pa.table([*columns, pa.array([LICENCE] * len(documents))], schema=_SCHEMA)
    return table.replace_schema_metadata({"licence": LICENCE, "source": SOURCE})


def main(arguments: Sequence[str]) -> int:
    """Writes the corpus named by the second argument from the file named by the first."""
    source, target = arguments
    # Several row groups, so that a small corpus too is cut into slices.
    pq.write_table(build_corpus(source), target, compression="zstd", compression_level=19, row_group_size=_ROW_GROUP)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
