"""Slices to committed annotations: the Beam pipeline of `spanmill annotate`, in this process or another."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.console.options import quiet_beam
from pipelines.workers.running import run_pipeline

if TYPE_CHECKING:
    from schemas.slices import Slice
    from transforms.corpora.documents import CorpusConfig
    from transforms.models.annotator import EntityConfig
    from transforms.models.tagger import TaggerConfig
    from transforms.reuse.recall import RecallConfig
    from transforms.storage.commits import Member
    from transforms.storage.work import WorkList


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceWork:
    """What is done to each slice of a run; it travels to workers in place of models and open files.

    Attributes:
      root: root of the run's store.
      corpus: how documents are found in files.
      tagger: what annotates them.
      entities: which entities are written.
      output_format: parquet or jsonl.
      layout: document or flat.
      metadata: strings for the footer of files.
      is_strict: a file that cannot be read stops the run, instead of becoming a dead letter.
      timeout_s: seconds that a document may take.
      beam_flags: Beam's own flags.
      hints: what the workers that annotate must have, by the names of Beam's resource hints.
      recall: an earlier run, whose texts the model is spared.
    """

    root: str
    corpus: "CorpusConfig"
    tagger: "TaggerConfig"
    entities: "EntityConfig"
    output_format: str
    layout: str
    metadata: Mapping[str, str]
    is_strict: bool
    timeout_s: float
    beam_flags: tuple[str, ...]
    hints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    recall: "RecallConfig | None" = None

    def run(self, slices: Sequence["Slice"], member: "Member | None" = None) -> None:
        """Annotates slices and commits them.

        Args:
          slices: what to do, in this order.
          member: who this is among workers that share them.

        Raises:
          ConfigError: something that a person must change.
          PipelineError: the pipeline failed; what is committed stays.
        """
        from pipelines.workers.runners import is_handed_over
        from schemas.tables import SliceTable
        from transforms.storage.store import open_store
        from transforms.storage.work import listed_work

        store, is_kept = open_store(self.root), is_handed_over(self.beam_flags)
        with listed_work(store, SliceTable.of(slices), is_kept=is_kept) as listed:
            self.run_listed(listed, member)

    def run_listed(self, listed: "WorkList", member: "Member | None" = None) -> None:
        """As `run`, for slices that are listed in the run."""
        run_pipeline(lambda pipeline: self.construct(pipeline, listed, member), self.beam_flags)

    def construct(self, pipeline: Any, listed: "WorkList", member: "Member | None" = None) -> None:
        """Adds the transforms to a pipeline; arguments as in `run_listed`."""
        quiet_beam()
        import apache_beam as beam

        from pipelines.workers.runners import is_local
        from transforms.annotate import AnnotateDocuments
        from transforms.commit import CommitSlices
        from transforms.plan import PlanSlices
        from transforms.read import ReadSlices
        from transforms.storage.commits import Member

        read = ReadSlices(self.corpus, self.root, self.is_strict, member or Member())
        annotate = AnnotateDocuments(self.tagger, self.entities, self.tagger.digest, self.timeout_s, self.recall)
        commit = CommitSlices(self.root, self.output_format, self.layout, self.metadata)
        # All three, since runners part steps that ask for different workers, and these must stay in one stage.
        read, annotate, commit = (step.with_resource_hints(**self.hints) for step in (read, annotate, commit))
        plan = PlanSlices(self.root, listed, is_spread=not is_local(self.beam_flags))
        parts, committed = pipeline | "Plan" >> plan | "Read" >> read
        done = parts | "Annotate" >> annotate | "Commit" >> commit
        # Receipts that meet in one place make the death of a worker an error; without a consumer it is a hang.
        (done, committed) | "Gather slices" >> beam.Flatten() | "Count slices" >> beam.combiners.Count.Globally()
