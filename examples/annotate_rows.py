"""Entities in a pipeline of one's own: `python examples/annotate_rows.py 'docs/*.jsonl' out/people out/dead`."""

import json
import sys

import apache_beam as beam

from transforms.annotate_rows import Annotate


def parse(line):
    row = json.loads(line)
    if isinstance(row.get("body"), str):  # As bytes, for Beam passes on no lone surrogate, which JSON may hold.
        row["body"] = row["body"].encode(errors="surrogatepass")
    return row


def list_people(row):
    return {"id": row.get("id"), "people": [e["text"] for e in row["entities"] if e["label"] == "PER"]}


def run(documents, people, dead, *beam_flags):
    with beam.Pipeline(argv=["--runner=FnApiRunner", *beam_flags]) as pipeline:
        rows = pipeline | "Read" >> beam.io.ReadFromText(documents) | beam.Map(parse)
        found = rows | Annotate(model="default", text_column="body", id_column="id")
        found.annotated | beam.Map(list_people) | beam.Map(json.dumps) | "People" >> beam.io.WriteToText(people)
        found.dead | beam.Map(lambda row: json.dumps(row._asdict())) | "Dead" >> beam.io.WriteToText(dead)


if __name__ == "__main__":
    run(*sys.argv[1:])
