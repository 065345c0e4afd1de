"""The GPU engine: transformers and torch, from a hub id or a local folder; it runs on a CPU too, slowly.

One question at a time, greedy. No code that comes with a model is run. Where the GPU is in another process, only
numbers go there and come back. The engine knows nothing of documents or citations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from threading import Event, Lock
from typing import Any

from assistant.errors import ModelError
from assistant.llm.growing import GrowingText
from assistant.llm.template import render
from assistant.llm.zero_gpu import Task
from assistant.schemas import Bias, Message, Role, Token

CONTEXT_TOKENS = 8192
TEMPERATURE = 0.7


class TransformersModel:
    """A `LanguageModel` on transformers; safe to call from several threads, which then wait for each other.

    Args:
        location: a hub id, or a folder with a model and its tokenizer.
        name: what the model is called to people.
        local_files_only: whether the hub is left alone, and only what is on this machine is used.
        lent: makes of a `Task` one that runs on a GPU of another process; none, and the device is this process's.

    Raises:
        ModelError: the model cannot be found or loaded, or has no chat template.
    """

    def __init__(
        self, location: str, name: str, local_files_only: bool = False, lent: Callable[[Task], Task] | None = None
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.name = name
        self._torch = torch
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                location, trust_remote_code=False, local_files_only=local_files_only
            )
            model: Any = AutoModelForCausalLM.from_pretrained(
                location,
                dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=local_files_only,
            )
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(
                f"The model {name} cannot be loaded ({reason}): set ASSISTANT_MODEL to a name that "
                "`python -m assistant weights` lists, a .gguf file, a folder or a hub id that can be reached."
            ) from error
        if not self._tokenizer.chat_template:
            raise ModelError(f"The model {name} has no chat template: choose one that was trained to chat.")
        self._model = model.eval()
        limit = int(getattr(self._model.config, "max_position_embeddings", CONTEXT_TOKENS))
        self._context_tokens = min(CONTEXT_TOKENS, limit)
        self._ends = _ends(self._model, self._tokenizer)
        self._lock = Lock()
        self.is_concurrent = lent is None
        self._generated: Task = lent(self._generate) if lent else self._generate
        if not lent:
            self._device()

    def stream(
        self, messages: Sequence[Message], max_tokens: int, stop: Event, attempt: int = 0, bias: Bias = ()
    ) -> Iterator[Token]:
        """Decode greedily, or sampled where ``attempt`` is not 0; a stop is noticed at the next token.

        Raises:
            ModelError: prompt and answer do not fit the context.
        """
        with self._lock:  # the tokenizer is no more for several threads than the model
            prompt = self._prompt(messages)
            added = {self._tokens(text, False)[0]: value for text, value in bias}
        if len(prompt) + max_tokens > self._context_tokens:
            raise ModelError(
                f"A prompt of {len(prompt)} tokens and an answer of {max_tokens} do not fit the "
                f"{self._context_tokens} tokens of {self.name}: ask a shorter question."
            )
        growing = GrowingText(lambda answer: str(self._tokenizer.decode(answer, skip_special_tokens=True)))
        with closing(self._generated(prompt, max_tokens, attempt, added)) as tokens:
            while not stop.is_set():
                # token by token: who reads an answer may ask something else meanwhile
                with self._lock:
                    token = next(tokens, None)
                if token is None:
                    return
                yield Token(growing.add(token), len(prompt), 0)

    def read_ahead(self, messages: Sequence[Message], stop: Event) -> bool:
        """This engine keeps nothing: a GPU reads a prompt in less time than a state would take to come from disk."""
        return False

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        parts = render(messages, self._filled)
        return [token for part in parts for token in self._tokens(part.text, part.is_template)]

    def _generate(
        self, prompt: list[int], max_tokens: int, attempt: int, added: Mapping[int, float]
    ) -> Generator[int, None, None]:
        """A `Task`: the tokens of an answer, until its end."""
        model, device, memory = self._model, self._device(), self._memory()
        unread = prompt
        for _ in range(max_tokens):
            with self._torch.inference_mode():
                output = model(input_ids=self._torch.tensor([unread], device=device), use_cache=True, **memory)
            token = self._chosen(output.logits[0, -1], attempt, added)
            if token in self._ends:
                return
            unread = [token]
            yield token

    def _chosen(self, logits: Any, attempt: int, added: Mapping[int, float]) -> int:
        """The likeliest token, or one that is drawn; with what is ``added`` to the logits of some."""
        if added:
            logits = logits.float().clone()
            for token, value in added.items():
                logits[token] += value
        if not attempt:
            return int(logits.argmax())
        return int(self._torch.multinomial((logits.float() / TEMPERATURE).softmax(-1), 1))

    def _device(self) -> str:
        """Where the model is now: on the GPU, if the process that asks has one."""
        device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._model.to(device)
        return device

    def _memory(self) -> dict[str, Any]:
        """A new memory, under the name that this version of transformers has for it."""
        from transformers import DynamicCache

        names = inspect.signature(self._model.forward).parameters
        return {"cache" if "cache" in names else "past_key_values": DynamicCache(config=self._model.config)}

    def _filled(self, messages: list[tuple[Role, str]]) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _tokens(self, text: str, is_template: bool) -> list[int]:
        encoded = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not is_template)
        return list(encoded)

    def close(self) -> None:
        """Give the memory back; the model cannot be used afterwards."""
        with self._lock:
            self._model = None


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a turn: the generation settings may name several."""
    configured = model.generation_config.eos_token_id
    ends = configured if isinstance(configured, list) else [configured, tokenizer.eos_token_id]
    return frozenset(token for token in ends if token is not None)
