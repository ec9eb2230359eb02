"""Images unlike the training images, found by their distance from the principal components of the training images.

A net assigns one of its classes to every image, however unlike its training images. The maximum softmax probability
(Hendrycks and Gimpel 2017) does not reveal such images here, since nets are just as confident about them. Coarse
pixels do: an image is described by the colours and contrasts of 16 x 16 cells, and its score is the squared Mahalanobis
distance within the first principal components plus the squared distance from them, both relative to the training
images (Jackson and Mudholkar 1979).
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cnnstudy.workspace import files

if TYPE_CHECKING:
    from cnnstudy.data.samples import Dataset

# Cells along a side, and pixels along the side of a cell.
CELLS, CELL = 16, 4
COMPONENTS = 32
# The most images of a split that are examined, evenly spread.
MOST = 5000
# Added to variances and residuals, which are 0 if all images are alike.
FLOOR = 1e-6
# Share of the validation images that the limit marks as unlike the training images.
FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class Familiarity:
    """A model of the training images' descriptions, and the score above which an image is unlike them.

    `mean` is float32 [d], `components` float32 [k, d] with orthogonal rows, `variances` float32 [k], `residual` the
    mean squared distance of the training images from the components.
    """

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    residual: float
    limit: float

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return the distance of each image, uint8 [n, side, side, 3], from the training images: float64 [n]."""
        centred = describe(images).astype(np.float64) - self.mean
        inside = centred @ self.components.T
        outside = (centred**2).sum(axis=1) - (inside**2).sum(axis=1)
        return (inside**2 / self.variances).mean(axis=1) + outside / self.residual

    def are_unlike(self, images: np.ndarray) -> np.ndarray:
        """Return whether each image, uint8 [n, side, side, 3], is unlike the training images: bool [n]."""
        return self.scores(images) > self.limit


def describe(images: np.ndarray) -> np.ndarray:
    """Return the mean colours and the doubled contrasts of an image's cells: float32 [n, CELLS * CELLS * 4]."""
    side = (CELLS * CELL, CELLS * CELL)
    small = np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BOX)) for image in images])
    cells = small.astype(np.float32).reshape(len(images), CELLS, CELL, CELLS, CELL, 3) / 255
    colours, contrasts = cells.mean(axis=(2, 4)), cells.mean(axis=5).std(axis=(2, 4))
    return np.concatenate([colours.reshape(len(images), -1), 2 * contrasts.reshape(len(images), -1)], axis=1)


def fit(dataset: "Dataset") -> Familiarity:
    """Fit the model to the training images, and set the limit by the validation images."""
    from sklearn.decomposition import PCA

    described = describe(_some(dataset, "train"))
    pca = PCA(min(COMPONENTS, max(1, len(described) // 4)), svd_solver="full").fit(described)
    outside = ((described - pca.inverse_transform(pca.transform(described))) ** 2).sum(axis=1)
    variances = pca.explained_variance_.astype(np.float32) + np.float32(FLOOR)
    model = Familiarity(pca.mean_, pca.components_, variances, float(outside.mean()) + FLOOR, limit=np.inf)
    return replace(model, limit=float(np.quantile(model.scores(_some(dataset, "val")), 1 - FALSE_ALARMS)))


def shares(model: Familiarity, dataset: "Dataset") -> dict[str, float]:
    """Return the share of images that are unlike the training images, by split."""
    found = {split: model.are_unlike(_some(dataset, split)) for split in dataset.present_splits}
    return {split: round(float(unlike.mean()), 4) for split, unlike in found.items()}


def write(model: Familiarity, path: Path) -> None:
    """Write the model as an .npz file."""
    files.write_arrays(path, {name: np.asarray(value) for name, value in asdict(model).items()})


def read(path: Path) -> Familiarity:
    """Read the model from an .npz file."""
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    return Familiarity(**(content | {name: float(content[name]) for name in ("residual", "limit")}))


def _some(dataset: "Dataset", split: str) -> np.ndarray:
    ids = dataset.ids(split)
    return np.asarray(dataset.images[ids[:: -(-len(ids) // MOST) or 1]])
