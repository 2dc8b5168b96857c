"""transformers' pipeline with words by their first token; its stride makes it read long documents to the end."""

from benchmarks.peers.documents import load_model, read_documents, write_entities

STRIDE = 64


def run(source, target, model, *, batch_size, dtype="float32"):
    """Annotates a file."""
    import transformers

    tokenizer, network = load_model(model, dtype)
    pipe = transformers.pipeline(
        "token-classification",
        model=network,
        tokenizer=tokenizer,
        aggregation_strategy="first",
        stride=STRIDE,
        device="cpu",
    )
    ids, texts = read_documents(source)
    found = pipe(texts, batch_size=batch_size)
    keys = {"start": "start", "end": "end", "label": "entity_group"}
    write_entities(target, ids, [[{key: each[its] for key, its in keys.items()} for each in row] for row in found])
    return {"most_tokens": None}
