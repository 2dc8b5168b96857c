"""A base model and an adapter to the model that they make, with transformers and without peft."""

from typing import Any

from schemas.errors import CheckpointError
from transforms.models.adapters.bottleneck import insert_bottlenecks, is_bottleneck, read_sizes
from transforms.models.adapters.folding import check_head, fold_weights
from transforms.models.adapters.stored import BOTTLENECK, PROMPT, Adapter
from transforms.models.adapters.virtual_tokens import prepend_prefix, prepend_prompt

_VIRTUAL = "prompt_embeddings"


def attach_adapter(model: Any, adapter: Adapter) -> None:
    """Makes a base, with whatever head, the model that was trained; in place.

    Args:
      model: a token-classification model of transformers, in single precision.
      adapter: an adapter of it.

    Raises:
      CheckpointError: the adapter lacks weights, or does not fit the base.
    """
    body = f"{model.base_model_prefix}."
    head = {name for name in model.state_dict() if not name.startswith(body)}
    if adapter.is_folded:
        model.load_state_dict(fold_weights(model.state_dict(), adapter, head=head))
        return
    trained = adapter.read_weights()
    check_head(trained, head, adapter)
    if adapter.kind == BOTTLENECK:
        insert_bottlenecks(model, read_sizes(trained))
        _load(model, trained, adapter)
        return
    if _VIRTUAL not in trained:
        raise CheckpointError(f"expected {_VIRTUAL} in adapter {adapter.folder.name!r}, found none")
    vectors = trained.pop(_VIRTUAL)
    _load(model, trained, adapter)
    prepend = prepend_prompt if adapter.kind == PROMPT else prepend_prefix
    prepend(model, vectors)


def _load(model: Any, trained: dict[str, Any], adapter: Adapter) -> None:
    state = model.state_dict()
    try:
        wanted = {name for name in state if is_bottleneck(name)}
        if strange := sorted((trained.keys() - state.keys()) | (wanted - trained.keys())):
            raise KeyError(strange[0])  # noqa: TRY301
        model.load_state_dict({**state, **trained})
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"adapter {adapter.folder.name!r} does not fit its base: {reason}; set the base"
        ) from error
