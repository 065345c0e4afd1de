"""A sentence and its evidence: what must agree beside words and meaning.

A sentence can share nearly all its words with its evidence and say something else: another number, another name, the
contrary, the same of somebody else, more of it, another deed, or who did it to whom turned round. Each rule here looks
for one of these. They read no grammar: a name is a word with a capital that does not begin a sentence, a subject is
what stands before the first auxiliary verb, denied is what stands near a "not", and a name's place is told by the words
beside it.
Not noticed: relations between words that are no names, and a false name at the beginning that is not known to be one.
For English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from itertools import combinations, pairwise

from assistant.words import numbers, stems

SUBJECT_SHARE = 0.5
"""The least share of the subject's content words that must stand in the evidence."""
BESIDE = 2
"""Words before and behind a name that tell its place in a sentence."""
EXCHANGED = 2
"""By so many of these words two names must fit better into each other's places to be called exchanged."""
NAME_GAP = 3
"""How far behind one part of a name the next may stand in the evidence: "Robert Lee", "Robert E. Lee"."""
WORDS_DENIED = 2
"""Content words behind the negation of a claim, one of which the evidence must deny."""
WORDS_BEFORE, WORDS_BEHIND = 4, 7
"""The words around a negation of the evidence that count as denied by it, itself among those behind."""
SAME_WORDS = 0.7
"""A claim with this share of the words of a sentence that denies something must deny something too."""

_NUMBERED_NAME = re.compile(r"\b[A-Za-z]+[-.]?\d[\w.-]*")
# not at the beginning of a sentence, where every word has a capital
_NAME = re.compile(r"(?<!^)(?<![.!?:] )\b(?!I['’])[A-Z][\w'’-]+")
# "not only" and the like deny nothing
_NEGATION = re.compile(
    r"\b(?:not|never|cannot|no|nor|neither|none)\b(?! (?:only|just|necessarily|longer|more|less)\b)|n['’]t\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|never|cannot|no|nor|without|neither|none|unable|fail\w*|lack\w*|rather than|instead of|"
    r"un(?:known|clear|disclosed|likely|reliable|published|solved|proven)|impossible|incapable|inability)\b|n ?['’]t\b",
    re.IGNORECASE,
)
POINTS_BACK = re.compile(r"(?:This|These|That|Those|Such|It|They|He|She|There|However|Moreover|Also)\b")
"""What a subject that points back, or an opening word, begins with."""
# written like names, but they name no one thing: a document may say "language model" where an answer says "LLM"
_COMMON = frozenset("AI ML NLP LLM LLMs GPU GPUs CPU CPUs API APIs IT".split())
_DEFINED = re.compile(r"([^,;:]{1,60}?) (?:means? (?!of\b)|(?:is|are) called\b|stands? for\b|refers? to\b)")
# what a thing is said to be, and how a sentence says it: by its verb, or behind a comma, a colon, or in brackets
_IS = re.compile(r"(?:So, )?(?:An? |The )?([^,;:]{1,60}?) (?:is|are) (?:an?|any|the|one of|just|simply)\b")
_SAYS_WHAT = re.compile(
    r"\b(?:is|are|was|were|means?|stands? for|refers? to|called|known as|such as|include[sd]?)\b|:"
    r"|[,(–—] ?(?:an?|the|which)\b"
)
_ABBREVIATION = re.compile(r"[A-Z]{2,}s?")
_PERSON = re.compile(r"\b(?:he|she|him|his|her|hers)\b")
_LONG_NAME = re.compile(r"\b[A-Z][\w'’]+(?: [A-Z][\w'’]+)+")
_DEGREE = re.compile(
    r"\b(?:first|last|all|every|always|most|least|best|worst|greatest|largest|biggest|smallest|highest|lowest|fastest|"
    r"slowest|oldest|newest|latest|earliest|longest|shortest|strongest|weakest|cheapest|simplest|easiest|hardest)\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(
    r"\b((?!other\b|rather\b)\w+er|more|less|worse)\b(?=(?: [\w-]+){0,3} than\b(?! \d| an? | one ))", re.IGNORECASE
)
# the deed that somebody named did
_DONE_BY = re.compile(r"\b(\w+(?:ed|en)|made|built|led|won|sold) by (?:the )?[A-Z]")
_REPEATED = re.compile(r"\b(\d{2,}(?:[.,]\d+)*)\b(?=.*(?<![\d.,])\1\b)")
# what is counted; behind a year stands anything
_COUNTED = re.compile(r"(?<![\w.,-])(?!(?:1[5-9]|20)\d\d\b)(\d+(?:[.,]\d+)*)[ -]([A-Za-z][\w-]+)")
_POINTS_UP = re.compile(r"\b(?:[Ii]ts?|[Tt]hey|[Tt]heir|[Hh]er?|[Ss]he|[Hh]is|[Tt]h(?:is|ese|ose))\b")
_BEHIND_HEAD = re.compile(r"[,(–—]| (?:by|of|in|for|from|with|that|which|on|at|to) ")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|can|could|will|would|does|did|may|must|should)\b")
_WORD = re.compile(r"[\w'’-]+")


