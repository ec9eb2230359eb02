"""Write scikit-learn's handwritten digits as class folders: data/raw/digits/<digit>/NNNN.png."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

digits = load_digits()
for number, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
    folder = Path("data/raw/digits", str(digit))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 255 / 16).astype(np.uint8)).save(folder / f"{number:04d}.png")
