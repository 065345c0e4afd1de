"""The judge: does a passage answer a question, and does evidence support a sentence?

Two scores, each the logistic function of a few features that know no language, and two thresholds. Weights and
thresholds are in ``judge.json``; ``training/fit_judge.py`` fits them and names the data. The features come from the
tokens of the embedder (see `schemas.Encoding`): how similar the most similar token of the other text is, how much of
the text stands there literally, and how far the least similar token is; tokens are weighted by how rare they are.

One rule stands beside the score of support: numbers, identifiers and names of a sentence must stand in its evidence.
A cross-encoder (``ASSISTANT_JUDGE``) can take the place of both scores.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from assistant.retrieval.hybrid_search import max_similarity, token_similarities
from assistant.schemas import Encoding, SearchResult, Vectors
from assistant.words import identifiers, numbers

_NAME = re.compile(r"(?<!^)(?<![.!?:\"“«(] )(?<![\n*-] )\b[A-Z][\w'’-]+")


@dataclass(frozen=True, slots=True)
class Match:
    """Of each token of a text: the similarity of the most similar token of another, and whether it stands there."""

    similarity: Vectors
    is_literal: Vectors

    def joined(self, other: Match) -> Match:
        """The match with two texts together."""
        return Match(np.maximum(self.similarity, other.similarity), np.maximum(self.is_literal, other.is_literal))


def match(text: Encoding, other: Encoding) -> Match:
    """The tokens of ``text`` in ``other``."""
    if not len(other.ids):
        return Match(np.zeros(len(text.ids), np.float32), np.zeros(len(text.ids), np.float32))
    similarity = token_similarities(text, other).max(axis=1)
    return Match(similarity, np.isin(text.ids, other.ids).astype(np.float32))


def relevance_features(
    question: Encoding, weights: Vectors, results: Sequence[SearchResult], sentences: Sequence[Encoding]
) -> list[float]:
    """What tells whether the first of ``results`` answers the question.

    Args:
        weights: how rare each token of the question is, shape ``(n,)``.
        sentences: those of the first result.
    """
    first, *others = (result.encoding for result in results if result.encoding is not None)
    whole = _features(match(question, first), weights)
    best = max((max_similarity(question, weights, sentence) for sentence in sentences), default=0.0)
    rival = max((max_similarity(question, weights, other) for other in others), default=0.0)
    return [results[0].similarity, *whole, best, whole[0] - rival]


def support_features(
    claim: Encoding, weights: Vectors, evidence: Match, passage: Match, backward: float
) -> list[float]:
    """What tells whether evidence supports a claim.

    Args:
        weights: how rare each token of the claim is, shape ``(n,)``.
        evidence: the tokens of the claim in the sentences that are cited.
        passage: those in the whole passage.
        backward: the mean similarity of the evidence's tokens to the claim.
    """
    return [*_features(evidence, weights), *_features(passage, weights), backward, math.log(len(claim.ids) + 1)]


def _features(found: Match, weights: Vectors) -> list[float]:
    """Mean similarity, literal share, and the distance of the token that is missed most."""
    missed = (1 - found.similarity) * weights / max(float(weights.max(initial=0.0)), 1e-6)
    return [
        _mean(found.similarity, weights),
        _mean(found.is_literal, weights),
        float(missed.max(initial=0.0)),
    ]


def _mean(values: Vectors, weights: Vectors) -> float:
    total = float(weights.sum())
    return float(values @ weights) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """One logistic score: ``1 / (1 + exp(-(weights · features + bias)))``, and the least that is enough."""

    weights: tuple[float, ...]
    bias: float
    threshold: float

    def score(self, features: Sequence[float]) -> float:
        """The score of these features, 0 to 1."""
        logit = self.bias + sum(weight * value for weight, value in zip(self.weights, features, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@cache
def scales() -> dict[str, Scale]:
    """The fitted scores, ``relevance`` and ``support``."""
    stored = json.loads(files("assistant.retrieval").joinpath("judge.json").read_text(encoding="utf-8"))
    return {
        name: Scale(tuple(stored[name]["weights"]), stored[name]["bias"], stored[name]["threshold"])
        for name in ("relevance", "support")
    }


class CrossEncoderJudge:
    """A cross-encoder of sentence-transformers, for either score: pairs of texts → 0 to 1.

    Args:
        name: a hub id or a folder.

    Raises:
        ModelError: it cannot be loaded.
    """

    THRESHOLD = 0.5

    def __init__(self, name: str) -> None:
        from assistant.errors import ModelError

        try:
            import torch
            from sentence_transformers import CrossEncoder

            self._model: Any = CrossEncoder(
                name, device="cpu", trust_remote_code=False, activation_fn=torch.nn.Sigmoid()
            )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(
                f"The judge {name} cannot be loaded ({reason}): set ASSISTANT_JUDGE to a cross-encoder's folder or hub "
                "id, or unset it."
            ) from error

    def score(self, text: str, passage: str) -> float:
        """How well ``passage`` answers or supports ``text``."""
        return float(self._model.predict([(text, passage)], show_progress_bar=False)[0])


def missing_facts(claim: str, evidence: str) -> list[str]:
    """Numbers, identifiers and names of ``claim`` that do not stand in ``evidence``."""
    words = frozenset(re.findall(r"[\w-]+", evidence.casefold()))
    parts = words | {part for word in words for part in word.split("-")}
    lost = sorted(numbers(claim) - numbers(evidence))
    lost += sorted(identifiers(claim) - identifiers(evidence))
    # an ending tells no two names apart: "Angola", "Angolan"
    known = parts | {word[:-1] for word in parts} | {word[:-2] for word in parts if len(word) > 4}
    return lost + [
        name
        for name in names(claim)
        if not set(re.findall(r"\w+", name.casefold())) <= known and not _is_initials(name, evidence)
    ]


def names(text: str) -> list[str]:
    """Words with a capital inside a sentence, each once, without a possessive or plural ending of an abbreviation."""
    found = (re.sub(r"['’]s$|(?<=[A-Z]{2})s$", "", name) for name in _NAME.findall(text))
    return list(dict.fromkeys(found))


def _is_initials(name: str, evidence: str) -> bool:
    """Whether ``name`` is the abbreviation of words that stand one behind the other in ``evidence``."""
    initials = "".join(word[0] for word in re.findall(r"\w+", evidence))
    return name.isupper() and len(name) > 1 and name.casefold() in initials.casefold()
