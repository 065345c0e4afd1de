"""Stand-ins for unit tests, good enough to rank: an embedder that hashes words, a model that says what it is told,
and one that runs on transformers and was never trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import numpy as np

from assistant.prompts import REWRITE
from assistant.retrieval.judge import CrossEncoderJudge
from assistant.schemas import Bias, Encoding, Message, Token, Vectors
from assistant.words import content_words

DIMENSION = 256
VOCABULARY = 2**15
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
CHAT += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


class HashEmbedder:
    """Texts that share content words are near each other, and so are forms of a word. Words count as tokens."""

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
            for word in content_words(text):
                vectors[row, _hashed(stem(word)) % DIMENSION] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return [_encoding(text, vector) for text, vector in zip(texts, self.embed(texts), strict=True)]


def _encoding(text: str, vector: Vectors) -> Encoding:
    words = list(re.finditer(r"\w+", text))
    ids = np.array([_hashed(word.group().lower()) for word in words], np.int32)
    tokens = np.zeros((len(words), DIMENSION), np.int8)
    for row, word in enumerate(words):
        tokens[row, _hashed(stem(word.group())) % DIMENSION] = 127
    spans = np.array([word.span() for word in words], np.int32).reshape(-1, 2)
    return Encoding(vector, ids, spans, tokens)


def stem(word: str) -> str:
    """What a word has in common with its other forms, roughly."""
    return word.lower()[:4]


def _hashed(word: str) -> int:
    return int(hashlib.sha256(word.encode()).hexdigest(), 16) % VOCABULARY


class WordJudge(CrossEncoderJudge):
    """Scores by the share of a text's content words that a passage has, as far as their stems go."""

    def __init__(self) -> None:
        pass

    def score(self, text: str, passage: str) -> float:
        wanted, there = ({stem(word) for word in content_words(some)} for some in (text, passage))
        return len(wanted & there) / len(wanted) if wanted else 0.0


class ScriptedModel:
    """A language model that writes a fixed text, or what ``script`` makes of the prompt.

    Asked to rewrite a question, it writes ``rewritten``; asked whether evidence says something, Yes, but No to what
    ``denied`` is part of.
    """

    name = "scripted"
    is_concurrent = True

    def __init__(
        self, script: str | Callable[[Sequence[Message]], str], rewritten: str = "", denied: str = "\0"
    ) -> None:
        self._script = script
        self._rewritten = rewritten
        self._denied = denied
        self.prompts: list[Sequence[Message]] = []
        self.rewrites: list[Sequence[Message]] = []
        self.checks: list[str] = []
        self.attempts: list[int] = []

    def stream(
        self, messages: Sequence[Message], max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
    ) -> Iterator[Token]:
        if messages[0].text == REWRITE:
            self.rewrites.append(messages)
            text = self._rewritten
        elif messages[-1].text.endswith("Yes or No?"):
            self.checks.append(messages[1].text)
            text = "No" if self._denied in messages[1].text else "Yes"
        else:
            self.prompts.append(messages)
            self.attempts.append(attempt)
            text = self._script(messages) if callable(self._script) else self._script
        for word in re.findall(r"\S+\s*|\s+", text)[:max_tokens]:
            if stop.is_set():
                return
            yield Token(word, 10, 0)

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
