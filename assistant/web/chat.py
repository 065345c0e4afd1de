"""The chat page, on Gradio: it renders the events of `Assistant.stream` and nothing else.

A few readers are answered at a time, the others wait in order and are told so; a reader who stops or leaves makes room
at once. The conversation lives in the reader's browser; nothing of it is kept here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from threading import Event
from typing import Any

import gradio as gr

from assistant.errors import AssistantError
from assistant.feedback import FeedbackStore
from assistant.progress import describe
from assistant.query import MAX_CHARACTERS
from assistant.schemas import (
    Answer,
    AnswerEvent,
    Citation,
    Conversation,
    Finished,
    Found,
    SearchResult,
    Sentence,
    Turn,
)
from assistant.settings import Settings
from assistant.startup import Preparation
from assistant.suggestions import NEAR
from assistant.web.limits import TOO_MANY, Limits
from assistant.web.line import WAITING, Line
from assistant.web.rendering import (
    closest_html,
    linked,
    next_html,
    safe_markdown,
    searched_html,
    sources_html,
    unlinked,
)

CLOSEST = 3
"""So many of the passages found are shown while the model reads, and beside a refusal, if they are near."""
MOST_KEPT = 40
"""Messages of a conversation that survive a reload."""
NO_SOURCES = "<p class='empty'>The passages behind an answer appear here.</p>"
QUOTED = "<p class='searched'>Quoted: nothing that the model wrote was supported. This may miss the point.</p>\n\n"
"""Said beside an answer in which no sentence of the model is."""

RETRIES = 200
"""Questions whose attempts are counted, so that asking again gives another wording."""

# what stands in place of an answer that has not come yet
_STATUS = re.compile(r"\*[^*\n]*\*")


class ChatPage:
    """Builds the page; its methods are what the page calls."""

    def __init__(
        self,
        settings: Settings,
        preparation: Preparation,
        line: Line | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._settings = settings
        self._preparation = preparation
        self._feedback = FeedbackStore(settings.cache, settings.keep_questions)
        self._line = line or Line()
        self._limits = limits or Limits(settings)
        self._asked: OrderedDict[tuple[str, str, int], int] = OrderedDict()

    def build(self) -> gr.Blocks:
        """The page, ready to be launched."""
        page: gr.Blocks
        with gr.Blocks(
            title=self._settings.title, analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)
        ) as page:
            with gr.Row(elem_id="page", equal_height=False):
                with gr.Column(scale=7, min_width=300, elem_id="conversation"):
                    gr.Markdown(
                        f"# {_plain(self._settings.title)}\n\n{_plain(self._settings.greeting)} "
                        "[Browse the topics](topics)",
                        elem_id="head",
                    )
                    status = gr.Markdown(self._status(), elem_id="status", container=False)
                    sources = gr.Markdown(
                        NO_SOURCES, render=False, elem_id="sources", latex_delimiters=[], container=False
                    )
                    interface = self._interface(sources)
                with gr.Column(scale=5, min_width=300, elem_id="beside"):
                    gr.Markdown("## Sources", elem_id="sources-head")
                    sources.render()  # type: ignore[no-untyped-call]
                    with gr.Row(elem_id="tools"):
                        gr.Button("Start over", elem_id="start-over", size="sm", variant="secondary")
                        gr.Button("Download the conversation", elem_id="download", size="sm", variant="secondary")
            self._wire(interface, status)
        page.queue(default_concurrency_limit=None, max_size=WAITING * 4, api_open=None)
        return page

    def _interface(self, sources: gr.Markdown) -> gr.ChatInterface:
        return gr.ChatInterface(
            self.respond,
            chatbot=self._chatbot(),
            textbox=gr.Textbox(
                placeholder="Ask a question",
                show_label=False,
                label="Question",
                max_length=MAX_CHARACTERS,
                submit_btn=True,
                stop_btn=True,
                autofocus=True,
                elem_id="question",
                lines=1,
                max_lines=6,
            ),
            additional_outputs=[sources],
            examples=list(self._settings.questions),
            cache_examples=False,
            editable=True,
            save_history=False,
            flagging_mode="never",
            show_progress="hidden",
            api_name="chat",
            concurrency_limit=None,
            analytics_enabled=False,
            fill_height=False,
        )

    def _wire(self, interface: gr.ChatInterface, status: gr.Markdown) -> None:
        """What happens beside question and answer."""
        chatbot: Any = interface.chatbot
        # what the page's script keeps in the browser, and saves as a file
        kept = gr.Textbox(elem_id="kept", visible="hidden", show_label=False, interactive=True)
        restore = gr.Button("Restore", elem_id="restore", visible="hidden")
        file = gr.Textbox(elem_id="download-text", visible="hidden", show_label=False)
        timer = gr.Timer(1.0)
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        timer.tick(self._refresh, outputs=[status, timer], **quiet)
        chatbot.like(self._like, inputs=[chatbot], **quiet)
        chatbot.change(self._export, inputs=[chatbot], outputs=[file, kept], **quiet)
        restore.click(lambda text: [_restored(text)] * 2, [kept], [chatbot, interface.chatbot_state], **quiet)

    def _chatbot(self) -> gr.Chatbot:
        return gr.Chatbot(
            elem_id="chat",
            show_label=False,
            label="Conversation",
            height="auto",
            min_height=0,
            max_height=None,
            buttons=["copy"],
            layout="bubble",
            feedback_options=("Like", "Dislike"),
            latex_delimiters=[],
            allow_tags=False,
            line_breaks=False,
            container=False,
        )

    def _status(self) -> str:
        """One line on what is being done before questions can be answered; empty when they can."""
        if self._preparation.assistant is not None:
            return ""
        return f"*{_plain(str(self._preparation.error or describe(self._preparation.progress)))} …*"

    def _refresh(self) -> tuple[str, gr.Timer]:
        return self._status(), gr.Timer(active=self._preparation.assistant is None)

    async def respond(
        self, message: str, history: list[dict[str, Any]], request: gr.Request
    ) -> AsyncIterator[tuple[str, str]]:
        """Answer one question: yields ``(answer so far, sources so far)`` as Markdown and HTML."""
        seconds = self._limits.wait(request)
        if seconds:
            self._line.monitor.turned_away("limit")
            yield TOO_MANY.format(seconds=seconds), NO_SOURCES
            return
        # until Gradio closes this generator (stop, or the reader left), the model works for it
        stop = Event()
        try:
            while self._preparation.assistant is None and self._preparation.error is None:
                yield self._status(), NO_SOURCES
                await asyncio.sleep(0.5)
            attempt = self._attempt(request.session_hash or "", message, len(history))
            async with aclosing(self._in_turn(message, _conversation(history), stop, attempt, request)) as states:
                async for state in states:
                    yield state
        except AssistantError as error:
            yield _plain(str(error)), NO_SOURCES
        finally:
            stop.set()

    def _attempt(self, session: str, message: str, turn: int) -> int:
        """How often this question was asked before at this place of the conversation: a retry."""
        key = (session, message, turn)
        attempt = self._asked.pop(key, -1) + 1
        self._asked[key] = attempt
        if len(self._asked) > RETRIES:
            self._asked.popitem(last=False)
        return attempt

    async def _in_turn(
        self, question: str, conversation: Conversation, stop: Event, attempt: int, request: gr.Request
    ) -> AsyncGenerator[tuple[str, str], None]:
        assistant = self._preparation.assistant
        if assistant is None:
            yield self._status(), NO_SOURCES
            return
        if self._line.waiting:
            yield f"*Waiting: {self._line.waiting + 1} questions are before yours …*", NO_SOURCES
        if not await self._line.enter():
            self._limits.give_back(request)
            yield self._line.refusal, NO_SOURCES
            return
        try:
            yield "*Looking in the documents …*", NO_SOURCES
            growing = _Growing(question)
            answering = self._line.answering(assistant.stream(question, conversation, stop, attempt), stop)
            async with aclosing(answering) as events:
                async for event in events:
                    if state := growing.after(event):
                        yield state
        finally:
            stop.set()
            self._line.leave()

    def _like(self, data: gr.LikeData, history: list[dict[str, Any]]) -> None:
        turns = _turns(history)
        index = data.index if isinstance(data.index, int) else data.index[0]
        if not 0 <= index < len(turns):
            return
        answer, citations = unlinked(turns[index].content)
        question = turns[index - 1].content if index else ""
        verdict = {"Like": "like", "Dislike": "dislike", True: "like", False: "dislike"}.get(data.liked, "none")
        self._feedback.record(verdict, sorted({document for _, document, _, _ in citations}), question, answer)

    def _export(self, history: list[dict[str, Any]]) -> tuple[str, str]:
        """The conversation as Markdown, for the page to offer as a download, and as JSON, for it to keep."""
        parts = [f"# {self._settings.title}"]
        for turn in _turns(history):
            if turn.role == "user":
                parts.append(f"## {' '.join(turn.content.split())}")
                continue
            answer, citations = unlinked(turn.content)
            parts.append(answer)
            parts += [f"[{n}]: “{quote}” — {title} ({path})" for n, path, title, quote in self._quotes(citations)]
        said = [turn for turn in _turns(history) if turn.role == "user" or not _STATUS.fullmatch(turn.content)]
        kept = [{"role": turn.role, "content": turn.content} for turn in said[-MOST_KEPT:]]
        return "\n\n".join(parts) + "\n", json.dumps(kept)

    def _quotes(self, citations: list[tuple[int, str, int, int]]) -> Iterator[tuple[int, str, str, str]]:
        if not citations or self._preparation.assistant is None:
            return
        with self._preparation.assistant.retriever.index.snapshot() as snapshot:
            for number, path, start, end in citations:
                document = snapshot.document(path)
                if document:
                    yield number, path, document.title, " ".join(document.text[start:end].split())


class _Growing:
    """An answer as the page shows it while it comes."""

    def __init__(self, question: str) -> None:
        self._question = question
        self._text = self._searched = ""
        self._citations: tuple[Citation, ...] = ()
        self._results: tuple[SearchResult, ...] = ()

    def after(self, event: AnswerEvent) -> tuple[str, str] | None:
        """``(answer so far, sources so far)``; nothing where the page stays as it is."""
        match event:
            case Found():
                if not self._results and event.query != self._question.strip():
                    self._searched = searched_html(event.query)
                self._results += event.results
                found = closest_html(self._results[:CLOSEST], "Found:")
                return f"*Reading {len(self._results)} passages …*", self._searched + (found or NO_SOURCES)
            case Sentence():
                self._text += linked(safe_markdown(event.text), event.citations)
                self._citations += event.citations
                return self._text, self._searched + sources_html(self._citations, self._results)
            case Finished():
                return _final(event.answer, self._text), self._searched + _sources(event.answer, self._results)


def _sources(answer: Answer, results: Sequence[SearchResult]) -> str:
    """What stands beside an answer: the passages cited, or those closest to a question that was refused."""
    if answer.refused:
        return (
            next_html(answer.suggestions) + closest_html([r for r in results if r.similarity >= NEAR][:CLOSEST])
            or NO_SOURCES
        )
    quoted = QUOTED if answer.is_quoted else ""
    return quoted + next_html(answer.suggestions) + (sources_html(answer.citations, results) or NO_SOURCES)


def _final(answer: Answer, text: str) -> str:
    if answer.refused:
        return _plain(answer.text)
    return text or "*Stopped.*"


def _turns(history: list[dict[str, Any]]) -> list[Turn]:
    """Gradio's messages as turns; their content may be text or a list of parts."""
    return [Turn("user" if m["role"] == "user" else "assistant", _text(m["content"])) for m in history]


def _restored(kept: str) -> list[dict[str, Any]]:
    """What a browser kept, as Gradio's messages; nothing if it is not what was given to it."""
    try:
        history = [{"role": message["role"], "content": message["content"]} for message in json.loads(kept)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    is_sound = all(m["role"] in {"user", "assistant"} and isinstance(m["content"], str) for m in history)
    return history[-MOST_KEPT:] if is_sound else []


def _conversation(history: list[dict[str, Any]]) -> Conversation:
    """What was said before, without citations."""
    return tuple(Turn(t.role, re.sub(r" ?\[\d+\]", "", unlinked(t.content)[0])) for t in _turns(history))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(str(part.get("text", "")) if isinstance(part, dict) else str(part) for part in parts)


def _plain(text: str) -> str:
    """Text that a Markdown component shows as it is."""
    return re.sub(r"([\\`*_\[\]#~|])", r"\\\1", safe_markdown(text))
