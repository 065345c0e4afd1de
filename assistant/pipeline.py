"""The pipeline: a question → events → an `Answer`.

::

    question + conversation
      → query.rewritten        what it means alone
      → Retriever.search       passages, ranked
      → Verifier.relevance     below the threshold a refusal; the model is not called
      → prompts                the best passage, the nearest sentences of others
      → LanguageModel.stream   sentences, list items, code
      → Verifier.support       supported → shown with its citation; not → withheld
      → Answer

`Assistant.stream` is the one path that every door uses (page, HTTP, command line). It yields `Found`, then each checked
`Sentence`, then `Finished`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from threading import Event
from typing import Any

from assistant.ingestion.chunker import visible
from assistant.ingestion.sentences import ITEM, SentenceBuffer, list_spans
from assistant.llm.engines import load_model
from assistant.prompts import (
    ANSWER_TOKENS,
    DOUBT,
    answer_messages,
    check_messages,
    is_no,
    plain_sentence,
)
from assistant.query import checked, form, rewritten, small_talk
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.judge import CrossEncoderJudge
from assistant.retrieval.store import KnowledgeIndex
from assistant.retrieval.verifier import Span, Verifier, cite
from assistant.schemas import (
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
from assistant.settings import Settings
from assistant.suggestions import MOST_HEADINGS, NEAR, next_questions
from assistant.words import CITATION

RESULTS = 8
"""Passages that are found: the first is read, sentences of the next ones too, all are evidence."""
OTHER_PASSAGES, OTHER_SENTENCES = 2, 6
"""Of so many further passages so many sentences are read. See docs/evaluation.md."""
MOST_QUOTES = 3
QUOTABLE = 0.03
"""Quotes are shown only where the relevance of the passage is at least so high. Chosen on 36 development questions."""
FALSE_STARTS = 2
"""An answer that begins with so many sentences that are not supported is given up."""
MOST_ITEMS = 30
"""Items of a list that are shown; of a longer one the beginning, with a link."""
FEWEST_ITEMS = 3
"""A list of fewer items is answered like text."""
MOST_TOPICS = 3
QUOTED = "The documents say:"
_ITEM = re.compile(r"(?:[-*•]|\d[.)])\s*$")


def open_retriever(settings: Settings) -> Retriever:
    """What `search` needs: the index and the embedder."""
    embedder = SentenceEmbedder.from_settings(settings)
    retriever = Retriever(KnowledgeIndex(settings.index, embedder.name), embedder)
    embedder.load()
    return retriever


class Assistant:
    """Answers questions from one index with one language model.

    Args:
        contact: a line that a refusal ends with.
        judge: a cross-encoder in the place of the fitted scores.
    """

    def __init__(
        self,
        retriever: Retriever,
        embedder: Embedder,
        model: LanguageModel,
        contact: str = "",
        judge: CrossEncoderJudge | None = None,
    ) -> None:
        self.retriever = retriever
        self.embedder = embedder
        self.model = model
        self.judge = judge
        self._contact = contact

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        progress: Callable[[Progress], None] = lambda _: None,
        embedder: SentenceEmbedder | None = None,
    ) -> Assistant:
        """Open the index, fetch weights that are missing, load the models.

        Args:
            embedder: one that is loaded already.

        Raises:
            AssistantError: a part is missing or broken; the message says what to do.
        """
        embedder = embedder or SentenceEmbedder.from_settings(settings)
        index = KnowledgeIndex(settings.index, embedder.name)
        model = load_model(settings, progress)
        judge = CrossEncoderJudge(settings.judge) if settings.judge else None
        # last: what is wrong with the others is reported before
        embedder.load()
        return cls(Retriever(index, embedder), embedder, model, settings.contact, judge)

    def ask(self, question: str, conversation: Conversation = ()) -> Answer:
        """The finished answer."""
        for event in self.stream(question, conversation):
            if isinstance(event, Finished):
                return event.answer
        raise AssertionError("a stream ends with Finished")

    def stream(
        self, question: str, conversation: Conversation = (), stop: Event | None = None, attempt: int = 0
    ) -> Generator[AnswerEvent, None, None]:
        """Answer ``question``; setting ``stop`` ends the work at once, with what is there so far.

        Args:
            attempt: 0 the first time; each other number gives another wording.

        Raises:
            QuestionError: the question is empty or too long.
        """
        yield from _Run(self, checked(question), conversation, stop or Event(), attempt).events()

    def prefill(self, chunk: Chunk, stop: Event) -> bool:
        """Compute the KV cache of a passage before anybody asks, giving way to every question; whether it is kept."""
        return self.model.read_ahead(answer_messages("", "", chunk, []), stop)

    def small_talk(self, kind: str) -> str:
        """A reply to what is asked of the assistant itself (see `query.small_talk`)."""
        with self.retriever.index.snapshot() as snapshot:
            topics = [topic.title for group in snapshot.topics().values() for topic in group]
        some = f", for instance about {'; '.join(topics[:3])}" if topics else ""
        about = f"I answer questions from {len(topics)} documents{some}. Each sentence links to the passage behind it."
        return {
            "greeting": f"Hello! {about}",
            "thanks": "You are welcome. Ask on whenever you like.",
            "who": f"I am an assistant that runs on this machine, with the language model {self.model.name}. {about}",
            "topics": f"{about}\n\n" + "\n".join(f"- {topic}" for topic in topics[:60]),
        }[kind]

    def refusal(self, results: Sequence[SearchResult]) -> str:
        """What is said when the documents do not answer; near topics only where they are near."""
        near = [result.chunk.title for result in results if result.similarity >= NEAR]
        topics = list(dict.fromkeys(near))[:MOST_TOPICS]
        nearest = f" Near to it they cover: {'; '.join(topics)}." if topics else ""
        contact = f" You can also ask here: {self._contact}" if self._contact else ""
        return f"I do not know: the documents do not answer this.{nearest}{contact}"


@dataclass
class _Draft:
    """An answer as it grows."""

    text: str = ""
    citations: list[Citation] = field(default_factory=list)
    supported: list[Chunk] = field(default_factory=list)
    withheld: int = 0
    is_unanswered: bool = False
    """A sentence that was withheld shows that the passages do not hold the answer."""
    is_quoted: bool = False


class _Run:
    """One question on its way."""

    def __init__(
        self, assistant: Assistant, question: str, conversation: Conversation, stop: Event, attempt: int
    ) -> None:
        self._assistant = assistant
        self._question = question
        self._conversation = conversation
        self._stop = stop
        self._attempt = attempt
        self._started = time.monotonic()
        self._timings = Timings(0.0)
        self._draft = _Draft()
        self._units: set[tuple[str, int]] = set()

    def events(self) -> Iterator[AnswerEvent]:
        assistant = self._assistant
        kind = small_talk(self._question, assistant.retriever)
        if kind:
            self._draft.text = assistant.small_talk(kind)
            self._clock("first_sentence_ms")
            yield Sentence(self._draft.text, ())
            yield self._finished(self._question, (), ())
            return
        query, context = rewritten(self._question, self._conversation, assistant.model, assistant.retriever, self._stop)
        results = tuple(assistant.retriever.search(query, RESULTS, context))
        self._clock("retrieve_ms")
        yield Found(query, results)
        verifier = Verifier(assistant.retriever, query, results, assistant.judge, self._is_confirmed)
        if verifier.is_relevant:
            yield from self._answered(query, results, verifier)
        yield self._finished(query, results, self._suggested(query))

    def _answered(self, query: str, results: Sequence[SearchResult], verifier: Verifier) -> Iterator[Sentence]:
        """What the model writes, as far as it is supported; else the nearest sentences of the documents."""
        yield from self._written(query, results, verifier)
        if self._draft.text or self._draft.is_unanswered or self._stop.is_set():
            return
        if verifier.relevance >= QUOTABLE:
            yield from self._quoted(verifier)

    def _written(self, query: str, results: Sequence[SearchResult], verifier: Verifier) -> Iterator[Sentence]:
        """What the model writes, as far as it is supported."""
        wanted = form(self._question, query != self._question, self._assistant.retriever)
        announced: list[tuple[str, str, list[Span]]] = []
        for lead, sentence in self._pieces(query, results, verifier, "- " if wanted == "list" else ""):
            spans = verifier.support(sentence)
            if self._stop.is_set():
                return
            if not spans:
                self._draft.withheld += 1
                is_refusal = not self._draft.text and verifier.is_refusal(sentence)
                if is_refusal or verifier.is_foreign(sentence):
                    self._draft.is_unanswered = True
                if is_refusal or (not self._draft.text and self._draft.withheld == FALSE_STARTS):
                    break
            elif sentence.rstrip("*_ ").endswith(":"):  # it waits for what it announces
                announced = [(lead, sentence, spans)]
            else:
                for before in announced if not self._is_shown(spans) else []:
                    yield from self._sentence(*before)
                announced = []
                yield from self._supported(lead, sentence, spans, verifier, wanted)
            if wanted == "sentence" and self._draft.text:
                return

    def _supported(
        self, lead: str, sentence: str, spans: Sequence[Span], verifier: Verifier, wanted: str
    ) -> Iterator[Sentence]:
        """A sentence of the model; where it tells of a list of the document, that list."""
        is_item = bool(_ITEM.search(lead)) or sentence.startswith(("|", "```", "~~~"))
        is_list = wanted != "sentence" and (is_item or verifier.is_short_of_items(sentence, spans))
        yield from (self._unit(spans[0]) if is_list else []) or self._sentence(lead, sentence, spans)

    def _sentence(self, lead: str, sentence: str, spans: Sequence[Span]) -> Iterator[Sentence]:
        """A sentence of the model, unless its evidence has been shown as part of a list."""
        if not self._is_shown(spans):
            yield self._shown(lead, sentence, [span.citation(0) for span in spans], spans[0].chunk)

    def _is_confirmed(self, claim: str, evidence: str) -> bool:
        """Whether the model, shown only the evidence, finds the claim in it; yes where asking would cost too much."""
        if not self._assistant.model.is_concurrent:
            return True
        reply = self._assistant.model.stream(check_messages(claim, evidence), 1, self._stop, bias=DOUBT)
        return not is_no("".join(token.text for token in reply))

    def _quoted(self, verifier: Verifier) -> Iterator[Sentence]:
        """The nearest sentences of the best passage, or the list that they stand in."""
        self._draft.is_quoted = True
        quotes = sorted(verifier.nearest(MOST_QUOTES, slice(1)), key=lambda span: span.start)
        unit = next(filter(None, map(self._unit, quotes)), [])
        if unit:
            yield from unit
            return
        for number, span in enumerate(quotes):
            lead = " " if number else f"{QUOTED} "
            yield self._shown(lead, plain_sentence(span.quote), [span.citation(0)], span.chunk)

    def _pieces(
        self, query: str, results: Sequence[SearchResult], verifier: Verifier, begin: str
    ) -> Iterator[tuple[str, str]]:
        """What the model writes, sentence by sentence, each once, with what stands before it."""
        others: dict[Chunk, list[str]] = {}
        for span in verifier.nearest(OTHER_SENTENCES, slice(1, 1 + OTHER_PASSAGES)):
            others.setdefault(span.chunk, []).append(visible(span.quote))
        messages = answer_messages(query, self._question, results[0].chunk, others.items(), begin)
        buffer, seen = SentenceBuffer(), set[str]()
        texts = chain([begin], (token.text for token in self._tokens(messages)))
        written = (pair for text in texts for pair in buffer.feed(text))
        for lead, sentence in chain(written, self._rest(buffer)):
            if sentence not in seen and not sentence.endswith(("?", "？")):
                yield lead, sentence
            seen.add(sentence)

    def _rest(self, buffer: SentenceBuffer) -> Iterator[tuple[str, str]]:
        """The end of what the model wrote; what the token limit or a stop cut off is no sentence."""
        if not self._stop.is_set() and self._timings.answer_tokens < ANSWER_TOKENS:
            yield from buffer.flush()

    def _tokens(self, messages: Sequence[Message]) -> Iterator[Token]:
        for token in self._assistant.model.stream(messages, ANSWER_TOKENS, self._stop, self._attempt):
            if self._timings.first_token_ms is None:
                self._clock("first_token_ms")
                self._timings = replace(
                    self._timings, prompt_tokens=token.prompt_tokens, reused_tokens=token.reused_tokens
                )
            self._timings = replace(self._timings, answer_tokens=self._timings.answer_tokens + 1)
            yield token

    def _unit(self, span: Span) -> list[Sentence]:
        """The whole list or table of the document that ``span`` stands in; nothing where it stands in none."""
        chunk, place = span.chunk, span.chunk.offset + span.start
        with self._assistant.retriever.index.snapshot() as snapshot:
            document = snapshot.document(chunk.document)
        if document is None:
            return []
        text = document.text
        found = [(s, e, items) for s, e, items in list_spans(_body(text, document.body_offset)) if s <= place < e]
        if not found or len(found[0][2]) < FEWEST_ITEMS:
            return []
        start, end, items = found[0]
        if (chunk.document, start) in self._units:
            return []
        self._units.add((chunk.document, start))
        whole = replace(chunk, text=text, start_line=1, end_line=text.count("\n") + 1, offset=0)
        shown = []
        is_table = text.startswith("|", start)
        if is_table:
            return [self._shown("\n\n", text[start:end] + "\n\n", [cite(whole, start, end, 0)], chunk)]
        for number, (first, last) in enumerate(items[:MOST_ITEMS]):
            marker = ITEM.match(text, first, last)
            begin = marker.end() if marker else first
            before = ("\n\n" if number == 0 else "\n") + (marker.group().lstrip() if marker else "")
            shown.append(self._shown(before, visible(text[begin:last]), [cite(whole, begin, last, 0)], chunk))
        if len(items) > MOST_ITEMS:
            rest = cite(whole, start, end, 0)
            shown.append(self._shown("\n\n", f"The document lists {len(items)}.", [rest], chunk))
        return shown

    def _is_shown(self, spans: Sequence[Span]) -> bool:
        """Whether the evidence stands in a list that has been shown whole."""
        return bool(self._units) and any(
            citation.document == span.chunk.document
            and citation.offset <= span.chunk.offset + span.start < citation.offset + len(citation.quote)
            for span in spans
            for citation in self._draft.citations
        )

    def _shown(self, lead: str, sentence: str, evidence: Sequence[Citation], chunk: Chunk) -> Sentence:
        """Number the citations and add the sentence to the answer."""
        draft = self._draft
        citations = [self._numbered(citation) for citation in evidence]
        marks = "".join(f"[{number}]" for number in sorted({citation.number for citation in citations}))
        lead = lead.replace("\t", " ") if draft.text else lead.lstrip()
        gap = "\n" if sentence.startswith(("```", "~~~")) else " "
        text = f"{lead or ' ' * bool(draft.text)}{_without_marks(sentence).rstrip()}{gap}{marks}"
        draft.text += text
        draft.supported.append(chunk)
        if self._timings.first_sentence_ms is None:
            self._clock("first_sentence_ms")
        return Sentence(text, tuple(citations))

    def _numbered(self, citation: Citation) -> Citation:
        """The citation with the number that it has already, or the next."""
        for earlier in self._draft.citations:
            if replace(citation, number=earlier.number) == earlier:
                return earlier
        numbered = replace(citation, number=len(self._draft.citations) + 1)
        self._draft.citations.append(numbered)
        return numbered

    def _suggested(self, query: str) -> tuple[str, ...]:
        """Questions to go on with; none for a reader who left."""
        chunks = set(self._draft.supported)
        if not chunks or self._stop.is_set():
            return ()
        asked = {turn.content for turn in self._conversation} | {self._question}
        with self._assistant.retriever.index.snapshot() as snapshot:
            near = snapshot.chunks_of(sorted({chunk.document for chunk in chunks}), MOST_HEADINGS)
        return next_questions(query, asked, chunks, near, self._assistant.embedder)

    def _finished(self, query: str, results: tuple[SearchResult, ...], suggestions: tuple[str, ...]) -> Finished:
        self._clock("total_ms")
        draft = self._draft
        refused = not draft.text and not self._stop.is_set()
        return Finished(
            Answer(
                question=self._question,
                query=query,
                text=self._assistant.refusal(results) if refused else draft.text,
                refused=refused,
                citations=tuple(draft.citations),
                results=results,
                withheld=draft.withheld,
                timings=self._timings,
                suggestions=suggestions,
                is_quoted=draft.is_quoted,
            )
        )

    def _clock(self, name: str) -> None:
        milliseconds: dict[str, Any] = {name: round((time.monotonic() - self._started) * 1000, 1)}
        self._timings = replace(self._timings, **milliseconds)


def _body(text: str, offset: int) -> str:
    """``text`` with its front matter blanked out, so that places stay."""
    return re.sub(r"[^\n]", " ", text[:offset]) + text[offset:]


def _without_marks(sentence: str) -> str:
    """``sentence`` in which nothing looks like a citation: ``[1]`` becomes ``(1)``, but not in code or an index."""
    parts = re.split(r"(`[^`]*`)", sentence)
    return "".join(part if part.startswith("`") else CITATION.sub(r"(\1)", part) for part in parts)
