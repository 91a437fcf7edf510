"""What ``benchmarks/dataplane.py`` is made of: the two ends of each transport, turns, ratios."""
