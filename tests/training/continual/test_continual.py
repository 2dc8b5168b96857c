import dataclasses
import shutil

import pytest
from transformers import AutoTokenizer

from schemas.errors import ConfigError
from tests.training.continual.pasts import KNOWN, NEW, OLD, make_step, move_all
from training.continual.continual import Continual, Sources, check_continual, parse_continual, read_labels
from training.continual.fisher import measure_base, save_fisher
from training.encoders import open_encoder


def _sources(champion, **changes):
    encoder = open_encoder(str(champion))
    return dataclasses.replace(Sources(champion, encoder, encoder, "full", has_old=False), **changes)


def test_ways_add_up(past):
    specs = ["replay:share=0.5", "l2", "ewc", "distillation"]
    together = Continual(parse_continual(specs), past)
    alone = [Continual(parse_continual([spec]), past) for spec in specs]
    move_all(past.model, 0.02)
    step = make_step(past)
    terms = [sum(term(step).item() for term in one.terms) for one in alone]
    assert [term > 0 for term in terms] == [False, True, True, True]
    assert sum(term(step).item() for term in together.terms) == pytest.approx(sum(terms))
    assert together.draw(0) == alone[0].draw(0)
    assert set(together.draw(0)) <= set(OLD)
    assert together.relabel(NEW) == alone[3].relabel(NEW)


def test_no_way_adds_nothing(past):
    nothing = Continual({}, past)
    assert nothing.terms == nothing.draw(0) == []
    assert nothing.relabel(NEW) == list(NEW)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (
            "replay",
            {},
            "expected old sentences for --continual replay, found none; give --old files, or train the base",
        ),
        ("ewc", {}, "expected Fisher information for --continual ewc, found none; give --old files, or train the base"),
        ("l2", {"method": "lora"}, "expected --method full|frozen|bitfit with --continual l2"),
        ("ewc", {"method": "adapter", "has_old": True}, "expected --method full|frozen|bitfit with --continual ewc"),
    ],
)
def test_a_way_that_lacks_what_it_needs_is_refused(champion, spec, changes, message):
    with pytest.raises(ConfigError) as error:
        check_continual(parse_continual([spec]), _sources(champion, **changes))
    assert message in str(error.value)


def test_old_files_or_a_memory_are_enough(champion, past, tmp_path):
    check_continual(parse_continual(["replay", "ewc", "l2", "distillation"]), _sources(champion, has_old=True))
    shutil.copytree(champion, tmp_path, dirs_exist_ok=True)
    save_fisher(measure_base(past, 1), KNOWN.tags, tmp_path)
    check_continual(parse_continual(["ewc"]), _sources(tmp_path))


def test_a_teacher_reads_the_same_pieces(champion, tmp_path):
    shutil.copytree(champion, tmp_path, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(champion)
    tokenizer.add_tokens(["wien"])
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="expected a --teacher with the tokenizer of --base 'champion'"):
        check_continual(parse_continual(["distillation"]), _sources(champion, teacher=open_encoder(str(tmp_path))))


def test_labels_are_those_of_a_bio_tagger(base, champion):
    assert read_labels(open_encoder(str(champion)), flag="--base") == ("location",)
    with pytest.raises(ConfigError, match="expected a tagger as --base, found 'tiny', which has no labels yet"):
        read_labels(open_encoder(str(base)), flag="--base")
    encoder = open_encoder(str(champion))
    encoder.config.id2label = {0: "O", 1: "S-location"}
    with pytest.raises(ConfigError, match="expected a tagger with BIO tags as --teacher, found"):
        read_labels(encoder, flag="--teacher")


def test_an_unknown_way_names_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'replay'\?"):
        parse_continual(["replai"])
