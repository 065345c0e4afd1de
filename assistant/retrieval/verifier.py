"""A sentence → what in the passages supports it, as citations.

The evidence for a sentence is one sentence of a passage, or two of the same passage, below their headings; or a whole
list. Which it is, the judge's score says (`retrieval.judge`). Citations are made here, from the documents' own text;
the model has no say in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assistant.ingestion.chunker import plain_text, visible
from assistant.ingestion.sentences import list_spans, sentence_spans
from assistant.retrieval.hybrid_search import Retriever, max_similarity
from assistant.retrieval.judge import (
    CrossEncoderJudge,
    Match,
    match,
    missing_facts,
    relevance_features,
    scales,
    support_features,
)
from assistant.schemas import Chunk, Citation, Encoding, SearchResult, Vectors
from assistant.words import CITATION

ITEM = 0.8
"""An item of a list with at least so high a token similarity to a sentence is in it."""
_REFUSALS = ("This is not mentioned in the passages.", "The passages do not say.")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """A part of a passage that can be evidence: a sentence, or a whole list with ``items``."""

    chunk: Chunk
    start: int
    end: int
    encoding: Encoding
    items: tuple[tuple[int, int], ...] = ()

    @property
    def quote(self) -> str:
        """As it stands in the document."""
        return self.chunk.text[self.start : self.end]

    def citation(self, number: int) -> Citation:
        """This span as a citation."""
        return cite(self.chunk, self.start, self.end, number)


def cite(chunk: Chunk, start: int, end: int, number: int) -> Citation:
    """The characters ``start`` to ``end`` of a passage as a citation."""
    first = chunk.start_line + chunk.text.count("\n", 0, start)
    quote = chunk.text[start:end]
    return Citation(
        number=number,
        document=chunk.document,
        title=chunk.title,
        heading=chunk.headings[-1] if chunk.headings else "",
        quote=quote,
        start_line=first,
        end_line=first + quote.count("\n"),
        page=chunk.page,
        offset=chunk.offset + start,
    )


def spans_of(result: SearchResult) -> list[Span]:
    """The sentences of a passage, in order, then its lists."""
    chunk, encoding = result.chunk, result.encoding
    if encoding is None:
        return []

    def part(start: int, end: int) -> Encoding:
        return encoding.part(start + chunk.text_offset, end + chunk.text_offset)

    sentences = [Span(chunk, start, end, part(start, end)) for start, end in sentence_spans(chunk.text)]
    lists = [Span(chunk, s, e, part(s, e), tuple(items)) for s, e, items in list_spans(chunk.text)]
    return sentences + lists


class Verifier:
    """Holds sentences against the passages of one search.

    Args:
        question: as it stands alone.
        results: what the search found for it, best first.
        judge: in the place of the fitted scores.
        confirm: whether a claim, the first text, follows from evidence, the second. It is asked last, because it takes
            longest. Similarity does not tell "cheaper" from "dearer"; a language model that reads nothing but the
            evidence mostly does.
    """

    def __init__(
        self,
        retriever: Retriever,
        question: str,
        results: Sequence[SearchResult],
        judge: CrossEncoderJudge | None = None,
        confirm: Callable[[str, str], bool] = lambda claim, evidence: True,
    ) -> None:
        self._retriever = retriever
        self._judge = judge
        self._confirm = confirm
        self._question = question
        self._results = results
        self.spans = [spans_of(result) for result in results]

    @cached_property
    def relevance(self) -> float:
        """How likely the first passage answers the question, 0 to 1; and 0 when there is none."""
        if not self._results:
            return 0.0
        if self._judge:
            return self._judge.score(self._question, plain_text(self._results[0].chunk.embedding_text))
        encoding, weights = self._asked
        sentences = [span.encoding for span in self.spans[0]]
        return scales()["relevance"].score(relevance_features(encoding, weights, self._results, sentences))

    @property
    def is_relevant(self) -> bool:
        """Whether the first passage may answer the question."""
        return self.relevance >= self._threshold("relevance")

    def nearest(self, limit: int, of: slice = slice(None)) -> list[Span]:
        """The sentences nearest to the question, best first, among the results that ``of`` selects."""
        encoding, weights = self._asked
        found = [
            (max_similarity(encoding, weights, span.encoding), span)
            for spans in self.spans[of]
            for span in spans
            if not span.items
        ]
        found.sort(key=lambda entry: -entry[0])
        return [span for _, span in found[:limit]]

    def support(self, claim: str) -> list[Span]:
        """What supports ``claim``: one span, or two of one passage; empty when it is not supported."""
        # a number in brackets that the model wrote says nothing
        claim = CITATION.sub("", claim)
        words = plain_text(claim)
        if not any(character.isalnum() for character in words):
            return []

        def holds_facts(chunk: Chunk) -> bool:
            return not missing_facts(words, _read(chunk)) and code_stands(claim, visible(chunk.text))

        spans, score, _ = self.best(claim, holds_facts)
        if not spans or score < self._threshold("support"):
            return []
        chunk = spans[0].chunk
        quotes = [visible(span.quote) for span in spans]
        # a whole sentence of the document, word for word, needs no second look
        if _letters(claim) in map(_letters, (*quotes, " ".join(quotes))):
            return spans
        return spans if self._confirm(claim, f"{chunk.heading_path}. {' '.join(quotes)}") else []

    def is_foreign(self, claim: str) -> bool:
        """Whether ``claim`` holds a number or a name of no passage: the model has it from elsewhere."""
        texts = (_read(result.chunk) for result in self._results)
        return bool(missing_facts(plain_text(CITATION.sub("", claim)), "\n".join([self._question, *texts])))

    def is_refusal(self, claim: str) -> bool:
        """Whether ``claim`` says that the passages do not tell."""
        return any(self._retriever.says(claim, example) for example in _REFUSALS)

    def is_short_of_items(self, claim: str, spans: Sequence[Span]) -> bool:
        """Whether ``claim`` tells of a whole list at least half of the items, and leaves out some."""
        encoding = self._retriever.encode(plain_text(claim))
        for span in spans:
            told = 0
            for start, end in span.items:
                item = span.encoding.part(start + span.chunk.text_offset, end + span.chunk.text_offset)
                told += max_similarity(item, self._retriever.rarities(item), encoding) >= ITEM
            if len(span.items) <= 2 * told < 2 * len(span.items):
                return True
        return False

    def best(
        self, claim: str, may_hold: Callable[[Chunk], bool] = lambda _: True
    ) -> tuple[list[Span], float, list[float]]:
        """The best evidence for ``claim``, the score of its support, 0 to 1, and its features.

        Args:
            may_hold: which passages may be evidence.
        """
        encoding, weights = self._encoded(plain_text(claim))
        best: tuple[list[Span], float, list[float]] = ([], 0.0, [])
        # an answer repeats how it was asked
        asked = match(encoding, self._asked[0])
        for result, spans in zip(self._results, self.spans, strict=True):
            if result.encoding is None or not may_hold(result.chunk):
                continue
            passage = match(encoding, result.encoding).joined(asked)
            for chosen, found in _candidates(result, spans, encoding, weights, asked):
                backward = _backward(encoding, [span.encoding for span in chosen])
                features = support_features(encoding, weights, found, passage, backward)
                score = scales()["support"].score(features)
                if not best[0] or score > best[1]:
                    best = (chosen, score, features)
        if self._judge and best[0]:
            chunk = best[0][0].chunk
            quotes = " ".join(plain_text(span.quote) for span in best[0])
            return best[0], self._judge.score(plain_text(claim), f"{chunk.heading_path}. {quotes}"), best[2]
        return best

    @cached_property
    def _asked(self) -> tuple[Encoding, Vectors]:
        """The question, and how rare its tokens are."""
        return self._encoded(self._question)

    def _threshold(self, name: str) -> float:
        return CrossEncoderJudge.THRESHOLD if self._judge else scales()[name].threshold

    def _encoded(self, text: str) -> tuple[Encoding, Vectors]:
        encoding = self._retriever.encode(text)
        return encoding, self._retriever.rarities(encoding)


def _read(chunk: Chunk) -> str:
    """A passage below its headings, as a reader sees it."""
    return f"{chunk.heading_path}\n{visible(chunk.text)}"


def _letters(text: str) -> str:
    """The letters, digits and minus signs of ``text``, to compare wordings."""
    return "".join(character for character in plain_text(text).casefold() if character.isalnum() or character in "-−")


def _candidates(
    result: SearchResult, spans: Sequence[Span], claim: Encoding, weights: Vectors, asked: Match
) -> list[tuple[list[Span], Match]]:
    """The best evidence of one passage: its best span, and the best with a second one."""
    if not spans or result.encoding is None:
        return []
    headings = match(claim, result.encoding.part(0, result.chunk.text_offset)).joined(asked)
    found = [match(claim, span.encoding).joined(headings) for span in spans]

    def gain(matched: Match) -> float:
        return float((matched.similarity + matched.is_literal) @ weights)

    first = int(np.argmax([gain(matched) for matched in found]))
    if spans[first].items:
        # one item says it as well as the whole list, or nearly: then it is cited alone
        alone = [i for i, span in enumerate(spans) if not span.items]
        single = max(alone, key=lambda i: gain(found[i]), default=first)
        return [([spans[i]], found[i]) for i in dict.fromkeys((single, first))]
    pairs = [found[first].joined(matched) for matched in found]
    second = int(np.argmax([gain(pair) for pair in pairs]))
    both = [spans[i] for i in sorted({first, second})]
    single_one = ([spans[first]], found[first])
    return [single_one] if len(both) == 1 or spans[second].items else [single_one, (both, pairs[second])]


def _backward(claim: Encoding, evidence: Sequence[Encoding]) -> float:
    values = [token_max for part in evidence if len(part.ids) for token_max in match(part, claim).similarity]
    return float(np.mean(values)) if values else 0.0


def code_stands(claim: str, text: str) -> bool:
    """Whether all code in ``claim`` stands character for character in ``text``."""
    return all(code.strip() in text for code in _code_in(claim))


def _code_in(text: str) -> list[str]:
    found = []
    for _, code in _CODE.findall(text):
        # of a fenced block the first line names its language
        found.append(code.split("\n", 1)[1] if "\n" in code else code)
    return found
