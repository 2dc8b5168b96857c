"""What training minimises, by name. An objective is a file with a config and `build(config, setting)`, and a row here.

    batch ──> passes ──> task(logits, targets) + term(step) + term(step) ... = loss ──> gradient
                 ^                                                              │
                 └───────────── adversary: perturbs the embeddings, again ──────┘

Objectives add up: one task, any number of terms, one adversary at most. A task scores logits; a term is added to its
loss and may run the model again; an adversary sees the sum as a function of the embeddings and says where gradients
are taken. All of them average over words, so that batches can be added up to larger ones.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.errors import ConfigError
from schemas.specs import parse_specs
from training.objectives import cross_entropy, fgm, focal, freelb, pgd, rdrop
from training.objectives.attacks import Adversary, Attack
from training.objectives.steps import Setting, Step, Task, Term

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT = "cross-entropy"


class Objective(NamedTuple):
    """Something to minimise.

    Attributes:
      config: its options, a frozen dataclass.
      role: task, term or adversary.
      build: takes the options and a Setting; returns a Task, a function of a Step, or an Adversary.
    """

    config: type[Any]
    role: str
    build: Callable[[Any, Setting], Callable[..., Any]]


OBJECTIVES = {
    "cross-entropy": Objective(cross_entropy.CrossEntropyConfig, "task", cross_entropy.build),
    "focal": Objective(focal.FocalConfig, "task", focal.build),
    "rdrop": Objective(rdrop.RDropConfig, "term", rdrop.build),
    "fgm": Objective(fgm.FgmConfig, "adversary", fgm.build),
    "pgd": Objective(pgd.PgdConfig, "adversary", pgd.build),
    "freelb": Objective(freelb.FreeLbConfig, "adversary", freelb.build),
}


class Objectives:
    """The sum of what is minimised.

    Args:
      configs: options by name, with one task unless the setting has it.
      setting: what they are built for.
      terms: what else is added to the loss.
    """

    def __init__(self, configs: Mapping[str, Any], setting: Setting, terms: Sequence[Term] = ()) -> None:
        built: dict[str, list[Any]] = {"task": [], "term": [], "adversary": []}
        for name, config in configs.items():
            built[OBJECTIVES[name].role].append(OBJECTIVES[name].build(config, setting))
        self._task: Task = setting.task or built["task"][0]
        self._precision = setting.precision
        self._terms: list[Term] = [*built["term"], *terms]
        self._adversary: Adversary | None = next(iter(built["adversary"]), None)

    def take_step(
        self,
        model: Any,
        inputs: Mapping[str, "Tensor"],
        n_targets: "Tensor | int",
        backward: Callable[["Tensor"], None],
    ) -> "Tensor":
        """Adds the gradient of a batch to the weights and returns its loss.

        Args:
          model: the model, in training mode.
          inputs: what it reads, with the targets under `labels`.
          n_targets: words that the loss is averaged over.
          backward: adds the gradient of a loss to all that it depends on.
        """
        read = {name: tensor for name, tensor in inputs.items() if name != "labels"}

        def add_up() -> "Tensor":
            step = Step(model, read, inputs["labels"], n_targets, self._task, self._precision)
            loss = step.score(step.logits)
            for term in self._terms:
                loss = loss + term(step)
            return loss

        if self._adversary:
            return self._adversary(Attack(model, inputs["attention_mask"], add_up, backward))
        loss = add_up()
        backward(loss)
        return loss.detach()


def parse_objectives(specs: Sequence[str], *, head: str = "linear") -> dict[str, Any]:
    """Specs to configs by name; the default task is first where none is named and the head has none of its own.

    Raises:
      ConfigError: a spec is wrong, or two cannot go together, or with the head.

    >>> list(parse_objectives(["rdrop:alpha=2"]))
    ['cross-entropy', 'rdrop']
    """
    configs = parse_specs(specs, {name: row.config for name, row in OBJECTIVES.items()}, flag="--objective")
    for role in ("task", "adversary"):
        known = [name for name, row in OBJECTIVES.items() if row.role == role]
        if len(found := [name for name in configs if name in known]) > 1:
            raise ConfigError(f"expected one --objective of {known} at most, found {found}")
    tasks = [name for name in configs if OBJECTIVES[name].role == "task"]
    if head == "crf" and tasks:
        raise ConfigError(f"expected no --objective {tasks[0]} with --head crf, which has a loss of its own, found it")
    return configs if tasks or head == "crf" else {DEFAULT: OBJECTIVES[DEFAULT].config(), **configs}
