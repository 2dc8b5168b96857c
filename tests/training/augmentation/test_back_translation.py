import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from schemas.errors import CheckpointError, ConfigError
from tests.training.augmentation.recipes import (
    ANNA,
    OTTO,
    RIVER,
    SENTENCES,
    build_sentence,
    make_material,
    make_seq2seq,
    surfaces,
)
from tests.training.recipes import make_encoder, make_labelled_file, make_tokenizer
from training.augmentation.augmentations import describe_augmentations
from training.augmentation.back_translation import BackTranslationConfig, RoundTrip, check, paraphrase, prepare, realign
from training.examples import split_sentences
from transforms.text.tokens import ColumnTokenizer

PRESET = Path(__file__).parents[3] / "pipelines" / "presets" / "augment-back-translation.toml"
SPLITTER = ColumnTokenizer(make_tokenizer().backend_tokenizer.to_str())


class FakeTranslator:
    """Says texts as a function says, and remembers what it was asked."""

    def __init__(self, say):
        self._say = say
        self.batches = []

    def translate(self, texts):
        self.batches.append(list(texts))
        return [self._say(text) for text in texts]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seq2seq")
    return make_seq2seq(folder / "there"), make_seq2seq(folder / "back", seed=1)


def _config(folders, **options):
    return BackTranslationConfig(**{"forward": str(folders[0]), "backward": str(folders[1]), "share": 1.0} | options)


def _realign(sentence, text):
    return realign(sentence, text, SPLITTER)


def test_mentions_are_found_again_wherever_they_went():
    fate, new = _realign(ANNA, "to Rome Anna travelled.")
    assert fate == "kept"
    assert new.words == ("to", "Rome", "Anna", "travelled", ".")
    assert new.spans == ((1, 2, "LOC"), (2, 3, "PER"))


def test_a_mention_of_several_words_must_come_back_whole():
    assert _realign(OTTO, "the river Otto Braun saw")[1].spans == ((2, 4, "PER"),)
    assert _realign(OTTO, "Braun Otto saw the river") == ("mention_lost", None)


@pytest.mark.parametrize(
    "text",
    [
        "Anna went there",  # one is missing
        "anna went to Rome",  # another case is another word
        "Anna and Anna went to Rome",  # one came twice: which is it?
        "Rom Anna",
        "",
        "  ",
    ],
)
def test_a_sentence_whose_mentions_do_not_come_back_is_dropped(text):
    assert _realign(ANNA, text) == ("mention_lost", None)


def test_a_name_that_also_stands_outside_of_mentions_is_no_sure_ground():
    sentence = build_sentence((["Rome"], "LOC"), (["and", "Rome"], None))
    assert _realign(sentence, "Rome and also Rome") == ("mention_lost", None)
    assert _realign(sentence, "and so Rome") == ("mention_lost", None)


def test_the_same_name_twice_is_kept_if_both_have_one_label():
    both = build_sentence((["Rome"], "LOC"), (["or"], None), (["Rome"], "LOC"))
    assert _realign(both, "either Rome or Rome")[1].spans == ((1, 2, "LOC"), (3, 4, "LOC"))
    mixed = build_sentence((["Rome"], "LOC"), (["or"], None), (["Rome"], "PER"))
    assert _realign(mixed, "either Rome or Rome") == ("mention_lost", None)


def test_mentions_that_overlap_in_what_came_back_are_dropped():
    sentence = build_sentence((["New", "York"], "LOC"), (["and"], None), (["York", "Hall"], "LOC"))
    assert _realign(sentence, "to New York Hall") == ("mention_lost", None)


def test_what_came_back_as_it_was_adds_nothing():
    assert _realign(ANNA, "Anna went to Rome.") == ("unchanged", None)
    assert _realign(RIVER, " ") == ("unchanged", None)
    assert _realign(ANNA, None) == ("too_long", None)


@given(sentence=SENTENCES, seed=st.randoms(use_true_random=False))
def test_whatever_order_comes_back_kept_mentions_are_the_old_ones(sentence, seed):
    (sentence,) = split_sentences([sentence], SPLITTER)
    words = [*list(sentence.words), "und"]
    seed.shuffle(words)
    fate, new = _realign(sentence, " ".join(words))
    assert fate in {"kept", "mention_lost"}
    if new:
        assert Counter(surfaces(new)) == Counter(surfaces(sentence))
        assert all(last <= first for (_, last, _), (first, _, _) in zip(new.spans, new.spans[1:], strict=False))


