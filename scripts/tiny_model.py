"""`python tiny_model.py GGUF_FOLDER MODEL_FOLDER`: a model with random weights that speaks the tokens of a real one.

Two layers are enough to start a real server; no hub is asked. Runs in the environment of scripts/build-vllm.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM


def build(source: Path, target: Path) -> None:
    """Write the model to its folder, as `from_pretrained` and `vllm serve` read it."""
    (weights,) = source.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=weights.name)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
