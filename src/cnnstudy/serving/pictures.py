"""From files to answers: pictures are decoded on all cores but one, on which the net answers those before."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from cnnstudy.data import sources
from cnnstudy.data.decode import UnreadableError, read_content, read_image
from cnnstudy.serving.net import Net

# Pictures that the net answers at once, and how many such batches wait for it beside those that are being decoded.
BATCH, AHEAD = 32, 2

# Gives the pixels of a picture, uint8 [side, side, 3], for a side; raises UnreadableError.
Picture = Callable[[int], np.ndarray]
# Probabilities, float32 [classes], or why there are none.
Answer = np.ndarray | UnreadableError


def in_file(path: Path, problem: str = "") -> Picture:
    """The picture in a file; `problem` says why it is not to be opened."""
    return partial(_file_pixels, path, problem)


def in_bytes(content: bytes) -> Picture:
    """The picture whose file has this content."""
    return partial(_content_pixels, content)


def find(places: Iterable[Path]) -> Iterator[tuple[str, Picture]]:
    """Files, and all files of folders, those sorted, with the names to call them by."""
    for place in places:
        if place.is_dir():
            for path in sources.files(place):
                yield _in_a_line(path), in_file(path, sources.file_problem(place, path))
        else:
            # What is no file, such as a pipe, would be read for ever.
            is_other = place.exists() and not place.is_file()
            yield _in_a_line(place), in_file(place, "not a regular file" if is_other else "")


def _in_a_line(path: Path) -> str:
    return sources.written(str(path)).replace("\n", "\\n")


def answers(net: Net, pictures: Iterable[Picture]) -> Iterator[Answer]:
    """What a net answers to each picture, in order; only a few batches are in memory."""
    left = iter(pictures)
    waiting: deque[Future[list[Answer]]] = deque()
    decoders = max(1, (os.cpu_count() or 1) - 1)
    with ThreadPoolExecutor(decoders) as pool:
        while True:
            while len(waiting) < decoders + AHEAD and (batch := list(islice(left, BATCH))):
                waiting.append(pool.submit(_decoded, batch, net.size))
            if not waiting:
                return
            yield from _answered(net, waiting.popleft().result())


def _answered(net: Net, decoded: list[Answer]) -> list[Answer]:
    images = [each for each in decoded if isinstance(each, np.ndarray)]
    found = iter(net.probabilities(np.stack(images)) if images else ())
    return [next(found) if isinstance(each, np.ndarray) else each for each in decoded]


def _decoded(batch: list[Picture], size: int) -> list[Answer]:
    return [_pixels(picture, size) for picture in batch]


def _pixels(picture: Picture, size: int) -> Answer:
    try:
        return picture(size)
    except UnreadableError as reason:
        return reason


def _file_pixels(path: Path, problem: str, size: int) -> np.ndarray:
    if problem:
        raise UnreadableError(problem)
    return read_image(path, size).pixels


def _content_pixels(content: bytes, size: int) -> np.ndarray:
    return read_content(content, size).pixels
