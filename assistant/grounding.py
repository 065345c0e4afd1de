"""Sentence ↔ evidence: how near the passages are, what supports a sentence, what is cited.

A sentence of an answer is supported when one or two sentences of the passages hold most of its content words, mean
nearly the same (cosine of their embeddings), and do not disagree with it (see `claims`). Citations are made here, from
the documents' own sentences; the model has no say in them.

This module does not know how passages were found or how text is generated.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from threading import Lock

import numpy as np

from assistant.chunking import plain_text
from assistant.claims import Stated, disagreement, is_foreign, names_in
from assistant.orders import is_order
from assistant.sentences import sentence_spans
from assistant.types import Chunk, Citation, Embedder, SearchResult, Vectors
from assistant.words import numbers, stems

SUPPORT = 0.62
"""The least support (mean of word coverage and cosine) at which a sentence is shown."""
SUPPORT_COVERAGE = 0.7
"""The least share of its content words that must stand in the cited sentences and their headings."""
FEWEST_OWN = 2
"""In a sentence with fewer content words that are not in the question, those of the question count too."""
LEAST_COVERAGE = 0.5
"""The least share of all its content words, those of the question among them."""
PASSAGE_SHARE = 0.5
"""What a place in the best passage is worth, in cosine; in others it is worth less, by their fused score."""
WORDS_SHARE = 0.5
"""What it is worth, in cosine, that all content words of the question stand in a sentence or its headings."""
KNOWN = 0.75
"""A sentence with this share of its content words in what was said before says nothing new."""
SAME = 0.8
"""Sentences so near to each other (cosine) say the same in other words."""
MOST_POINTING = 2
"""A sentence with a link, and no more content words beside it, only points to another document."""
ASKED_FOR = 0.5
"""A sentence so near to the question (cosine) is taken to be about what the question is about."""
SECOND_GAIN = 0.15
"""A second sentence is cited when it raises the coverage by at least so much."""


_LINK = re.compile(r"\[[^\]]*\]\([^)]*\)")
_OF_THE_DOCUMENT = re.compile(
    r"(?:This|The) (?:document|glossary|page|section|chapter|article|overview|guide|timeline|table)"
    r" (?:explains?|describes?|covers?|lists?|gives?|shows?|summari[sz]es|contains?|discusses)\b"
)


@dataclass(frozen=True, slots=True)
class EvidenceSentence:
    """One sentence of a passage; ``start`` and ``end`` are offsets in the chunk's text."""

    chunk: Chunk
    start: int
    end: int

    @property
    def quote(self) -> str:
        """The sentence as it stands in the document."""
        return self.chunk.text[self.start : self.end]

    def citation(self, number: int) -> Citation:
        """This sentence as a citation."""
        first = self.chunk.start_line + self.chunk.text.count("\n", 0, self.start)
        return Citation(
            number=number,
            document=self.chunk.document,
            title=self.chunk.title,
            heading=self.chunk.headings[-1] if self.chunk.headings else "",
            quote=self.quote,
            start_line=first,
            end_line=first + self.quote.count("\n"),
            page=self.chunk.page,
            offset=self.chunk.offset + self.start,
        )


class SentenceVectors:
    """The vectors of passages' sentences, made once; safe to share between threads.

    Args:
        limit: passages whose vectors are kept; those used longest ago go first.
    """

    def __init__(self, embedder: Embedder, limit: int = 5_000) -> None:
        self.embedder = embedder
        self._limit = limit
        self._kept: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = Lock()

    def of(self, text: str) -> Vectors:
        """One vector a sentence of this passage, in order."""
        with self._lock:
            vectors = self._kept.get(text)
        if vectors is None:
            vectors = self.embedder.embed([plain_text(text[start:end]) for start, end in sentence_spans(text)])
        with self._lock:
            self._kept[text] = vectors
            self._kept.move_to_end(text)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return vectors


