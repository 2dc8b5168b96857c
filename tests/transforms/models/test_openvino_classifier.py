"""OpenVINO is kept from reporting what is done with it."""

import os
import subprocess
import sys

from tests.conftest import ROOT

_IMPORT = """
import sys
from transforms.models.openvino_classifier import import_openvino
openvino = import_openvino()
import nncf
print(openvino.Core().available_devices, [name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""


def test_neither_openvino_nor_nncf_reports_to_anyone(tmp_path):
    # In CI they would hold still by themselves.
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "['CPU'] []"
    assert not (tmp_path / "intel").exists()
