"""Fits the two scores of `assistant.retrieval.judge` and writes ``judge.json``.

    python -m training.fit_judge FOLDER      FOLDER: the public sets, as in docs/evaluation.md (clapnq and mtrag_un)

Data statement
    Relevance: CLAPnq (IBM, Apache-2.0), 300 questions that a passage answers and 300 that none does, over the passages
    of CLAPnq and MTRAG-UN together. The example is a question with what the search finds first; answerable questions
    whose passage is not found first are left out.
    Support: sentences of CLAPnq's human answers and of MTRAG-UN's reference answers, which paraphrase more, with the
    passages that are found for their questions and their own. Negatives: the same sentence where its own passages are
    not among the evidence, and a sentence with one word exchanged for one of another answer. Numbers, names and
    negations are not fitted: the first two are left to a rule, and no feature here tells the third.
    Everything is English. Half of the questions (by the order of their identifiers) are fitted, the other half are
    reported; for relevance, MTRAG-UN is reported only.
Method
    Logistic regression with L2 regularisation on standardised features (scikit-learn, which
    sentence-transformers brings). The thresholds, `THRESHOLDS`, are chosen. Relevance: people ask our documents in
    other words than CLAPnq's questions, so its level does not carry over, and short questions have little
    to compare: at .005, which refuses 14 of 20 development questions on other things instead of 6, "What does IT do?"
    is refused too. The threshold refuses what is far from all documents, and leaves the rest to the model.
    Support: 93 % of the right sentences of the held-out half lie above the threshold.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from assistant.ingestion.sentences import sentence_spans
from assistant.query import context
from assistant.retrieval import judge
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.store import DATABASE, KnowledgeIndex, connection
from assistant.retrieval.verifier import Verifier
from assistant.schemas import SearchResult, Turn
from assistant.settings import Settings

THRESHOLDS = {"relevance": 0.002, "support": 0.2}
SEED = 1
EVERY = 3
"""Of the questions with answers so many are left out between two; more change little."""
Example = tuple[list[float], int, str]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file, in the order of their identifiers."""
    return sorted(map(json.loads, path.read_text(encoding="utf-8").splitlines()), key=lambda row: str(row["_id"]))


def write_corpus(data: Path, knowledge: Path) -> None:
    """One document a passage, named by its set and identifier."""
    for name in ("clapnq", "mtrag_un"):
        (knowledge / name).mkdir(parents=True, exist_ok=True)
        for row in rows(data / name / "corpus.jsonl"):
            title = json.dumps(" ".join(row["title"].split()) or "Untitled")
            file = knowledge / name / f"{re.sub(r'[^A-Za-z0-9_-]', '-', row['_id'])}.md"
            file.write_text(f"---\ntitle: {title}\n---\n\n{row['text']}\n", encoding="utf-8")


def write_frequencies(index: Path, embedder: str) -> None:
    """In how many of a thousand chunks each token occurs, as what is known of words before a folder is read."""
    with connection(index / DATABASE) as database:
        seen = [np.unique(np.frombuffer(ids, np.int32)) for (ids,) in database.execute("SELECT ids FROM tokens")]
    shares = np.bincount(np.concatenate(seen)) * 1000 / len(seen)
    stored = {"embedder": embedder, "per thousand": [round(float(share), 1) for share in shares]}
    path = Path(judge.__file__).with_name("token_frequencies.json")
    path.write_text(json.dumps(stored, separators=(",", ":")).replace(".0,", ",") + "\n", encoding="utf-8")


def file_of(name: str, identifier: str) -> str:
    """The document of a passage."""
    return f"{name}/{re.sub(r'[^A-Za-z0-9_-]', '-', identifier)}.md"


