"""Text → content words, their stems, and numbers; for English. This module does not know what they are compared for."""

from __future__ import annotations

import re
from functools import lru_cache

import snowballstemmer

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
# without "one", which is most often no number
_NUMBER_WORDS = {
    **{word: str(number) for number, word in enumerate(f"{_UNITS} nineteen".split(), 2)},
    **{word: str(10 * number) for number, word in enumerate(_TENS.split(), 2)},
    **{"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"},
}
_PLURAL = re.compile(r"\b([A-Z]{2,})s\b")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_STEMMER = snowballstemmer.stemmer("english")


def content_words(text: str) -> list[str]:
    """The words of ``text`` that carry meaning, in lower case, in order and once each."""
    words = re.findall(r"\w+", text.lower())
    return list(dict.fromkeys(word for word in words if word not in _STOP_WORDS))


def stems(text: str) -> list[str]:
    """Content words of ``text``, reduced to their stems."""
    # the stemmer leaves the plural of an abbreviation ("LLMs") as it is
    return [_stem(word) for word in content_words(_PLURAL.sub(r"\1", text))]


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return str(_STEMMER.stemWord(word))


def numbers(text: str) -> frozenset[str]:
    """The numbers in ``text``, in digits and without separators of thousands, also those written as words."""
    digits = {number.replace(",", "").rstrip(".") for number in _NUMBER.findall(text)}
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset(digits | {_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS})
