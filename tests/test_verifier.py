"""The verifier: which sentences or lists of the passages support a claim, and what counts as no support at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.retrieval.hybrid_search import Retriever
from assistant.retrieval.store import KnowledgeIndex
from assistant.retrieval.verifier import Verifier, cite, code_stands, spans_of
from assistant.schemas import Chunk, SearchResult
from evaluation.data import Claim, write_claims
from evaluation.gate import FLOORS, claims, is_supported
from tests.fakes import HashEmbedder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="module")
def labelled(folder: Path) -> list[Claim]:
    return write_claims(folder / "knowledge")


@pytest.fixture(scope="module")
def retriever(folder: Path, labelled: list[Claim]) -> Retriever:
    """The documents of the claims, with the real embedder."""
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", 2)
    build(folder / "knowledge", folder / "index", embedder)
    return Retriever(KnowledgeIndex(folder / "index", embedder.name), embedder)


def verifier(retriever: Retriever, question: str, finds: str = "") -> Verifier:
    """The verifier of a question that is searched as it stands, or as ``finds``."""
    return Verifier(retriever, question, retriever.search(finds or question, 8))


def test_true_claims_are_told_from_false_ones(retriever: Retriever, labelled: list[Claim]) -> None:
    numbers = claims(retriever, labelled)
    wrong = [claim.text for claim in labelled if is_supported(retriever, claim) != claim.is_supported]
    assert {name: number for name, number in numbers.items() if number < FLOORS[name]} == {}, wrong


@pytest.mark.parametrize(
    ("claim", "quotes"),
    [
        ("Bread bakes for 40 minutes.", ["Bread bakes for forty minutes at 230 degrees."]),
        ("Rinse the filter under running water.", ["Rinse the filter under running water."]),
        ("A rake gathers leaves.", ["A rake gathers leaves."]),
        (
            "A gardener has a spade for digging holes, a rake for gathering leaves and shears for cutting hedges.",
            ["- A spade digs holes.\n- A rake gathers leaves.\n- Shears cut hedges."],
        ),
        (
            "Employees may work from home on two days a week, and travel costs are paid back within thirty days.",
            ["Employees may work from home on two days a week.", "Travel costs are paid back within thirty days."],
        ),
    ],
)
def test_evidence_is_a_sentence_or_two_or_a_list(retriever: Retriever, claim: str, quotes: list[str]) -> None:
    assert [span.quote for span in verifier(retriever, "What is it like?", claim).support(claim)] == quotes


def test_evidence_is_looked_for_where_the_facts_stand(tmp_path: Path) -> None:
    """The nearest passage lacks the year; another has it."""
    (tmp_path / "copilot.md").write_text(
        "# Timeline\n\n## 21 June 2021: Copilot, test version\n\nPeople could get a first test version of Copilot in "
        "June.\n\n## Later\n\nIn 2022 general availability followed for Copilot.\n",
        encoding="utf-8",
    )
    embedder = SentenceEmbedder("all-MiniLM-L6-v2", 2)
    build(tmp_path, tmp_path / "index", embedder)
    retriever = Retriever(KnowledgeIndex(tmp_path / "index", embedder.name), embedder)
    found = verifier(retriever, "When could people get Copilot, not the test version?")
    claim = "People could first get Copilot, not the test version, in 2022."
    assert found.best(claim)[0][0].chunk.headings[-1] != "Later"
    (span,) = found.support(claim)
    assert span.quote == "In 2022 general availability followed for Copilot."


@pytest.mark.parametrize(
    ("question", "claim"),
    [
        ("What does the error mean?", "The error E-1074 means that the filter is clogged."),
        ("How long does bread bake?", "Bread bakes for forty-one minutes at 230 degrees."),
        ("Who published CLIP?", "CLIP was published by Google in 2021."),
        ("How do I start the server?", "Start the server with `groundwork serve --port 9090`."),
        ("How long does bread bake?", "The moon is made of cheese."),
        ("How long does bread bake?", ""),
        ("How long does bread bake?", "![](http://example.org/minutes.png)"),
        ("How long does bread bake?", "[](http://example.org/minutes)"),
    ],
)
def test_facts_and_code_that_are_not_there_are_not_supported(retriever: Retriever, question: str, claim: str) -> None:
    assert verifier(retriever, question).support(claim) == []


def test_a_claim_that_leaves_out_items_of_its_list_is_short_of_them(retriever: Retriever) -> None:
    found = verifier(retriever, "Which tools does a gardener need?")
    (whole,) = [span for span in found.spans[0] if span.items]
    assert len(whole.items) == 3
    assert found.is_short_of_items("A gardener needs a spade that digs holes and a rake that gathers leaves.", [whole])
    # one of three is an answer, not a list
    assert not found.is_short_of_items("A gardener needs a spade, which digs holes.", [whole])
    everything = "A spade digs holes, a rake gathers leaves and shears cut hedges."
    assert not found.is_short_of_items(everything, [whole])
    assert not found.is_short_of_items("Anything.", [span for span in found.spans[0] if not span.items])


@pytest.mark.parametrize(
    ("question", "relevant"),
    [
        ("How long does bread bake?", True),
        ("What does E-1047 mean?", True),
        ("How often may I work from home?", True),
        ("What is the capital of Peru?", False),
    ],
)
def test_what_the_documents_do_not_speak_of_is_not_relevant(
    retriever: Retriever, question: str, relevant: bool
) -> None:
    found = verifier(retriever, question)
    assert 0 <= found.relevance <= 1
    assert found.is_relevant is relevant


def test_without_passages_nothing_is_relevant_or_supported(retriever: Retriever) -> None:
    found = Verifier(retriever, "How long does bread bake?", [])
    assert (found.relevance, found.is_relevant, found.nearest(3), found.support("Bread bakes.")) == (0.0, False, [], [])


def test_the_nearest_sentences_come_first_and_of_the_results_that_are_wanted(retriever: Retriever) -> None:
    found = verifier(retriever, "How long does bread bake?")
    first, *others = found.nearest(3)
    assert first.quote == "Bread bakes for forty minutes at 230 degrees."
    assert len(others) == 2
    assert {span.chunk.document for span in found.nearest(9, slice(1))} == {"claims/bread.md"}
    assert "claims/bread.md" not in {span.chunk.document for span in found.nearest(9, slice(1, None))}


TEXT = """Read this.

