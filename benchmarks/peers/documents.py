"""Parquet in and out for the peers, and the loop that turns a tag per token into entities."""

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

ENTITY = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())])
SCHEMA = pa.schema([("id", pa.string()), ("entities", pa.list_(ENTITY))])


def read_documents(source):
    """A file with the columns `id` and `text` to two lists."""
    table = pq.read_table(source, columns=["id", "text"])
    return table["id"].to_pylist(), table["text"].to_pylist()


def write_entities(target, ids, entities):
    """Writes a row per document, with a list of {start, end, label}, into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids, "entities": entities}, schema=SCHEMA), target / "entities.parquet")


def read_entities(folder):
    """What a contender wrote, ours included: the set of (start, end, label) by id."""
    table = ds.dataset(sorted(map(str, folder.rglob("*.parquet"))), format="parquet").to_table(["id", "entities"])
    rows = zip(table["id"].to_pylist(), table["entities"].to_pylist(), strict=True)
    return {id_: {(each["start"], each["end"], each["label"]) for each in entities} for id_, entities in rows}


def load_model(model, dtype="float32"):
    """transformers' tokenizer and model as every tutorial loads them."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    return tokenizer, transformers.AutoModelForTokenClassification.from_pretrained(model, dtype=dtype).eval()


def count_readable(tokenizer, max_length=None):
    """The most tokens of a document that are read when it is truncated, special tokens not counted."""
    return (max_length or tokenizer.model_max_length) - tokenizer.num_special_tokens_to_add()


def tag_batch(texts, tokenizer, model, **padding):
    """Texts to lists of entities in one truncated and padded batch."""
    import torch

    inputs = tokenizer(texts, truncation=True, return_offsets_mapping=True, return_tensors="pt", **padding)
    offsets = inputs.pop("offset_mapping").tolist()
    with torch.inference_mode():
        predicted = model(**inputs).logits.argmax(-1).tolist()
    return [group_tags(map(model.config.id2label.get, row), at) for row, at in zip(predicted, offsets, strict=True)]


def group_tags(tags, offsets):
    """BIO tags and character offsets of tokens to entities; special tokens and padding have empty offsets.

    >>> group_tags(["O", "B-PER", "I-PER", "O"], [(0, 0), (0, 4), (5, 9), (0, 0)])
    [{'start': 0, 'end': 9, 'label': 'PER'}]
    """
    entities = []
    previous = "O"
    for tag, (start, end) in zip(tags, offsets, strict=True):
        if start == end:
            continue
        label = tag[2:]
        if tag.startswith("I-") and previous[2:] == label:
            entities[-1]["end"] = end
        elif tag != "O":
            entities.append({"start": start, "end": end, "label": label})
        previous = tag
    return entities
