"""``python -m evaluation NAME``: run one measurement and keep its result in `evaluation/results/`."""

from __future__ import annotations

import argparse
import sys

from assistant.errors import AssistantError
from assistant.settings import Settings
from evaluation import answers, questions, readers, retrieval, speed

METRICS = {
    "answers": answers.run,
    "curve": answers.curve,
    "questions": questions.run,
    "readers": readers.run,
    "retrieval": retrieval.run,
    "speed": speed.run,
}


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    parser.add_argument("name", choices=METRICS)
    parser.add_argument("--limit", type=int, default=600, metavar="N", help="questions of each set or kind")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals")
    options = parser.parse_args()
    try:
        METRICS[options.name](Settings.from_environment(), options.limit, options.seed)
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