@given(sentence=SENTENCES)
def test_a_translation_that_adds_words_around_keeps_all_that_can_be_told_apart(sentence):
    (sentence,) = split_sentences([sentence], SPLITTER)
    fate, new = _realign(sentence, "so " + " ".join(sentence.words))
    if fate == "kept":
        assert new.tags == ["O", *sentence.tags]
    else:
        # Only a name that also stands elsewhere is a reason.
        names = [words for words, _ in surfaces(sentence)]
        text = f" {' '.join(('so', *sentence.words))} "
        overlapping = sum(_count(text, f" {' '.join(words)} ") for words in set(names))
        labels = {words: {label for own, label in surfaces(sentence) if own == words} for words in names}
        assert overlapping != len(names) or any(len(own) > 1 for own in labels.values())


def _count(text, part):
    return sum(text.startswith(part, at) for at in range(len(text)))


def _paraphrase(translator, folders, work, sentences=(ANNA, OTTO, RIVER), **options):
    material = make_material(sentences, work=work)
    return paraphrase(lambda _config: translator, _config(folders, **options), material)


def test_paraphrase_counts_what_became_of_each_sentence(folders, tmp_path, caplog):
    answers = {
        " ".join(ANNA.words): "to Rome Anna travelled .",
        " ".join(OTTO.words): "the river was seen .",
        " ".join(RIVER.words): "there the river went .",
    }
    with caplog.at_level("INFO"):
        kept, counts = _paraphrase(FakeTranslator(answers.__getitem__), folders, tmp_path)
    assert sorted(one.words[0] for one in kept) == ["there", "to"]
    assert counts == {"translated": 3, "kept": 2, "mention_lost": 1, "unchanged": 0, "too_long": 0}
    assert "3 translated, 2 kept, 1 mention lost, 0 unchanged, 0 too long" in caplog.text


def test_paraphrase_translates_its_share(folders, tmp_path):
    translator = FakeTranslator(lambda text: "so " + text)
    kept, counts = _paraphrase(translator, folders, tmp_path, [ANNA, OTTO] * 10, share=0.25)
    assert counts["translated"] == len(kept) == 5
    assert _paraphrase(translator, folders, tmp_path, [ANNA, OTTO] * 10, share=0.0)[0] == []


def test_paraphrase_goes_on_where_it_was_killed(folders, tmp_path):
    sentences = [build_sentence(([f"w{at}", "went"], None)) for at in range(10)]

    def die_late(text):
        if len(dying.batches) == 3:
            raise KeyboardInterrupt
        return "so " + text

    dying = FakeTranslator(die_late)
    with pytest.raises(KeyboardInterrupt):
        _paraphrase(dying, folders, tmp_path, sentences, batch_size=3)
    (path,) = tmp_path.glob("translations-*.jsonl")
    # The kill cut off what was written last.
    path.write_bytes(path.read_bytes()[:-7])
    second = FakeTranslator(lambda text: "so " + text)
    kept, _ = _paraphrase(second, folders, tmp_path, sentences, batch_size=3)
    assert second.batches == [dying.batches[1], dying.batches[2], second.batches[2]]
    third = FakeTranslator(lambda text: "never asked")
    assert _paraphrase(third, folders, tmp_path, sentences, batch_size=3)[0] == kept
    assert third.batches == []
    assert len(kept) == 10


def test_translations_of_other_models_or_options_are_not_taken(folders, tmp_path):
    first, second, third = (FakeTranslator(lambda text: "so " + text) for _ in range(3))
    _paraphrase(first, folders, tmp_path)
    _paraphrase(second, folders[::-1], tmp_path)
    _paraphrase(third, folders, tmp_path, beams=2)
    assert len(first.batches) == len(second.batches) == len(third.batches) == 1


def test_round_trip_runs_two_models_and_drops_what_is_too_long(folders):
    translator = RoundTrip(_config(folders, max_tokens=6))
    texts = ["the river went .", "river " * 40, "anna saw rome ."]
    first, none, last = translator.translate(texts)
    assert none is None
    assert first and last
    assert translator.translate(texts) == [first, none, last]
    assert translator.translate(["river " * 40]) == [None]


