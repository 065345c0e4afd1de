"""Stand-ins for unit tests, good enough to rank: an embedder that hashes words, a model that says what it is told,
and one that runs on transformers and was never trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event

import numpy as np

from assistant.schemas import Message, Token, Vectors
from assistant.words import stems

DIMENSION = 256
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
CHAT += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


class HashEmbedder:
    """Texts that share content words are near each other. Words count as tokens."""

    name = "hash"
    dimension = DIMENSION

    def __init__(self, max_tokens: int = 60) -> None:
        self.max_tokens = max_tokens
        self.seen: list[str] = []

    def count(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text))

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.seen += texts
        vectors = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in enumerate(texts):
            for word in stems(text):
                vectors[row, int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSION] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


class ScriptedModel:
    """A language model that writes a fixed text, or what ``script`` makes of the prompt.

    It says yes to every passage, more clearly to those with more of the question's words; or no, without ``consents``.
    """

    name = "scripted"

    def __init__(self, script: str | Callable[[Sequence[Message]], str]) -> None:
        self._script = script
        self.prompts: list[Sequence[Message]] = []
        self.asked: list[Sequence[Message]] = []
        self.consents = True

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Event) -> Iterator[Token]:
        self.prompts.append(messages)
        text = self._script(messages) if callable(self._script) else self._script
        for word in re.findall(r"\S+\s*|\s+", text)[:max_tokens]:
            if stop.is_set():
                return
            yield Token(word, 10, 0)

    def leads(self, prompts: Sequence[Sequence[Message]], beginnings: Mapping[str, float], stop: Event) -> list[float]:
        self.asked += prompts
        return [self._lead(*messages[-1].pieces[-2:]) for messages in prompts]

    def _lead(self, passage: str, asked: str) -> float:
        return len(set(stems(passage)) & set(stems(asked))) - 0.3 if self.consents else -20.0

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        return False

    def close(self) -> None:
        pass


def make_transformer(folder: Path, positions: int) -> None:
    """A Llama of 60,000 parameters with random weights and a tokenizer of single bytes, saved in ``folder``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

    set_seed(0)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"]
    )
    fast.chat_template = CHAT
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=positions,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
