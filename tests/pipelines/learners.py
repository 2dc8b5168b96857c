"""Sentences that a tiny tagger learns by heart, such taggers, and gates that tell who has forgotten what."""

import torch

from tests.training.recipes import PEOPLE, PLACES, TAG_SET, make_config, make_tokenizer

GATES = """
[sets]
old = "{old}"
new = {{ gold = ["{new}"], format = "conll" }}

[retain]
max_label_loss = 1.0
min_support = 20

[improve]
set = "new"
min_gain = 0.5
"""


def make_sentences(names, label, n=30):
    """Sentences such as `anna saw the river .`, with their tags."""
    rest = (["saw", "the", "river", "."], ["went", "to", "the", "river"])
    return [([names[at % len(names)], *rest[at % 2]], [f"B-{label}", "O", "O", "O", "O"]) for at in range(n)]


OLD, NEW = make_sentences(PEOPLE, "person"), make_sentences(PLACES, "location")


def write_conll(path, sentences):
    blocks = ["\n".join(f"{word} {tag}" for word, tag in zip(*sentence, strict=True)) for sentence in sentences]
    path.write_text("\n\n".join(blocks) + "\n")
    return path


def make_tagger(folder, sentences, seed=0):
    """A tagger that has learned some sentences by heart."""
    from transformers import AutoModelForTokenClassification

    torch.manual_seed(seed)
    config = make_config()
    config.id2label, config.label2id = dict(enumerate(TAG_SET.tags)), {tag: at for at, tag in enumerate(TAG_SET.tags)}
    model, tokenizer = AutoModelForTokenClassification.from_config(config), make_tokenizer()
    encoded = tokenizer([" ".join(words) for words, _ in sentences], return_tensors="pt")
    targets = torch.full(encoded["input_ids"].shape, -100)
    for at, (_, tags) in enumerate(sentences):
        targets[at, 1 : len(tags) + 1] = torch.tensor([TAG_SET.tags.index(tag) for tag in tags])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], labels=targets).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
