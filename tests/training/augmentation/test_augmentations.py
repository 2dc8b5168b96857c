"""What holds of every augmentation that draws copies, on sentences of any shape."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from schemas.errors import ConfigError
from schemas.specs import parse_spec
from tests.training.augmentation.recipes import ANNA, OTTO, RIVER, SENTENCES, make_material, surfaces
from tests.training.recipes import make_tokenizer
from training.augmentation.augmentations import (
    AUGMENTATIONS,
    Augmenter,
    check_augmentations,
    describe_augmentations,
    render_augmentation,
)
from training.augmentation.copies import CopiesConfig
from training.examples import split_sentences

SPECS = {
    "mention-swap": "mention-swap:rate=0.8",
    "token-swap": "token-swap",
    "synonyms": "synonyms:rate=0.7,file={synonyms}",
    "casing": "casing",
    "typos": "typos:rate=0.4",
    "token-masking": "token-masking:rate=0.4",
    "concatenation": "concatenation",
}
CORPORA = st.lists(SENTENCES, min_size=1, max_size=6)
MANY = [ANNA, OTTO, RIVER] * 8


@pytest.fixture(scope="session")
def synonyms(tmp_path_factory):
    path = tmp_path_factory.mktemp("synonyms") / "synonyms.tsv"
    path.write_text("went\tran\tdrove off\nsaw\tspotted\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(params=SPECS, scope="session")
def name(request):
    return request.param


@pytest.fixture(scope="session")
def build(synonyms):
    """A function from a name and more options to the options of an augmentation."""

    def build(name, **more):
        spec = SPECS[name].format(synonyms=synonyms)
        for option, value in more.items():
            spec += ("," if ":" in spec else ":") + f"{option}={value}"
        return parse_spec(spec, {key: row.config for key, row in AUGMENTATIONS.items()}, flag="--augment")[1]

    return build


def _draw(name, config, sentences, epoch=0, **more):
    return AUGMENTATIONS[name].prepare(config, make_material(sentences, **more)).draw(epoch)


def _check(sentence):
    assert all(word.split() == [word] for word in sentence.words)
    assert all(0 <= first < last <= len(sentence.words) for first, last, _ in sentence.spans)
    assert all(last <= first for (_, last, _), (first, _, _) in pairwise(sentence.spans))
    assert len(sentence.tags) == len(sentence.words)


def test_every_augmentation_is_tested_here_or_in_a_file_of_its_own():
    assert set(AUGMENTATIONS) == {*SPECS, "back-translation"}


@given(sentences=CORPORA, seed=st.integers(0, 3), epoch=st.integers(0, 3))
def test_copies_are_sound_sentences(name, build, tokenizer, sentences, seed, epoch):
    for share in (1, 2.5):
        copies = _draw(name, build(name, share=share), sentences, epoch, seed=seed, tokenizer=tokenizer)
        assert len(copies) <= round(share * len(sentences))
        for copy in copies:
            _check(copy)


@given(sentences=CORPORA)
def test_copies_are_sound_once_split_into_words_of_the_tokenizer(name, build, tokenizer, sentences):
    material = make_material(sentences, tokenizer=tokenizer)
    copies = Augmenter({name: build(name, share=1)}, material).draw(0)
    for copy in copies:
        _check(copy)
    assert list(split_sentences(copies, material.splitter)) == copies


@given(sentence=SENTENCES)
def test_a_copy_of_one_sentence_has_its_labels(name, build, tokenizer, sentence):
    for copy in _draw(name, build(name, share=1), [sentence], tokenizer=tokenizer):
        labels = [label for _, _, label in copy.spans]
        own = [label for _, _, label in sentence.spans]
        n_times = len(copy.words) // len(sentence.words) if name == "concatenation" else 1
        assert labels == own * n_times


@given(sentence=SENTENCES)
def test_mentions_keep_their_words_where_only_the_others_change(build, tokenizer, sentence):
    for name in ("synonyms", "token-masking"):
        for copy in _draw(name, build(name, share=1), [sentence], tokenizer=tokenizer):
            assert surfaces(copy) == surfaces(sentence)


@given(sentences=CORPORA, epoch=st.integers(0, 5))
def test_copies_follow_from_seed_and_pass_alone(name, build, tokenizer, sentences, epoch):
    config = build(name, share=1)
    copies = AUGMENTATIONS[name].prepare(config, make_material(sentences, tokenizer=tokenizer))
    for other in range(3):
        copies.draw(other)
    assert copies.draw(epoch) == _draw(name, config, sentences, epoch, tokenizer=tokenizer)


@given(sentences=CORPORA)
@settings(max_examples=20)
def test_a_share_of_nothing_adds_nothing(name, build, tokenizer, sentences):
    assert _draw(name, build(name, share=0), sentences, tokenizer=tokenizer) == []


def test_passes_and_seeds_differ(name, build):
    config = build(name, share=0.5)
    first = _draw(name, config, MANY)
    assert first != _draw(name, config, MANY, 1)
    assert first != _draw(name, config, MANY, seed=1)


@pytest.mark.parametrize(("share", "n_copies"), [(0.25, 6), (0.5, 12), (1, 24), (2.5, 60)])
def test_the_share_tells_how_many_copies_are_added(build, share, n_copies):
    assert len(_draw("concatenation", build("concatenation", share=share), MANY)) == n_copies


def test_sentences_that_cannot_be_changed_leave_their_turn_to_others():
    config = AUGMENTATIONS["mention-swap"].config(share=0.5, rate=1)
    copies = _draw("mention-swap", config, MANY)
    assert len(copies) == 12
    assert all(copy.spans for copy in copies)


def test_each_augmentation_works_on_the_original_sentences_and_all_are_added(build):
    configs = {name: build(name, share=0.5) for name in ("typos", "concatenation")}
    augmenter = Augmenter(configs, make_material(MANY))
    apart = [Augmenter({name: config}, make_material(MANY)).draw(3) for name, config in configs.items()]
    assert augmenter.draw(3) == [copy for copies in apart for copy in copies]


def test_describe_counts_what_a_pass_adds_also_for_passes_made_before(build):
    configs = {name: build(name, share=0.5) for name in ("typos", "concatenation")}
    whole, resumed = (Augmenter(configs, make_material(MANY)) for _ in range(2))
    n_typos = [len(_draw("typos", configs["typos"], MANY, epoch)) for epoch in range(3)]
    for epoch in range(3):
        whole.draw(epoch)
    resumed.draw(2)
    assert whole.describe(3) == resumed.describe(3)
    assert whole.describe(3) == {"typos": {"per_pass": sum(n_typos) / 3}, "concatenation": {"per_pass": 12.0}}


def test_copies_are_split_as_the_tokenizer_splits_texts(tmp_path):
    path = tmp_path / "hyphens.tsv"
    path.write_text("went\twell-nigh ran\n", encoding="utf-8")
    config = AUGMENTATIONS["synonyms"].config(share=1, rate=1, file=str(path))
    (copy,) = Augmenter({"synonyms": config}, make_material([ANNA])).draw(0)
    assert copy.words == ("Anna", "well", "-", "nigh", "ran", "to", "Rome", ".")
    assert surfaces(copy) == surfaces(ANNA)


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_a_share_is_a_number_of_at_least_0(share):
    with pytest.raises(ConfigError, match="share of --augment of at least 0"):
        CopiesConfig(share=share)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("typos:rate=2", "expected rate of --augment typos between 0 and 1, found 2.0"),
        ("typos:kinds=swap+jump", "expected kinds of --augment typos of neighbour.swap.drop.double, found 'swap.jump'"),
        ("casing:kinds=", "expected kinds of --augment casing of lower.upper.title, found ''"),
        ("casing:words=some", "expected words of --augment casing to be one of .'all', 'mentions'., found 'some'"),
        ("mention-swap:rate=-1", "expected rate of --augment mention-swap between 0 and 1"),
        ("token-swap:rate=nan", "expected rate of --augment token-swap between 0 and 1"),
        ("token-masking:rate=1.5", "expected rate of --augment token-masking between 0 and 1"),
        ("token-masking:mentions=yes", "expected true or false for option mentions of --augment token-masking"),
        ("concatenation:max-words=1", "expected max_words of --augment concatenation of at least 2, found 1"),
        ("concatenation:max-sentences=1", "expected max_sentences of --augment concatenation of at least 2, found 1"),
        ("synonyms", "expected file=PATH in --augment synonyms, found none"),
        ("synonyms:file=a.tsv,rate=3", "expected rate of --augment synonyms between 0 and 1"),
        ("back-translation", "expected forward=DIR in --augment back-translation, found none"),
        ("back-translation:forward=a", "expected backward=DIR in --augment back-translation, found none"),
        ("back-translation:share=1.5", "expected share of --augment back-translation of at most 1, found 1.5"),
        ("back-translation:beams=0", "expected beams of --augment back-translation above 0, found 0"),
    ],
)
def test_options_out_of_range_are_refused(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_spec(spec, {name: row.config for name, row in AUGMENTATIONS.items()}, flag="--augment")


def test_describe_augmentations_tells_files_by_their_content(build, synonyms, tmp_path):
    copy = tmp_path / "copy.tsv"
    copy.write_bytes(synonyms.read_bytes())
    config = AUGMENTATIONS["synonyms"].config
    same = describe_augmentations({"synonyms": config(file=str(copy))})
    assert describe_augmentations({"synonyms": config(file=str(synonyms))}) == same
    copy.write_text("went\tflew\n", encoding="utf-8")
    assert describe_augmentations({"synonyms": config(file=str(copy))}) != same


def test_render_augmentation_hides_the_way_to_a_file():
    config = AUGMENTATIONS["synonyms"].config
    shown = render_augmentation("synonyms", config(file="/somebody/secret/data/words.tsv", rate=0.5))
    assert shown == "synonyms:file=data/words.tsv,rate=0.5"
    assert render_augmentation("synonyms", config(file="words.tsv")) == "synonyms:file=words.tsv"


def test_check_augmentations_wants_a_token_to_hide_words_behind(build):
    tokenizer = make_tokenizer()
    config = build("token-masking")
    check_augmentations({"token-masking": config}, tokenizer)
    tokenizer.mask_token = tokenizer.unk_token = None
    with pytest.raises(ConfigError, match="expected a mask or unknown token"):
        check_augmentations({"token-masking": config}, tokenizer)


@pytest.mark.parametrize("marks", [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=True)])
def test_a_masked_word_stays_one_word_and_one_piece(marks):
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = marks
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    config = AUGMENTATIONS["token-masking"].config(share=1, rate=1, mentions=True)
    (copy,) = Augmenter({"token-masking": config}, make_material([ANNA], tokenizer=tokenizer)).draw(0)
    assert copy.words == ("[MASK]",) * 5
    assert copy.spans == ANNA.spans
    encoded = tokenizer(list(copy.words), is_split_into_words=True)["input_ids"]
    assert encoded[1:-1] == [tokenizer.mask_token_id] * 5
