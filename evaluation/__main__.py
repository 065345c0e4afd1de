"""``python -m evaluation NAME``: run one measurement and keep its result in `evaluation/results/`."""

from __future__ import annotations

import argparse
import sys

from assistant.errors import AssistantError
from assistant.settings import Settings
from evaluation import answers, injection, load, places, questions, readers, retrieval, sharing, speed
from evaluation.data import OWN, SETS

METRICS = {
    "answers": (answers.run, ("nq",)),
    "injection": (injection.run, ()),
    "load": (load.run, ()),
    "places": (places.run, places.HALVES),
    "questions": (questions.run, tuple(OWN)),
    "readers": (readers.run, ("nq",)),
    "retrieval": (retrieval.run, SETS),
    "sharing": (sharing.run, ()),
    "speed": (speed.run, ("nq",)),
}
"""What can be measured, and the sets that it can be measured on."""


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    parser.add_argument("name", choices=METRICS)
    parser.add_argument("--data", default="", metavar="NAME", help="one set or half only")
    parser.add_argument("--limit", type=int, default=600, metavar="N", help="questions of each set or kind")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals")
    options = parser.parse_args()
    run, sets = METRICS[options.name]
    if options.data and options.data not in sets:
        parser.error(f"{options.name} is measured on {', '.join(sets)}: choose one of these with --data")
    try:
        run(Settings.from_environment(), options.data, options.limit, options.seed)
    except AssistantError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
