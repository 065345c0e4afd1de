"""Sentences of a document that give orders to the machine that reads it.

A document may be poisoned: "ignore your instructions", a faked end of the passages, a chat template's own tokens. Such
a sentence is no evidence for anything, so it is neither read by the model nor cited. What stands in quotation marks
is spoken of, not spoken, and stays. Not noticed: orders in other languages than English, those put in words that
nobody thought of, and documents that simply lie; what these make the model say must still be supported.
"""

from __future__ import annotations

import re

from assistant.sentences import COMMENT, sentence_spans

_SAY = r"(?:say|reply|respond|answer|print|output|repeat|mention|quote|cite)"
_IGNORE = r"\b(?:ignore|disregard|forget|override)\b"
_RULES = r"(?:instructions?|prompts?|rules|orders)\b"
_ORDERS = re.compile(
    "|".join(
        (
            # the tokens and tags by which prompts are put together
            r"<\|[\w ]{1,40}\|>|\[/?INST\]|<</?SYS>>",
            r"</?(?:s|system|assistant|user|passages?|documents?|instructions?)>",
            rf"{_IGNORE} (?:\w+ ){{0,2}}(?:your|all|any|previous|prior|earlier|above|these)\b(?: \w+){{0,3}} {_RULES}",
            rf"^\W*(?:please )?{_IGNORE}(?: \w+){{0,4}} {_RULES}",
            r"(?:^\W*|please |, |and |you (?:must|should) )(?:say|reply|respond|answer|output|print) (?:only|exactly)\b"
            r"(?! (?:from|if|in|when|what|why|how|where|who)\b)",
            rf"^\W*(?:please )?{_SAY}\b.{{1,60}}\b(?:and nothing else|word for word)\b",
            rf"^\W*(?:please )?{_SAY}\b.{{1,60}}\bin (?:your|each|every) (?:answer|reply)\b",
            rf"\b(?:quote|cite) (?:me|this sentence)\b|\bif you do not {_SAY} \S+ in your answer\b",
            rf"\b(?:assistant|chatbot)(?:[,:] {_SAY}| (?:must|shall) {_SAY})\b",
            r"^\W*note to the (?:assistant|AI|model)\s*:",
            r"^\W*system\s*:.*\b(?:you|your|answers?|reply|assistant|rules?|instructions?)\b",
            r"\b(?:orders|commands) the (?:assistant|chatbot) to\b|\byou are no longer an? (?:assistant|AI|chatbot)\b",
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
    """``text`` without the sentences that are orders, and without what nobody sees (HTML comments)."""
    text = COMMENT.sub("", text)
    for start, end in reversed([span for span in sentence_spans(text) if is_order(text[slice(*span)])]):
        text = text[:start] + text[end:].lstrip(" ")
    return text
