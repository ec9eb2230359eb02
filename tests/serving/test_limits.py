"""Size limits of a served model, and its answer to bad images among good ones."""

import asyncio
import base64
import io
import threading
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image
from serving.asgi import call

from cnnstudy.errors import UserError
from cnnstudy.serving import images, limits, registered
from cnnstudy.serving.net import Net
from cnnstudy.serving.server import RequestLimits

LIMITS = limits.Limits(request_mb=1, images=3, pixels=10_000, at_once=2)


def by_brightness(images: np.ndarray) -> np.ndarray:
    bright = images.reshape(len(images), -1).mean(axis=1) / 255
    return np.stack([1 - bright, bright], axis=1).astype(np.float32)


MODEL = registered.Model(Net(("dark", "bright"), 8, by_brightness), LIMITS)


def encoded(width: int = 20, height: int = 10, kind: str = "PNG", grey: int = 255) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (grey, grey, grey)).save(file, kind)
    return file.getvalue()


def as_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def predict(*sent: Any) -> list[dict[str, Any]]:
    return MODEL.predict(pd.DataFrame({registered.COLUMN: pd.Series(sent, dtype=object)}))


def test_limits_come_from_variables_and_have_defaults() -> None:
    found = limits.read_limits({limits.IMAGES: "5", limits.PIXELS: ""})
    assert (found.images, found.pixels) == (5, limits.LARGEST)
    assert found.request_mb > 1


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5", "٣", "64000001", "9" * 5000])
def test_a_limit_that_is_none_is_one_line(value: str) -> None:
    with pytest.raises(UserError, match=r"^CNNSTUDY_MAX_PIXELS: '.+' found; allowed: a number from 1 to 64000000$"):
        limits.read_limits({limits.PIXELS: value})


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ([encoded()] * 4, 413, "4 images in one request; allowed: at most 3 (CNNSTUDY_MAX_IMAGES)"),
        ([b"a" * 1_500_000], 413, "1.4 MiB in one request; allowed: at most 1 MiB (CNNSTUDY_MAX_REQUEST_MB)"),
        ([encoded(200, 51)], 400, "image 0: 10200 pixels; allowed: at most 10000"),
        (["a", ""], 400, "image 0: not base64; image 1: empty file"),
        ([5, None], 400, "image 0: neither a file's bytes nor base64 text; image 1: neither"),
    ],
)
def test_what_is_refused_says_what_is_allowed(sent: list[Any], status: int, said: str) -> None:
    with pytest.raises(MlflowException) as error:
        predict(*sent)
    assert error.value.get_http_status_code() == status
    assert said in error.value.message


def test_a_bad_image_is_answered_in_its_place() -> None:
    dark, bad, bright = predict(encoded(grey=0), as_text(b"hello"), as_text(encoded()))
    assert (dark["class"], bad, bright["class"]) == ("dark", {"rejected": "not an image"}, "bright")
    assert bright["probabilities"] == {"dark": 0, "bright": 1}
    large, good = predict(as_text(encoded(101, 100)), as_text(encoded(100, 100)))
    assert large == {"rejected": "10100 pixels; allowed: at most 10000"}
    assert good["class"] == "bright"


def test_no_image_is_no_answer() -> None:
    assert predict() == []


@pytest.mark.parametrize("start", ["data:image/png;base64,", "data:;base64,", "\n", " "])
def test_base64_may_come_as_pages_and_commands_have_it(start: str) -> None:
    (answer,) = predict(start + as_text(encoded()))
    assert answer["class"] == "bright"


def test_of_large_images_one_is_decoded_at_a_time_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    read = images.read_content

    def watched(content: bytes, *args: Any) -> Any:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        try:
            return read(content, *args)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(images, "read_content", watched)
    monkeypatch.setattr(images, "LARGE", 100)
    threads = [threading.Thread(target=predict, args=[encoded(100, 99)] * 3) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers a request with its size."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


GATE = RequestLimits(echo, LIMITS)


@pytest.mark.parametrize(
    ("size", "length", "status", "said"),
    [
        (1000, "1000", 200, "1000"),
        (1 << 20, str(1 << 20), 200, str(1 << 20)),
        (1_500_000, "1500000", 413, "1.4 MiB in one request; allowed: at most 1 MiB (CNNSTUDY_MAX_REQUEST_MB)"),
        (10, "9" * 5000, 413, "allowed: at most 1 MiB"),
        (10, "", 411, "Content-Length: missing"),
        (10, "-10", 411, "Content-Length: missing"),
        (10, "٣", 411, "Content-Length: missing"),
    ],
)
def test_a_large_request_is_refused_before_it_is_held(size: int, length: str, status: int, said: str) -> None:
    code, text = call(GATE, bytes(size), {"content-length": length})
    assert code == status
    assert said in text


def test_no_more_requests_are_read_than_are_taken_at_once() -> None:
    begun = 0
    go = asyncio.Event()

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await go.wait()

    async def main() -> None:
        gate = RequestLimits(wait, LIMITS)
        scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"1")]}
        tasks = [asyncio.create_task(gate(scope, None, None)) for _ in range(5)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert begun == LIMITS.at_once
        go.set()
        await asyncio.gather(*tasks)
        assert begun == 5

    asyncio.run(main())


@pytest.mark.parametrize("classes", [(), ("dark", "bright")])
def test_a_served_model_answers_values(classes: tuple[str, ...]) -> None:
    """The outputs are the classes' probabilities, if there are any, then the values."""

    def outputs(images: np.ndarray) -> np.ndarray:
        found = by_brightness(images)
        return np.hstack([found, found - 0.5]) if classes else found - 0.5

    model = registered.Model(Net(classes, 8, outputs, ("valence", "arousal")), LIMITS)
    (answer,) = model.predict(pd.DataFrame({registered.COLUMN: [encoded()]}))
    assert answer["values"] == {"valence": -0.5, "arousal": 0.5}
    assert answer.get("class") == ("bright" if classes else None)
