"""Text → the words that a full-text query is made of, the numbers and identifiers in it, and what cites."""

from __future__ import annotations

import re

CITATION = re.compile(r"(?<!\w)\[(\d+)\]")
"""A citation in an answer, such as ``[1]``; the index in ``readings[0]`` is none."""
_STOP_WORDS = frozenset(
    "a about an and are as at be been but by can could did do does for from had has have how i if in into is it "
    "its me many much my no not of on or our s should so than that the their them then there these they this "
    "those to us was we were what when where which who whom whose why will with would you your t tell give "
    "explain".split()
)
_UNITS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNIT_NUMBERS = {word: number for number, word in enumerate(f"{_UNITS} nineteen".split(), 2)}
_TENS_NUMBERS = {word: 10 * number for number, word in enumerate(_TENS.split(), 2)}
# without "one" alone, which is most often no number
_NUMBER_WORDS = {
    **_UNIT_NUMBERS,
    **_TENS_NUMBERS,
    "hundred": 100,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
}
_COMPOUND = re.compile(rf"\b({'|'.join(_TENS.split())})[- ]({'|'.join(('one', *_UNITS.split()[:8]))})\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_IDENTIFIER = re.compile(r"\w+(?:[-.:/]\w+)*")


def content_words(text: str) -> list[str]:
    """The words of ``text`` to search for, once each and in order, in lower case.

    An identifier with a digit (``E-1047``, ``1.10``) is there whole, beside its parts. A stop word in capitals ("IT")
    is a word like any other, unless all of the text is in capitals.
    """
    shouted = text.isupper()
    found: list[str] = []
    for word in _IDENTIFIER.findall(text):
        parts = re.findall(r"\w+", word)
        if len(parts) > 1 and any(character.isdigit() for character in word):
            found.append(word.lower())
        found += [
            part.lower()
            for part in parts
            if part.lower() not in _STOP_WORDS or (part.isupper() and len(part) > 1 and not shouted)
        ]
    return list(dict.fromkeys(found))


def numbers(text: str) -> frozenset[str]:
    """The numbers in ``text``, in digits and without separators of thousands, also those written as words."""
    digits = {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(text)}
    lower = text.lower()
    compounds = {str(_TENS_NUMBERS[ten] + _UNIT_NUMBERS.get(unit, 1)) for ten, unit in _COMPOUND.findall(lower)}
    words = re.findall(r"[a-z]+", _COMPOUND.sub(" ", lower))
    return frozenset(digits | compounds | {str(_NUMBER_WORDS[word]) for word in words if word in _NUMBER_WORDS})


def identifiers(text: str) -> frozenset[str]:
    """The words of ``text`` that mix letters and digits, such as ``E-1047`` or ``GPT-4``, in lower case."""
    words = _IDENTIFIER.findall(text)
    return frozenset(word.lower() for word in words if re.search(r"\d", word) and re.search(r"[^\W\d_]", word))