class Evidence:
    """The sentences of some passages, ready to be held against the sentences of an answer."""

    def __init__(self, results: Sequence[SearchResult], vectors: SentenceVectors) -> None:
        self._embedder = vectors.embedder
        self._cosines: dict[str, Vectors] = {}
        self.sentences: list[EvidenceSentence] = []
        rank: list[float] = []
        usable: list[bool] = []
        for result in results:
            of_passage = [EvidenceSentence(result.chunk, *span) for span in sentence_spans(result.chunk.text)]
            usable += [not is_order(sentence.quote) for sentence in of_passage]
            self.sentences += of_passage
            rank += [PASSAGE_SHARE * result.score / max(results[0].score, 1e-6)] * len(of_passage)
        self._similarity = max((result.similarity for result in results), default=0.0)
        # an order to the machine that reads it is evidence for nothing
        self.sentences = list(compress(self.sentences, usable))
        self._stated = [self._as_stated(i) for i in range(len(self.sentences))]
        self._names = frozenset().union(*(names_in(stated.sentence) for stated in self._stated))
        self._rank = np.array(list(compress(rank, usable)), np.float32)
        nothing = np.zeros((0, vectors.embedder.dimension), np.float32)
        self._vectors: Vectors = np.vstack([nothing, *(vectors.of(result.chunk.text) for result in results)])[usable]
        self._words = [frozenset(stems(plain_text(sentence.quote))) for sentence in self.sentences]
        self._context = [frozenset(stems(sentence.chunk.heading_path)) for sentence in self.sentences]

    def strength(self, query: str) -> float:
        """How near the passages are to ``query``: the cosine of the nearest, and that of their nearest sentence."""
        return self._similarity + float(max(self._similarities(plain_text(query)), default=-1.0))

    def support(self, sentence: str, question: str = "") -> list[EvidenceSentence]:
        """The one or two sentences that support ``sentence``, best first; empty if it is not supported.

        Words that it takes from the ``question`` need not stand in these: an answer repeats how it was asked. But
        they must be words of the passages, or else what the question takes for granted would be borne out.
        """
        claim = plain_text(sentence)
        every = words = frozenset(stems(claim))
        own = words - (frozenset(stems(question)) & frozenset().union(*self._words, *self._context))
        if len(own) >= FEWEST_OWN:
            words = own
        if not words or not self.sentences:
            return []
        coverage = self._coverages(words)
        cosine = self._similarities(claim)
        best = int(np.argmax(coverage + cosine))
        chosen = [best]
        # only from the same passage: sentences of two passages may speak of different things
        gains = [
            self._coverage(words, [best, i]) - coverage[best] if sentence.chunk == self.sentences[best].chunk else 0.0
            for i, sentence in enumerate(self.sentences)
        ]
        second = int(np.argmax(np.array(gains) + 0.01 * cosine))
        if gains[second] >= SECOND_GAIN:
            chosen.append(second)
        covered = self._coverage(words, chosen)
        if covered < SUPPORT_COVERAGE or (covered + float(cosine[best])) / 2 < SUPPORT:
            return []
        if self._coverage(every, chosen) < LEAST_COVERAGE:
            return []
        is_asked_for = float(self._similarities(plain_text(question))[best]) >= ASKED_FOR
        asked = question if is_asked_for else ""
        names = self._names | names_in(question)
        broken = disagreement(claim, [self._stated[i] for i in chosen], asked, names)
        return [] if broken else [self.sentences[i] for i in chosen]

    def _as_stated(self, i: int) -> Stated:
        sentence = self.sentences[i]
        before = self.sentences[i - 1] if i and self.sentences[i - 1].chunk == sentence.chunk else None
        return Stated(
            plain_text(sentence.quote), sentence.chunk.heading_path, plain_text(before.quote) if before else ""
        )

    def nearest(
        self,
        texts: Sequence[str],
        cited: Sequence[EvidenceSentence] = (),
        said: str = "",
        fits: Callable[[str], bool] = lambda _: True,
    ) -> list[tuple[EvidenceSentence, float]]:
        """The sentences nearest in meaning to all of ``texts``, each with its cosine to the nearest text, best first.

        A sentence of a better passage, or with more of their words, goes before one that is a little nearer. Left out
        is what does not fit, and what says nothing new: a sentence that was ``cited``, whose content words mostly stand
        in a better one or in what was ``said``, or that is nearly the same as one of these, with the same numbers.
        """
        if not self.sentences:
            return []
        cosines = np.array([self._similarities(plain_text(text)) for text in texts])
        words = np.mean([self._coverages(frozenset(stems(plain_text(text)))) for text in texts], axis=0)
        order = [int(i) for i in np.argsort(-cosines.mean(axis=0) - WORDS_SHARE * words - self._rank)]
        order = [i for i in order if fits(self._stated[i].sentence)]
        known = frozenset(stems(plain_text(said)))
        new = self._new(order, known, [i for i, sentence in enumerate(self.sentences) if sentence in cited])
        return [(self.sentences[i], float(cosines[:, i].max())) for i in new]

    def is_from_elsewhere(self, sentence: str, question: str) -> bool:
        """Whether ``sentence`` tells a number or a name that stands neither in the passages nor in ``question``.

        A model that answers so does it from elsewhere: the passages do not hold what was asked for.
        """
        return is_foreign(plain_text(sentence), [*self._stated, Stated(question, "", "")])

    def _new(self, order: Sequence[int], known: frozenset[str], told: list[int]) -> Iterator[int]:
        """The sentences of ``order`` that say something which those before them, ``told`` and ``known`` do not."""
        for i in order:
            is_same = any(self._says_the_same(i, j) for j in told)
            is_known = _share_known(self._words[i], known) >= KNOWN
            if not is_same and not is_known and not _points_elsewhere(self.sentences[i].quote):
                yield i
                known |= self._words[i]
                told = [*told, i]

    def _says_the_same(self, i: int, j: int) -> bool:
        quotes = self.sentences[i].quote, self.sentences[j].quote
        return float(self._vectors[i] @ self._vectors[j]) >= SAME and numbers(quotes[0]) == numbers(quotes[1])

    def _coverages(self, words: frozenset[str]) -> Vectors:
        """The share of ``words`` that stands in each sentence and its headings."""
        shares = [len(words & (own | context)) for own, context in zip(self._words, self._context, strict=True)]
        coverages: Vectors = np.array(shares, np.float32) / np.float32(max(1, len(words)))
        return coverages

    def _coverage(self, words: frozenset[str], sentences: list[int]) -> float:
        found = frozenset().union(*(self._words[i] | self._context[i] for i in sentences))
        return len(words & found) / len(words)

    def _similarities(self, text: str) -> Vectors:
        # gate, opening and prompt all ask how near the passages are to the question
        if text not in self._cosines:
            self._cosines[text] = self._vectors @ self._embedder.embed([text])[0]
        return self._cosines[text]


def says_nothing_new(sentence: str, said: str) -> bool:
    """Whether nearly all content words of ``sentence`` stand in what was ``said`` before it."""
    return _share_known(frozenset(stems(plain_text(sentence))), frozenset(stems(plain_text(said)))) >= KNOWN


def _points_elsewhere(quote: str) -> bool:
    """Whether a sentence says hardly more than where to read on, or only of its document what it is about."""
    without_links = _LINK.sub("", quote)
    is_mere_link = without_links != quote and len(stems(without_links)) <= MOST_POINTING
    return is_mere_link or bool(_OF_THE_DOCUMENT.match(quote))


def _share_known(words: frozenset[str], known: frozenset[str]) -> float:
    return len(words & known) / len(words) if words else 1.0
