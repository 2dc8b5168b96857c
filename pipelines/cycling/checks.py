"""What is looked at before a cycle begins: whatever could not come to an end is refused while nothing depends on it.

A cycle that has begun waits for a person when its config or its files are wrong, and what comes later waits with it.
"""

import sys
from collections.abc import Mapping, Sequence

from pipelines import annotate, drift, train
from pipelines.cycling.config import FIRST, PREVIOUS, CycleConfig
from pipelines.cycling.steps import REFERENCE, configure_drift, configure_training
from pipelines.labelled.gating import GatesFile, read_gates
from schemas.cycles import Beginning, LabelRef
from schemas.errors import ConfigError, FileError
from schemas.slices import FileRef

_SCORED = ("dev", "test", "old")


def check_config(config: CycleConfig) -> GatesFile | None:
    """Looks at what the config names, whether or not this cycle will need it; returns its gates, where it has some.

    Raises:
      ConfigError: something is not there or cannot be read; names the key and the file.
    """
    from transforms.corpora.files import list_files

    for key in _SCORED:
        list_files(config.train.get(key, ()), flag=config.name_key(key, "adapt"))
    if config.drift:
        named = "" if config.drift.reference in (FIRST, PREVIOUS) else config.drift.reference
        drift.check(configure_drift(config, run_a=named), flag=config.name_key(REFERENCE, "drift"))
    return read_gates(config.promote.gates, flag=config.name_key("gates", "promote")) if config.promote else None


def check_inputs(config: CycleConfig, files: Sequence[FileRef]) -> None:
    """Looks at input files as the run that annotates them will.

    Raises:
      ConfigError: one cannot be annotated, and would not become a dead letter either.
    """
    try:
        annotate.check(config.annotate, files)
    except FileError as error:
        key = config.name_key("bad-files", "annotate")
        raise ConfigError(f"{error}; mend or remove the file, or set {key} to dead-letter") from error


def check_training(
    config: CycleConfig, beginning: Beginning, labels: Mapping[LabelRef, FileRef], gates: GatesFile
) -> None:
    """Looks at labelled files and options of training as training will, and at the labelled files beside the test sets.

    Sentences that are trained on and tested on are told; a file that is a test set is refused.

    Raises:
      ConfigError: training would refuse something, or a labelled file is a test set.
    """
    from training.examples import read_files

    options = configure_training(config, beginning, labels)
    train.check(options)
    tested = {item.name: item.sentences for item in gates.sets}
    for ref, file in zip(beginning.labels, options.train, strict=True):
        (labelled,) = read_files([file], flag="labels of [adapt]")
        texts = ["".join("".join(sentence.words).split()) for sentence in labelled.sentences]
        for item in gates.sets:
            if ref.digest in (item.digest, *item.files) or texts == tested[item.name]:
                raise ConfigError(
                    f"expected test sets that are not trained on, found {item.name!r} among the labels of [adapt], as "
                    f"{ref.source!r}; name fewer files there, or another test set"
                )
            known = set(tested[item.name])
            if n_known := sum(text in known for text in texts):
                print(
                    f"spanmill: {n_known:,} of {len(texts):,} sentences of {ref.source!r} stand in test set "
                    f"{item.name!r} too, which will flatter the candidate; take them out of one of the two",
                    file=sys.stderr,
                    flush=True,
                )
