"""`spanmill import`: what labelling tools wrote in, documents to train on and what is known of them out."""

import dataclasses
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import option, parse_options
from pipelines.console.signals import stopping_on_signals
from pipelines.select import read_selection
from schemas.errors import ConfigError, FileError, StorageError

if TYPE_CHECKING:
    from schemas.selections import Refusal, SelectedDocument, Selection
    from transforms.labelling.agreement import Agreement, Resolved
    from transforms.labelling.checking import Checked
    from transforms.labelling.formats import AnswerFile

DESCRIPTION = "Read documents back that people have labelled, check them, and write files for spanmill train."
_SHOWN = 5
ANSWERS, LABELLED_FILE, REJECTS, REPORT = "answers.parquet", "labelled.parquet", "rejects.jsonl", "import.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Everything a person can ask of the job."""

    files: tuple[str, ...] = option("files that a labelling tool wrote, or globs", metavar="FILE", is_positional=True)
    selection: str = option("the --output of spanmill select whose documents were labelled", metavar="DIR")
    output: str = option("folder or URL for the files", metavar="DIR")
    format: str = option("format of the files", "auto", choices=("auto", "label-studio", "doccano", "prodigy", "conll"))
    labels: tuple[str, ...] = option("labels that may occur (default: those of the selection)", (), metavar="LABEL")
    on_conflict: str = option(
        "where annotators differ: take the first answer in the order of the files and of what they hold, what most of "
        "them marked, or drop the document",
        "majority",
        choices=("first", "majority", "drop"),
    )
    offset_unit: str = option(
        "what the tool counts offsets in (default: code points, of doccano UTF-16, of Label Studio what fits)",
        "auto",
        choices=("auto", "codepoint", "utf8", "utf16"),
    )


def main(arguments: Sequence[str]) -> int:
    """Runs the job and returns its exit status."""
    options, _ = parse_options(
        ImportOptions, arguments, prog="spanmill import", description=DESCRIPTION, has_beam=False
    )
    with stopping_on_signals("run it again to have all files"):
        return run(options)


