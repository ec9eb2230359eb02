"""Images that look mislabelled, found by confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068).

A net predicts each image in a fold that it was not trained on. An image is a suspect if some other class is more likely
than that class is on average for the images labelled with it.
"""

import numpy as np
import pandas as pd


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Return a row for each image, the most suspicious first.

    The columns are `row` (in the arguments), `given` and `likely` (classes, int; of a suspect, the class that makes it
    one, else the likeliest other class), `probability` (of the given class),
    `margin` (that minus the probability of the likeliest other class, -1 to 1), and `is_suspect`.

    Args:
        labels: int [n].
        probabilities: out-of-fold predictions, float [n, classes].
    """
    n, classes = probabilities.shape
    rows = np.arange(n)
    own = probabilities[rows, labels]
    others = probabilities.astype(float).copy()
    others[rows, labels] = -1
    # The mean confidence in a class on the images with its label; a class without images is never likely.
    counts = np.bincount(labels, minlength=classes)
    thresholds = np.bincount(labels, own, classes) / np.maximum(counts, 1)
    thresholds[counts == 0] = np.inf
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    is_suspect = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)
    likely = np.where(is_suspect, confident.argmax(axis=1), others.argmax(axis=1))
    table = pd.DataFrame(
        {
            "row": rows,
            "given": labels,
            "likely": likely,
            "probability": own,
            "margin": own - others.max(axis=1),
            "is_suspect": is_suspect,
        }
    )
    return table.sort_values("margin", kind="stable").reset_index(drop=True)
