"""The CPU engine: GGUF weights through llama.cpp (`cyllama`, a prebuilt wheel).

One sequence, one question at a time. The tokens that a prompt shares with the one before it, counted from the start,
are kept and not read again. The engine knows nothing of documents or citations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from typing import Any

from assistant.errors import ModelError
from assistant.models.template import render
from assistant.types import Message, Role, Token

CONTEXT_TOKENS = 4096
BATCH_TOKENS = 512
INSTALL = "pip install cyllama"


class LlamaModel:
    """A `LanguageModel` on llama.cpp; safe to call from several threads, which then wait for each other.

    Args:
        path: a GGUF file.
        name: what the model is called to people.
        threads: CPU threads.

    Raises:
        ModelError: `cyllama` is not installed, or the file cannot be loaded.
    """

    def __init__(self, path: Path, name: str, threads: int) -> None:
        try:
            from cyllama.llama import llama_cpp
        except ImportError as error:
            raise ModelError(f"The llama.cpp engine cannot be loaded ({error}): run `{INSTALL}`.") from error
        self.name = name
        self._llama = llama_cpp
        llama_cpp.disable_logging()
        llama_cpp.ggml_backend_load_all()
        parameters = llama_cpp.LlamaModelParams()
        parameters.n_gpu_layers = 0
        try:
            self._model: Any = llama_cpp.LlamaModel(str(path), parameters)
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be loaded as GGUF weights ({error}): check the file, or run "
                "`python -m assistant weights` to fetch weights that work."
            ) from error
        self.context_tokens = min(CONTEXT_TOKENS, int(self._model.n_ctx_train) or CONTEXT_TOKENS)
        self._vocabulary: Any = self._model.get_vocab()
        self._context: Any = llama_cpp.LlamaContext(self._model, self._context_parameters(threads))
        self._template: str = self._model.get_default_chat_template() or "chatml"
        self._sampler: Any = llama_cpp.LlamaSampler(llama_cpp.LlamaSamplerChainParams())
        self._sampler.add_greedy()
        self._read: list[int] = []
        self._lock = Lock()

    def _context_parameters(self, threads: int) -> Any:
        parameters = self._llama.LlamaContextParams()
        parameters.n_ctx = self.context_tokens
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_threads = parameters.n_threads_batch = threads
        return parameters

    def count(self, text: str) -> int:
        """Tokens in ``text``, taken as plain text."""
        return len(self._tokens(text, is_template=False))

    def stream(self, messages: Sequence[Message], max_tokens: int, stop: Event) -> Iterator[Token]:
        """Greedy decoding; a stop is noticed within one operation of the network, some ten milliseconds.

        Raises:
            ModelError: prompt and answer do not fit the context.
        """
        parts = render(messages, self._filled)
        prompt = [token for part in parts for token in self._tokens(part.text, part.is_template)]
        if len(prompt) + max_tokens > self.context_tokens:
            raise ModelError(
                f"A prompt of {len(prompt)} tokens and an answer of {max_tokens} do not fit the "
                f"{self.context_tokens} tokens of {self.name}: ask a shorter question."
            )
        with self._lock:
            self._context.set_abort_callback(stop.is_set)
            reused = self._keep_shared(prompt)
            try:
                yield from self._decode(prompt, reused, max_tokens)
            except InterruptedError:
                self._forget_unfinished()

    def _filled(self, messages: list[tuple[Role, str]]) -> str:
        turns = [self._llama.LlamaChatMessage(role, content) for role, content in messages]
        return str(self._model.chat_apply_template(self._template, turns, True))

    def _tokens(self, text: str, is_template: bool) -> list[int]:
        return list(self._vocabulary.tokenize(text, False, is_template)) if text else []

    def _keep_shared(self, prompt: list[int]) -> int:
        """Drop from memory what differs from ``prompt``; return how many of its tokens need not be read."""
        shared = 0
        # the last token is always read: its output is where the answer begins
        for old, new in zip(self._read, prompt[:-1], strict=False):
            if old != new:
                break
            shared += 1
        self._context.memory_seq_rm(0, shared, -1)
        del self._read[shared:]
        return shared

    def _decode(self, prompt: list[int], reused: int, max_tokens: int) -> Iterator[Token]:
        for start in range(reused, len(prompt), BATCH_TOKENS):
            self._read_tokens(prompt[start : start + BATCH_TOKENS])
        answer: list[int] = []
        shown = ""
        while len(answer) < max_tokens:
            token = self._sampler.sample(self._context, -1)
            if self._vocabulary.is_eog(token):
                return
            answer.append(token)
            text = self._vocabulary.detokenize(answer, remove_special=False, unparse_special=False)
            # a character may need several tokens; until the last has come it shows as U+FFFD
            grown = text[len(shown) :] if not text.endswith("\ufffd") else ""
            shown += grown
            yield Token(grown, len(prompt), reused)
            self._read_tokens([token])

    def _read_tokens(self, tokens: list[int]) -> None:
        batch = self._llama.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        for offset, token in enumerate(tokens):
            batch.add(token, len(self._read) + offset, [0], offset == len(tokens) - 1)
        self._context.decode(batch)
        self._read += tokens

    def _forget_unfinished(self) -> None:
        """After an interrupted batch the memory may hold tokens that were not counted."""
        self._context.memory_seq_rm(0, len(self._read), -1)

    def close(self) -> None:
        """Give the memory back; the model cannot be used afterwards."""
        with self._lock:
            self._context.close()
            self._model.close()