def run(options: ImportOptions) -> int:
    """Reads, checks and writes, and returns the exit status.

    Raises:
      ConfigError: options are wrong, a file cannot be read, or nothing in the files can be trained on.
    """
    from transforms.labelling.agreement import measure_agreement
    from transforms.labelling.checking import check_answers

    selection, selected, content = read_selection(options.selection, flag="--selection")
    documents = {document.digest: document for document in selected}
    files = _read_files(options)
    checked = check_answers(files, documents, options.labels or selection.labels)
    agreement = measure_agreement(checked.answers, documents)
    resolved, conflicts = _resolve(checked, options.on_conflict, documents)
    outcome = _Outcome(
        selection=selection,
        digest=hashlib.sha256(content).hexdigest(),
        documents=documents,
        files=tuple(files),
        checked=checked,
        refusals=(*checked.refusals, *conflicts),
        agreement=tuple(agreement),
        resolved=tuple(resolved),
        rule=options.on_conflict,
    )
    report = outcome.describe()
    _write(options, outcome, report)
    _show(options, report, outcome.refusals)
    if not resolved:
        raise ConfigError(_explain_none(options, outcome))
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What came of the files.

    Attributes:
      selection: how documents were chosen.
      digest: SHA-256 of the file that says so.
      documents: the documents that went out, by digest.
      files: what came back.
      checked: the answers that hold.
      refusals: those that do not, and documents that annotators differ on and that are dropped.
      agreement: of every two annotators.
      resolved: the labelled documents.
      rule: what decides where annotators differ.
    """

    selection: "Selection"
    digest: str
    documents: Mapping[str, "SelectedDocument"]
    files: tuple["AnswerFile", ...]
    checked: "Checked"
    refusals: tuple["Refusal", ...]
    agreement: tuple["Agreement", ...]
    resolved: tuple["Resolved", ...]
    rule: str

    def describe(self) -> dict[str, Any]:
        """All of it as JSON values, but for answers and documents."""
        answered = {answer.digest for answer in self.checked.answers}
        labels = Counter(label for each in self.resolved for _, _, label in each.spans)
        chosen = Counter(self.documents[each.digest].chosen_by for each in self.resolved)
        kept = Counter(self._kept(each) for each in self.resolved)
        return {
            "selection": {
                "run": self.selection.run["fingerprint"],
                "model": self.selection.run["model"],
                "digest": self.digest,
                "documents": len(self.documents),
            },
            "files": [
                {"source": file.source, "sha256": file.sha256, "format": file.format, "answers": len(file.answers)}
                for file in self.files
            ],
            "counts": {
                **self.checked.counts,
                "labelled": len(self.resolved),
                "unlabelled": len(self.documents.keys() - answered),
                "refused": len(self.refusals),
                "unchanged": kept[True],
            },
            "refused": dict(sorted(Counter(refusal.reason for refusal in self.refusals).items())),
            "annotators": dict(sorted(Counter(answer.annotator for answer in self.checked.answers).items())),
            "on_conflict": self.rule,
            "rules": dict(sorted(Counter(each.rule for each in self.resolved).items())),
            "agreement": [dataclasses.asdict(each) for each in self.agreement],
            "labels": dict(sorted(labels.items())),
            "chosen_by": dict(sorted(chosen.items())),
        }

    def _kept(self, each: "Resolved") -> bool:
        """Whether a document has exactly the entities that were suggested."""
        return each.spans == tuple(suggestion.span for suggestion in self.documents[each.digest].suggestions)


def _read_files(options: ImportOptions) -> list["AnswerFile"]:
    from transforms.corpora.files import list_in_order
    from transforms.labelling.formats import read_answers

    unit = "" if options.offset_unit == "auto" else options.offset_unit
    try:
        listed = list_in_order(options.files, flag="FILE")
        return [read_answers(file, format_=options.format, unit=unit) for file in listed]
    except (FileError, StorageError) as error:
        raise ConfigError(str(error)) from error


def _resolve(
    checked: "Checked", rule: str, documents: Mapping[str, "SelectedDocument"]
) -> tuple[list["Resolved"], list["Refusal"]]:
    """One set of entities per document, in the order of the selection, and the documents that are dropped."""
    from schemas.selections import Refusal
    from transforms.labelling.agreement import resolve

    by_document = defaultdict(list)
    for answer in checked.answers:
        by_document[answer.digest].append(answer)
    resolved, dropped = [], []
    for digest in documents:
        answers = by_document.get(digest, [])
        found = resolve(answers, rule) if answers else None
        if found:
            resolved.append(found)
        elif answers:
            annotators = [answer.annotator for answer in answers]
            message = f"expected annotators who agree, found {len(answers)} who do not; see --on-conflict"
            dropped.append(
                Refusal(
                    file=answers[0].file,
                    place="",
                    digest=digest,
                    annotator=" ".join(annotators),
                    reason="conflict",
                    message=message,
                )
            )
    return resolved, dropped


def _explain_none(options: ImportOptions, outcome: _Outcome) -> str:
    """Why there is nothing to train on."""
    found = "expected labelled documents of the selection, found none"
    if strange := [file for file in outcome.files if file.looks_like]:
        first = strange[0]
        return f"{found}; {first.source!r} looks like {first.looks_like}, not {first.format}: leave --format out"
    if outcome.refusals:
        place = f"{options.output.rstrip('/')}/{REJECTS}"
        return f"{found}; {len(outcome.refusals):,} answers were refused, see {place}"
    return f"{found}; nobody has answered yet, or all were skipped: export what was labelled"


def _write(options: ImportOptions, outcome: _Outcome, report: Mapping[str, Any]) -> None:
    from schemas.manifest import dump_json
    from schemas.slices import display_text, display_uri
    from transforms.labelling.outcome import dump_answers, dump_labelled, dump_refusals, render_training
    from transforms.storage.store import open_store

    training = render_training(outcome.resolved, outcome.documents)
    files = {
        **training,
        ANSWERS: dump_answers(outcome.checked.answers),
        LABELLED_FILE: dump_labelled(outcome.resolved, outcome.documents, outcome.selection, digest=outcome.digest),
        REJECTS: dump_refusals(outcome.refusals),
        REPORT: dump_json(report),
    }
    try:
        store = open_store(options.output)
        if not outcome.resolved and REPORT in store.list(""):
            # Labels of an earlier import are not given up for none.
            files = {REJECTS: files[REJECTS]}
        for name, content in files.items():
            # Training refuses an empty file, so there is none, also where an earlier import left one.
            if content or name not in training:
                store.put(name, content)
            else:
                store.delete(name)
    except ConfigError:
        raise
    except Exception as error:
        # Every client has its own errors: no credentials, no such host, no such protocol.
        shown = display_uri(options.output)
        raise ConfigError(f"cannot write to --output {shown!r}: {display_text(str(error))}") from error


def _show(options: ImportOptions, report: Mapping[str, Any], refusals: Sequence["Refusal"]) -> None:
    counts = report["counts"]
    total = report["selection"]["documents"]
    print(
        f"labelled     {counts['labelled']:,} of {total:,} documents, {counts['unlabelled']:,} without an answer, "
        f"{counts['skipped']:,} skipped"
    )
    if report["refused"]:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in report["refused"].items())
        print(f"refused      {reasons}; see {options.output.rstrip('/')}/{REJECTS}")
        for refusal in refusals[:_SHOWN]:
            who = refusal.place or refusal.annotator
            print(f"             {refusal.file}, {who}: {refusal.message}")
        if len(refusals) > _SHOWN:
            print(f"             and {len(refusals) - _SHOWN:,} more")
    print(f"entities     {', '.join(f'{number:,} {label}' for label, number in report['labels'].items()) or 'none'}")
    for each in report["agreement"]:
        kappa = "none" if each["kappa"] is None else f"{each['kappa']:.3f}"
        names = " and ".join(each["annotators"])
        print(f"agreement    {names}: F1 {each['f1']:.3f}, kappa {kappa}, {each['documents']:,} documents")
    if counts["labelled"]:
        print(f"to train on  {options.output.rstrip('/')}/*.conll")
    if 10 * counts["inside_words"] > sum(report["labels"].values()):
        print(
            f"spanmill: {counts['inside_words']:,} entities begin or end inside a word; "
            "if the tool counts offsets in another way, set --offset-unit",
            file=sys.stderr,
        )
