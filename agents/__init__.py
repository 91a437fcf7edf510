"""Learning and judging: training, freezing, baselines, evaluation, reports."""
