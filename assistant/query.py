"""What is asked: the question checked, small talk told apart, and a follow-up made to stand alone."""

from __future__ import annotations

import unicodedata
from threading import Event

from assistant.errors import QuestionError
from assistant.prompts import REWRITE_TOKENS, rewrite_messages
from assistant.retrieval.hybrid_search import Retriever
from assistant.schemas import Conversation, LanguageModel

MAX_CHARACTERS = 2_000
CONTEXT_CHARACTERS = 600
"""Characters of the user's earlier turns that a follow-up is searched with."""
SMALL_TALK = 0.75
"""A question whose cosine to an example is at least so high asks the same. Chosen on the examples themselves and the
questions of `evaluation/questions.jsonl`, none of which is small talk."""

_EXAMPLES = {
    "who": ("Who are you?", "What are you?", "Which model are you?", "Are you ChatGPT?", "What can you do?",
            "Are you a human or a bot?", "Who made you?"),
    "topics": ("What can I ask you?", "Which topics do you know?", "What documents do you have?"),
}  # fmt: skip
_FORMS = {
    "list": ("as a bullet list", "in bullet points"),
    "sentence": ("in one sentence", "in a single sentence"),
    "shorter": ("shorter", "briefly"),
}
# short formulas mean nothing to an English embedder, so they are listed, in many languages
_GREETINGS = frozenset(
    (
        "hi|hello|hey|hi there|hello there|good morning|good evening|hallo|guten tag|guten morgen|"
        "servus|bonjour|salut|hola|buenos dias|ciao|buongiorno|ola|bom dia|hej|hei|moi|ahoj|czesc|"
        "dzien dobry|merhaba|selam|privet|привет|здравствуйте|привіт|γεια|γεια σου|שלום|مرحبا|"
        "السلام عليكم|नमस्ते|你好|您好|こんにちは|안녕하세요|xin chao|sawubona|jambo"
    ).split("|")
)
_THANKS = frozenset(
    (
        "thanks|thank you|thank you very much|thanks a lot|many thanks|thx|ty|cheers|great thanks|"
        "ok thanks|ok thank you|danke|danke schon|vielen dank|dankeschon|merci|merci beaucoup|"
        "gracias|muchas gracias|grazie|grazie mille|obrigado|obrigada|dank je|dank je wel|bedankt|"
        "tack|tack sa mycket|takk|tak|kiitos|dekuji|diky|dziekuje|dzieki|tesekkurler|"
        "tesekkur ederim|multumesc|koszonom|hvala|спасибо|дякую|благодаря|ευχαριστω|תודה|شكرا|"
        "धन्यवाद|谢谢|謝謝|ありがとう|ありがとうございます|감사합니다|고맙습니다|cam on|"
        "terima kasih|asante|bye|goodbye|tschuss|au revoir|adios|arrivederci"
    ).split("|")
)


def checked(question: str) -> str:
    """``question`` in Unicode's composed form (NFC), without white space around it.

    Raises:
        QuestionError: it is empty, or longer than `MAX_CHARACTERS`.
    """
    question = unicodedata.normalize("NFC", question.replace("\0", "")).strip()
    if not question:
        raise QuestionError("The question is empty: type one.")
    if len(question) > MAX_CHARACTERS:
        raise QuestionError(f"The question has {len(question):,} characters: shorten it to at most {MAX_CHARACTERS:,}.")
    return question


def small_talk(question: str, retriever: Retriever) -> str:
    """``greeting``, ``thanks``, ``who`` (about the assistant), ``topics``; or "" for a question to the documents."""
    decomposed = unicodedata.normalize("NFKD", question.casefold())
    letters = "".join(c if c.isalnum() or unicodedata.combining(c) else " " for c in decomposed)
    plain = " ".join(unicodedata.normalize("NFC", letters).split())
    bare = " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())
    for kind, formulas in (("greeting", _GREETINGS), ("thanks", _THANKS)):
        if {plain, bare} & formulas:
            return kind
    if len(plain.split()) > 8:
        return ""
    vector = retriever.encode(question).vector
    for kind, examples in _EXAMPLES.items():
        if any(float(vector @ retriever.encode(example).vector) >= SMALL_TALK for example in examples):
            return kind
    return ""


def form(question: str, is_follow_up: bool, retriever: Retriever) -> str:
    """The form that an answer is asked for: ``list``, ``sentence`` (one), or "" for none.

    The model is told the reader's words anyway; these two it does not follow by itself. What stands for a form is found
    by the similarity of tokens. "Shorter" asks for one sentence only behind an answer.
    """
    for name, examples in _FORMS.items():
        is_asked_for = any(retriever.says(question, example) for example in examples)
        if is_asked_for and (name != "shorter" or is_follow_up):
            return "sentence" if name == "shorter" else name
    return ""


def context(question: str, conversation: Conversation) -> str:
    """``question`` behind the user's earlier turns, the last ones whole."""
    earlier = [" ".join(turn.content.split()) for turn in conversation if turn.role == "user"]
    text = ""
    for turn in reversed(earlier):
        if len(text) + len(turn) > CONTEXT_CHARACTERS:
            break
        text = f"{turn} {text}"
    return f"{text}{question}"


def rewritten(
    question: str, conversation: Conversation, model: LanguageModel, retriever: Retriever, stop: Event
) -> tuple[str, str]:
    """``question`` as it stands alone, and the context to search it with ("" where it needs none).

    It stands alone already where the search finds the same passage first with and without the conversation. Else the
    model rewrites it, in at most `REWRITE_TOKENS` tokens.
    """
    if not conversation:
        return question, ""
    alone = retriever.search(question, 1)
    together = retriever.search(question, 1, context(question, conversation))
    if [result.identifier for result in alone] == [result.identifier for result in together]:
        return question, ""
    tokens = model.stream(rewrite_messages(question, conversation), REWRITE_TOKENS, stop)
    line = next(iter("".join(token.text for token in tokens).strip().splitlines()), "").strip(" \"'*")
    query = line or question
    return query, context(query, conversation)
