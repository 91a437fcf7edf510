"""A day of a board's decisions in fast-forward, with faults: what ``soak.py`` runs."""
