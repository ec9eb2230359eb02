"""The effective sample size of images in groups, such as the X-rays of one patient."""

import numpy as np

# The number of groups that `independent_images` adds.
PRIOR = 2


def independent_images(correct: np.ndarray, groups: np.ndarray) -> float:
    """Return the effective sample size for an accuracy under clustering: n divided by the design effect (Kish 1965).

    The design effect is the variance of the mean over groups (predictions for one patient's X-rays are right or wrong
    together) divided by the variance over images, at least 1. It is poorly estimated where few groups deviate from the
    majority, so `PRIOR` groups are added whose predictions are all right or all wrong. In simulations the intervals
    then reach 95 % coverage, even where the accuracy is high or patients are few.

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
