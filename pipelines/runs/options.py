"""What a person can ask of `spanmill annotate`, and jobs that annotate on the way."""

import dataclasses

from pipelines.console.options import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotateOptions:
    """Everything a person can ask of the job."""

    input: tuple[str, ...] = option("files, folders, globs or URLs that fsspec reads", metavar="GLOB")
    output: str = option("folder or URL under which the run's own folder is made", metavar="DIR")
    model: str = option("model folder, URL, hub name, or default for the one that comes along", "default")
    base: str = option("base model of an adapter, where it is not where it was at training", "", metavar="MODEL")
    registry: str = option("where --model registry:champion, or registry:DIGEST, is looked up", "", metavar="DIR")
    adapter: tuple[str, ...] = option(
        "in place of --model: adapters of one base, a column of entities each", (), metavar="[NAME=]DIR"
    )
    route: str = option(
        "choose one --adapter, or the base given as --model, for each document: rule:file=FILE.toml or nearest",
        "",
        metavar="SPEC",
    )
    tagger: tuple[str, ...] = option(
        "what annotates: model (the default), prompt, gliner or gazetteer; several have a column of entities each",
        (),
        metavar="[NAME=]KIND[:OPTION=VALUE,...]",
    )
    labels: tuple[str, ...] = option("labels that a prompt or gliner tagger looks for", (), metavar="LABEL")
    label_file: str = option("TOML file that says what each of them means", "", metavar="FILE")
    shots: int = option("labelled examples in each prompt", 0, metavar="COUNT")
    examples: tuple[str, ...] = option("labelled files that they are taken from", (), metavar="GLOB")
    format: str = option("format of the input", "auto", choices=("auto", "parquet", "jsonl", "text", "conll"))
    text_column: str = option("column or key of the text", "text")
    id_column: str = option("column or key of the id (default: id where there is one, else file#row)", "")
    gold_column: str = option("column or key of gold spans or tags, to score against", "")
    tokens_column: str = option("column or key of the tokens that gold tags belong to", "")
    keep_columns: tuple[str, ...] = option("columns or keys to copy to the output", (), metavar="COLUMN")
    document_per_file: bool = option("a text file is one document, not one per line", default=False)
    conll_columns: str = option("token and tag columns of CoNLL files, such as 0,3", "auto", metavar="TOKEN,TAG")
    scheme: str = option("tag scheme of the model", "auto", metavar="auto|BIO|IOB1|BIOES|BILOU|BMES|IO")
    decoder: str = option("how tags are chosen", "viterbi", choices=("viterbi", "argmax"))
    repair: str = option("what argmax makes of illegal tags", "conlleval", choices=("conlleval", "discard"))
    aggregation: str = option("how a word's tokens become one", "first", choices=("first", "average", "max", "simple"))
    threshold: float = option("least score of an entity", 0.0)
    label_threshold: tuple[str, ...] = option("the same for one label, such as ORG=0.7", (), metavar="LABEL=SCORE")
    thresholds: str = option("file of thresholds by label; --label-threshold wins", "", metavar="FILE")
    calibrator: str = option("file of a calibrator that scores pass through", "", metavar="FILE")
    keep_below: bool = option("keep entities under their threshold in a second column", default=False)
    keep_probabilities: bool = option(
        "keep the probabilities of tokens too, so that --reuse decides anew by any decoder", default=False
    )
    offset_unit: str = option("unit of start and end", "codepoint", choices=("codepoint", "utf8", "utf16"))
    window_tokens: int = option("most tokens in a window, within the model's limit", 512)
    overlap_tokens: int = option("tokens shared by neighbouring windows", 64)
    max_document_bytes: int = option("longer documents become dead letters", 64 << 20)
    output_format: str = option("format of the output", "parquet", choices=("parquet", "jsonl"))
    layout: str = option("a row per document, or flat: a row per entity", "document", choices=("document", "flat"))
    backend: str = option(
        "what runs the model; auto takes the fastest engine in the model folder with the wanted precision",
        "auto",
        choices=("auto", "torch", "onnx", "openvino"),
    )
    device: str = option("cpu or cuda", "cpu")
    precision: str = option(
        "fp32 on the CPU and bf16 on CUDA when auto", "auto", choices=("auto", "fp32", "bf16", "fp16", "int8")
    )
    threads: int = option("threads of the model per process, 0 for the cores divided by local workers", 0)
    batch_tokens: int = option("padded tokens per batch, 0 for what --tune found, else 1,024 (65,536 on CUDA)", 0)
    tune: bool = option("measure which batches are fastest here first, and remember it", default=False)
    reuse: str = option(
        "an earlier run with the same tagger, whose documents are copied where their text is the same",
        "",
        metavar="RUN",
    )
    dedupe: bool = option("compute windows with the same tokens once", default=True)
    accelerator: str = option(
        "what workers of a cluster need for --device cuda, as Beam's resource hints spell it",
        "",
        metavar="type:NAME;count:N[;install-nvidia-driver]",
    )
    min_ram: str = option("memory that workers of a cluster need at least, such as 16GB", "", metavar="SIZE")
    workers: int = option("processes that share the work on this machine", 1)
    max_restarts: int = option(
        "how many of them may die in a row without getting on before the run fails; 0 to work in this very process",
        5,
        metavar="COUNT",
    )
    timeout_per_document: float = option(
        "seconds after which a document that hangs is given up", 600.0, metavar="SECONDS"
    )
    slice_size: int = option(
        "bytes of text per slice, of Parquet a row group at least; 0 to go by the size of the corpus",
        0,
        metavar="BYTES",
    )
    bad_files: str = option("what to do about a file that cannot be read", "fail", choices=("fail", "dead-letter"))
    max_failed_fraction: float = option("more failed documents than this end with exit status 3", 0.01)
    allow_removed_inputs: bool = option("keep annotations of input files that are gone", default=False)
    report_documents: int = option("documents shown in the report, with their text", 30)
    price_per_hour: tuple[str, ...] = option(
        "price of an hour of a worker, or of a core or gpu that it uses, for the report", (), metavar="[WHAT=]PRICE"
    )
    metrics_file: str = option("file of metrics for Prometheus' text-file collector", "", metavar="FILE.prom")
    lineage: str = option("file or server that OpenLineage events go to", "", metavar="FILE|URL")
    progress: bool = option("show progress", default=True)
