"""Which sentence of the documents may open an answer, before the model has read anything.

It must be whole, point back at nothing, and speak of all that the question names. How near it is to the question is
measured elsewhere. For English.
"""

from __future__ import annotations

import re

from assistant.claims import POINTS_BACK, Stated, numbered_names, particular_names
from assistant.words import numbers, stems

_WHAT_IS = re.compile(
    r"\W*(?:(?:what(?:['’]?s| is| are)|define)(?: (?!of\b|in\b|for\b|to\b|on\b|by\b|between\b)\S+){1,6}"
    r"|what do(?:es)?(?: \S+){1,6} mean)"
    # "in plain words", "in a nutshell", "for beginners", "please" ask for nothing else
    r"(?:,? (?:in (?:\S+ ){0,2}(?:words?|terms|language|english|sentences?|nutshell|short)"
    r"|for (?:an? |my |the )?(?:beginners?|dummies|kids?|child(?:ren)?|lay\w+)|please))*\W*$",
    re.IGNORECASE,
)
_DEFINES = re.compile(
    r"^(?!Whether\b)[^;:]{0,80}?\b"
    r"(?:(?:is|are) (?:an?|the|any|when|how|like|\w+ing)|means? (?:that|an?|the)|stands? for|refers? to)\b"
)


def asks_what_it_is(question: str) -> bool:
    """Whether ``question`` asks for a definition: "What is attention?", "what does RAG mean".

    One with "of" or "in" behind its term most often asks for a property of it, and is taken for none.
    """
    return bool(_WHAT_IS.match(" ".join(question.split())))


def defines(sentence: str) -> bool:
    """Whether ``sentence`` reads like a definition: "X is a …", "X means that …". Others are not noticed."""
    return bool(_DEFINES.search(sentence))


def opens(question: str, stated: Stated) -> bool:
    """Whether the sentence stands alone, and every name and number of the question in it or the headings above it."""
    text = f"{stated.sentence} {stated.headings}"
    return (
        stated.sentence.endswith((".", "!"))
        and not POINTS_BACK.match(stated.sentence)
        and set(stems(" ".join(particular_names(question)))) <= set(stems(text))
        and numbered_names(question) <= numbered_names(text)
        and numbers(question) <= numbers(text)
    )
