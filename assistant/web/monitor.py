"""What an operator sees: counts for Prometheus, and one line of JSON an answer for the log. Nobody's words by default.

The counts live as long as the process. This module does not know who asked, and decides nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from assistant.schemas import Answer

SECONDS = (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 20, 40, 80)
"""Bounds of the histograms; an answer takes a few seconds."""
LOG = logging.getLogger("groundwork")


class Monitor:
    """Counts, and writes to `LOG`.

    Args:
        with_questions: whether a line of the log has the question and the answer.
    """

    def __init__(self, with_questions: bool = False) -> None:
        self._with_questions = with_questions
        self._registry = CollectorRegistry()
        self._answers = self._counter("answers", "Answers given, by whether they were a refusal", "refused")
        self._turned_away = self._counter("turned_away", "Questions that were not taken, by reason", "reason")
        self._failures = self._counter("failures", "Questions whose answer ended with an error")
        self._withheld = self._counter("withheld_sentences", "Sentences that no passage supported")
        self._prompt = self._counter("prompt_tokens", "Tokens of prompts")
        self._reused = self._counter("reused_tokens", "Tokens of prompts that were read before, from stored states")
        self._written = self._counter("answer_tokens", "Tokens that the model wrote")
        self._left = self._counter("left", "Answers that were cut off, by their reader or because the server ended")
        self._first_token = self._histogram("first_token_seconds", "From the question to the model's first token")
        self._first_sentence = self._histogram(
            "first_sentence_seconds", "From the question to the first sentence shown"
        )
        self._total = self._histogram("answer_seconds", "From the question to the end of the answer")

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Let ``value`` be asked whenever the numbers are."""
        Gauge(f"groundwork_{name}", what, registry=self._registry).set_function(value)

    def answered(self, answer: Answer) -> None:
        """Count one answer, and log it."""
        timings = answer.timings
        self._answers.labels(str(answer.refused).lower()).inc()
        self._withheld.inc(answer.withheld)
        self._prompt.inc(timings.prompt_tokens)
        self._reused.inc(timings.reused_tokens)
        self._written.inc(timings.answer_tokens)
        for histogram, milliseconds in (
            (self._first_token, timings.first_token_ms),
            (self._first_sentence, timings.first_sentence_ms),
            (self._total, timings.total_ms),
        ):
            if milliseconds is not None:
                histogram.observe(milliseconds / 1000)
        words = {"question": answer.question, "answer": answer.text} if self._with_questions else {}
        self._log(
            "answered",
            refused=answer.refused,
            citations=len(answer.citations),
            withheld=answer.withheld,
            first_sentence_ms=timings.first_sentence_ms,
            total_ms=timings.total_ms,
            **words,
        )

    def turned_away(self, reason: str) -> None:
        """Count a question that was not taken: the line is ``full`` or ``closing``, or the asker met a ``limit``."""
        self._turned_away.labels(reason).inc()
        self._log("turned away", reason=reason)

    def left(self) -> None:
        """Count a reader who did not wait for the end."""
        self._left.inc()
        self._log("left")

    def failed(self, error: Exception) -> None:
        """Count an answer that ended with an error."""
        self._failures.inc()
        self._log("failed", error=type(error).__name__)

    def numbers(self) -> bytes:
        """All counts, as Prometheus reads them."""
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"groundwork_{name}", what, labels, registry=self._registry)

    def _histogram(self, name: str, what: str) -> Histogram:
        return Histogram(f"groundwork_{name}", what, registry=self._registry, buckets=SECONDS)

    def _log(self, event: str, **values: object) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        LOG.info("%s", json.dumps({"time": now, "event": event, **values}))