@dataclass(frozen=True, slots=True)
class Stated:
    """A sentence of a document, the headings above it, and the sentence before it ("" where there is none)."""

    sentence: str
    headings: str
    before: str


def disagreement(claim: str, evidence: Sequence[Stated], asked: str = "", names: Set[str] = frozenset()) -> str:
    """What in ``claim`` the evidence does not bear out: the name of the first rule that it breaks; "" for none.

    Args:
        asked: a question that the evidence is known to answer; a claim may take its subject from it.
        names: words that are known to be names (see `names_in`); they are at the beginning of the claim, too.
    """
    # the rules tell a name by its capital, which any first word has
    claim = f"So, {claim}" if _bare(claim.split(maxsplit=1)[0].rstrip(",:")) in names else claim
    return next((name for name, holds in RULES.items() if not holds(claim, evidence, asked)), "")


def names_in(text: str) -> frozenset[str]:
    """The words of a sentence that its capitals show to be names, those within it: in lower case, without "'s"."""
    return frozenset(map(_bare, names_as_written(text)))


def names_as_written(text: str) -> list[str]:
    """The same, each once, as they stand there and in their order, without "'s"."""
    return list(dict.fromkeys(re.sub("['’]s$", "", name) for name in _NAME.findall(text)))


def is_foreign(claim: str, evidence: Sequence[Stated]) -> bool:
    """Whether ``claim`` tells a number or a name that stands nowhere in the evidence."""
    return not (numbers(claim) <= numbers(_all_text(evidence)) and _names(claim, evidence, ""))


def particular_names(text: str) -> list[str]:
    """The names in ``text`` as they stand there, without those that name no one thing, such as "LLM"."""
    return [name for name in _NAME.findall(text) if name not in _COMMON]


def numbered_names(text: str) -> frozenset[str]:
    """The names in ``text`` that carry a number, such as GPT-4 or DINOv2, in lower case."""
    return frozenset(name.rstrip(".").lower() for name in _NUMBERED_NAME.findall(text))


