"""From nothing to a ready `Assistant`, in the background, saying what is being done.

A server starts listening at once and prepares meanwhile: on a Space nobody can run a command, so it brings the index
up to date and fetches the weights by itself. This module knows nothing of pages or routes.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from assistant.errors import AssistantError
from assistant.llm import zero_gpu
from assistant.pipeline import Assistant
from assistant.prefill import ReadAhead
from assistant.retrieval.builder import build
from assistant.retrieval.embedder import SentenceEmbedder
from assistant.schemas import Progress
from assistant.settings import Settings


class Preparation:
    """The state of getting ready; read it from any thread.

    Args:
        on_progress: called with every state, for the terminal.

    Raises:
        ModelError: on a ZeroGPU Space, the hub's package is missing. Make this object before Gradio is imported there.
    """

    def __init__(self, settings: Settings, on_progress: Callable[[Progress], None]) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self.progress = Progress("Starting")
        self.assistant: Assistant | None = None
        self.reading: ReadAhead | None = None
        self.error: AssistantError | None = None
        self.done = Event()
        """Set when `assistant` or `error` is there."""
        self._is_ended = False
        self._thread = Thread(target=self._run, name="preparation", daemon=True)
        if settings.on_zero_gpu:
            zero_gpu.announce()

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End at the next step, and end the reading ahead; nothing runs any more when this returns.

        A thread that is inside torch while the interpreter is taken down takes the process down with it.
        """
        self._is_ended = True
        if self._thread.is_alive():
            self._thread.join()
        if self.reading:
            self.reading.close()

    def _run(self) -> None:
        try:
            self._show(Progress("Loading the embedder"))
            embedder = SentenceEmbedder.from_settings(self._settings)
            build(self._settings.knowledge, self._settings.index, embedder, self._show)
            assistant = Assistant.from_settings(self._settings, self._show, embedder)
            self.reading = ReadAhead(assistant)
            self.reading.start()
            self.assistant = assistant
        except AssistantError as error:
            self.error = error
        except Exception as error:  # a fault of ours: said with its kind, so that it can be reported
            self.error = AssistantError(f"Preparing failed with {type(error).__name__}: {error}. Please report this.")
        finally:
            self.done.set()

    def _show(self, progress: Progress) -> None:
        if self._is_ended:
            raise AssistantError("Getting ready was ended: start the program again.")
        self.progress = progress
        self._on_progress(progress)
