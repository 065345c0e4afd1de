"""Several token sequences in the memory of one llama.cpp context (`cyllama`).

A sequence is a number and the tokens read into it so far. Sequences are read together in one batch, copied, cut,
saved as bytes and restored. The memory is unified: a copy costs nothing, and a restored passage may lie in any
sequence. Not safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from assistant.errors import ModelError
from assistant.llm.threads import wait_briefly

MEMORY_TOKENS = 10_240
"""Tokens that all sequences may have together; the model's own limit holds for each."""
BATCH_TOKENS = 512
TEMPERATURE, TOP_P = 0.7, 0.9
"""Of a sampled answer."""
INSTALL = "pip install cyllama"


Choice = tuple[int, tuple[tuple[int, float], ...]]
"""How a token is chosen: attempt 0 takes the likeliest, each other number samples in its own way; and what is added to
the logits of some tokens."""


class Interrupted(Exception):
    """Reading was interrupted; every sequence is as it was before."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens to read at the end of a sequence; ``outputs`` of the last of them say which token comes next."""

    sequence: int
    tokens: Sequence[int]
    outputs: int = 0
    choice: Choice = (0, ())


class Sequences:
    """The sequences ``0`` to ``count - 1`` of one model.

    Args:
        path: a GGUF file.
        threads: CPU threads.
        count: how many sequences there are.

    Raises:
        ModelError: `cyllama` is not installed, or the file cannot be loaded.
    """

    def __init__(self, path: Path, threads: int, count: int) -> None:
        wait_briefly()
        try:
            from cyllama import __version__
            from cyllama.llama import llama_cpp
        except ImportError as error:
            raise ModelError(f"The llama.cpp engine cannot be loaded ({error}): run `{INSTALL}`.") from error
        self._llama = llama_cpp
        self.version: str = __version__
        llama_cpp.disable_logging()
        llama_cpp.ggml_backend_load_all()
        parameters = llama_cpp.LlamaModelParams()
        parameters.n_gpu_layers = 0
        try:
            self._model: Any = llama_cpp.LlamaModel(str(path), parameters)
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be loaded as GGUF weights ({error}): check the file and the free memory, or run "
                "`python -m assistant weights` to fetch weights that work."
            ) from error
        self.trained_tokens = int(self._model.n_ctx_train) or MEMORY_TOKENS
        self._vocabulary: Any = self._model.get_vocab()
        self._template: str = self._model.get_default_chat_template() or "chatml"
        try:
            self._context: Any = llama_cpp.LlamaContext(self._model, self._parameters(threads, count))
        except RuntimeError as error:
            raise ModelError(
                f"There is not enough memory to work with {path.name}: close other programs, or choose a smaller "
                "model with ASSISTANT_MODEL, such as qwen2.5-coder-0.5b."
            ) from error
        self._sampler = cache(self._new_sampler)
        self._lengths = [0] * count
        self.state_bytes = 28_000
        """Bytes of saved state a token, as last seen; before that, those of the default model."""

    def _parameters(self, threads: int, count: int) -> Any:
        parameters = self._llama.LlamaContextParams()
        parameters.n_ctx = MEMORY_TOKENS
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.n_seq_max = count
        parameters.kv_unified = True
        return parameters

    def tokens(self, text: str, is_template: bool) -> list[int]:
        """The tokens of ``text``; only in a template do special tokens have power."""
        return list(self._vocabulary.tokenize(str(text), False, is_template)) if text else []

    def text(self, tokens: Sequence[int]) -> str:
        """The text of ``tokens``, without special ones."""
        return str(self._vocabulary.detokenize(list(tokens), remove_special=False, unparse_special=False))

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends a turn."""
        return bool(self._vocabulary.is_eog(token))

    def fill_template(self, messages: Sequence[tuple[str, str]]) -> str:
        """The model's own chat template, filled, with the assistant's turn opened."""
        turns = [self._llama.LlamaChatMessage(role, content) for role, content in messages]
        return str(self._model.chat_apply_template(self._template, turns, True))

    def length(self, sequence: int) -> int:
        """Where the next token of the sequence will stand."""
        return self._lengths[sequence]

    def read(self, stretches: Sequence[Stretch], interrupted: Callable[[], bool]) -> list[list[int]]:
        """Read all stretches in one batch; of each, what its last ``outputs`` tokens say.

        Raises:
            Interrupted: ``interrupted()`` became true, which is asked every few milliseconds.
        """
        batch = self._llama.LlamaBatch(n_tokens=sum(len(s.tokens) for s in stretches), embd=0, n_seq_max=1)
        wanted: list[tuple[Stretch, range]] = []
        row = 0
        for stretch in stretches:
            first = len(stretch.tokens) - stretch.outputs
            wanted.append((stretch, range(row + first, row + len(stretch.tokens))))
            for offset, token in enumerate(stretch.tokens):
                batch.add(token, self._lengths[stretch.sequence] + offset, [stretch.sequence], offset >= first)
            row += len(stretch.tokens)
        self._context.set_abort_callback(interrupted)
        try:
            self._context.decode(batch)
        except InterruptedError:
            for stretch in stretches:
                self._context.memory_seq_rm(stretch.sequence, self._lengths[stretch.sequence], -1)
            raise Interrupted from None
        for stretch in stretches:
            self._lengths[stretch.sequence] += len(stretch.tokens)
        return [[self._next(row, stretch.choice) for row in rows] for stretch, rows in wanted]

    def _next(self, row: int, choice: Choice) -> int:
        """The token that follows this row of the last batch."""
        return int(self._sampler(choice).sample(self._context, row))

    def _new_sampler(self, choice: Choice) -> Any:
        attempt, bias = choice
        sampler = self._llama.LlamaSampler(self._llama.LlamaSamplerChainParams())
        if bias:
            sampler.add_logit_bias(self._vocabulary.n_vocab, list(bias))
        if attempt:
            sampler.add_top_p(TOP_P, 1)
            sampler.add_temp(TEMPERATURE)
            sampler.add_dist(attempt)
        else:
            sampler.add_greedy()
        return sampler

    def copy(self, source: int, target: int) -> None:
        """Add what ``source`` holds to ``target``; both then share the memory."""
        self._context.memory_seq_cp(source, target, -1, -1)
        self._lengths[target] = max(self._lengths[target], self._lengths[source])

    def cut(self, sequence: int, length: int = 0) -> None:
        """Forget all but the first ``length`` tokens."""
        self._context.memory_seq_rm(sequence, length if length else -1, -1)
        self._lengths[sequence] = min(self._lengths[sequence], length)

    def save(self, sequence: int, start: int) -> bytes:
        """The state of the tokens from ``start`` on; what stood before them is forgotten."""
        self._context.memory_seq_rm(sequence, 0, start)
        state = bytes(self._context.get_state_seq_data(sequence))
        self.state_bytes = len(state) // max(1, self._lengths[sequence] - start)
        return state

    def restore(self, state: bytes, sequence: int, start: int, count: int) -> bool:
        """Give an empty sequence a saved state of ``count`` tokens that stood at ``start``; whether that worked."""
        try:
            self._context.set_state_seq_data(state, sequence)
        except ValueError:  # of another make, or too large for what memory is free
            self._context.memory_seq_rm(sequence, -1, -1)
            return False
        self._lengths[sequence] = start + count
        return True

    def close(self) -> None:
        """Give the memory back; nothing can be used afterwards."""
        self._context.close()
        self._model.close()
