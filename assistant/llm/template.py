"""Messages → the model's own chat format, without letting any text forge it.

The chat template is filled with placeholders and cut at them. What the template wrote is tokenised with its special
tokens; what people and documents wrote is tokenised as plain text, so ``<|im_end|>`` in a document stays nine
characters. Pieces are tokenised apart, so the tokens of a piece never depend on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.schemas import Message, Role


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the prompt; ``is_template`` says whether special tokens in it have power."""

    text: str
    is_template: bool


def render(messages: Sequence[Message], apply: Callable[[list[tuple[Role, str]]], str]) -> list[Part]:
    """The whole prompt in parts; the assistant's turn is open, and holds what the last message has begun.

    Args:
        apply: fills the model's chat template with ``(role, content)`` pairs and opens the assistant's turn.
    """
    begun = messages[-1:] if messages[-1].role == "assistant" else ()
    slots = [(message.role, f"\ue000{number}\ue001") for number, message in enumerate(messages[: -len(begun) or None])]
    parts: list[Part] = []
    for position, text in enumerate(re.split("\ue000(\\d+)\ue001", apply(slots))):
        if position % 2:
            parts += [Part(piece, False) for piece in messages[int(text)].pieces if piece]
        elif text:
            parts.append(Part(text, True))
    return parts + [Part(piece, False) for message in begun for piece in message.pieces]


def as_sent(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages for a program that fills the template itself.

    An answer that was begun is left out: not every program goes on with it.
    """
    return [{"role": message.role, "content": message.text} for message in messages if message.role != "assistant"]
