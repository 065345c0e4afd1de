"""What a model writes around what it has to say: taken off, or taken as a sign.

Small models number, begin with "Yes", say where they have it from, or break off. This module knows how that looks in
English; whether what is said is true it does not know.
"""

from __future__ import annotations

import re

from assistant.prompting import NO, YES

_NUMBERED = re.compile(r"\s*\[\d+\]\s*")
_SAID_TO_BE_STATED = re.compile(
    rf"^(?:{YES}[.,:]\s+)?"
    r"(?:(?:(?:in|according to) )?the (?:passages?|documents?),?|it also)\s+"
    r"(?:(?:it |also )?(?:states?|mentions?|says?|notes?|explains?)\s+that\s+|(?<=,\s))",
    re.IGNORECASE,
)
_STATED_TOO = re.compile(r"^((?:(?!\bth(?:at|is)\b).)*) and that (?=\w)")
"""What went on from "The passage states that", which is not there any more."""
_LOWER = re.compile(r"[a-z]+(?:-[a-z]+)*(?=[\s,])")
_WHOLE = re.compile(r"[.!…:;][\"'”’)\]*_]*$")
"""What a whole sentence ends with that says something, and asks nothing; an item of a list may end without."""
_ITEM = re.compile(r"(?:[-*+•]|\d[.)])\s*$")
_NOT_FOUND = re.compile(rf"{NO}|(?:[\w']+ ){{0,4}}not?(?: \w+){{0,2}} in the (?:documents|passages)", re.IGNORECASE)
"""`NOT_FOUND`, and what models make of it: "It is not in the documents", "No in the documents"."""


def plainly(sentence: str) -> str:
    """``sentence`` without bracketed numbers, which mean nothing, and without "The passage states that".

    Nothing is left of a mere "Yes.".
    """
    sentence = _NUMBERED.sub(" ", sentence).strip()
    sentence = _without_lone_mark(_SAID_TO_BE_STATED.sub("", sentence))
    sentence = _STATED_TOO.sub(r"\1 and ", sentence)
    if sentence.rstrip(".") == YES:
        return ""
    # as it goes on from a beginning that nobody sees; names such as "gpt-2" and "iPhone" are no such words
    return sentence[:1].upper() + sentence[1:] if _LOWER.match(sentence) else sentence


def _without_lone_mark(sentence: str) -> str:
    """Without a quotation mark at one end whose other one stands in another sentence, or nowhere."""
    if sentence.count('"') == 1:
        return sentence.removeprefix('"').removesuffix('"')
    return sentence


def is_whole(lead: str, sentence: str) -> bool:
    """Whether it is a sentence, or an item of a list; a name alone is in many passages, and says nothing."""
    return bool(_WHOLE.search(sentence) or _ITEM.search(lead))


def says_not_found(sentence: str) -> bool:
    """Whether the model says that the passages do not answer, in the words it was given or nearly so."""
    return bool(_NOT_FOUND.fullmatch(sentence.strip(" .*\"'")))
