"""`datasets.map` over batches of 32, padded to the longest of each and truncated at the model's limit."""

from benchmarks.peers.documents import count_readable, load_model, tag_batch

BATCH_SIZE = 32


def run(source, target, model):
    """Annotates a file."""
    import datasets

    datasets.disable_progress_bars()
    tokenizer, network = load_model(model)
    # A cache of its own, for a map that was run before would be answered from disk.
    rows = datasets.load_dataset("parquet", data_files=str(source), split="train", cache_dir=str(target / "cache"))
    tagged = rows.map(
        lambda batch: {"entities": tag_batch(batch["text"], tokenizer, network, padding=True)},
        batched=True,
        batch_size=BATCH_SIZE,
    )
    tagged.select_columns(["id", "entities"]).to_parquet(str(target / "entities.parquet"))
    return {"most_tokens": count_readable(tokenizer)}
