import pickle

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that

from tests.conftest import ROOT
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.models.window_tagger import DecodingConfig
from transforms.text.windows import WindowConfig

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def handler():
    from transforms.handler import TaggerHandler

    config = configure_tagger(
        find_checkpoint(str(ROOT / "assets/model")),
        backend=BackendConfig(),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=1024,
    )
    return TaggerHandler(config)


def _check(results):
    found = {result.text: [(span.text, span.label) for span in result.entities] for result in results}
    assert found == {"Angela Merkel visited Paris.": [("Angela Merkel", "PER"), ("Paris", "LOC")], "": []}


def test_handler_serves_a_run_inference_pipeline(handler):
    from apache_beam.ml.inference.base import RunInference

    with beam.Pipeline("FnApiRunner") as pipeline:
        texts = pipeline | beam.Create(["Angela Merkel visited Paris.", ""])
        assert_that(texts | RunInference(handler), _check)


def test_handler_travels_without_its_weights(handler):
    assert len(pickle.dumps(handler)) < 10_000
