"""How good Groundwork is: one metric a module, run with ``python -m evaluation NAME``."""