- one item
- another item

```sh
run --now
```
"""


def test_spans_are_cut_out_of_the_passage_with_their_tokens() -> None:
    chunk = Chunk("a.md", "A title", ("Heading",), TEXT, 10, 17, None, 100)
    (encoding,) = HashEmbedder().encode([chunk.embedding_text])
    spans = spans_of(SearchResult(1, chunk, 1.0, 0.5, encoding))
    assert [span.quote for span in spans] == [
        "Read this.",
        "one item",
        "another item",
        "```sh\nrun --now\n```",
        "- one item\n- another item",
    ]
    for span in spans:
        words = [chunk.embedding_text[start:end] for start, end in span.encoding.spans]
        assert words == "".join(c if c.isalnum() else " " for c in span.quote).split()
        assert len(words) == len(span.encoding.ids) > 0
    assert spans_of(SearchResult(1, chunk, 1.0, 0.5)) == []


def test_a_citation_stands_where_it_says() -> None:
    chunk = Chunk("a.md", "A title", ("Heading",), TEXT, 10, 17, None, 100)
    start = TEXT.index("- one")
    citation = cite(chunk, start, TEXT.index("\n\n```"), 3)
    assert (citation.number, citation.document, citation.title, citation.heading) == (3, "a.md", "A title", "Heading")
    assert citation.quote == "- one item\n- another item"
    assert (citation.start_line, citation.end_line, citation.offset) == (12, 13, 100 + start)


@pytest.mark.parametrize(
    ("claim", "stands"),
    [
        ("No code at all.", True),
        ("Use `run --now`.", True),
        ("Use `run --later`.", False),
        ("```sh\nrun --now\n```", True),
        ("```\nrun --now\n```", True),
        ("```sh\nrun --now\nrm x\n```", False),
        ("Use ``run --now`` and `run --never`.", False),
    ],
)
def test_code_must_stand_there_character_for_character(claim: str, stands: bool) -> None:
    assert code_stands(claim, TEXT) is stands
