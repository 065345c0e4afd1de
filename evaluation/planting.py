"""Plants one error in a true sentence: a number, a name, a negation, two names swapped, two sentences joined falsely.

Every function returns the changed sentence, or ``None`` where it cannot be changed in that way. What is drawn is drawn
from the generator that is passed in. The rules are simple: now and then a planted "error" is still true.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

_NUMBER = re.compile(r"(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}(?: [A-Z][a-z]{2,})*")
_VERB = re.compile(r"\b(is|are|was|were|has|have|had|can|could|will|would|does|did|may|must|should)\b")
_NOT = re.compile(r"\b(?:not|never) |n't\b")


def number(sentence: str, rng: Random) -> str | None:
    """Another number in the place of one."""
    found = list(_NUMBER.finditer(sentence))
    if not found:
        return None
    match = rng.choice(found)
    plain = match[0].replace(",", "")
    other = f"{float(plain) + rng.choice([1.5, 2.5, 7.5]):g}" if "." in plain else str(int(plain) + rng.randint(1, 9))
    return sentence[: match.start()] + other + sentence[match.end() :]


def name(sentence: str, others: Sequence[str], rng: Random) -> str | None:
    """A name from elsewhere in the place of one."""
    found = list(_NAME.finditer(sentence))
    strange = [other for other in others if other not in sentence]
    if not found or not strange:
        return None
    match = rng.choice(found)
    return sentence[: match.start()] + rng.choice(strange) + sentence[match.end() :]


def negation(sentence: str, rng: Random) -> str | None:
    """The contrary: a "not" taken away, or one put behind the first verb that can bear it."""
    if _NOT.search(sentence):
        return _NOT.sub("", sentence, count=1)
    if match := _VERB.search(sentence):
        return f"{sentence[: match.end()]} not{sentence[match.end() :]}"
    return None


def swapped(sentence: str, rng: Random) -> str | None:
    """Two names that change places."""
    found = list(_NAME.finditer(sentence))
    pairs = [(a, b) for i, a in enumerate(found) for b in found[i + 1 :] if a[0] != b[0]]
    if not pairs:
        return None
    a, b = rng.choice(pairs)
    middle = sentence[a.end() : b.start()]
    return f"{sentence[: a.start()]}{b[0]}{middle}{a[0]}{sentence[b.end() :]}"


def joined(sentence: str, other: str) -> str | None:
    """What one sentence is about, with what another says."""
    subject, predicate = _VERB.search(sentence), _VERB.search(other)
    if not subject or not predicate or len(other) - predicate.start() < 30:
        return None
    return sentence[: subject.start()] + other[predicate.start() :]


def names(sentence: str) -> list[str]:
    """The names that `name` could replace."""
    return _NAME.findall(sentence)
