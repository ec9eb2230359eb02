"""How much images tell that come in groups, as the films of one patient do."""

import numpy as np

# Groups, see `independent_images`.
PRIOR = 2


def independent_images(correct: np.ndarray, groups: np.ndarray) -> float:
    """How many images of groups of their own would tell as much of an accuracy: n by the design effect (Kish 1965).

    That is the variance of the mean over groups (a patient's films are right or wrong together) by that over images,
    at least 1. Few groups in which an answer differs from most tell little of it, so to these `PRIOR` are added whose
    images are answered all alike; found by simulation to hold 95 % also where accuracy is high or patients are few.

    Args:
        correct: bool [seeds, n].
        groups: int [n], images of the same group have the same number.
    """
    n = correct.shape[1]
    _, group = np.unique(groups, return_inverse=True)
    rest = correct.mean(axis=0) - correct.mean()
    sums = np.bincount(group, rest)
    count = len(sums)
    if count in (1, n):
        return float(count)
    among, greatest = float((rest**2).sum()) * n / (n - 1), float((np.bincount(group) ** 2).sum()) / n
    effect = float((sums**2).sum()) * count / (count - 1) / among if among else greatest
    others = correct.any(axis=0) if correct.mean() < 0.5 else ~correct.all(axis=0)
    known = len(np.unique(group[others]))
    return n * (known + PRIOR) / (known * max(1.0, effect) + PRIOR * greatest)
