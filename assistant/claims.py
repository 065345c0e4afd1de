"""A sentence and its evidence: what must agree beside words and meaning.

A sentence can share nearly all its words with its evidence and say something else: another number, another name, the
contrary, the same of somebody else, or who did it to whom turned round. Each rule here looks for one of these. They
read no grammar: a name is a word with a capital, a subject is what stands before the first auxiliary verb. Relations
between words that are no names are not checked. For English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.words import numbers, stems

SUBJECT_SHARE = 0.5
"""The least share of the subject's content words that must stand in the evidence."""
FEWEST_ORDERED = 4
"""So many words, names apart, must keep their order before names that do not are called swapped."""

_NUMBERED_NAME = re.compile(r"\b[A-Za-z]+[-.]?\d[\w.-]*")
# not at the beginning of a sentence, where every word has a capital
_NAME = re.compile(r"(?<!^)(?<![.!?:] )\b[A-Z][\w'’-]+")
_NEGATION = re.compile(r"\b(?:not|never|cannot)\b|n['’]t\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:not|never|cannot|no|nor|without|neither|none)\b|n ?['’]t\b", re.IGNORECASE)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|can|could|will|would|does|did|may|must|should)\b")
_WORD = re.compile(r"[\w'’-]+")


@dataclass(frozen=True, slots=True)
class Stated:
    """A sentence of a document, the headings above it, and the sentence before it ("" where there is none)."""

    sentence: str
    headings: str
    before: str


def disagreement(claim: str, evidence: Sequence[Stated]) -> str:
    """What in ``claim`` the evidence does not bear out: the name of the first rule that it breaks; "" for none."""
    return next((name for name, holds in RULES.items() if not holds(claim, evidence)), "")


def numbered_names(text: str) -> frozenset[str]:
    """The names in ``text`` that carry a number, such as GPT-4 or DINOv2, in lower case."""
    return frozenset(name.rstrip(".").lower() for name in _NUMBERED_NAME.findall(text))


def _numbers(claim: str, evidence: Sequence[Stated]) -> bool:
    """Every number stands in a sentence that also holds the names with numbers that the claim gives it to."""
    named = numbered_names(claim)
    texts = [f"{stated.sentence} {stated.headings}" for stated in evidence]
    # "GPT-4 is large" and "GPT-3 has 175 billion" do not make "GPT-4 has 175 billion"
    return all(
        any(number in numbers(text) and named <= numbered_names(text) for text in texts) for number in numbers(claim)
    )


def _names(claim: str, evidence: Sequence[Stated]) -> bool:
    """Every name stands in the evidence, its headings, or the sentence before, which "he" and "it" point to."""
    text = _all_text(evidence)
    known = set(stems(text))
    lower = text.lower()
    return all(set(stems(name)) & known or name.lower() in lower for name in _NAME.findall(claim))


def _negation(claim: str, evidence: Sequence[Stated]) -> bool:
    """What the claim denies, the evidence denies too."""
    return not _NEGATION.search(claim) or any(_NEGATED.search(stated.sentence) for stated in evidence)


def _subject(claim: str, evidence: Sequence[Stated]) -> bool:
    """The evidence speaks of what the claim speaks of."""
    verb = _VERB.search(claim)
    words = set(stems(claim[: verb.start()] if verb else " ".join(claim.split()[:4])))
    return not words or len(words & set(stems(_all_text(evidence)))) / len(words) >= SUBJECT_SHARE


def _order(claim: str, evidence: Sequence[Stated]) -> bool:
    """Names do not stand the other way round in a sentence whose other words keep their order."""
    names = set(_NAME.findall(claim))
    for stated in evidence:
        words = [word.lower() for word in _WORD.findall(stated.sentence)]
        places = [
            (words.index(word.lower()), word in names)
            for word in _WORD.findall(claim)
            if words.count(word.lower()) == 1
        ]
        of_names = [place for place, is_name in places if is_name]
        others = [place for place, is_name in places if not is_name]
        if of_names != sorted(of_names) and others == sorted(others) and len(others) >= FEWEST_ORDERED:
            return False
    return True


def _all_text(evidence: Sequence[Stated]) -> str:
    return " ".join(f"{stated.before} {stated.sentence} {stated.headings}" for stated in evidence)


RULES: dict[str, Callable[[str, Sequence[Stated]], bool]] = {
    "number": _numbers,
    "name": _names,
    "negation": _negation,
    "subject": _subject,
    "order": _order,
}
