"""A plain Beam pipeline: ReadFromParquet, RunInference around transformers' pipeline, WriteToParquet, one worker.

The handler does what Beam's HuggingFacePipelineModelHandler does, whose module cannot be imported without TensorFlow.
It is handed whole rows, so that ids stay with their texts.
"""

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference

from benchmarks.peers.documents import SCHEMA, count_readable, load_model


class PipelineHandler(ModelHandler):
    """Rows with a text in, rows with entities out."""

    def __init__(self, model):
        super().__init__()
        self._model = model

    def load_model(self):
        import transformers

        tokenizer, network = load_model(self._model)
        return transformers.pipeline("token-classification", model=network, tokenizer=tokenizer, device="cpu")

    def run_inference(self, batch, model, inference_args=None):  # noqa: ARG002 - Beam's signature
        found = model([row["text"] for row in batch], aggregation_strategy="first")
        for row, entities in zip(batch, found, strict=True):
            spans = [{"start": each["start"], "end": each["end"], "label": each["entity_group"]} for each in entities]
            yield {"id": row["id"], "entities": spans}


def run(source, target, model):
    """Annotates a file."""
    import transformers

    target.mkdir(parents=True)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        (
            pipeline
            | beam.io.ReadFromParquet(str(source), columns=["id", "text"])
            | RunInference(PipelineHandler(model))
            | beam.io.WriteToParquet(str(target / "entities"), SCHEMA, file_name_suffix=".parquet")
        )
    return {"most_tokens": count_readable(transformers.AutoTokenizer.from_pretrained(model))}
