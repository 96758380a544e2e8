"""The numbers of `engine.judging`, written by `benchmarks/fit_judge.py`; one for each of its cues."""

import numpy as np

MEANS = np.zeros(23)
SCALES = np.ones(23)
WEIGHTS = np.zeros(24)
