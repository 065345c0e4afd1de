"""Does a first question point at something that nobody has named? "How much did this model cost?", "Who made it?"

The decision is deterministic and costs nothing. It reads no grammar and is made to be seldom wrong: only short
questions without any name count, in which "this" or "that" stands before a noun behind a preposition or a verb, or
nothing stands before "it" or "they" that these could mean. Most questions that could mean several things are not
noticed ("the actor", "the loan"). For English.
"""

from __future__ import annotations

import re

from assistant.types import Conversation
from assistant.words import content_words

MOST_WORDS = 12
"""A longer question says enough to be searched for."""
FEWEST_OTHER = 2
"""With so many content words beside its pronoun, a question says enough."""
FEWEST_IN_ALL = 4
"""With so many, also one that says "this" or "that": "how many languages was that starcoder thing taught?"."""

_NAME = re.compile(r"(?<!^)(?<![.!?] )\b(?!I\b|I['’]|AI\b|LLMs?\b)[A-Z][\w'’.-]+|\b\w*\d\w*")
_POINTING = re.compile(
    r"(?:^|\b(?:of|in|for|by|with|on|to|from|about|is|are|was|were|does|do|did|can|could|has|have|tell me)\s)"
    r"(?:this|that)\s+(?!(?:is|are|was|were|mean|means|way|time|year|years|week|month|season|world|century|kind|sort|all|one)\b)[a-z]+",
    re.IGNORECASE,
)
# behind its subject, as the suggestions put it that are made here
_NAMED = re.compile(r"\([^()]+\)\s*$")
_PRONOUN = re.compile(r"\b(?:it|they|them|he|him|she|her)\b", re.IGNORECASE)
_GENERIC = frozenset(
    "work works cost costs made make makes use used mean means get gets big large old new good best much long often "
    "come came first say said know like need does done released release available".split()
)


def points_at_nothing(question: str, conversation: Conversation) -> bool:
    """Whether ``question``, asked first, leaves open what it is about."""
    if conversation or len(question.split()) > MOST_WORDS or _NAME.search(question) or _NAMED.search(question):
        return False
    words = set(content_words(question)) - _GENERIC
    if _POINTING.search(question):
        return len(words) < FEWEST_IN_ALL
    pronoun = _PRONOUN.search(question)
    if not pronoun:
        return False
    before = set(content_words(question[: pronoun.start()])) - _GENERIC
    return not before and len(words - {pronoun[0].lower()}) < FEWEST_OTHER
