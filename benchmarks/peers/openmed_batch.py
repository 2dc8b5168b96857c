"""OpenMed's batch processor as it comes, with our model: it splits documents into sentences and tags those."""

from benchmarks.peers.documents import read_documents, write_entities


def run(source, target, model):
    """Annotates a file."""
    from openmed import BatchProcessor

    ids, texts = read_documents(source)
    batch = BatchProcessor(model_name=str(model)).process_texts(texts, ids)
    if batch.failed_items:
        raise RuntimeError(f"expected every document to be processed, found {batch.failed_items} that failed")
    spans = [
        [{"start": each.start, "end": each.end, "label": each.label} for each in item.result.entities]
        for item in batch.items
    ]
    write_entities(target, ids, spans)
    return {"most_tokens": None}
