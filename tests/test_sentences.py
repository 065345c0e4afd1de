"""Sentences: where they end, and that text arriving in pieces gives the same ones."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest

from assistant.ingestion.sentences import SentenceBuffer, list_spans, sentence_spans

CODE = "```sh\ncd a. Then\n\n# no heading\nls\n```"
CASES = [
    ("One. Two! Three? Four…", ["One.", "Two!", "Three?", "Four…"]),
    ("No stop at the end", ["No stop at the end"]),
    ("", []),
    (" \n\n\t", []),
    ("* --- *", []),
    ("As shown (Vaswani et al., 2017). It works.", ["As shown (Vaswani et al., 2017).", "It works."]),
    ("See Vaswani et al. 2017 for more. It works.", ["See Vaswani et al. 2017 for more.", "It works."]),
    ("Use a stone, e.g. Basalt, i.e. Lava. Then stop.", ["Use a stone, e.g. Basalt, i.e. Lava.", "Then stop."]),
    ("J. R. R. Tolkien wrote it. So did C. S. Lewis.", ["J. R. R. Tolkien wrote it.", "So did C. S. Lewis."]),
    ("Dr. Smith met Mrs. Jones at No. 5. They spoke.", ["Dr. Smith met Mrs. Jones at No. 5.", "They spoke."]),
    ("It is 3.5 metres. GPT-3.5 is older.", ["It is 3.5 metres.", "GPT-3.5 is older."]),
    ("It costs 1,000.50 euros. More.", ["It costs 1,000.50 euros.", "More."]),
    ("It was version 2. 5 came later.", ["It was version 2.", "5 came later."]),
    ("See example.org/a.b?c=d. Then go.", ["See example.org/a.b?c=d.", "Then go."]),
    ("It rose approx. five metres. Then it fell.", ["It rose approx. five metres.", "Then it fell."]),
    ("The end... and on it went. Next.", ["The end... and on it went.", "Next."]),
    ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
    ("It is **bold.** Next (really.) Last.", ["It is **bold.**", "Next (really.)", "Last."]),
    ("Really?! Yes.", ["Really?!", "Yes."]),
    ("- One item\n- Two. Items\n* Three", ["One item", "Two.", "Items", "Three"]),
    ("1. First\n2) Second\n  10. Tenth", ["First", "Second", "Tenth"]),
    ("Introduction:\n- one\n- two", ["Introduction:", "one", "two"]),
    ("## A heading\n\nText below. More", ["A heading", "Text below.", "More"]),
    ("## A heading\nText right below. More", ["A heading", "Text right below.", "More"]),
    ("Text\n## A heading\n\nMore", ["Text", "A heading", "More"]),
    ("> Quoted words. More.", ["Quoted words.", "More."]),
    ("| a | b |\n|---|---|\n| c | d |\n\nAfter.", ["| a | b |", "| c | d |", "After."]),
    ("A wrapped line\ngoes on here. And\nso on.", ["A wrapped line\ngoes on here.", "And\nso on."]),
    ("A paragraph\n\nAnother one\n \t\nThird", ["A paragraph", "Another one", "Third"]),
    ("你好。世界！好吗？是", ["你好。", "世界！", "好吗？", "是"]),
    ("Run this:\n\n```sh\ncd a. Then\n\n# no heading\nls\n```\n\nDone.", ["Run this:", CODE, "Done."]),
    ("~~~\nA. B. C.\n```\n~~~", ["~~~\nA. B. C.\n```\n~~~"]),
    ("- item\n\n```\none. Two.\n\n", ["item", "```\none. Two."]),
    ("Seen <!-- not seen. No. --> here. More.", ["Seen <!-- not seen. No. --> here.", "More."]),
]

WORDS = (
    "the Model model it It e.g. al. Dr. J. 3.5 2017 12 1. 7) 5. no. yes! what? well… “Yes.” (so.) **bold.** Fig. U.S. a"
    " 。 你好。 - * + # ## > | --- \n \n\n \n- \n1. \n> \n## \n| \t caf\u00e9 É"
).split(" ")


def split_sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def lists_in(text: str) -> list[tuple[str, list[str]]]:
    return [(text[start:end], [text[first:last] for first, last in items]) for start, end, items in list_spans(text)]


BULLETS = "- one\n- two. Still two\n  and wrapped\n- three"
STEPS = "1. cut\n2. stir\n\n3. bake"
NESTED = "- fruit\n  - apple\n  - pear\n- bread"
TABLE = "| a | b |\n|---|---|\n| c | d |\n| e | f |"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Before.\n\n{BULLETS}\n\nAfter.", [(BULLETS, ["- one", "- two. Still two\n  and wrapped", "- three"])]),
        (f"Steps:\n\n{STEPS}\n", [(STEPS, ["1. cut", "2. stir", "3. bake"])]),
        (NESTED, [(NESTED, ["- fruit\n  - apple\n  - pear", "- bread"])]),
        (f"# T\n\n{TABLE}\n\nAfter.", [(TABLE, ["| c | d |", "| e | f |"])]),
        (f"{STEPS}\n\n{TABLE}\n", [(STEPS, ["1. cut", "2. stir", "3. bake"]), (TABLE, ["| c | d |", "| e | f |"])]),
        ("* only", [("* only", ["* only"])]),
        ("```\n- code\n- code\n```", []),
        ("No list - at all. 1. Not one", []),
        ("", []),
    ],
)
def test_lists_and_tables_are_found_with_their_items(text: str, found: list[tuple[str, list[str]]]) -> None:
    assert lists_in(text) == found


def test_lists_of_any_text_hold_their_items_in_order() -> None:
    for seed in range(400):
        text = random_text(seed)
        for start, end, items in list_spans(text):
            assert 0 <= start < end <= len(text), (seed, text)
            assert items, (seed, text)
            assert all(start <= first <= last <= end for first, last in items), (seed, text)
            assert all(before[1] <= after[0] for before, after in pairwise(items)), (seed, text)


def random_text(seed: int) -> str:
    choose = random.Random(seed)
    return "".join(choose.choice(WORDS) + choose.choice(["", " ", " ", " "]) for _ in range(choose.randint(1, 40)))


def in_pieces(text: str, seed: int) -> list[str]:
    choose = random.Random(seed)
    cuts = sorted(choose.sample(range(len(text) + 1), k=choose.randint(0, min(len(text), 30))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def fed(pieces: list[str]) -> list[tuple[str, str]]:
    buffer = SentenceBuffer()
    pairs = [pair for piece in pieces for pair in buffer.feed(piece)]
    return [*pairs, *buffer.flush()]


@pytest.mark.parametrize(("text", "sentences"), CASES)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_spans_are_in_order_and_hold_every_letter() -> None:
    for seed in range(500):
        text = random_text(seed)
        spans = list(sentence_spans(text))
        assert all(start < end for start, end in spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert all(text[start:end] == text[start:end].strip() for start, end in spans)
        outside = "".join(text[end:start] for (_, end), (start, _) in zip([(0, 0), *spans], spans, strict=False))
        assert not [character for character in outside if character.isalpha()], (seed, text)


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_pieces_of_a_case_give_its_sentences(text: str) -> None:
    for seed in range(20):
        assert [sentence for _, sentence in fed(in_pieces(text, seed))] == split_sentences(text), in_pieces(text, seed)


def test_pieces_of_any_text_give_the_sentences_of_the_whole() -> None:
    for seed in range(600):
        text = random_text(seed)
        pieces = in_pieces(text, seed)
        assert [sentence for _, sentence in fed(pieces)] == split_sentences(text), (seed, pieces)


def test_leads_and_sentences_together_are_the_text() -> None:
    for seed in range(600):
        text = random_text(seed)
        joined = "".join(lead + sentence for lead, sentence in fed(in_pieces(text, seed)))
        assert text.startswith(joined)
        assert not [character for character in text[len(joined) :] if character.isalpha()], (seed, text)


def test_a_sentence_is_given_out_when_the_next_one_has_begun() -> None:
    buffer = SentenceBuffer()
    assert list(buffer.feed("One is done.")) == []
    assert list(buffer.feed(" ")) == []
    assert list(buffer.feed("Two")) == [("", "One is done.")]
    assert list(buffer.feed(" is 3.")) == []
    assert list(buffer.feed("5 long.\n\n- Three")) == [(" ", "Two is 3.5 long.")]
    assert list(buffer.flush()) == [("\n\n- ", "Three")]
    assert list(buffer.flush()) == []


@pytest.mark.parametrize(
    "text", ["." * 6000 + "x", "?)" * 3000 + "x", "A. " * 6000, "\n" * 6000 + "x", " \n" * 3000 + "x"]
)
def test_time_grows_with_the_length_and_not_with_its_square(text: str) -> None:
    started = time.process_time()
    list(sentence_spans(text))
    assert time.process_time() - started < 0.5