def _numbers(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """Every number stands in a sentence that also holds the names with numbers that the claim gives it to.

    What is counted stands in the evidence too, and a number is told twice only where the evidence tells it twice.
    """
    known = _all_text(evidence)
    if not all(_is_counted(number, word, known) for number, word in _COUNTED.findall(claim)):
        return False
    if any(known.count(number) < 2 for number in _REPEATED.findall(claim)):
        return False
    named = numbered_names(claim)
    texts = [_with_subject(stated) for stated in evidence]
    # "GPT-4 is large" and "GPT-3 has 175 billion" do not make "GPT-4 has 175 billion"
    return all(
        any(number in numbers(text) and named <= numbered_names(text) for text in texts) for number in numbers(claim)
    )


def _is_counted(number: str, word: str, text: str) -> bool:
    """Whether the text has the word for what is counted, or behind the number one with its initial: "9.7 m"."""
    behind: list[str] = re.findall(rf"(?<![\d.,]){re.escape(number)}\s?([A-Za-z])", text)
    return set(stems(word)) <= set(stems(text)) or word[0].lower() in "".join(behind).lower()


def _with_subject(stated: Stated) -> str:
    """The sentence below its headings; behind the one before where it names nothing that carries a number itself."""
    before = "" if numbered_names(stated.sentence) else " ".join(numbered_names(stated.before))
    return f"{before} {stated.sentence} {stated.headings}"


def _names(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """Every name stands in the evidence, its headings, or the sentence before, which "he" and "it" point to."""
    text = _all_text(evidence)
    known = set(stems(text))
    initials = "".join(word[0] for word in _WORD.findall(f"{claim} {text}")).lower()
    for name in particular_names(claim):
        is_spelt_out = _ABBREVIATION.fullmatch(name) and name.rstrip("s").lower() in initials
        if not set(stems(name)) <= known and not is_spelt_out:
            return False
    return True


def _parts_of_names(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """What stands together in a name of several words stands together in the evidence too, if all of it is there."""
    texts = [[_bare(word) for word in _WORD.findall(f"{s.before} {s.sentence} {s.headings}")] for s in evidence]
    known = frozenset().union(*texts)
    near = {
        (word, next_one)
        for text in texts
        for place, word in enumerate(text)
        for next_one in text[place + 1 : place + 1 + NAME_GAP]
    }
    # "In" at the beginning of a sentence is no part of a name
    names = ([_bare(word) for word in name.split() if stems(word)] for name in _LONG_NAME.findall(claim))
    return all(pair in near for name in names for pair in pairwise(name) if known.issuperset(pair))


def _negation(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """What a claim denies the evidence denies too, and the other way round where they are nearly the same."""
    denied = frozenset().union(*(_denied_by(stated.sentence) for stated in evidence))
    for negation in _NEGATION.finditer(claim):
        if not denied & frozenset(stems(claim[negation.end() :])[:WORDS_DENIED]):
            return False
    if _NEGATED.search(claim) or not _NEGATION.search(evidence[0].sentence):
        return True
    words = frozenset(stems(evidence[0].sentence))
    return len(words & frozenset(stems(claim))) / max(1, len(words)) < SAME_WORDS


def _denied_by(sentence: str) -> frozenset[str]:
    """Stems of the words around the negations of ``sentence``."""
    around = (
        [
            *_WORD.findall(sentence[: denied.start()])[-WORDS_BEFORE:],
            *_WORD.findall(sentence[denied.start() :])[:WORDS_BEHIND],
        ]
        for denied in _NEGATED.finditer(sentence)
    )
    return frozenset(stems(" ".join(word for words in around for word in words)))


def _degree(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """The evidence too says "best", "first" or "all" where the claim does, and "higher" where it says "higher than"."""
    known = set(_WORD.findall(_all_text(evidence).lower()))
    return all(word.lower() in known for word in [*_DEGREE.findall(claim), *_COMPARED.findall(claim)])


def _deed(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """What somebody named has done stands in the evidence: "founded by Mistral AI" is not borne out by a release."""
    return set(stems(" ".join(_DONE_BY.findall(claim)))) <= set(stems(_all_text(evidence)))


def _subject(claim: str, evidence: Sequence[Stated], asked: str) -> bool:
    """The evidence speaks of what the claim speaks of, or answers the question that this was taken from.

    What is defined must stand in the evidence whole: "few-shot learning" and "zero-shot learning" share a word. Where a
    claim says "he" or "she", the evidence says so too: "He released Mistral 7B" is not borne out by a firm's release.
    """
    text = _all_text(evidence)
    if not set(_PERSON.findall(claim.lower())) <= set(_PERSON.findall(text.lower())):
        return False
    if POINTS_BACK.match(claim):
        return True
    if defined := _DEFINED.match(claim):
        return set(stems(defined[1])) <= set(stems(text))
    verb = _VERB.search(claim)
    words = set(stems(claim[: verb.start()] if verb else " ".join(claim.split()[:4])))
    told_of = set(stems(asked)).union(*(_told_of(words, stated) for stated in evidence))
    return not words or len(words & told_of) / len(words) >= SUBJECT_SHARE


def _told_of(words: Set[str], stated: Stated) -> set[str]:
    """What the sentence may be about: its words, those before it, and of a heading that says more than ``words`` none.

    Where it points up with "it" or "this", all headings may be meant.
    """
    if _POINTS_UP.search(stated.sentence):
        return set(stems(_all_text([stated])))
    said = set(stems(f"{stated.before} {stated.sentence}"))
    return said.union(*(heading for heading in _headings(stated) if heading <= words))


def _headings(stated: Stated) -> list[set[str]]:
    """The stems of each heading above the sentence."""
    return [set(stems(heading)) for heading in stated.headings.split(": ")]


def _definition(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """What a claim says a thing is, the evidence says of this thing: named in a sentence, or alone in a heading above.

    Below "Types of foundation models" much is said of models that are small, or that run on a laptop.
    """
    defined = _IS.match(claim)
    words = set(stems(defined[1])) if defined and not POINTS_BACK.match(claim) else set()
    told = set(stems(claim))
    return not words or any(
        _is_about(words, told, stated) and _SAYS_WHAT.search(stated.sentence) for stated in evidence
    )


def _is_about(words: Set[str], told: Set[str], stated: Stated) -> bool:
    """Whether it is said of what ``words`` name, among all that is ``told``; "it" may be anything above."""
    if words in _headings(stated):
        return True
    text = _all_text([stated]) if POINTS_BACK.match(stated.sentence) else stated.sentence
    # "the foundation model era is …" tells of no foundation model, unless it is told that this is an era
    verb = _VERB.search(stated.sentence)
    head = stems(_BEHIND_HEAD.split(stated.sentence[: verb.start()])[0]) if verb else []
    return words <= set(stems(text)) and (not words <= set(head) or head[-1] in told)


def _places(claim: str, evidence: Sequence[Stated], _: str) -> bool:
    """No two names stand between the words that stand beside the other one in the evidence."""
    words = [_bare(word) for word in _WORD.findall(claim)]
    spans = _name_spans(claim)
    named = {word for start, end in spans for word in words[start:end]}
    for stated in evidence:
        text = [_bare(word) for word in _WORD.findall(stated.sentence)]
        beside = []
        for start, end in spans:
            name = words[start:end]
            if found := _found(name, text):
                beside.append((name, _beside(words, [(start, end)], named), _beside(text, found, named)))
        for (name, own, theirs), (other, own_of_other, theirs_of_other) in combinations(beside, 2):
            kept = len(own & theirs) + len(own_of_other & theirs_of_other)
            exchanged = len(own & theirs_of_other) + len(own_of_other & theirs)
            if exchanged >= kept + EXCHANGED and set(name).isdisjoint(other):
                return False
    return True


def _name_spans(text: str) -> list[tuple[int, int]]:
    """The names in ``text``, several words of one together, as places in its list of words."""
    spans: list[tuple[int, int]] = []
    end = -1
    for place, match in enumerate(_WORD.finditer(text)):
        word = match.group()
        is_name = word[0].isupper() and len(word) > 1 and bool(place or stems(word))
        if is_name and spans and spans[-1][1] == place and text[end : match.start()] == " ":
            spans[-1] = (spans[-1][0], place + 1)
        elif is_name:
            spans.append((place, place + 1))
        end = match.end()
    return spans


def _found(name: Sequence[str], text: Sequence[str]) -> list[tuple[int, int]]:
    """Where the whole name stands in ``text``, or else each of its words."""
    size = len(name)
    whole = [(place, place + size) for place in range(len(text) - size + 1) if text[place : place + size] == name]
    return whole or [(place, place + 1) for place, word in enumerate(text) if word in name]


def _beside(words: Sequence[str], spans: Sequence[tuple[int, int]], named: Set[str]) -> set[tuple[str, str]]:
    """The words before and behind these places that are no names, each with its side."""
    return {
        (side, word)
        for start, end in spans
        for side, some in (
            ("before", words[max(0, start - BESIDE) : start]),
            ("behind", words[end : end + BESIDE]),
        )
        for word in some
        if word not in named
    }


def _all_text(evidence: Sequence[Stated]) -> str:
    return " ".join(f"{stated.before} {stated.sentence} {stated.headings}" for stated in evidence)


def _bare(word: str) -> str:
    return word.lower().replace("’", "'").removesuffix("'s")


RULES: dict[str, Callable[[str, Sequence[Stated], str], bool]] = {
    "number": _numbers,
    "name": _names,
    "parts of a name": _parts_of_names,
    "negation": _negation,
    "degree": _degree,
    "deed": _deed,
    "subject": _subject,
    "definition": _definition,
    "places": _places,
}
