"""Sentences of a document that give orders to the machine that reads it.

A document may be poisoned: "ignore your instructions", a faked end of the passages, a chat template's own tokens. Such
a sentence is no evidence for anything, so it is neither read by the model nor cited. What stands in quotation marks
is spoken of, not spoken, and stays. Not noticed: orders in other languages than English, those put in words that
nobody thought of, and documents that simply lie; what these make the model say must still be supported.
"""

from __future__ import annotations

import re

from assistant.sentences import sentence_spans

_SAY = r"(?:say|reply|respond|answer|write|print|output|repeat|mention|quote|cite)"
_MACHINE = r"(?:assistant|chatbot|AI|language model|LLM)"
_ORDERS = re.compile(
    "|".join(
        (
            # what nobody sees, and the tokens and tags by which prompts are put together
            r"<!--|<\|[\w ]{1,40}\|>|\[/?INST\]|<</?SYS>>",
            r"</?(?:s|system|assistant|user|passages?|documents?|instructions?)>",
            r"\b(?:ignore|disregard|forget|override)\b(?: \w+){0,4} (?:instructions?|prompts?|rules|orders)\b",
            r"\b(?:say|reply|respond|answer|output|print) (?:only|exactly)\b|\b(?:quote|cite) (?:me|this sentence)\b",
            rf"\b{_SAY}\b[^.]{{1,40}}\b(?:and nothing else|word for word|in (?:your|each|every) (?:answer|reply))\b",
            rf"\b{_MACHINE}(?:[,:] {_SAY}| (?:must|shall) {_SAY})\b|^\W*(?:system|note to the {_MACHINE})\s*:",
            rf"\b(?:orders?|instructs?|tells?|commands?) the {_MACHINE} to\b|\byou are no longer an? {_MACHINE}\b",
            r"^\W*(?:end of the (?:passages|documents)|do not answer the question)\b",
        )
    ),
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“«][^\"”»]*[\"”»]")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")


def is_order(sentence: str) -> bool:
    """Whether ``sentence`` tells the machine that reads it what to do."""
    return bool(_ORDERS.search(_QUOTED.sub('""', _INVISIBLE.sub("", sentence))))


def without_orders(text: str) -> str:
    """``text`` without the sentences that are orders."""
    for start, end in reversed([span for span in sentence_spans(text) if is_order(text[slice(*span)])]):
        text = text[:start] + text[end:].lstrip(" ")
    return text
