"""Shared parts of the generators: repeatable random streams, ribbons and fractal noise."""

from zlib import crc32

import cv2
import numpy as np


def stream(seed: int, *keys: str | int) -> np.random.Generator:
    """Return the random stream of (seed, keys): the same on every run, whatever other streams are used."""
    words = [key if isinstance(key, int) else crc32(key.encode()) for key in keys]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def ribbon(line: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Return the polygon [2n, 2] of a brush stroke along `line` [n, 2]; `width` is one value, or [n]."""
    along = np.empty_like(line)
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    along[1:-1] = line[2:] - line[:-2]
    along /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * np.reshape(width, (-1, 1)) / 2
    return np.concatenate([line + across, (line - across)[::-1]])


def fractal(rng: np.random.Generator, side: int, octaves: int, base: int = 4, persistence: float = 0.55) -> np.ndarray:
    """Return smooth noise, float32 [side, side], with mean 0 and standard deviation 1: octaves of ever finer grids."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        grid = rng.standard_normal((base << octave, base << octave), dtype=np.float32)
        total += persistence**octave * cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / total.std()
