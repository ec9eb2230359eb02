"""How fast images are predicted: by a served model to several clients, and by `cnnstudy predict` beside its net alone.

python tests/load.py serve http://127.0.0.1:5001 FOLDER --clients 1 4 8
python tests/load.py predict alexnet FOLDER --count 1000
"""

import argparse
import base64
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from cnnstudy import trained
from cnnstudy.config.params import read_params
from cnnstudy.data.decode import UnreadableError, read_image
from cnnstudy.serving import choice, images
from cnnstudy.serving.net import Net, keras_net
from cnnstudy.training import environment

HEADERS = {"Content-Type": "application/json"}


def requests(folder: Path, most: int = 200) -> list[bytes]:
    """The bodies of requests for one image each."""
    files = sorted(path for path in folder.iterdir() if path.is_file())[:most]
    encoded = [base64.b64encode(path.read_bytes()).decode() for path in files]
    return [json.dumps({"dataframe_records": [{"image": each}]}).encode() for each in encoded]


def client(address: str, bodies: list[bytes], first: int, end: float) -> list[float]:
    """The seconds of each request of one client, which sends the next when it has the answer to the last."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    seconds = []
    for body in islice(cycle(bodies), first, None):
        start = time.perf_counter()
        connection.request("POST", "/invocations", body, HEADERS)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer
        seconds.append(time.perf_counter() - start)
        if time.monotonic() > end:
            return seconds
    raise AssertionError


def serve(arguments: argparse.Namespace) -> None:
    """Print the rate and the latency under each number of clients."""
    bodies = requests(arguments.folder)
    client(arguments.address, bodies, 0, time.monotonic() + 2)  # the first requests trace the net
    for count in arguments.clients:
        end = time.monotonic() + arguments.seconds
        start = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            runs = [pool.submit(client, arguments.address, bodies, 7 * number, end) for number in range(count)]
            seconds = np.concatenate([run.result() for run in runs])
        rate = len(seconds) / (time.perf_counter() - start)
        median, high = np.percentile(1000 * seconds, [50, 95])
        print(f"{count} clients: {rate:.0f} images a second, median {median:.1f} ms, p95 {high:.1f} ms", flush=True)


def predict(arguments: argparse.Namespace) -> None:
    """Print how many images a second the net answers by itself and from files, in turn, and the ratio."""
    params = read_params()
    its = choice.choose(params, arguments.run)
    environment.configure(params.compute.threads)
    net = keras_net(trained.load(params, its.run, its.folder), trained.classes(params, its.run))
    files = list(islice(cycle(readable(arguments.folder, net.size)), arguments.count))
    pixels = np.stack([read_image(path, net.size).pixels for path in files])
    alone, whole = [], []
    for _ in range(arguments.rounds):
        alone.append(len(files) / timed(lambda: batched(net, pixels)))
        whole.append(len(files) / timed(lambda: list(images.predictions(net, map(images.in_file, files)))))
    rates = statistics.median(alone), statistics.median(whole)
    ratio = statistics.median(b / a for a, b in zip(alone, whole, strict=True))
    print(f"{its}: {rates[0]:.0f} images a second by itself, {rates[1]:.0f} from files: {ratio:.2f} times")


def readable(folder: Path, size: int) -> Iterator[Path]:
    """Yield the readable images in a folder."""
    for path in sorted(folder.iterdir()):
        try:
            read_image(path, size)
        except UnreadableError:
            continue
        yield path


def batched(net: Net, pixels: np.ndarray) -> None:
    """Predict images in the batches in which `cnnstudy predict` does."""
    for start in range(0, len(pixels), images.BATCH):
        net.outputs(pixels[start : start + images.BATCH])


def timed(work: Callable[[], object]) -> float:
    """The seconds that some work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("serve", help="a model that `mlflow models serve` serves")
    command.add_argument("address")
    command.add_argument("folder", type=Path)
    command.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    command.add_argument("--seconds", type=float, default=15)
    command.set_defaults(action=serve)
    command = commands.add_parser("predict", help="the net of a run")
    command.add_argument("run")
    command.add_argument("folder", type=Path)
    command.add_argument("--count", type=int, default=1000)
    command.add_argument("--rounds", type=int, default=7)
    command.set_defaults(action=predict)
    arguments = parser.parse_args()
    arguments.action(arguments)


if __name__ == "__main__":
    main()
