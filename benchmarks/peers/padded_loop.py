"""The loop of textbooks: batches in the order of the file, each padded to one fixed length and truncated there."""

from benchmarks.peers.documents import count_readable, load_model, read_documents, tag_batch, write_entities

BATCH_SIZE = 16


def run(source, target, model, *, max_length):
    """Annotates a file."""
    tokenizer, network = load_model(model)
    ids, texts = read_documents(source)
    entities = []
    for first in range(0, len(texts), BATCH_SIZE):
        batch = texts[first : first + BATCH_SIZE]
        entities += tag_batch(batch, tokenizer, network, padding="max_length", max_length=max_length)
    write_entities(target, ids, entities)
    return {"most_tokens": count_readable(tokenizer, max_length)}
