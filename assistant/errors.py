"""Every error that Groundwork raises on purpose.

AssistantError              something a person can mend; the message says how
├── SettingsError           a setting whose value cannot be used
├── KnowledgeError          the folder of documents is missing, empty or unreadable
├── KnowledgeIndexError     the index is missing, damaged, locked or of another make
├── WeightsError            weights cannot be fetched, or are not what they should be
├── ModelError              the language model or the embedder cannot be loaded or run
├── QuestionError           a question or a batch file that cannot be used
└── ServerError             the web server cannot start

Messages are one line: what is wrong, then what to do. The command line prints them and exits with 1.
"""


class AssistantError(Exception):
    """Something a person can mend; ``str(error)`` is one line that ends with the remedy."""


class SettingsError(AssistantError):
    """A setting (environment variable, ``.env`` line or option) has a value that cannot be used."""


class KnowledgeError(AssistantError):
    """The folder of documents is missing, empty, or holds nothing that can be read."""


class KnowledgeIndexError(AssistantError):
    """The index is missing, damaged, locked by another process, or made by another version."""


class WeightsError(AssistantError):
    """Weights cannot be fetched, or their SHA-256 is not the expected one."""


class ModelError(AssistantError):
    """The language model or the embedder cannot be loaded or run."""


class QuestionError(AssistantError):
    """A question is empty or too long, or a batch file holds a line that cannot be used."""


class ServerError(AssistantError):
    """The web server cannot start, for instance because its port is taken."""
