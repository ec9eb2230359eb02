"""Confidence of predictions, the probability of the predicted class, and distances of probabilities from labels."""

from dataclasses import dataclass

import numpy as np

# The number of bins of equal numbers of images.
BINS = 15
# The smallest number of images to fit a temperature on: fitted on 22 images, most temperatures did harm (LOG.md).
FEWEST = 100
# The smallest probability, which Keras's cross-entropy has too.
SMALLEST = 1e-7


@dataclass(frozen=True)
class Sorted:
    """Predictions in ascending order of their confidence: float64 [n], and whether they are correct, bool [n]."""

    confidence: np.ndarray
    correct: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The first place of each bin, int [bins]."""
        n = len(self.confidence)
        return np.linspace(0, n, min(BINS, n), endpoint=False).astype(int)


def by_confidence(labels: np.ndarray, probabilities: np.ndarray) -> Sorted:
    """Return predictions sorted by their confidence.

    Args:
        labels: int [n], n > 0.
        probabilities: float [n, classes].
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    return Sorted(confidence[order], (probabilities.argmax(axis=1) == labels)[order])


def squared_distances(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the squared distance of each image's probabilities from its label, summed over classes: float64 [n]."""
    distances = probabilities.astype(np.float64)
    distances[np.arange(len(labels)), labels] -= 1
    return (distances**2).sum(axis=1)


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities [n, classes] as from logits divided by a temperature: float64 [n, classes]."""
    logits = np.log(np.clip(probabilities.astype(np.float64), SMALLEST, 1)) / temperature
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    values: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return values