def golden(data: Path, name: str) -> dict[str, set[str]]:
    """The documents that answer each question."""
    gold: dict[str, set[str]] = {}
    for line in (data / name / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, *_ = line.split("\t")
        gold.setdefault(query, set()).add(file_of(name, document))
    return gold


def relevance(retriever: Retriever, data: Path, name: str) -> Iterator[Example]:
    """Questions with what is found first."""
    gold = golden(data, name)
    for number, row in enumerate(rows(data / name / "queries.jsonl")):
        answerable = row.get("answerable", row.get("answerability") == "ANSWERABLE")
        if row.get("answerability") not in {None, "ANSWERABLE", "UNANSWERABLE"}:
            continue
        turns = tuple(Turn("user" if role == "user" else "assistant", text) for role, text in row.get("history", []))
        behind = context(row["text"], turns) if turns else ""
        results = retriever.search(row["text"], 8, behind)
        if answerable and results[0].chunk.document not in gold.get(str(row["_id"]), set()):
            continue
        verifier = Verifier(retriever, row["text"], results)
        encoding = retriever.last_words(row["text"], behind)
        sentences = [span.encoding for span in verifier.spans[0]]
        features = judge.relevance_features(encoding, retriever.rarities(encoding), results, sentences)
        yield features, int(answerable), f"{name} {number % 2}"


def swapped(sentence: str, others: list[str], choice: random.Random) -> str | None:
    """The sentence with one word of another one."""
    words = list(re.finditer(r"(?<= )[a-z]{5,}\b", sentence))
    strange = re.findall(r"(?<= )[a-z]{5,}\b", choice.choice(others))
    if not words or not strange:
        return None
    place = choice.choice(words)
    return sentence[: place.start()] + choice.choice(strange) + sentence[place.end() :]


def support(retriever: Retriever, data: Path, name: str) -> Iterator[Example]:
    """Sentences of answers with evidence that supports them, or does not."""
    choice = random.Random(SEED)
    gold = golden(data, name)
    asked = [row for row in rows(data / name / "queries.jsonl") if str(row["_id"]) in gold]
    asked = [row for row in asked if row.get("answers") or row.get("answerability") == "ANSWERABLE"]
    asked = asked[::EVERY]
    answers = [(row.get("answers") or [row.get("reference", "")])[0] for row in asked]
    for number, (row, answer) in enumerate(zip(asked, answers, strict=True)):
        half = f"{name} {number % 2}"
        turns = tuple(Turn("user" if role == "user" else "assistant", text) for role, text in row.get("history", []))
        found = retriever.search(row["text"], 8, context(row["text"], turns) if turns else "")
        with retriever.index.snapshot() as snapshot:
            ids = [i for document in sorted(gold[str(row["_id"])]) for i in snapshot.identifiers_of(document)]
            chunks, encodings = snapshot.chunks(ids), snapshot.encodings(ids)
        own = [SearchResult(i, chunks[i], 0.0, 0.0, encodings[i]) for i in ids]
        others = [result for result in found if result.identifier not in set(ids)]
        for start, end in list(sentence_spans(answer))[:2]:
            sentence = answer[start:end]
            if len(sentence.split()) < 4:
                continue
            yield features(retriever, row["text"], own + others, sentence), 1, half
            yield features(retriever, row["text"], others, sentence), 0, f"{half} neighbour"
            changed = swapped(sentence, answers, choice)
            if changed:
                yield features(retriever, row["text"], own + others, changed), 0, f"{half} word"


def features(retriever: Retriever, question: str, results: list[SearchResult], sentence: str) -> list[float]:
    """The features of the best evidence for ``sentence``."""
    verifier = Verifier(retriever, question, results)
    return verifier.best(sentence)[2]


def fit(examples: list[Example], threshold: float) -> tuple[dict[str, Any], dict[str, float]]:
    """Fit one half, and report the areas under the curve on all that was not fitted."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

    # nothing was found for some
    examples = [example for example in examples if example[0]]
    x, y = np.array([e[0] for e in examples]), np.array([e[1] for e in examples])
    group = np.array([e[2] for e in examples])
    fitted = np.array([g.split()[1] == "0" and (g.split()[0] == "clapnq" or len(x[0]) > 6) for g in group])
    mean, deviation = x[fitted].mean(0), x[fitted].std(0) + 1e-9
    model = LogisticRegression(C=1.0, class_weight="balanced").fit((x[fitted] - mean) / deviation, y[fitted])
    weights = model.coef_[0] / deviation
    bias = float(model.intercept_[0] - weights @ mean)
    score = 1 / (1 + np.exp(-(x @ weights + bias)))
    reported: dict[str, float] = {}
    rest = ~fitted
    for name in sorted({" ".join(g.split()[:1] + g.split()[2:]) for g in group[rest & (y == 0)]}):
        this = rest & np.array([" ".join(g.split()[:1] + g.split()[2:]) == name for g in group])
        # kinds of errors are told from the right sentences of the same half
        those = this | (rest & (y == 1)) if y[this].max() == 0 else this
        reported[f"AUC {name}"] = float(roc_auc_score(y[those], score[those]))
        reported[f"negatives below the threshold, {name}"] = float((score[those][y[those] == 0] < threshold).mean())
    reported["positives above the threshold"] = float((score[rest & (y == 1)] >= threshold).mean())
    for i in range(x.shape[1]):
        part = rest & np.array([g.startswith("clapnq") for g in group])
        reported[f"AUC of feature {i} alone, clapnq"] = float(roc_auc_score(y[part], x[part, i]))
    for share in (0.99, 0.97, 0.95, 0.92, 0.9, 0.85):
        bar = float(np.quantile(score[rest & (y == 1)], 1 - share))
        reported[f"negatives below, where {share:.0%} of the positives are above ({bar:.2f})"] = float(
            (score[rest & (y == 0)] < bar).mean()
        )
    stored = {"weights": [round(float(w), 4) for w in weights], "bias": round(bias, 4)}
    return {**stored, "threshold": threshold}, reported


def main(folder: str, index: str = "") -> None:
    """Fit both and write them."""
    data = Path(folder)
    embedder = SentenceEmbedder.from_settings(Settings())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(index) if index else Path(scratch) / "index"
        if not index:
            write_corpus(data, Path(scratch) / "knowledge")
            build(Path(scratch) / "knowledge", place, embedder)
        write_frequencies(place, embedder.name)
        retriever = Retriever(KnowledgeIndex(place, embedder.name), embedder)
        found = {
            "relevance": [*relevance(retriever, data, "clapnq"), *relevance(retriever, data, "mtrag_un")],
            "support": [*support(retriever, data, "clapnq"), *support(retriever, data, "mtrag_un")],
        }
    stored: dict[str, Any] = {"embedder": embedder.name, "fitted by": "training/fit_judge.py"}
    for name, examples in found.items():
        stored[name], reported = fit(examples, THRESHOLDS[name])
        stored[name]["held out"] = {key: round(value, 3) for key, value in reported.items()}
        print(name, len(examples), json.dumps(stored[name], indent=1))
    path = Path(judge.__file__).with_name("judge.json")
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
