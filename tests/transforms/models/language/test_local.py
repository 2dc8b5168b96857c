import dataclasses
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import transformers

from schemas.errors import CheckpointError, ConfigError, ModelError, RecordError
from schemas.prompts import Answer, Grammar
from tests.transforms.models.language.models import SENTENCES, ask, make_llama, make_tokenizer
from transforms.models.backends import BackendConfig
from transforms.models.language.language_checkpoint import find_language_checkpoint
from transforms.models.language.local import LocalModel, find_language_model

PROMPTS = [
    ask("Anna lives in Berlin"),
    ask("x", most=3),
    ask("Otto went to Rome , Mia to Oslo and nobody to Lima .", most=20),
    ask("Anna", system="Say something else altogether , and nothing about people or places"),
    ask("Mia", most=7),
]
SCHEMA = {
    "type": "object",
    "properties": {"PER": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2}},
    "required": ["PER"],
    "additionalProperties": False,
}


def load(folder, *, batch_tokens=8192, **options):
    return LocalModel(find_language_checkpoint(str(folder)), BackendConfig(), batch_tokens=batch_tokens, **options)


def forward_passes(model, monkeypatch, refuse=None):
    """Shapes (rows, computed tokens, tokens with what was kept) of the passes of a model, which may refuse some."""
    shapes, forward = [], model._model.forward

    def record(*args, **inputs):
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        shapes.append((*ids.shape, mask.shape[1]))
        if refuse:
            refuse(ids)
        return forward(*args, **inputs)

    monkeypatch.setattr(model._model, "forward", record)
    return shapes


