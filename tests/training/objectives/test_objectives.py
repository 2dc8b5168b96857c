import dataclasses

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from schemas.errors import ConfigError, ModelError
from tests.training.recipes import make_encoder
from training.encoders import load_model, open_encoder
from training.examples import IGNORED, LabelledSentence, build_bio_tags, cut_windows
from training.objectives.attacks import Attack, measure, normalize, project
from training.objectives.focal import FocalConfig
from training.objectives.focal import build as build_focal
from training.objectives.freelb import draw_start
from training.objectives.objectives import OBJECTIVES, Objectives, parse_objectives
from training.objectives.rdrop import sum_divergences
from training.objectives.steps import Setting, Step
from training.scorer import build_collator, build_features

TAGS = build_bio_tags(["LOC", "PER"])
SETTING = Setting((6, 2, 1, 2, 1))
ADVERSARIES = [name for name, row in OBJECTIVES.items() if row.role == "adversary"]
SENTENCES = [
    LabelledSentence(("anna", "went", "to", "rome", "."), ((0, 1, "PER"), (3, 4, "LOC"))),
    LabelledSentence(("otto", "saw"), ((0, 1, "PER"),)),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return open_encoder(str(make_encoder(tmp_path_factory.mktemp("base") / "tiny")))


@pytest.fixture
def batch(encoder):
    windows = cut_windows(SENTENCES, TAGS, encoder.tokenizer, max_tokens=32)
    return dict(build_collator(encoder.tokenizer)(build_features(windows)))


def _load(encoder, dropout=0.0):
    return load_model(encoder, TAGS, dropout=dropout, seed=0).train()


def _take_step(model, batch, *specs):
    model.zero_grad()
    torch.manual_seed(7)
    n_targets = (batch["labels"] != IGNORED).sum()
    loss = Objectives(parse_objectives(specs), SETTING).take_step(model, batch, n_targets, lambda loss: loss.backward())
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def _loss(model, batch, *specs):
    """The loss without its gradient."""
    n_targets = (batch["labels"] != IGNORED).sum()
    return Objectives(parse_objectives(specs), SETTING).take_step(model, batch, n_targets, lambda loss: None)


def test_the_default_is_the_loss_of_transformers_to_the_last_bit(encoder, batch):
    model = _load(encoder, dropout=0.1)
    loss, gradients = _take_step(model, batch)
    model.zero_grad()
    torch.manual_seed(7)
    expected = model(**batch).loss
    expected.backward()
    assert torch.equal(loss, expected)
    for name, weights in model.named_parameters():
        assert torch.equal(gradients[name], weights.grad), name


@pytest.mark.parametrize("spec", ["cross-entropy:smoothing=0.1,weights=balanced", "focal:gamma=1.5", "rdrop", "pgd"])
def test_halves_of_a_batch_add_up_to_the_gradient_of_the_whole(encoder, batch, spec):
    model = _load(encoder)
    _, whole = _take_step(model, batch, spec)
    model.zero_grad()
    n_targets = (batch["labels"] != IGNORED).sum()
    objectives = Objectives(parse_objectives([spec]), SETTING)
    for half in ({key: value[at : at + 1] for key, value in batch.items()} for at in (0, 1)):
        objectives.take_step(model, half, n_targets, lambda loss: loss.backward())
    for name, weights in model.named_parameters():
        assert whole[name] == pytest.approx(weights.grad, abs=1e-5), name


def test_smoothing_gives_a_share_of_the_target_to_all_tags(encoder, batch):
    model = _load(encoder)
    logs = model(**batch).logits[batch["labels"] != IGNORED].log_softmax(-1)
    tags = batch["labels"][batch["labels"] != IGNORED]
    expected = -(0.8 * logs.gather(-1, tags[:, None])[:, 0] + 0.2 * logs.mean(-1)).mean()
    assert _loss(model, batch, "cross-entropy:smoothing=0.2").item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cross-entropy", "focal"])
def test_balanced_weights_let_all_tags_count_alike(name):
    score = OBJECTIVES[name].build(OBJECTIVES[name].config(weights="balanced"), SETTING)
    logits = torch.zeros(1, 12, 5)
    targets = torch.tensor([[0] * 6 + [1, 1, 2, 3, 3, 4]])
    alone = [score(logits, targets.masked_fill(targets != tag, IGNORED)).item() for tag in range(5)]
    assert alone == pytest.approx([alone[0]] * 5)


def test_focal_loss_without_gamma_is_cross_entropy(encoder, batch):
    model = _load(encoder)
    assert _loss(model, batch, "focal:gamma=0").item() == pytest.approx(_loss(model, batch).item(), rel=1e-6)


def test_focal_loss_multiplies_by_what_is_missing_to_one():
    score = build_focal(FocalConfig(gamma=3.0), SETTING)
    probabilities = torch.tensor([[[0.9, 0.1], [0.3, 0.7]]])
    expected = 0.1**3 * -torch.tensor(0.9).log() + 0.7**3 * -torch.tensor(0.3).log()
    assert score(probabilities.log(), torch.tensor([[0, 0]])).item() == pytest.approx(expected.item(), rel=1e-5)


def test_rdrop_without_dropout_is_the_loss_alone(encoder, batch):
    model = _load(encoder)
    assert _loss(model, batch, "rdrop:alpha=5").item() == pytest.approx(_loss(model, batch).item(), rel=1e-6)


def test_rdrop_adds_the_divergence_of_two_passes_to_the_mean_of_their_losses(encoder, batch):
    model = _load(encoder, dropout=0.3)
    is_word = batch["labels"] != IGNORED
    torch.manual_seed(7)
    first, second = (model(**batch).logits[is_word] for _ in range(2))
    losses = [functional.cross_entropy(logits, batch["labels"][is_word]) for logits in (first, second)]
    logs = [logits.log_softmax(-1) for logits in (first, second)]
    there, back = (functional.kl_div(logs[1 - at], logs[at], reduction="batchmean", log_target=True) for at in (0, 1))
    expected = sum(losses) / 2 + 3 * (there + back) / 2
    loss, _ = _take_step(model, batch, "rdrop:alpha=3")
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert sum_divergences(first, second).item() > 0.01


@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_make_the_loss_larger(encoder, batch, name):
    model = _load(encoder)
    clean = _loss(model, batch)
    loss, _ = _take_step(model, batch, name)
    assert loss > clean


@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_leave_nothing_behind(encoder, batch, name):
    model = _load(encoder)
    before = model(**batch).logits
    _take_step(model, batch, name)
    assert torch.equal(model(**batch).logits, before)
    assert not model.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_need_no_gradient_of_the_embeddings_weights(encoder, batch, name):
    model = _load(encoder)
    _, free = _take_step(model, batch, name)
    for weights in model.base_model.embeddings.parameters():
        weights.requires_grad_(False)
    _, frozen = _take_step(model, batch, name)
    assert {key for key in free if ".embeddings." not in key} == set(frozen)
    assert all(torch.equal(free[key], gradient) for key, gradient in frozen.items())


@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_work_with_gradient_checkpointing(encoder, batch, name):
    model = _load(encoder, dropout=0.1)
    _, plain = _take_step(model, batch, name)
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})
    _, checkpointed = _take_step(model, batch, name)
    for key, gradient in plain.items():
        assert gradient == pytest.approx(checkpointed[key], abs=1e-6), key


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_window_is_perturbed_alike_whatever_it_is_batched_with(encoder, batch, name, monkeypatch):
    seen = []
    measured = Attack.loss

    def spy(self, perturbation):
        seen.append((perturbation * self.mask).detach())
        return measured(self, perturbation)

    monkeypatch.setattr(Attack, "loss", spy)
    model = _load(encoder)
    spec = name + (":init_magnitude=0" if name == "freelb" else "")
    _take_step(model, batch, spec)
    together, seen[:] = seen[:], []
    mask = batch["attention_mask"]
    assert all(not perturbation[mask == 0].any() for perturbation in together)
    assert together[-1].flatten(1).norm(dim=1).min() > 0.1
    length = int(mask[1].sum())
    _take_step(model, {key: value[1:, :length] for key, value in batch.items()}, spec)
    for with_others, alone in zip(together, seen, strict=True):
        assert with_others[1, :length] == pytest.approx(alone[0], abs=1e-4)


