"""Makes tiny language models with random weights; nothing is downloaded.

Their tokenizer is byte-level, so that it reads any text and a token may hold half a character.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from schemas.prompts import Message, Prompt

SENTENCES = (
    "Anna lives in Berlin and works for the European Commission .",
    "Find the names of people and places in the text and answer in JSON .",
    "Otto went to Rome , Mia to Oslo and nobody to Lima .",
    '{"PER": ["Anna", "Otto"], "LOC": ["Berlin"]}',
)
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_MARKS = ["<|stop|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def make_tokenizer(*, template: str | None = TEMPLATE, ends_prompts: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer, whose chat template ends a turn with another mark than the end of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=_MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if ends_prompts:
        tokenizer.post_processor = processors.TemplateProcessing(single="$A <|stop|>", special_tokens=[("<|stop|>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|stop|>",
        additional_special_tokens=_MARKS[1:],
        chat_template=template,
        model_max_length=256,
    )


def make_llama(folder: Path, *, seed: int = 0, tokenizer: PreTrainedTokenizerFast | None = None, **changes) -> Path:
    """A causal model of two layers that reads 256 tokens."""
    tokenizer = tokenizer or make_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": len(tokenizer) + 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": 0,
            **changes,
        }
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_t5(folder: Path, *, seed: int = 0) -> Path:
    """A seq2seq model of two layers."""
    tokenizer = make_tokenizer(template=None, ends_prompts=True)
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=1,
        eos_token_id=0,
        pad_token_id=1,
        initializer_factor=1.5,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ask(text: str, *, most: int = 12, grammar=None, system: str = SENTENCES[1]) -> Prompt:
    """A prompt with instructions and a text."""
    return Prompt((Message("system", system), Message("user", text)), max_answer_tokens=most, grammar=grammar)


def make_gguf(folder: Path, path: Path) -> Path:
    """The model of a folder as one GGUF file, in full precision, as llama.cpp's converter lays it out."""
    import gguf
    import transformers

    model = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, tokenizer, config.vocab_size)
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "o_proj": "attn_output"}
    names |= {f"{part}_proj": f"attn_{part}" for part in "qkv"}
    names |= {f"{part}_proj": f"ffn_{part}" for part in ("gate", "up", "down")}
    tops = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, weights in model.state_dict().items():
        module = name.removesuffix(".weight")
        layer, part = ("", "") if module in tops else (module.split(".")[2], module.split(".")[-1])
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(part)
        if heads:
            # llama.cpp rotates pairs of neighbours, transformers those half a head apart.
            weights = weights.reshape(heads, 2, -1, weights.shape[1]).transpose(1, 2).reshape(weights.shape)
        writer.add_tensor(f"{tops.get(module) or f'blk.{layer}.{names[part]}'}.weight", weights.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer, tokenizer: PreTrainedTokenizerFast, n_entries: int) -> None:
    import gguf

    content = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    entries = {at: piece for piece, at in tokenizer.get_vocab().items()}
    kinds = [
        gguf.TokenType.CONTROL if entries.get(at, "<") in _MARKS or at not in entries else gguf.TokenType.NORMAL
        for at in range(n_entries)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([entries.get(at, f"<|unused{at}|>") for at in range(n_entries)])
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in content["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
