"""A stand-in for a model that can be told, by the words of a text, to end, hang or exhaust its process.

It finds the word `Anna`, and needs neither weights nor a tokenizer, so that a process with it starts quickly.
"""

import dataclasses
import os
import signal
import time

import numpy as np

from schemas.errors import DeviceError, ModelError
from transforms.models.tagger import Tagging


@dataclasses.dataclass(frozen=True)
class DangerousTaggerConfig:
    digest: str = "d" * 64
    loads: bool = True
    pause_s: float = 0.0

    is_remote = False

    def describe(self):
        return {"kind": "dangerous"}

    def load(self):
        if not self.loads:
            os._exit(3)

    def build(self, shared):
        return DangerousTagger(self.pause_s)


class DangerousTagger:
    labels = ("PER",)
    names = ("",)

    def __init__(self, pause_s):
        self._pause_s = pause_s

    def begin(self, texts):
        return lambda: self.tag(texts)

    def tag(self, texts):
        for text in texts:
            time.sleep(self._pause_s)
            if "Crash" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "Hang" in text:
                time.sleep(1000)
            if "Huge" in text:
                raise MemoryError
            if "Surprise" in text:
                raise ValueError(f"cannot count\n{text}")
            if "Device" in text:
                raise DeviceError("the device failed and must be restarted: device-side assert")
            if "Nonsense" in text:
                raise ModelError("expected probabilities, found nonsense")
        found = [(at, text.index("Anna")) for at, text in enumerate(texts) if "Anna" in text]
        document, start = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return Tagging(
            document=document,
            start=start,
            end=start + len("Anna"),
            label=np.zeros(len(start), dtype=np.int64),
            score=np.ones(len(start), dtype=np.float32),
            tokens=np.array([len(text.split()) for text in texts], dtype=np.int64),
            windows=np.ones(len(texts), dtype=np.int64),
            failures={},
            computed_tokens=0,
            seconds={},
        )