@pytest.mark.parametrize(
    "spec", ["fgm:epsilon=0.7", "pgd:epsilon=0.7,steps=4,step_size=0.5", "freelb:max_norm=0.7,steps=5"]
)
def test_perturbations_stay_within_their_norm(encoder, batch, spec, monkeypatch):
    norms = []
    measured = Attack.loss

    def spy(self, perturbation):
        norms.append(measure(perturbation.detach() * self.mask).flatten())
        return measured(self, perturbation)

    monkeypatch.setattr(Attack, "loss", spy)
    _take_step(_load(encoder), batch, spec)
    assert torch.stack(norms).max().item() == pytest.approx(0.7, rel=1e-4)


def test_fgm_steps_along_the_gradient_of_each_window(encoder, batch):
    model = _load(encoder)
    table = model.get_input_embeddings()
    given = table(batch["input_ids"]).detach().requires_grad_()
    inputs = {"attention_mask": batch["attention_mask"], "labels": batch["labels"]}
    clean = model(inputs_embeds=given, **inputs).loss
    clean.backward()
    gradient = given.grad
    moved = given.detach() + 0.5 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None]
    perturbed = model(inputs_embeds=moved, **inputs).loss
    loss, _ = _take_step(model, batch, "fgm:epsilon=0.5")
    assert loss.item() == pytest.approx((clean.item() + perturbed.item()) / 2, rel=1e-5)


def test_all_losses_of_a_step_have_the_same_dropout(encoder, batch):
    model = _load(encoder, dropout=0.5)
    objectives = Objectives(parse_objectives(["rdrop"]), SETTING)
    losses = []

    def adversary(attack):
        losses.extend(attack.loss(attack.start()).item() for _ in range(3))
        return torch.zeros(())

    objectives._adversary = adversary
    objectives.take_step(model, batch, 1, lambda loss: None)
    assert len(set(losses)) == 1
    objectives.take_step(model, batch, 1, lambda loss: None)
    assert len(set(losses)) == 2


