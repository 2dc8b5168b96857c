"""Token classification with PyTorch: any safetensors checkpoint that transformers' auto class loads.

The BERT family runs through `torch_encoder`, without padding and without importing transformers; every other
architecture, and whatever that file does not know to the letter, through transformers' model.
"""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from schemas.errors import CheckpointError, ConfigError
from schemas.labels import TagSet
from transforms.models.adapters.attachment import attach_adapter
from transforms.models.adapters.stored import is_adapter, read_adapter
from transforms.models.backends import BackendConfig, check_device, torch_errors_told, torch_type
from transforms.models.tagger import FloatArray, IntArray
from transforms.models.torch_encoder import load_encoder
from transforms.models.torch_networks import BucketedNetwork, UnpaddedNetwork, to_device
from transforms.text.packing import padding_mask

NETWORKS = ("auto", "unpadded", "bucketed", "transformers")


class Network(Protocol):
    """A forward pass in PyTorch."""

    def forward(self, ids: IntArray, lengths: IntArray) -> Any:
        """A padded batch to logits on the device.

        Args:
          ids: (n_windows, longest) vocabulary ids, padded on the right.
          lengths: (n_windows,) how many of them are real.

        Returns:
          Tensor (n_tokens, n_tags) of the real tokens, or (n_rows, n_columns, n_tags) that begins with the batch.
        """

    def list_weights(self) -> Mapping[str, Any]:
        """The tensors that it holds, by their places."""


