"""Conversation + question → a question that stands alone.

The decision is deterministic and cheap: a question that leans on what was said before is searched together with the
question before it, unless the documents have something nearer to it alone. What a pronoun means is not resolved; the
words that do are in the earlier question.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from assistant.types import Conversation
from assistant.words import content_words

SHORT = 3
"""A question with at most so many content words is taken to lean on the conversation."""

LONG = 8
"""A question with so many content words says what it is about, wherever it points."""

NAMED_BEFORE = 4
"""So many content words before a "they" or "that" name what it stands for."""

NAMED_IN_A_CLAUSE = 2
"""So many do in a clause of its own."""

NEARER_ALONE, OF_STRAYING = 0.05, 0.75
"""By so much cosine the documents are nearer to a question that asks something new than to it and the one before; what
the one before loses by being joined counts so much as well: two questions on one thing lose little."""

PREVIOUS_CHARACTERS = 600
"""What is beyond them in the question before is left out: it has to fit a prompt."""

# "is it legal to …" and "how much does it cost to …" point at nothing; "is it safe to use …" most often points back
_EXPLETIVE = re.compile(
    r"\b(?:is|was|isn['’]t|would) it(?: be)?(?: really| even| still)? "
    r"(?:legal|illegal|ok|okay|possible|allowed|true|normal|necessary|wrong|fair)"
    r"(?: that\b|(?= to\b| if\b| when\b| \w+ing\b))"
    r"|\b(?:does|did|will|would) it (?:cost|take)(?= to\b)",
    re.I,
)
_OPENING = re.compile(
    r"^\W*(?:(?:and|but|or|so|also|then|what about|how about|ok|okay|what else|more|else)\b|why(?: not)?\W*$)", re.I
)
# "what is …", "what does … mean", "how do … work": such a question names what it is about, be it ever so short
_NAMES_ITS_SUBJECT = re.compile(
    r"^\W*(?:(?:what|who)(?:['’]?s| is| are| was| were)|define|explain|describe"
    r"|(?:what|how|why) (?:do|does|did) (?!i\b|you\b|we\b|one\b|people\b))\b",
    re.I,
)
_REFERENCE = re.compile(
    r"\b(it|its|they|them|their|theirs|this|that|these|those|he|him|his|she|her|such|same|one|ones|former|latter|"
    r"first|second|other|others|another|above|previous|earlier|there|instead|both|each)\b",
    re.I,
)


def standalone(question: str, conversation: Conversation, nearness: Callable[[str], float]) -> str:
    """The text to search for, and to ask: ``question``, with the user's question before it if it leans on that one.

    Args:
        nearness: the cosine of a text and what is nearest to it in the documents.
    """
    previous = " ".join(next((turn.content for turn in reversed(conversation) if turn.role == "user"), "").split())
    if len(previous) > PREVIOUS_CHARACTERS:
        previous = previous[:PREVIOUS_CHARACTERS].rsplit(" ", 1)[0]
    if not previous or not leans(question):
        return question
    joined = f"{previous} {question}"
    together = nearness(joined)
    is_new = nearness(question) - together + OF_STRAYING * (nearness(previous) - together) >= NEARER_ALONE
    return question if is_new else joined


def _points_out(reference: re.Match[str], question: str) -> bool:
    """Whether it points out of the question: "they" or "that" behind several content words most often means these.

    So does "it" behind a clause that names its subject: "what does quantisation do to a model, is it still as good?"
    """
    before = question[: reference.start()]
    names = "," in before and _NAMES_ITS_SUBJECT.search(before)
    return len(content_words(before)) < (NAMED_IN_A_CLAUSE if names else NAMED_BEFORE)


def leans(question: str) -> bool:
    """Whether ``question`` can hardly be understood without what was said before."""
    words = len(content_words(question))
    if words >= LONG and not _OPENING.search(question):
        return False
    plain = _EXPLETIVE.sub(" ", question)
    if _OPENING.search(plain) or any(_points_out(reference, plain) for reference in _REFERENCE.finditer(plain)):
        return True
    return words <= SHORT and not _NAMES_ITS_SUBJECT.search(question)
