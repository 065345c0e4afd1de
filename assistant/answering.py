"""The `Assistant`: a question → events → an `Answer`.

`Assistant.stream` is the one path that every door uses (page, HTTP, command line). It yields a few typed events:
`Found`, then each checked `Sentence`, then `Finished`. `open_retriever` and `Assistant.from_settings` are the places
that wire the parts; what the parts do, this module leaves to them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from threading import Event

from assistant.choosing import choose, is_sure, lead_needed, put_first
from assistant.chunking import plain_text
from assistant.claims import Stated, names_as_written
from assistant.conversation import standalone
from assistant.embedding import SentenceEmbedder
from assistant.errors import QuestionError
from assistant.grounding import Evidence, EvidenceSentence, SentenceVectors, says_nothing_new
from assistant.index import KnowledgeIndex
from assistant.intents import Intent, intent, reply
from assistant.models.engines import load_model
from assistant.opening import asks_what_it_is, defines, opens
from assistant.pointing import points_at_nothing
from assistant.prompting import ANSWER_TOKENS, SIGNS, begun, build_messages
from assistant.quoting import QUOTE_SIMILARITY, quotes
from assistant.retrieval import Retriever
from assistant.sentences import SentenceBuffer
from assistant.settings import Settings
from assistant.suggesting import MOST_HEADINGS, next_questions
from assistant.types import (
    Answer,
    AnswerEvent,
    Chunk,
    Citation,
    Conversation,
    Embedder,
    Finished,
    Found,
    LanguageModel,
    Message,
    Progress,
    SearchResult,
    Sentence,
    Timings,
    Token,
)
from assistant.wording import is_whole, plainly, says_not_found

MAX_CHARACTERS = 2_000
"""A longer question is refused."""
RESULTS = 8
"""Results that retrieval is asked for: one becomes the prompt, all are evidence and name the nearest topics."""
LOOKED_UP = 4
"""Passages that a sentence is held against when those found for the question do not support it."""
QUOTABLE_AGAINST = 1.5
"""How near the passages must be to the question (`Evidence.strength`) to be quoted where the model wrote nothing that
they support, but numbers or names that are not theirs, as when the answer is not in them."""
CHOICES = 4
"""Subjects that are named when a question leaves open which it means."""
OPENING_SIMILARITY, OPENING_STRENGTH = 0.72, QUOTABLE_AGAINST
"""How near to a question that stands alone a sentence must be to open the answer, before the model reads anything;
where the passages are so near that they will be quoted whatever the model writes, `QUOTE_SIMILARITY` will do."""


def open_retriever(settings: Settings) -> Retriever:
    """What `search` needs: the index and the embedder."""
    embedder = SentenceEmbedder.from_settings(settings)
    retriever = Retriever(KnowledgeIndex(settings.index, embedder.name), embedder)
    embedder.load()
    return retriever


class Assistant:
    """Answers questions from one index with one language model."""

    def __init__(self, retriever: Retriever, embedder: Embedder, model: LanguageModel, contact: str = "") -> None:
        self.retriever = retriever
        self.embedder = embedder
        self.model = model
        self.sentence_vectors = SentenceVectors(embedder)
        self._contact = contact

    @classmethod
    def from_settings(cls, settings: Settings, progress: Callable[[Progress], None] = lambda _: None) -> Assistant:
        """Open the index, fetch weights that are missing, load the models.

        Raises:
            AssistantError: a part cannot be had; the message says what to do.
        """
        embedder = SentenceEmbedder.from_settings(settings)
        index = KnowledgeIndex(settings.index, embedder.name)
        model = load_model(settings, progress)
        # last: what is wrong with the others is said before
        embedder.load()
        return cls(Retriever(index, embedder), embedder, model, settings.contact)

    def ask(self, question: str, conversation: Conversation = ()) -> Answer:
        """The finished answer."""
        for event in self.stream(question, conversation):
            if isinstance(event, Finished):
                return event.answer
        raise AssertionError("a stream ends with Finished")

    def stream(
        self, question: str, conversation: Conversation = (), stop: Event | None = None
    ) -> Generator[AnswerEvent, None, None]:
        """Answer ``question``; setting ``stop`` ends the work at once, with what is there so far.

        Raises:
            QuestionError: the question is empty or longer than `MAX_CHARACTERS`.
        """
        question = checked(question)
        run = _Run(self, question, conversation, stop or Event(), time.monotonic())
        yield from run.events()

    def read_ahead(self, chunk: Chunk, stop: Event) -> bool:
        """Read a passage before anybody asks about it, giving way to every question; whether it is kept."""
        self.sentence_vectors.of(chunk.text)
        return self.model.read_ahead(build_messages("", [SearchResult(0, chunk, 0.0, 0.0)]), stop)

    def refusal(self, results: tuple[SearchResult, ...], unknown: Sequence[str] = ()) -> str:
        """What is said when the documents do not answer: names that none has, the nearest topics, and whom to ask."""
        missing = f" None of them mentions {' or '.join(unknown)}." if unknown else ""
        topics = list(dict.fromkeys(result.chunk.title for result in results))[:3]
        nearest = f" The nearest topics they cover: {'; '.join(topics)}." if topics else ""
        contact = f" You can also ask here: {self._contact}" if self._contact else ""
        return f"I do not know: the documents do not answer this.{missing}{nearest}{contact}"


def checked(question: str) -> str:
    """``question`` without white space around it.

    Raises:
        QuestionError: it is empty or too long.
    """
    question = question.replace("\0", "").strip()
    if not question:
        raise QuestionError("The question is empty: type one.")
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(f"The question has {len(question):,} characters: shorten it to at most {MAX_CHARACTERS:,}.")
    return question


class _Run:
    """One question on its way: the state that lives from its arrival to its answer."""

    def __init__(
        self, assistant: Assistant, question: str, conversation: Conversation, stop: Event, started: float
    ) -> None:
        self._assistant = assistant
        self._question = question
        self._conversation = conversation
        self._stop = stop
        self._started = started
        self._query = question
        self._results: tuple[SearchResult, ...] = ()
        self._unknown: list[str] = []
        self._citations: list[Citation] = []
        self._supported: list[EvidenceSentence] = []
        self._text = ""
        self._withheld = self._shown_count = 0
        self._is_quoted = True
        self._suggestions: tuple[str, ...] = ()
        self._retrieve_ms = 0.0
        self._first_token_ms: float | None = None
        self._first_sentence_ms: float | None = None
        self._prompt_tokens = self._reused_tokens = self._answer_tokens = 0

    def events(self) -> Iterator[AnswerEvent]:
        asked = intent(self._question)
        yield from self._replied(asked) if asked else self._searched()

    def _replied(self, asked: Intent) -> Iterator[AnswerEvent]:
        """What is asked of the assistant itself needs no passage, and cites none."""
        with self._assistant.retriever.index.snapshot() as snapshot:
            titles = {folder: [topic.title for topic in topics] for folder, topics in snapshot.topics().items()}
        text = reply(asked, titles)
        refused = asked is Intent.ALL_DOCUMENTS
        if not refused:
            self._text = text
            self._first_sentence_ms = self._elapsed()
            yield Sentence(text, ())
        yield Finished(self._finished(text))

    def _searched(self) -> Iterator[AnswerEvent]:
        retriever = self._assistant.retriever
        self._query = standalone(self._question, self._conversation, retriever.nearness)
        self._results = tuple(retriever.search(self._query, RESULTS))
        self._retrieve_ms = self._elapsed()
        yield Found(self._query, self._results)
        titles = list(dict.fromkeys(result.chunk.title for result in self._results))[:CHOICES]
        if len(titles) > 1 and points_at_nothing(self._question, self._conversation):
            self._suggestions = tuple(f"{self._question} ({title})" for title in titles)
            yield Finished(self._finished(f"Which one do you mean? The documents speak of: {'; '.join(titles)}."))
            return
        evidence = Evidence(self._results, self._assistant.sentence_vectors)
        self._unknown = retriever.unknown(names_as_written(self._question))
        yield from self._answered(evidence)
        yield Finished(self._finished(self._assistant.refusal(self._results, self._unknown)))

    def _answered(self, evidence: Evidence) -> Iterator[AnswerEvent]:
        """The answer, where a passage has the lead that is needed (see `choosing`)."""
        strength, has_unknown_name = evidence.strength(self._query), bool(self._unknown)
        opening = self._opening(evidence) if is_sure(strength, has_unknown_name) else None
        if opening:
            yield self._shown("", plain_text(opening.quote), [opening])

        def needed(result: SearchResult) -> float:
            return -math.inf if opening else lead_needed(strength, has_unknown_name, result.has_questions)

        passage = choose(self._results, needed, self._look)
        if passage:
            yield from self._read(passage, evidence, opening)
            self._suggestions = self._suggested()

    def _look(self, results: Sequence[SearchResult]) -> list[float]:
        """How sure the model is of each passage that it answers the question."""
        prompts = [build_messages(self._query, [result]) for result in results]
        return self._assistant.model.leads(prompts, SIGNS, self._stop)

    def _read(
        self, passage: SearchResult, evidence: Evidence, opening: EvidenceSentence | None
    ) -> Iterator[AnswerEvent]:
        """What the model writes from this passage, as far as it is supported, and what is quoted beside it."""
        if passage != self._results[0]:
            self._results = put_first(passage, self._results)
            evidence = Evidence(self._results, self._assistant.sentence_vectors)
        messages = begun(build_messages(self._query, [passage]))
        withheld: list[str] = []
        for lead, sentence in self._generated(messages):
            # at this point a small model is wrong about that as often as right
            if says_not_found(sentence):
                break
            if opening and says_nothing_new(sentence, self._said):
                continue
            supported, found = self._borne_out(lead, sentence, evidence)
            if found:
                yield Found(sentence, found)
            if supported:
                self._is_quoted = False
                yield self._shown(lead, sentence, supported)
            else:
                withheld.append(sentence)
        self._withheld = len(withheld)
        if not self._stop.is_set():
            yield from self._quoted(evidence, withheld)

    def _opening(self, evidence: Evidence) -> EvidenceSentence | None:
        """The sentence of the documents that a reader sees at once, before the model's, where one is sure to answer."""
        if self._query != self._question:
            return None
        will_be_quoted = evidence.strength(self._query) >= OPENING_STRENGTH
        bar = QUOTE_SIMILARITY if will_be_quoted else OPENING_SIMILARITY
        # where it is asked what something is, a date will not do
        fits = defines if asks_what_it_is(self._question) else bool
        for near, cosine in evidence.nearest([self._query], fits=fits)[:1]:
            stated = Stated(plain_text(near.quote), near.chunk.heading_path, "")
            if cosine >= bar and opens(self._question, stated):
                return near
        return None

    def _borne_out(
        self, lead: str, sentence: str, evidence: Evidence
    ) -> tuple[list[EvidenceSentence], tuple[SearchResult, ...]]:
        """What supports a sentence, and the passages that this is in, if they are new."""
        if not is_whole(lead, sentence):
            return [], ()
        supported = evidence.support(sentence, self._question)
        return (supported, ()) if supported else self._looked_up(sentence)

    def _looked_up(self, sentence: str) -> tuple[list[EvidenceSentence], tuple[SearchResult, ...]]:
        """What supports a sentence elsewhere in the documents, and the passages that this is in."""
        if self._stop.is_set():
            return [], ()
        results = self._assistant.retriever.search(sentence, LOOKED_UP)
        supported = Evidence(results, self._assistant.sentence_vectors).support(sentence, self._question)
        new = {sentence.chunk for sentence in supported} - {result.chunk for result in self._results}
        found = tuple(result for result in results if result.chunk in new)
        self._results += found
        return supported, found

    def _quoted(self, evidence: Evidence, withheld: Sequence[str]) -> Iterator[AnswerEvent]:
        """The documents' own sentences, where the model said little, or nothing that is supported."""
        is_against = not self._text and evidence.strength(self._query) < QUOTABLE_AGAINST
        if is_against and any(evidence.is_from_elsewhere(sentence, self._question) for sentence in withheld):
            return
        # what the model tried to say, and could not prove, still points to the sentences that answer
        near = evidence.nearest([self._query, *withheld], self._supported, self._said)
        passages = [result.chunk for result in self._results]
        own, others = quotes(near, passages, self._supported, self._shown_count)
        for sentence in own:
            yield self._shown(" ", plain_text(sentence.quote), [sentence])
        # what other passages say may be beside the point: it stands in a paragraph of its own
        for number, sentence in enumerate(others):
            yield self._shown(" " if number else "\n\n", plain_text(sentence.quote), [sentence])

    def _generated(self, messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
        """The sentences that the model writes, each once, with what stands before them."""
        seen = set[str]()
        for lead, written in self._written(messages):
            sentence = plainly(written)
            if sentence and sentence not in seen:
                yield lead, sentence
            seen.add(sentence)

    def _written(self, messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
        """All that the model writes, sentence by sentence."""
        buffer, is_first = SentenceBuffer(), True
        for token in self._tokens(messages):
            for pair in buffer.feed(token.text):
                is_first = False
                yield pair
        # an answer that was cut off ends in half a sentence, which is not to be shown beside whole ones
        if not self._stop.is_set() and (self._answer_tokens < ANSWER_TOKENS or is_first):
            yield from buffer.flush()

    def _tokens(self, messages: Sequence[Message]) -> Iterator[Token]:
        for token in self._assistant.model.stream(messages, ANSWER_TOKENS, self._stop):
            if self._first_token_ms is None:
                self._first_token_ms = self._elapsed()
                self._prompt_tokens, self._reused_tokens = token.prompt_tokens, token.reused_tokens
            self._answer_tokens += 1
            yield token

    def _shown(self, lead: str, sentence: str, supported: Sequence[EvidenceSentence]) -> Sentence:
        """Number the citations and add the sentence to the answer."""
        citations = [self._cited(evidence) for evidence in supported]
        marks = "".join(f"[{citation.number}]" for citation in sorted(citations, key=lambda c: c.number))
        # a list or a paragraph keeps its line; after a withheld sentence the lead of the next one serves
        lead = lead.replace("\t", " ") if self._text else lead.lstrip()
        # only what is numbered here looks like a citation
        sentence = re.sub(r"\[(\d+)\]", r"(\1)", sentence)
        text = f"{lead or ' ' * bool(self._text)}{sentence} {marks}"
        self._text += text
        self._shown_count += 1
        self._supported += supported
        if self._first_sentence_ms is None:
            self._first_sentence_ms = self._elapsed()
        return Sentence(text, tuple(citations))

    @property
    def _said(self) -> str:
        """The answer so far, without its citations."""
        return re.sub(r" (?:\[\d+\])+", "", self._text)

    def _cited(self, evidence: EvidenceSentence) -> Citation:
        """The citation of this evidence: the one it has, or the next number."""
        citation = evidence.citation(len(self._citations) + 1)
        for earlier in self._citations:
            if replace(citation, number=earlier.number) == earlier:
                return earlier
        self._citations.append(citation)
        return citation

    def _suggested(self) -> tuple[str, ...]:
        """What to go on with; nothing for a reader who left."""
        if not self._supported or self._stop.is_set():
            return ()
        cited = {sentence.chunk for sentence in self._supported}
        asked = {turn.content for turn in self._conversation} | {self._question}
        with self._assistant.retriever.index.snapshot() as snapshot:
            chunks = snapshot.chunks_of(sorted({chunk.document for chunk in cited}), MOST_HEADINGS)
        return next_questions(self._question, asked, cited, chunks, self._assistant.embedder)

    def _finished(self, refusal: str) -> Answer:
        refused = not self._text and not self._stop.is_set()
        return Answer(
            question=self._question,
            query=self._query,
            text=refusal if refused else self._text,
            refused=refused,
            citations=tuple(self._citations),
            results=self._results,
            withheld=self._withheld,
            suggestions=self._suggestions,
            is_quoted=self._is_quoted and bool(self._citations),
            timings=Timings(
                retrieve_ms=self._retrieve_ms,
                first_token_ms=self._first_token_ms,
                first_sentence_ms=self._first_sentence_ms,
                total_ms=self._elapsed(),
                prompt_tokens=self._prompt_tokens,
                reused_tokens=self._reused_tokens,
                answer_tokens=self._answer_tokens,
            ),
        )

    def _elapsed(self) -> float:
        return round((time.monotonic() - self._started) * 1000, 1)