def test_freelb_starts_within_its_magnitude_and_outside_of_padding(encoder, batch):
    model = _load(encoder)
    attack = Attack(model, batch["attention_mask"], lambda: None, lambda loss: None)
    start = draw_start(attack, 0.3).detach()
    n_coordinates = batch["attention_mask"].sum(dim=1) * start.shape[-1]
    limits = 0.3 / n_coordinates.sqrt()
    assert (start.abs().flatten(1).amax(dim=1) <= limits).all()
    assert (start.abs().flatten(1).amax(dim=1) > 0.8 * limits).all()
    assert not start[batch["attention_mask"] == 0].any()


def test_an_attack_refuses_a_model_that_reads_no_embeddings(encoder, batch):
    model = _load(encoder)
    attack = Attack(model, batch["attention_mask"], lambda: torch.zeros(()), lambda loss: None)
    with pytest.raises(ModelError, match="without an adversarial --objective"):
        attack.loss(attack.start())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 10))
def test_project_moves_only_what_is_outside_and_keeps_its_direction(seed, radius):
    values = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(seed))
    values[0] = 0
    moved = project(values, radius)
    norms = measure(values)
    assert measure(moved).flatten().tolist() == pytest.approx(norms.clamp(max=radius).flatten().tolist(), rel=1e-4)
    assert normalize(moved) == pytest.approx(normalize(values), abs=1e-4)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["focal", "cross-entropy"], "expected one --objective of ['cross-entropy', 'focal'] at most, found ['focal'"),
        (["fgm", "pgd"], "expected one --objective of ['fgm', 'pgd', 'freelb'] at most, found ['fgm', 'pgd']"),
        (["cross-entropy:smoothing=1"], "expected smoothing of --objective cross-entropy of at least 0 and below 1"),
        (["focal:gamma=-1"], "expected gamma of --objective focal of at least 0, found -1.0"),
        (["focal:weights=many"], "expected weights of --objective focal to be one of ('none', 'balanced')"),
        (["rdrop:alpha=0"], "expected alpha of --objective rdrop above 0"),
        (["fgm:epsilon=0"], "expected epsilon of --objective fgm above 0"),
        (["pgd:steps=0"], "expected steps of --objective pgd above 0, found 0"),
        (["freelb:step_size=-1"], "expected step_size of --objective freelb above 0"),
        (["freelb:max_norm=-1"], "expected max_norm of --objective freelb of at least 0"),
        (["rdropp"], "did you mean 'rdrop'?"),
    ],
)
def test_objectives_that_make_no_sense_are_refused(specs, message):
    with pytest.raises(ConfigError) as error:
        parse_objectives(specs)
    assert message in str(error.value)


@pytest.mark.parametrize("spec", [*ADVERSARIES, "rdrop", "focal"])
def test_bf16_changes_the_products_of_every_pass_and_little_else(encoder, batch, spec):
    model = _load(encoder)
    losses, gradients = [], []
    for precision in ("fp32", "bf16"):
        model.zero_grad()
        torch.manual_seed(7)
        setting = dataclasses.replace(SETTING, precision=precision)
        step = Objectives(parse_objectives([spec]), setting).take_step
        losses.append(step(model, batch, (batch["labels"] != IGNORED).sum(), lambda loss: loss.backward()))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert losses[0] != losses[1]
    assert losses[0].dtype == losses[1].dtype == gradients[1].dtype == torch.float32
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=0.02)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_step_shares_its_first_pass(encoder, batch):
    model = _load(encoder, dropout=0.5)
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    step = Step(model, inputs, batch["labels"], 1, lambda logits, targets: logits.sum())
    assert step.logits is step.logits
    assert not torch.equal(step.logits, step.forward())


# peft asks transformers by a name that it is about to lose.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_perturb_the_text_of_a_model_that_peft_wraps(encoder, batch, name):
    lora = peft.get_peft_model(_load(encoder), peft.LoraConfig(r=2, target_modules=["query"], task_type="TOKEN_CLS"))
    clean = _loss(lora, batch)
    loss, gradients = _take_step(lora, batch, name)
    assert loss > clean
    assert gradients
    assert all("lora" in key or "modules_to_save" in key for key in gradients)


# peft asks transformers by a name that it is about to lose.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("name", ADVERSARIES)
def test_adversaries_perturb_the_text_behind_virtual_tokens(encoder, batch, name):
    base = _load(encoder)
    prompt = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="TOKEN_CLS")
    model = peft.get_peft_model(base, prompt)

    def cut(module, inputs, output):
        output.logits = output.logits[:, 3:]

    base.register_forward_hook(cut)
    clean = _loss(model, batch)
    loss, gradients = _take_step(model, batch, name)
    assert loss > clean
    assert any("prompt_encoder" in key for key in gradients)
