"""Settings → Assistant → the web app; the one file that a Space runs."""

import sys

from assistant.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve"]))