def test_round_trip_puts_the_prefix_before_each_text(folders):
    plain, prefixed = (RoundTrip(_config(folders, max_tokens=6, forward_prefix=p)) for p in ("", "saw rome"))
    assert prefixed.translate(["the river"]) == plain.translate(["saw rome the river"])


def test_a_translation_without_an_end_is_dropped(tmp_path, folders):
    endless = make_seq2seq(tmp_path / "endless")
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((endless / name).read_text())
        settings.pop("forced_eos_token_id", None)
        (endless / name).write_text(json.dumps(settings | {"suppress_tokens": [3]}))
    translator = RoundTrip(_config((endless, folders[1]), max_tokens=6))
    assert translator.translate(["the river went ."]) == [None]


def test_prepare_adds_the_same_sentences_in_every_pass(folders, tmp_path):
    copies = prepare(_config(folders, max_tokens=6), make_material([RIVER, OTTO], work=tmp_path))
    assert copies.draw(0) == copies.draw(7)
    assert copies.counts["translated"] == 2
    # A random model loses Otto, but says something of the river.
    assert [copy.spans for copy in copies.draw(0)] == [()]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "with config.json as forward of .* 'there', found none"),
        (lambda folder: (folder / "model.safetensors").unlink(), "weights in safetensors in forward of .*, found none"),
        (lambda folder: (folder / "config.json").write_text("{}"), "a sequence-to-sequence model as forward of"),
        (lambda folder: (folder / "config.json").write_text("["), "a sequence-to-sequence model as forward of"),
    ],
)
def test_check_refuses_what_is_no_translation_model(spoil, message, folders, tmp_path):
    folder = make_seq2seq(tmp_path / "there")
    check(_config((folder, folders[1])), None)
    spoil(folder)
    with pytest.raises(ConfigError, match=message):
        check(_config((folder, folders[1])), None)


def test_weights_that_do_not_load_are_named(folders, tmp_path):
    folder = make_seq2seq(tmp_path / "there")
    (folder / "config.json").write_text('{"is_encoder_decoder": true, "model_type": "unheard-of"}')
    with pytest.raises(CheckpointError, match="cannot open model 'there' of --augment back-translation"):
        RoundTrip(_config((folder, folders[1])))


def test_describe_augmentations_tells_models_by_their_content(folders):
    same, other = (describe_augmentations({"back-translation": _config(pair)}) for pair in (folders, folders[::-1]))
    assert same != other
    assert str(folders[0]) not in json.dumps(same)


def test_main_trains_with_translations_and_tells_how_many(folders, tmp_path, capsys):
    base = make_encoder(tmp_path / "base")
    train = make_labelled_file(tmp_path / "train.conll", n_sentences=12)
    # A random model says nothing of use for names; sentences without any are what it can add.
    with train.open("a") as file:
        file.write("\n" + "\n".join(f"the O\n{word} O\nriver O\n" for word in ("saw", "went", "to")))
    make_labelled_file(tmp_path / "dev.conll", n_sentences=5, shift=1)
    spec = f"back-translation:forward={folders[0]},backward={folders[1]},share=1,max-tokens=6"
    words = ["--train", str(train), "--dev", str(tmp_path / "dev.conll"), "--base", str(base), "--max-tokens", "32"]
    words += ["--config", str(PRESET), "--epochs", "1", "--batch-size", "8"]
    assert main(["train", *words, "--output", str(tmp_path / "out"), "--augment", spec, "typos"]) == 0
    card = CheckpointCard.from_json((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    added = card.options["augmentation"]
    assert added["back-translation"]["translated"] == 15
    assert added["back-translation"]["per_pass"] == added["back-translation"]["kept"] > 0
    assert sum(n for name, n in added["back-translation"].items() if name not in {"translated", "per_pass"}) == 15
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f"- back-translation: {added['back-translation']['per_pass']:.1f} (15 translated, " in readme
    assert "- typos: " in readme
    assert "forward=seq2seq0/there" in readme.replace(folders[0].parent.name, "seq2seq0")
    assert str(tmp_path) not in readme
