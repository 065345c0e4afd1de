"""The real embedder, asked from several threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from assistant.retrieval.embedder import SentenceEmbedder

TEXTS = ["When do tomatoes need water?", "How long does dough rise?", "How do I descale the kettle?"]
LATE = "The Überfilter E-1047 isn't   clogged.\n\n- Rinse it, weekly! 你好 🍅"


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    one = SentenceEmbedder("all-MiniLM-L6-v2", 1)
    one.load()
    return one


def test_tokens_are_cut_out_of_the_text_and_special_ones_left_out(embedder: SentenceEmbedder) -> None:
    encoding, empty = embedder.encode([LATE, ""])
    words = [LATE[start:end] for start, end in encoding.spans]
    assert len(words) == len(encoding.ids) == len(encoding.tokens) == embedder.count(LATE)
    assert words[0] == "The"
    assert "".join(words) == "".join(LATE.split())
    special = embedder._model.tokenizer.all_special_ids
    assert not set(encoding.ids.tolist()) & set(special) - {embedder._model.tokenizer.unk_token_id}
    assert (len(empty.ids), empty.spans.shape, empty.tokens.shape) == (0, (0, 2), (0, embedder.dimension))


def test_an_encoding_has_the_vector_of_the_text_and_tokens_of_unit_length(embedder: SentenceEmbedder) -> None:
    for encoding, vector in zip(embedder.encode(TEXTS), embedder.embed(TEXTS), strict=True):
        assert encoding.vector == pytest.approx(vector, abs=1e-5)
        assert encoding.tokens.dtype == np.int8
        # what rounding to 255 steps may cost
        lengths = np.linalg.norm(encoding.tokens.astype(np.float32) / 127, axis=1)
        assert lengths == pytest.approx(np.ones(len(lengths)), abs=0.03)


def test_rounding_changes_no_similarity_that_counts(embedder: SentenceEmbedder) -> None:
    encoding = embedder.encode(TEXTS[:1])[0]
    exact = embedder._model.encode(TEXTS[:1], output_value="token_embeddings", convert_to_numpy=False)[0]
    exact = np.asarray(exact)[1 : len(encoding.ids) + 1]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    tokens = encoding.tokens.astype(np.float32) / 127
    assert tokens @ tokens.T == pytest.approx(exact @ exact.T, abs=0.02)


def test_a_part_has_the_tokens_that_lie_in_it(embedder: SentenceEmbedder) -> None:
    encoding = embedder.encode([LATE])[0]
    start = LATE.index("E-1047")
    part = encoding.part(start, start + 6)
    assert "".join(LATE[first:last] for first, last in part.spans) == "E-1047"
    assert len(part.ids) == len(part.tokens) > 1


def test_texts_of_all_lengths_keep_their_places(embedder: SentenceEmbedder) -> None:
    texts = ["word " * 700, "Short.", "", *TEXTS] * 4
    encodings = embedder.encode(texts)
    assert len(encodings) == len(texts)
    assert len(encodings[0].ids) == embedder.max_tokens - 2, "what is beyond is not seen"
    for text, encoding in zip(texts[1:], encodings[1:], strict=True):
        assert "".join(text[start:end] for start, end in encoding.spans) == "".join(text.split())[: len(text)] or (
            len(encoding.ids) == embedder.max_tokens - 2
        )
    assert embedder.encode([]) == []
    assert embedder.embed([]).shape == (0, embedder.dimension)


FIRST = """
from concurrent.futures import ThreadPoolExecutor
from assistant.retrieval.embedder import SentenceEmbedder

embedder = SentenceEmbedder("all-MiniLM-L6-v2", 1)
with ThreadPoolExecutor(4) as readers:
    uses = [readers.submit(embedder.encode, ["text"]), readers.submit(embedder.count, "text"),
            readers.submit(embedder.embed, ["text"]), readers.submit(lambda: embedder.max_tokens)]
    for use in uses:
        use.result()
print("done")
"""


def test_the_first_use_of_a_process_loads_it_whatever_the_use_and_from_several_threads() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr


def test_whoever_asks_one_thread_embeds(embedder: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = embedder.embed(TEXTS)
    assert alone.shape == (3, embedder.dimension)
    assert np.linalg.norm(alone, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    names = set[str]()
    encode = embedder._model.encode

    def watched(*arguments: Any, **options: Any) -> Any:
        names.add(threading.current_thread().name)
        return encode(*arguments, **options)

    monkeypatch.setattr(embedder._model, "encode", watched)
    with ThreadPoolExecutor(4) as readers:
        together = list(readers.map(lambda text: embedder.embed([text])[0], TEXTS * 4))
        counts = list(readers.map(embedder.count, TEXTS * 4))
    assert len(names) == 1
    assert np.array(together) == pytest.approx(np.tile(alone, (4, 1)), abs=1e-5)
    assert counts == [embedder.count(text) for text in TEXTS] * 4


def test_what_goes_wrong_in_that_thread_is_told_to_who_asked(
    embedder: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(embedder._model, "encode", full)
    with pytest.raises(MemoryError, match="no room"):
        embedder.embed(TEXTS)
    monkeypatch.undo()
    assert len(embedder.embed(TEXTS)) == 3
