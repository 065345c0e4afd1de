"""What the beginning of an answer tells of whether the passage answers: learns `assistant.prompting.SIGNS`.

Each of some questions in the front matter is put behind the section that it was written for, and behind one of the
nearest others. From the logits of words with which an answer may begin, a logistic regression tells the two apart; the
words are taken one by one, as each tells most beside those before. No question that is used to judge the assistant is
seen. Some of the other sections do answer too, which this module does not know.
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
    "Yes No Not None Nothing Sorry Unfortunately Indeed True False Correct Sure Certainly Exactly Right Okay Answer "
    "Question Passage Context Please The This That These There It In An A To Of For And So Also But While However "
    "Although Because Since As If Only Some Any I We You They What Why How Who When Where Which Is Are Do Does Can"
).split()
"""With these an answer may begin; of each, its first token counts."""
CHOSEN = 9
"""So many words are taken beside `NO`, against which the others are measured."""
STRENGTH = 0.01
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
    words = _chosen(logits, answers)
    result = {
        "questions": len(rows) // 2,
        "seed": seed,
        "weights": _weights(logits, answers, words),
        # cross-validated: of two looks, one that answers and one that does not, how often the first has more
        "told apart": {
            f"{YES} against {NO}": _told_apart(logits, answers, [YES]),
            "all signs": _told_apart(logits, answers, words),
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
        chunks = snapshot.chunks([identifier for identifier, _ in drawn])
    for identifier, question in drawn:
        near = [result for result in retriever.search(question, NEAREST + 1) if result.identifier != identifier]
        yield question, (chunks[identifier], draw.choice(near[:NEAREST]).chunk)


def _logits(model: LlamaModel, question: str, chunk: Chunk) -> list[float]:
    """Of each of `WORDS`, behind a look at this chunk."""
    (logits,) = logits_behind(model, build_messages(question, [SearchResult(0, chunk, 0.0, 0.0)]))
    return [logits[model._sequences.tokens(word, is_template=False)[0]] for word in WORDS]


def _against_no(logits: Numbers, words: Sequence[str]) -> Numbers:
    against: Numbers = logits[:, [WORDS.index(word) for word in words]] - logits[:, [WORDS.index(NO)]]
    return against


def _told_apart(logits: Numbers, answers: Numbers, words: Sequence[str]) -> float:
    features, ridge = _standardised(_against_no(logits, words))[0], _ridge(len(answers))
    told = cross_val_predict(ridge, features, answers, cv=5, method="decision_function")
    return round(float(roc_auc_score(answers, told)), 3)


def _chosen(logits: Numbers, answers: Numbers) -> list[str]:
    """`YES`, and then always the word that tells most beside those before."""
    words = [YES]
    while len(words) < CHOSEN:
        left = [word for word in WORDS if word not in (*words, NO)]
        words.append(max(left, key=lambda word: _told_apart(logits, answers, [*words, word])))
    return words


def _weights(logits: Numbers, answers: Numbers, words: Sequence[str]) -> dict[str, float]:
    """A weight for each word, which all sum to 0."""
    features, deviations = _standardised(_against_no(logits, words))
    found = np.round(_ridge(len(answers)).fit(features, answers).coef_[0] / deviations, 2)
    return {**dict(zip(words, map(float, found), strict=True)), NO: round(-float(found.sum()), 2)}


def _standardised(features: Numbers) -> tuple[Numbers, Numbers]:
    deviations = features.std(axis=0)
    return (features - features.mean(axis=0)) / deviations, deviations


def _ridge(count: int) -> Any:
    return LogisticRegression(C=1 / (2 * STRENGTH * count), max_iter=1000)
