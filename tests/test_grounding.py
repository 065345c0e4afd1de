"""Grounding: whether there is evidence at all, what supports a sentence, and what a citation points at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assistant import grounding
from assistant.ingestion.chunker import split_document
from assistant.grounding import (
    Evidence,
    EvidenceSentence,
    SentenceVectors,
)
from assistant.schemas import Document, SearchResult
from assistant.words import numbers, stems
from tests.conftest import BREAD, TOMATOES
from tests.fakes import HashEmbedder

BREAD_DOCUMENT = Document("bread.md", "Baking bread", "", BREAD, 0, "")
TOMATO_DOCUMENT = Document("garden/tomatoes.md", "Growing tomatoes", "", TOMATOES, 6, "")


def found_in(*documents: Document) -> list[SearchResult]:
    """All passages of these documents, as results of the same score."""
    embedder = HashEmbedder()
    found = [chunk for document in documents for chunk in split_document(document, embedder.count, embedder.max_tokens)]
    return [SearchResult(n, chunk, 1.0, 0.5) for n, chunk in enumerate(found)]


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(found_in(BREAD_DOCUMENT, TOMATO_DOCUMENT), SentenceVectors(HashEmbedder()))


def quotes(found: list[EvidenceSentence]) -> list[str]:
    return [sentence.quote for sentence in found]


def test_the_strength_is_that_of_passage_and_nearest_sentence_together() -> None:
    def strength(question: str, similarity: float) -> float:
        passages = [replace(result, similarity=similarity) for result in found_in(TOMATO_DOCUMENT)]
        return Evidence(passages, SentenceVectors(HashEmbedder())).strength(question)

    assert strength("Tomatoes need two litres of water every day in summer.", 0.0) == pytest.approx(1)
    assert strength("quantum entanglement", 0.25) == pytest.approx(0.25)
    assert 0.3 < strength("How many litres of water?", 0.0) < 1
    assert Evidence([], SentenceVectors(HashEmbedder())).strength("water") < 0


def test_words_of_the_question_need_no_support_if_the_passages_know_them(evidence: Evidence) -> None:
    said = "Every day tomatoes need two litres of water, a plant that bears red fruit."
    assert not evidence.support(said)
    found = evidence.support(said, "Do plants that bear red fruit need water?")
    assert quotes(found)[0].startswith("Tomatoes need")


def test_what_a_question_takes_for_granted_is_not_borne_out(evidence: Evidence) -> None:
    said = "Bread is poisonous to people because it is baked from flour, water, salt and yeast."
    assert not evidence.support(said, "Why is bread poisonous to people?")
    said = "Tomatoes ruin balconies, and need two litres of water every day."
    assert not evidence.support(said, "Why do tomatoes ruin balconies?")


@pytest.mark.parametrize(
    ("sentence", "quote"),
    [
        (
            "Tomatoes need two litres of water every day in summer.",
            "Tomatoes need two litres of water every day in summer.",
        ),
        (
            "In summer, tomatoes need two litres of water a day.",
            "Tomatoes need two litres of water every day in summer.",
        ),
        ("**Dough** rises for ninety minutes at 24 degrees.", "Dough rises for ninety minutes at 24 degrees."),
        ("Wet leaves bring mould.", "Wet leaves bring mould."),
        ("A tomato pot holds at least twenty litres.", "A tomato pot holds at least twenty litres."),
    ],
)
def test_a_sentence_that_a_passage_states_is_supported_by_it(evidence: Evidence, sentence: str, quote: str) -> None:
    assert quotes(evidence.support(sentence))[:1] == [quote]


@pytest.mark.parametrize(
    "sentence",
    [
        "Tomatoes need 7 litres of water every day in summer.",
        "Tomatoes need seven litres of water every day in summer.",
        "Dough rises for ninety minutes at 25 degrees.",
        "Dough rises for ninety minutes at 24.5 degrees.",
        "Dough rises for ninety minutes at 24 degrees, and bread bakes at 2,300 degrees.",
        "In 2024 wet leaves bring mould.",
    ],
)
def test_a_number_that_is_not_in_the_passage_is_not_supported(evidence: Evidence, sentence: str) -> None:
    assert evidence.support(sentence) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Leonardo da Vinci painted the Mona Lisa.",
        "Bananas grow on Mars.",
        "Tomatoes conquered Rome under Julius Caesar.",
        "It is what it is.",
        "!",
        "",
    ],
)
def test_what_no_passage_states_is_not_supported(evidence: Evidence, sentence: str) -> None:
    assert evidence.support(sentence) == []


def test_two_sentences_of_one_passage_together_may_support_one(evidence: Evidence) -> None:
    found = evidence.support("Cold dough rises more slowly and tastes better, and dough rises for ninety minutes.")
    assert sorted(quotes(found)) == [
        "Cold dough rises more slowly, and tastes better.",
        "Dough rises for ninety minutes at 24 degrees.",
    ]


def test_sentences_of_two_passages_do_not_support_one_together(evidence: Evidence) -> None:
    assert not evidence.support(
        "Cold dough rises more slowly and tastes better, clay pots dry out sooner than plastic ones."
    )


def test_a_second_sentence_that_adds_nothing_is_not_cited(evidence: Evidence) -> None:
    assert len(evidence.support("Dough rises for ninety minutes at 24 degrees.")) == 1


def test_every_citation_is_verbatim_at_its_offset_and_lines(evidence: Evidence) -> None:
    texts = {document.path: document.text for document in (BREAD_DOCUMENT, TOMATO_DOCUMENT)}
    assert len(evidence.sentences) == 12
    for number, sentence in enumerate(evidence.sentences, 1):
        citation = sentence.citation(number)
        text = texts[citation.document]
        assert citation.number == number
        assert text[citation.offset : citation.offset + len(citation.quote)] == citation.quote == sentence.quote
        lines = "\n".join(text.split("\n")[citation.start_line - 1 : citation.end_line])
        assert citation.quote in lines
        assert citation.start_line == text.count("\n", 0, citation.offset) + 1
        assert citation.address.endswith(f"?at={citation.offset}-{citation.offset + len(citation.quote)}#place")


def test_a_citation_names_its_title_and_innermost_heading(evidence: Evidence) -> None:
    citation = evidence.support("A mulch of straw keeps the soil moist.")[0].citation(3)
    assert (citation.document, citation.title, citation.heading) == (
        "garden/tomatoes.md",
        "Growing tomatoes",
        "Watering",
    )
    assert (citation.start_line, citation.end_line) == (17, 17)


def test_a_quote_over_two_lines_knows_both() -> None:
    document = Document("a.txt", "A", "", "First line.\n\nA wrapped\nsentence here.", 0, "")
    (citation,) = (
        s.citation(1)
        for s in Evidence(found_in(document), SentenceVectors(HashEmbedder())).support("A wrapped sentence here.")
    )
    assert (citation.start_line, citation.end_line, citation.quote) == (3, 4, "A wrapped\nsentence here.")


def test_the_nearest_sentences_come_best_first(evidence: Evidence) -> None:
    found = evidence.nearest(["How do I water tomatoes in summer?"])
    assert found[0][0].quote == "Tomatoes need two litres of water every day in summer."
    assert found[0][1] == max(cosine for _, cosine in found)
    assert len(found) == len({sentence.quote for sentence, _ in found}) > 3


def test_a_sentence_below_the_heading_that_is_asked_for_goes_first() -> None:
    text = "# Guide\n\n## Pruning\n\nDo it in winter.\n\n## Watering\n\nDo it in the morning.\n"
    evidence = Evidence(found_in(Document("a.md", "Guide", "", text, 0, "")), SentenceVectors(HashEmbedder()))
    assert evidence.nearest(["When does pruning happen?"])[0][0].quote == "Do it in winter."
    assert evidence.nearest(["When does watering happen?"])[0][0].quote == "Do it in the morning."


def test_what_says_the_same_in_other_words_is_not_near_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Basil likes warm places, sun and water. Basil likes sun, water, warm spots. Sage likes frost."
    evidence = Evidence(found_in(Document("b.md", "Herbs", "", text, 0, "")), SentenceVectors(HashEmbedder()))
    near = [sentence.quote for sentence, _ in evidence.nearest(["What likes sun and water?"])]
    assert near[1:] == ["Sage likes frost."]
    # by words alone these would be the same
    monkeypatch.setattr(grounding, "KNOWN", 1.1)
    text = "Basil 2 likes sun and water in July. Basil 3 likes sun and water in July."
    evidence = Evidence(found_in(Document("b.md", "Herbs", "", text, 0, "")), SentenceVectors(HashEmbedder()))
    assert len(evidence.nearest(["What likes sun and water?"])) == 2
    assert len(evidence.nearest(["What likes sun and water?"], fits=lambda sentence: "3" in sentence)) == 1


def test_what_was_cited_or_said_is_not_near(evidence: Evidence) -> None:
    question = "How should I water tomatoes in the morning?"
    said = "Tomatoes need two litres of water every day in summer."
    cited = evidence.support(said)
    near = [sentence.quote for sentence, _ in evidence.nearest([question], cited, said)]
    assert near[0] == "Water them in the morning, never at noon."
    assert said not in near
    near = [sentence.quote for sentence, _ in evidence.nearest([question], cited, f"{said} {near[0]}")]
    assert "Water them in the morning, never at noon." not in near


@pytest.mark.parametrize(
    ("sentence", "foreign"),
    [
        ("Tomatoes need nine litres of water.", True),
        ("They were bred by Luther Burbank.", True),
        ("Tomatoes need two litres.", False),
        ("Tomatoes dislike rain.", False),
        ("For Ada it is 7 litres.", False),
    ],
)
def test_a_number_or_name_that_the_passages_do_not_have_is_from_elsewhere(
    evidence: Evidence, sentence: str, foreign: bool
) -> None:
    assert evidence.is_from_elsewhere(sentence, "Do tomatoes need 7 litres, as Ada says?") is foreign


def test_a_sentence_that_only_points_to_another_document_is_not_quoted() -> None:
    text = (
        "This document describes basil in herbs. Basil likes warmth. More on basil is in [Herbs](herbs.md). "
        "[Sage](sage.md) and basil like warmth and sun."
    )
    evidence = Evidence(found_in(Document("b.md", "Basil", "", text, 0, "")), SentenceVectors(HashEmbedder()))
    near = [sentence.quote for sentence, _ in evidence.nearest(["more on basil in herbs"])]
    assert sorted(near) == ["Basil likes warmth.", "[Sage](sage.md) and basil like warmth and sun."]


def test_the_sentences_of_a_passage_are_embedded_once() -> None:
    embedder = HashEmbedder()
    vectors = SentenceVectors(embedder, limit=2)
    first = vectors.of("One tomato. Two tomatoes.")
    assert first.shape == (2, embedder.dimension)
    assert vectors.of("One tomato. Two tomatoes.") is first
    assert embedder.seen == ["One tomato.", "Two tomatoes."]
    vectors.of("Three.")
    vectors.of("Four.")
    assert vectors.of("One tomato. Two tomatoes.") is not first


def test_a_number_must_stand_beside_the_name_it_is_given_to() -> None:
    text = "GPT-3 has 175 billion parameters.\n\nThe parameter count of GPT-4 is undisclosed. GPT-4 is from 2023."
    evidence = Evidence(found_in(Document("a.txt", "Models", "", text, 0, "")), SentenceVectors(HashEmbedder()))
    assert evidence.support("GPT-3 has 175 billion parameters.")
    assert evidence.support("GPT-4 is from 2023.")
    assert not evidence.support("GPT-4 has 175 billion parameters.")
    assert not evidence.support("GPT-4 has 175 billion parameters and is from 2023.")


def test_without_passages_nothing_is_supported_or_near() -> None:
    nothing = Evidence([], SentenceVectors(HashEmbedder()))
    assert nothing.support("Wet leaves bring mould.") == []
    assert nothing.nearest(["Wet leaves?"]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("In 2017 it had 1,000,000 words, 3.5 of 10.", {"2017", "1000000", "3.5", "10"}),
        ("GPT-4 and 12th place, 50%", {"4", "12", "50"}),
        ("none", set()),
    ],
)
def test_numbers_are_read_without_separators_of_thousands(text: str, found: set[str]) -> None:
    assert numbers(text) == found


def test_stems_join_the_forms_of_a_word() -> None:
    assert stems("watering") == stems("waters") == stems("the Water") == ["water"]
