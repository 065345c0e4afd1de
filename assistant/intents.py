"""What is asked of the assistant and not of a passage: greetings, thanks, the topics, work on all documents at once.

The decision is deterministic and costs nothing: a few phrases that make up the whole question. A greeting in front of
a question is not one. For English. This module does not know the documents; it is told what they are called.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice

MOST_TITLES = 60
"""More documents than these are counted, not named."""


class Intent(Enum):
    """What is asked of the assistant itself."""

    GREETING = "a greeting"
    THANKS = "thanks, or a farewell"
    TOPICS = "what there is to ask about"
    ALL_DOCUMENTS = "something that takes reading all documents"


_ALL = (
    r"((all|every|each)( of)?( the| these| those| your)?( \w+)?|the( whole| entire| full)?|"
    r"everything( in)?( the| your)?)"
)
_WHAT = r"(documents?|docs|files?|texts?|articles?|passages?|sources?|collection|corpus|knowledge( base)?|library)"
_PHRASES = {
    Intent.GREETING: r"(hi|hello|hey|hallo|howdy|greetings|good (morning|afternoon|evening|day))"
    r"( (there|all|everyone|you|groundwork|bot))?( how are you( doing)?( today)?)?",
    Intent.THANKS: r"((ok|okay|great|perfect|nice|cool) )?(thanks|thank you|thx|ty|cheers|bye|goodbye|see you)"
    r"( (a lot|so much|very much|again|later|bye|that helped|for (your|the) help))?",
    Intent.TOPICS: r"(what (all )?(can|could|do) you (tell me|know|do|answer|help( me)?( with)?|talk)( about)?|"
    r"what (can|could) (i|we) ask( you| here)?( about)?|"
    r"(which|what)( are the| are your)? (topics|subjects|documents|questions)"
    r"( (can|do) (you|i) \w+( about)?| are there| do you have)?|who are you|what are you|help( me)?|"
    r"(list|show)( me)?( all| the| your)* topics)",
    Intent.ALL_DOCUMENTS: rf"(please |can you |could you )*(summari[sz]e|compare|list|count|read|translate|outline|"
    rf"give me (a|an) (summary|overview) of)( {_ALL})?( {_WHAT})( please| for me)?|"
    rf"(summari[sz]e|compare) (everything|them all|it all)|how many {_WHAT}"
    r"( (do you have|are there|have you read|do you know|mention .+))?",
}
_PATTERNS = {intent: re.compile(phrase) for intent, phrase in _PHRASES.items()}


def intent(question: str) -> Intent | None:
    """What ``question`` asks of the assistant itself; ``None`` for one that passages may answer."""
    plain = " ".join(re.sub(r"[^\w\s'’]", " ", question.lower()).split())
    return next((found for found, pattern in _PATTERNS.items() if pattern.fullmatch(plain)), None)


def reply(asked: Intent, titles: Mapping[str, Sequence[str]]) -> str:
    """What is said to that.

    Args:
        titles: the documents' titles by the folder that they are in.
    """
    names = [title for group in titles.values() for title in group]
    some = f", for instance on {'; '.join(names[:3])}" if names else ""
    if asked is Intent.GREETING:
        return f"Hello! Ask me a question{some}. I answer from the documents and show where it stands."
    if asked is Intent.THANKS:
        return "You are welcome. Ask on whenever you like."
    topics = f"\n\n{_topics(titles)}" if names else " There are none yet."
    if asked is Intent.TOPICS:
        return f"I answer questions from {len(names)} documents and show the sentences behind each answer.{topics}"
    return (
        f"I answer from a few passages at a time and cannot work through all {len(names)} documents at once. "
        f"Ask about one of them.{topics}"
    )


def _topics(titles: Mapping[str, Sequence[str]]) -> str:
    """A list of the folders with the titles in them, as Markdown."""
    left, lines = MOST_TITLES, []
    for folder, group in titles.items():
        shown = list(islice(group, left))
        left -= len(shown)
        if shown:
            name = folder_name(folder)
            lines.append(f"- {name}: {', '.join(shown)}" if name else f"- {', '.join(shown)}")
    more = sum(map(len, titles.values())) - MOST_TITLES
    return "\n".join([*lines, *([f"- and {more} more"] if more > 0 else [])])


def folder_name(folder: str) -> str:
    """A folder's name as people read it."""
    return folder.replace("-", " ").replace("_", " ").capitalize()