def assert_same(found, expected):
    assert [answer.text for answer in found] == [answer.text for answer in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
        assert one.is_cut == other.is_cut


def generate(folder, prompt):
    """What transformers itself makes of one prompt: text and log-probabilities."""
    auto = transformers.AutoModelForCausalLM
    if "T5" in json.loads((folder / "config.json").read_text())["architectures"][0]:
        auto = transformers.AutoModelForSeq2SeqLM
    model, tokenizer = auto.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template:
        turns = [{"role": message.role, "content": message.content} for message in prompt.messages]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    else:
        text = "\n\n".join(message.content for message in prompt.messages)
    ids = tokenizer(text, return_tensors="pt").input_ids
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=prompt.max_answer_tokens,
        do_sample=False,
        eos_token_id=[0, 1] if tokenizer.chat_template else 0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    tokens = output.sequences[0, -len(output.scores) :]
    log_probs = [scores[0].log_softmax(-1)[token].item() for scores, token in zip(output.scores, tokens, strict=True)]
    if tokens[-1] in (0, 1):
        log_probs.pop()
    return tokenizer.decode(tokens, skip_special_tokens=True), log_probs


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_answers_are_those_of_generate(kind, request):
    folder = request.getfixturevalue(kind)

    answers = load(folder).answer(PROMPTS)

    for prompt, answer in zip(PROMPTS, answers, strict=True):
        text, log_probs = generate(folder, prompt)
        assert answer.text == "".join(answer.pieces) == text
        assert answer.log_probs == pytest.approx(log_probs, abs=1e-4)
        assert len(answer.pieces) == len(answer.log_probs) == answer.answer_tokens <= prompt.max_answer_tokens


def test_a_shared_beginning_changes_no_answer(llama):
    plain = load(llama, shares_prefixes=False).answer(PROMPTS)
    model = load(llama)

    assert_same(model.answer(PROMPTS), plain)
    assert_same(model.answer(PROMPTS[::-1]), plain[::-1])
    assert_same([model.answer([prompt])[0] for prompt in PROMPTS], plain)


def test_a_shared_beginning_is_computed_once_and_kept_between_calls(llama, monkeypatch):
    model = load(llama)
    shapes = forward_passes(model, monkeypatch)
    alike = [PROMPTS[at] for at in (0, 1, 2, 4)]

    first, again = model.answer(alike), model.answer(alike)

    n_shared = first[0].cached_tokens or first[1].cached_tokens
    assert n_shared == 19
    assert sorted(answer.cached_tokens for answer in first) == [0, n_shared, n_shared, n_shared]
    assert [answer.cached_tokens for answer in again] == [n_shared] * 4
    assert [shape for shape in shapes if shape[1] == n_shared] == [(1, n_shared, n_shared)]


def test_a_single_prompt_finds_what_the_one_before_began_with(llama):
    model = load(llama)

    cached = [model.answer([prompt])[0].cached_tokens for prompt in (PROMPTS[0], PROMPTS[1], PROMPTS[3], PROMPTS[2])]

    # The second one computes the beginning apart, and those after it find it.
    assert cached[:3] == [0, 0, 0]
    assert cached[3] > 16


def test_batches_keep_to_their_budget_with_padding_and_answers(llama, monkeypatch):
    model = load(llama, batch_tokens=110, shares_prefixes=False)
    shapes = forward_passes(model, monkeypatch)

    assert_same(model.answer(PROMPTS), load(llama).answer(PROMPTS))

    assert max(rows * total for rows, _, total in shapes) <= 110
    assert max(rows for rows, _, _ in shapes) > 1


def test_a_row_that_has_ended_leaves_the_batch(llama, monkeypatch):
    model = load(llama)
    shapes = forward_passes(model, monkeypatch)

    model.answer([ask("Anna", most=2), ask("Berlin", most=9), ask("Rome", most=5)])

    assert [rows for rows, computed, _ in shapes if computed == 1] == [3, 2, 2, 2, 1, 1, 1, 1]


def test_memory_that_runs_out_halves_the_batch(llama, monkeypatch):
    model = load(llama)
    expected = model.answer(PROMPTS)

    def refuse(ids):
        if len(ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    shapes = forward_passes(model, monkeypatch, refuse)

    assert_same(model.answer(PROMPTS), expected)
    n_failed = sum(rows > 1 for rows, _, _ in shapes)
    model.answer(PROMPTS)
    # It is remembered.
    assert sum(rows > 1 for rows, _, _ in shapes) == n_failed > 0


def test_a_prompt_that_fails_or_is_too_large_costs_its_neighbours_nothing(llama, monkeypatch):
    model = load(llama)
    poison = {tuple(model._tokenizer.encode(PROMPTS[at].messages)[-5:]): at for at in (0, 3)}

    def refuse(ids):
        for row in ids.tolist():
            if tuple(row[-5:]) in poison:
                raise torch.OutOfMemoryError("") if poison[tuple(row[-5:])] else RuntimeError("Anna lives in Berlin")

    forward_passes(model, monkeypatch, refuse)
    answers = model.answer(PROMPTS)

    assert [(type(answer), getattr(answer, "code", "")) for answer in answers] == [
        (RecordError, "inference_failed"),
        (Answer, ""),
        (Answer, ""),
        (RecordError, "too_large"),
        (Answer, ""),
    ]
    assert "Anna" not in answers[0].message
    assert_same([answers[at] for at in (1, 2, 4)], load(llama).answer([PROMPTS[at] for at in (1, 2, 4)]))


def test_a_beginning_that_the_memory_has_no_room_for_is_not_shared(llama, monkeypatch):
    model = load(llama)
    expected = load(llama, shares_prefixes=False).answer(PROMPTS)

    def refuse(ids):
        if ids.shape == (1, 19):
            raise torch.OutOfMemoryError("CUDA out of memory")

    forward_passes(model, monkeypatch, refuse)

    assert_same(model.answer(PROMPTS), expected)


def test_a_prompt_that_leaves_no_room_for_its_answer_fails_alone(llama):
    model = load(llama)
    long = ask("Anna lives in Berlin . " * 60)

    first, second = model.answer([long, PROMPTS[0]])

    assert (type(first), first.code) == (RecordError, "too_long")
    assert re.match(r"expected a prompt of 1 to 244 tokens before its answer, found \d+", first.message)
    assert isinstance(second, Answer)
    assert model.count_tokens(long.messages) > model.max_tokens == 256


def test_the_longest_prompt_that_fits_is_answered(llama):
    model = load(llama)
    room = model.max_tokens - 12

    text = "x" * (room - model.count_tokens(ask("").messages))

    assert isinstance(model.answer([ask(text)])[0], Answer)
    assert isinstance(model.answer([ask(text + "y")])[0], RecordError)


def test_an_answer_ends_where_the_generation_config_says(llama, tmp_path):
    (before,) = load(llama).answer([PROMPTS[0]])
    folder = make_llama(tmp_path / "model")
    tokenizer = make_tokenizer()
    third = tokenizer.backend_tokenizer.encode(before.pieces[2]).ids
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [0, *third]}))

    (answer,) = load(folder).answer([PROMPTS[0]])

    assert len(third) == 1
    assert answer.pieces == before.pieces[:2]
    assert before.is_cut
    assert not answer.is_cut


def test_an_answer_with_a_schema_parses_unless_it_is_cut(llama, t5):
    grammar = Grammar("json_schema", json.dumps(SCHEMA))
    prompts = [ask(text, most=most, grammar=grammar) for text in SENTENCES for most in (3, 40)]

    for folder in (llama, t5):
        answers = load(folder).answer(prompts)

        assert [answer.is_cut for answer in answers] == [True, False] * len(SENTENCES)
        assert all(set(json.loads(answer.text)) == {"PER"} for answer in answers if not answer.is_cut)