class TorchClassifier:
    """A token-classification model on one device.

    Args:
      folder: the checkpoint.
      tag_set: its tags.
      config: device, precision and threads.
      network: unpadded, bucketed (static shapes, on CUDA as graphs), transformers, or auto: unpadded where the
        architecture is known here, else transformers.
      base: the base, where the checkpoint is an adapter.

    Raises:
      CheckpointError: the weights do not fill the model.
      ConfigError: the device is not there, or the network does not know the architecture.
    """

    def __init__(
        self,
        folder: Path,
        tag_set: TagSet,
        config: BackendConfig,
        *,
        network: str = "auto",
        base: Path | None = None,
    ) -> None:
        # oneDNN keeps code for each of the last 1,024 shapes, and batches come in many: memory would grow for long.
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        import torch

        check_device(config)
        if config.threads:
            torch.set_num_threads(config.threads)
        self._torch = torch
        self._tag_set = tag_set
        self._device = torch.device(config.device)
        self._lock = threading.Lock()
        self._model = load_network(folder, torch_type(config), self._device, network, base=base)

    @property
    def tag_set(self) -> TagSet:
        """Its tags, in the order of its outputs."""
        return self._tag_set

    @property
    def in_flight(self) -> int:
        """One pass that runs, and another that waits for it."""
        return 2

    def share_weights(self, other: "TorchClassifier") -> None:
        """Lets go of weights that another has alike at the same place, and uses its in their place."""
        theirs = other._model.list_weights()
        for name, own in self._model.list_weights().items():
            twin = theirs.get(name)
            if twin is None or (own.dtype, own.device) != (twin.dtype, twin.device):
                continue
            if self._torch.equal(own, twin):
                own.data = twin.data

    def submit(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        """Starts a forward pass; see `TokenClassifier.submit`. On CUDA all copies are asynchronous.

        Probabilities of padding are zeros, or whatever the network computed for it.
        """
        with torch_errors_told():
            if self._device.type == "cuda":
                return self._submit_cuda(ids, lengths)
            with self._torch.inference_mode():
                probabilities = self._model.forward(ids, lengths).float().softmax(-1).numpy()
            restored = restore_shape(probabilities, lengths, ids.shape[1])
            return lambda: restored

    def _submit_cuda(self, ids: IntArray, lengths: IntArray) -> Callable[[], FloatArray]:
        torch = self._torch
        with torch.inference_mode(), torch.cuda.device(self._device), self._lock:
            probabilities = self._model.forward(ids, lengths).float().softmax(-1)
            host = torch.empty(probabilities.shape, dtype=torch.float32, pin_memory=True)
            host.copy_(probabilities, non_blocking=True)
            done = torch.cuda.Event()
            done.record()

        def fetch() -> FloatArray:
            with torch_errors_told():
                done.synchronize()
                return restore_shape(host.numpy(), lengths, ids.shape[1])

        return fetch


class TransformersNetwork:
    """A model of transformers over padded batches."""

    def __init__(self, model: Any, device: Any) -> None:
        self._model = model.to(device).eval()
        self._device = device

    def forward(self, ids: IntArray, lengths: IntArray) -> Any:
        """A padded batch to logits (n_windows, longest, n_tags)."""
        mask = None
        if int(lengths.min()) < ids.shape[1]:
            mask = to_device(padding_mask(lengths, ids.shape[1]), self._device)
        return self._model(to_device(ids, self._device), attention_mask=mask).logits

    def list_weights(self) -> dict[str, Any]:
        """The tensors that it holds, by name."""
        return dict(self._model.named_parameters())


def load_network(folder: Path, dtype: Any, device: Any, network: str = "auto", *, base: Path | None = None) -> Network:
    """A checkpoint folder to a forward pass (see `TorchClassifier`).

    An adapter that can be folded into its base then is a plain checkpoint; others run through transformers' model.

    Raises:
      CheckpointError: transformers cannot load it, or weights are missing from it.
      ConfigError: the network does not know the architecture, or there is no such network.
    """
    if network not in NETWORKS:
        raise ConfigError(f"expected network to be one of {NETWORKS}, found {network!r}")
    encoder = load_encoder(folder, dtype, device, base=base) if network != "transformers" else None
    if encoder is None:
        if network in ("unpadded", "bucketed"):
            raise ConfigError(
                f"expected a plain encoder of the BERT family for network {network!r}, found another in model "
                f"{folder.name!r}; leave network at auto"
            )
        return TransformersNetwork(load_model(folder, dtype, base=base), device)
    return BucketedNetwork(encoder) if network == "bucketed" else UnpaddedNetwork(encoder)


def restore_shape(probabilities: FloatArray, lengths: IntArray, longest: int) -> FloatArray:
    """What a network gives to the shape of the batch (n_windows, longest, n_tags); see `Network.forward`."""
    if probabilities.ndim == 3:
        return probabilities[: len(lengths), :longest]
    restored = np.zeros((len(lengths), longest, probabilities.shape[1]), dtype=np.float32)
    restored[padding_mask(lengths, longest).astype(bool)] = probabilities
    return restored


def load_model(folder: Path, dtype: Any, *, base: Path | None = None) -> Any:
    """A checkpoint folder to a transformers model, from safetensors only and without its code.

    Args:
      folder: the checkpoint.
      dtype: the type to compute in.
      base: the base, where the checkpoint is an adapter.

    Raises:
      CheckpointError: transformers cannot load it, or weights are missing from it.
    """
    import torch
    import transformers

    if base is None and is_adapter(folder):
        # transformers would look for a base of its own accord, and take any.
        raise CheckpointError(f"expected a base for adapter {folder.name!r}, found none")
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForTokenClassification.from_pretrained(
            base or folder,
            config=transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False),
            dtype=torch.float32 if base else dtype,
            # The head of an adapter takes the place of the base's; other weights of the wrong shape are told below.
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CheckpointError(f"cannot load model {folder.name!r}: {' '.join(str(error).split())}") from error
    finally:
        transformers.logging.set_verbosity(level)
    body = f"{model.base_model_prefix}."
    for name, found, expected in sorted(info["mismatched_keys"]):
        if base is None or name.startswith(body):
            raise CheckpointError(
                f"expected {name} of shape {list(expected)} in model {(base or folder).name!r}, as its config.json "
                f"says, found {list(found)}; mend config.json, or fetch the model again"
            )
    if missing := sorted(name for name in info["missing_keys"] if base is None or name.startswith(body)):
        raise CheckpointError(
            f"expected every weight in model {folder.name!r}, found none for {missing[:4]}; "
            "is it a token-classification checkpoint?"
        )
    if base is None:
        return model
    attach_adapter(model, read_adapter(folder))
    return model.to(dtype)
