"""What the beginning of an answer tells of whether the passage answers: learns `assistant.prompting.SIGNS`.

Each of some questions in the front matter is put behind the section that it was written for, and behind one of the
nearest others. From the logits of words that agree and words that do not, a logistic regression tells the two apart. No
question that is used to judge the assistant is seen. Some of the other sections do answer too, which this module does
not know.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from assistant.answering import open_retriever
from assistant.embedding import SentenceEmbedder
from assistant.errors import ModelError
from assistant.indexing import build
from assistant.models.engines import load_model
from assistant.models.llama import LlamaModel
from assistant.progress import ProgressBar
from assistant.prompting import NO, YES, build_messages
from assistant.retrieval import Retriever
from assistant.settings import Settings
from assistant.types import Chunk, Progress, SearchResult
from evaluation.likelihood import logits_behind
from evaluation.statistics import keep

Numbers = np.ndarray[Any, Any]

WORDS = (
    "Yes Indeed True Correct Sure Certainly Exactly Right Answer No Not None Nothing False Sorry Unfortunately"
).split()
"""With these an answer may begin that agrees, or does not; of each, its first token counts."""
STRENGTH = 0.03
"""How strongly the weights are drawn to 0 (of the ridge, for one question)."""
NEAREST = 4
"""The other section is one of so many that are the nearest to the question."""


def run(settings: Settings, data: str, limit: int, seed: int) -> dict[str, Any]:
    """Learn the weights from ``limit`` questions, and keep them."""
    with ProgressBar() as bar:
        build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
        retriever = open_retriever(settings)
        model = load_model(settings, bar.show)
        if not isinstance(model, LlamaModel):
            raise ModelError("The signs are read from llama.cpp: set ASSISTANT_MODEL to a GGUF model.")
        rows: list[list[float]] = []
        for number, (question, pair) in enumerate(_drawn(retriever, limit, seed)):
            bar.show(Progress("Looking", number, limit, "questions"))
            rows += [_logits(model, question, chunk) for chunk in pair]
        model.close()
    logits = np.array(rows)
    answers = np.arange(len(rows)) % 2 == 0
    result = {
        "questions": len(rows) // 2,
        "seed": seed,
        "weights": weights(logits, answers),
        # cross-validated: of two looks, one that answers and one that does not, how often the first has more
        "told apart": {
            f"{YES} against {NO}": _told_apart(logits, answers, [YES]),
            "all signs": _told_apart(logits, answers, WORDS),
        },
    }
    print(result)
    path = keep("signs", result)
    print(f"Written to {path.relative_to(path.parents[2])}.", file=sys.stderr)
    return result


def _drawn(retriever: Retriever, limit: int, seed: int) -> Iterator[tuple[str, tuple[Chunk, Chunk]]]:
    """Questions, each with its own chunk and another near one."""
    draw = random.Random(seed)
    with retriever.index.snapshot() as snapshot:
        rows = snapshot.database.execute("SELECT rowid, questions FROM chunks_text WHERE questions != ''").fetchall()
        asked = [(identifier, question) for identifier, text in rows for question in text.splitlines()]
        drawn = draw.sample(asked, min(limit, len(asked)))
        others = {}
        for identifier, question in drawn:
            near = snapshot.nearest(retriever.embedder.embed([question])[0], NEAREST + 1)
            others[question] = draw.choice([other for other in near if other != identifier][:NEAREST])
        chunks = snapshot.chunks([*(identifier for identifier, _ in drawn), *others.values()])
    for identifier, question in drawn:
        yield question, (chunks[identifier], chunks[others[question]])


def _logits(model: LlamaModel, question: str, chunk: Chunk) -> list[float]:
    """Of each of `WORDS`, behind a look at this chunk."""
    (logits,) = logits_behind(model, build_messages(question, [SearchResult(0, chunk, 0.0, 0.0)]))
    return [logits[model._sequences.tokens(word, is_template=False)[0]] for word in WORDS]


def _against_no(logits: Numbers, words: Sequence[str]) -> Numbers:
    against: Numbers = logits[:, [WORDS.index(word) for word in words]] - logits[:, [WORDS.index(NO)]]
    return against


def _told_apart(logits: Numbers, answers: Numbers, words: Sequence[str]) -> float:
    words = [word for word in words if word != NO]
    features, ridge = _standardised(_against_no(logits, words))[0], _ridge(len(answers))
    told = cross_val_predict(ridge, features, answers, cv=5, method="decision_function")
    return round(float(roc_auc_score(answers, told)), 3)


def weights(logits: Numbers, answers: Numbers) -> dict[str, float]:
    """A weight for each word, which all sum to 0.

    Args:
        logits: of shape (looks, words).
        answers: of shape (looks,), whether the passage that was looked at answers.
    """
    others = [word for word in WORDS if word != NO]
    features, deviations = _standardised(_against_no(logits, others))
    found = np.round(_ridge(len(answers)).fit(features, answers).coef_[0] / deviations, 2)
    return {**dict(zip(others, map(float, found), strict=True)), NO: round(-float(found.sum()), 2)}


def _standardised(features: Numbers) -> tuple[Numbers, Numbers]:
    deviations = features.std(axis=0)
    return (features - features.mean(axis=0)) / deviations, deviations


def _ridge(count: int) -> Any:
    return LogisticRegression(C=1 / (2 * STRENGTH * count), max_iter=1000)