def test_an_answer_keeps_to_its_own_grammar_among_neighbours_without(llama):
    grammar = Grammar("gbnf", 'root ::= "<PER>"? "Anna" "</PER>"? " lives" end\nend ::= " here" | " there"')
    model = load(llama)

    free, held, other = model.answer([PROMPTS[0], ask("Anna lives", grammar=grammar), PROMPTS[2]])

    assert re.fullmatch(r"(<PER>)?Anna(</PER>)? lives (here|there)", held.text)
    assert not held.is_cut
    assert_same([free, other], load(llama).answer([PROMPTS[0], PROMPTS[2]]))


def test_what_a_grammar_leaves_no_choice_about_is_certain(llama):
    (answer,) = load(llama).answer([ask("Anna", grammar=Grammar("gbnf", 'root ::= "Anna lives" [xyz]'))])

    *forced, chosen = answer.log_probs
    assert forced == [0.0] * len(forced)
    assert chosen < 0


def test_a_grammar_that_cannot_be_read_fails_its_prompt_alone(llama):
    bad, good = load(llama).answer([ask("Anna", grammar=Grammar("gbnf", "root")), PROMPTS[0]])

    assert (type(bad), bad.code) == (RecordError, "grammar")
    assert isinstance(good, Answer)


def test_without_the_library_a_grammar_is_an_error_that_says_what_to_install(llama, monkeypatch):
    monkeypatch.setitem(sys.modules, "llguidance", None)

    with pytest.raises(ConfigError, match=r"pip install 'spanmill\[prompt\]'"):
        load(llama).answer([ask("Anna", grammar=Grammar("gbnf", 'root ::= "a"'))])


def test_damaged_weights_stop_the_run(llama):
    model = load(llama)
    with torch.no_grad():
        model._model.lm_head.weight[3] = torch.nan

    with pytest.raises(ModelError, match="found NaN or infinity"):
        model.answer(PROMPTS)


def test_layers_that_look_back_only_so_far_answer_as_they_would_alone(tmp_path):
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    config = transformers.MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        sliding_window=8,
        initializer_range=0.3,
        eos_token_id=0,
    )
    transformers.MistralForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    answers = load(tmp_path).answer(PROMPTS[:3])

    for prompt, answer in zip(PROMPTS[:3], answers, strict=True):
        assert (answer.text, answer.cached_tokens) == (generate(tmp_path, prompt)[0], 0)


def test_threads_share_a_model(llama):
    model = load(llama)
    expected = model.answer(PROMPTS)

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda at: model.answer([PROMPTS[at % 5]])[0], range(20)))

    assert_same(answers, [expected[at % 5] for at in range(20)])


def test_each_outcome_is_told_once_and_as_soon_as_it_is_known(llama):
    model, told = load(llama, batch_tokens=110), []
    prompts = [*PROMPTS, ask("Anna " * 300)]

    outcomes = model.answer(prompts, on_answer=lambda at, outcome: told.append((at, outcome)))

    assert sorted(at for at, _ in told) == list(range(6))
    assert all(outcome is outcomes[at] for at, outcome in told)
    assert told[0][0] == 5


def test_a_run_that_is_stopped_has_told_what_it_knew(llama):
    model, told = load(llama, batch_tokens=60), []

    def stop(at, outcome):
        told.append(at)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.answer(PROMPTS, on_answer=stop)

    assert len(told) == 1
    assert isinstance(model.answer([PROMPTS[0]])[0], Answer)


def test_no_prompts_have_no_answers(llama):
    assert load(llama).answer([]) == []


def test_a_config_loads_the_model_that_it_was_made_for(llama):
    config = find_language_model(str(llama), batch_tokens=100)

    assert config.max_tokens == config.load().max_tokens == 256
    assert_same(config.load().answer(PROMPTS), load(llama).answer(PROMPTS))
    assert config.describe() == {"kind": "local", "model": config.content, "precision": "fp32", "max_tokens": 256}


def test_a_config_refuses_a_model_that_has_changed(tmp_path):
    folder = make_llama(tmp_path / "model")
    config = find_language_model(str(folder))
    make_llama(folder, seed=1)

    with pytest.raises(CheckpointError, match="it changed since the run was planned"):
        config.load()


def test_the_digest_tells_of_content_and_precision_and_not_of_batches(llama):
    config = find_language_model(str(llama))
    coarse = dataclasses.replace(config, backend=BackendConfig(precision="bf16"))

    assert dataclasses.replace(config, batch_tokens=7).digest == config.digest
    assert coarse.digest != config.digest != dataclasses.replace(config, content="").digest


def test_a_coarser_precision_answers_too(llama):
    model = find_language_model(str(llama), backend=BackendConfig(precision="bf16")).load()

    assert all(isinstance(answer, Answer) for answer in model.answer(PROMPTS))


def test_another_backend_than_torch_is_refused(llama):
    with pytest.raises(ConfigError, match="expected backend torch for a language model, found 'onnx'"):
        find_language_model(str(llama), backend=BackendConfig(backend="onnx"))
