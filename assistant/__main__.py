"""The command line: ``python -m assistant VERB``.

Exit 0 on success, 2 for a usage error, 1 for a failure with one line on standard error that says what to do.
``--json`` prints JSON on standard output; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, ModelError
from assistant.schemas import Found, Sentence
from assistant.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment().with_folders(
            getattr(options, "knowledge", None), getattr(options, "index", None)
        )
        return int(options.run(options, settings))
    except AssistantError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has gone; there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    folders = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    folders.add_argument("--knowledge", metavar="DIR", help="the folder of documents (ASSISTANT_KNOWLEDGE)")
    folders.add_argument("--index", metavar="DIR", help="the folder of the index (ASSISTANT_INDEX)")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")
    asked = argparse.ArgumentParser(add_help=False)
    asked.add_argument("question", nargs="?", metavar="QUESTION")
    asked.add_argument("--batch", type=Path, metavar="FILE", help="JSON Lines of questions instead of one")

    parser = argparse.ArgumentParser(
        prog="python -m assistant",
        description="Answers from your documents, with the evidence shown.",
        parents=[folders],
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Any, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help_, description=help_, parents=[folders, *parents])
        added.set_defaults(run=run)
        return added

    verb("index", _index, "Build the index, or bring it up to date.", as_json)
    search = verb("search", _search, "Show the passages that are found for a question.", as_json, asked)
    search.add_argument("-k", type=_positive, default=5, metavar="N", help="how many passages (default: 5)")
    verb("ask", _ask, "Answer a question from the documents.", as_json, asked)
    verb("expand", _expand, "Write questions that the passages answer, beside the documents, for the search.", as_json)
    verb("serve", _serve, "Serve the page and the API (the same as app.py).")
    weights = verb("weights", _weights, "Fetch and verify the weights of a model.", as_json)
    weights.add_argument("name", nargs="?", metavar="NAME", help="which (default: ASSISTANT_MODEL)")
    verb("feedback", _feedback, "Print the likes and dislikes, as CSV or JSON Lines.", as_json)
    verb("doctor", _doctor, "Say what works on this machine, and what to do about what does not.", as_json)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _index(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.progress import ProgressBar
    from assistant.retrieval.builder import build
    from assistant.retrieval.embedder import SentenceEmbedder

    with ProgressBar() as bar:
        report = build(settings.knowledge, settings.index, SentenceEmbedder.from_settings(settings), bar.show)
    if options.json:
        _print_json(asdict(report) | {"seconds": round(report.seconds, 2)})
        return 0
    for skipped in report.skipped:
        print(f"Skipped {skipped.path}: {skipped.reason}", file=sys.stderr)
    print(
        f"{report.documents} documents, {report.chunks} passages ({report.added} added, {report.updated} updated, "
        f"{report.removed} removed, {report.unchanged} unchanged, {len(report.skipped)} skipped) "
        f"in {report.seconds:.1f} s."
    )
    return 0


def _search(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.pipeline import open_retriever
    from assistant.query import context
    from assistant.serialisation import search_json

    lines = _questions(options)
    retriever = open_retriever(settings)
    for line in lines:
        started = time.monotonic()
        query = context(line.question, line.conversation)
        results = retriever.search(line.question, options.k, query if line.conversation else "")
        milliseconds = (time.monotonic() - started) * 1000
        if options.json or options.batch:
            _print_json(search_json(line.identifier, query, results, milliseconds))
            continue
        for number, result in enumerate(results, 1):
            chunk = result.chunk
            print(f"{number}. {chunk.heading_path}  ({chunk.document}, lines {chunk.start_line}-{chunk.end_line})")
            print("   " + " ".join(chunk.text.split())[:300])
    return 0


def _ask(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.pipeline import Assistant
    from assistant.progress import ProgressBar
    from assistant.serialisation import answer_json

    lines = _questions(options)
    with ProgressBar() as bar:
        assistant = Assistant.from_settings(settings, bar.show)
    for line in lines:
        if options.json or options.batch:
            _print_json(answer_json(line.identifier, assistant.ask(line.question, line.conversation)))
        else:
            _print_answer(assistant, line.question)
    return 0


def _print_answer(assistant: Any, question: str) -> None:
    for event in assistant.stream(question):
        if isinstance(event, Found):
            continue
        if isinstance(event, Sentence):
            print(event.text, end="", flush=True)
            continue
        answer = event.answer
        print(answer.text if answer.refused else "")
        for citation in answer.citations:
            quote = " ".join(citation.quote.split())
            print(f"\n[{citation.number}] {citation.title} ({citation.document}:{citation.start_line})\n    {quote}")


def _questions(options: argparse.Namespace) -> list[Any]:
    """What is asked; all of it is checked before anything is loaded."""
    from assistant.query import checked
    from assistant.serialisation import BatchLine, read_batch

    if (options.batch is None) == (options.question is None):
        print("usage: give one QUESTION, or --batch FILE.", file=sys.stderr)
        raise SystemExit(2)
    lines = list(read_batch(options.batch)) if options.batch else [BatchLine(None, options.question, ())]
    return [replace(line, question=checked(line.question)) for line in lines]


def _expand(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.expand import expand
    from assistant.llm.engines import load_model
    from assistant.progress import ProgressBar
    from assistant.retrieval.embedder import SentenceEmbedder

    with ProgressBar() as bar:
        model = load_model(settings, bar.show)
        try:
            report = expand(settings.knowledge, SentenceEmbedder.from_settings(settings), model, bar.show)
        except OSError as error:
            raise AssistantError(
                f"Questions cannot be written beside the documents ({error}): make the folder writable."
            ) from error
    if options.json:
        _print_json(asdict(report))
    else:
        print(
            f"{report.questions} questions for {report.written} of {report.passages} passages in {report.seconds} s. "
            "Run `python -m assistant index` to search with them."
        )
    return 0


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    from assistant.web.server import serve

    serve(settings)
    return 0


def _weights(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.llm.weights import TABLE, fetch, verify
    from assistant.progress import ProgressBar

    name = options.name or settings.model
    if name not in TABLE:
        raise ModelError(f"There are no weights called {name}: use one of {', '.join(TABLE)}.")
    with ProgressBar() as bar:
        path = fetch(TABLE[name], settings.cache, bar.show)
        verify(TABLE[name], path, again=True)
    row = {"name": name, "path": str(path), "bytes": path.stat().st_size, "sha256": TABLE[name].sha256}
    _print_json(row) if options.json else print(f"{name} is in {path}; its SHA-256 is right.")
    return 0


def _feedback(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.feedback import COLUMNS, FeedbackStore, as_cell

    verdicts = FeedbackStore(settings.cache, settings.keep_questions).verdicts()
    if options.json:
        for verdict in verdicts:
            _print_json(verdict)
        return 0
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    table.writerows([as_cell(verdict[column]) for column in COLUMNS] for verdict in verdicts)
    return 0


def _doctor(options: argparse.Namespace, settings: Settings) -> int:
    from assistant.doctor import examine

    findings = examine(settings)
    if options.json:
        _print_json({"works": all(f.works for f in findings), "findings": [asdict(f) for f in findings]})
    else:
        for finding in findings:
            print(f"{'ok ' if finding.works else 'NO '} {finding.name}: {finding.detail}")
            if finding.remedy:
                print(f"    {finding.remedy}")
    return 0 if all(finding.works for finding in findings) else 1


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
