"""The app's page: it takes an image and a run, and shows probabilities and a Grad-CAM map; on this machine only."""

import html
import os
import signal
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy.app.explanation import open_net, predict, trained_runs, write_examples
from cnnstudy.app.middleware import RequestFilter
from cnnstudy.app.uploads import Room, upload_folder
from cnnstudy.config.schema import Params
from cnnstudy.data.decode import UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.training import environment
from cnnstudy.workspace.terminal import say

if TYPE_CHECKING:
    import gradio

LOCALHOST = "127.0.0.1"
# The most bytes of one upload, and of all uploads that are kept.
UPLOAD, UPLOADS = 50_000_000, 500_000_000
# The side of the plane of two values, in pixels.
PLANE = 180
# Nets held in memory at a time.
OPEN = 4
ABOUT = """# What does the net see?
Choose an image: the page shows the net's prediction and the pixels that support it (Grad-CAM)."""
# The system's own fonts: the page loads none.
FONT = ("system-ui", "sans-serif")
STYLE = """
.gradio-container { max-width: 68rem !important; margin: 0 auto; }
.examples .grid-wrap { min-height: 0 !important; height: auto !important; }
.examples .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; padding-top: 1.8rem; }
.examples .caption-label { font-size: 0.65rem; padding: 0 0.2rem; max-width: 100%; }
.notice { color: #b3261e; font-weight: 600; }
"""


def serve(params: Params, port: int) -> None:
    """Serve the page on this machine until Ctrl-C; uploads are gone afterwards.

    Raises:
        UserError: Gradio is not installed, no run is trained, or the port is taken.
    """
    runs = trained_runs(params)
    if not runs:
        raise UserError("models: no trained net; `make repro` trains them, `dvc pull` fetches them")
    with upload_folder() as folder:
        # Gradio reads these when it is imported: no telemetry, and uploads in a folder that is removed.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
        try:
            import gradio as gr
        except ModuleNotFoundError:
            raise UserError("gradio: not in this environment; `make app` makes one that has it") from None
        from starlette.middleware import Middleware

        environment.configure(params.compute.threads)
        theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=FONT, font_mono=FONT)
        page = build(params, runs, folder)
        request_filter = Middleware(RequestFilter, room=Room(folder, UPLOADS), largest=UPLOAD + 1_000_000)
        try:
            page.launch(
                server_name=LOCALHOST, server_port=port, share=False, ssr_mode=False, quiet=True, footer_links=[],
                prevent_thread_lock=True, theme=theme, css=STYLE, max_file_size=UPLOAD,
                app_kwargs={"middleware": [request_filter]},
            )  # fmt: skip
        except OSError:
            raise UserError(f"--port: {port} found; allowed: a port of this machine that is free") from None
        # Signals end the app as Ctrl-C does, so that uploads are removed.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        say(f"Try a net (Ctrl-C ends it): http://{LOCALHOST}:{port}")
        page.block_thread()


def build(params: Params, runs: list[str], folder: Path) -> "gradio.Blocks":
    """Return the page for trained runs; the synthetic examples are written into `folder`."""
    import gradio as gr

    studies = dict.fromkeys(params.all_runs[run].study for run in runs)
    examples = {study: write_examples(params, study, folder) for study in studies}
    of_run = {run: examples[params.all_runs[run].study] for run in runs}
    show = shower(params)

    def choose(run: str, chosen: gr.SelectData) -> list[Any]:
        file = of_run[run][chosen.index][0]
        return [file, None, *show(run, file)]

    def switch(run: str, file: Path | None) -> list[Any]:
        """Show another run's prediction for the same image, unless the image is another study's example."""
        synthetic = {path for others in examples.values() for path, _ in others}
        shown = _first(of_run[run]) if file in synthetic - {path for path, _ in of_run[run]} else file
        return [shown, gr.Gallery(of_run[run], selected_index=None), *show(run, shown)]

    with gr.Blocks(title="What does the net see?", analytics_enabled=False) as page:
        gr.Markdown(ABOUT)
        file = gr.State(_first(of_run[runs[0]]))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                run = gr.Dropdown([(_title(params, each), each) for each in runs], value=runs[0], label="Net")
                upload = gr.File(file_types=["image"], label="Your image", height=130)
                gallery = gr.Gallery(
                    of_run[runs[0]], label="Or a synthetic one", columns=4, allow_preview=False, height="auto",
                    object_fit="cover", elem_classes="examples", buttons=[], interactive=False,
                )  # fmt: skip
            with gr.Column(scale=3, min_width=300):
                notice = gr.HTML(visible=False, elem_classes="notice")
                label = gr.Label(num_top_classes=8, label="Probability")
                values = gr.HTML(visible=False)
                shape: dict[str, Any] = {"buttons": [], "interactive": False, "min_width": 140}
                with gr.Row():
                    image = gr.Image(label="Input of the net", elem_id="image", **shape)
                    gradcam = gr.Image(label="Grad-CAM", elem_id="gradcam", **shape)
        shown = [notice, label, values, image, gradcam]
        page.load(show, [run, file], shown)
        upload.upload(lambda run, file: [Path(file), *show(run, Path(file))], [run, upload], [file, *shown])
        gallery.select(choose, run, [file, upload, *shown])
        run.input(switch, [run, file], [file, gallery, *shown])
    return page


def shower(params: Params) -> Callable[[str, Path | None], list[Any]]:
    """Return a function from a run and an image file, if any, to what the page shows.

    That is the notice, the probabilities, the values, the image and the map.
    """
    import gradio as gr

    opened = lru_cache(maxsize=OPEN)(lambda run: open_net(params, run))

    def ranges(run: str) -> list[list[float]]:
        return list(params.study_of(run).values.values())

    def show(run: str, file: Path | None) -> list[Any]:
        if file is None:
            return [gr.HTML(visible=False), None, gr.HTML(visible=False), None, None]
        net = opened(run)
        try:
            prediction = predict(net, file)
        except UnreadableError as reason:
            told = gr.HTML(html.escape(f"{file.name} can't be read: {reason}."), visible=True)
            return [told, None, gr.HTML(visible=False), None, None]
        unlike = "This image is unlike the training images: the prediction means little."
        lines = [*([unlike] if prediction.is_unlike else []), *net.notices]
        notice = gr.HTML("<br>".join(map(html.escape, lines)), visible=bool(lines))
        label = gr.Label(prediction.probabilities or None, visible=bool(prediction.probabilities))
        plane = gr.HTML(drawn_values(prediction.values, ranges(run)), visible=bool(prediction.values))
        gradcam = gr.Image(prediction.gradcam, visible=bool(prediction.probabilities))
        return [notice, label, plane, prediction.image, gradcam]

    return show


def drawn_values(values: dict[str, float], ranges: list[list[float]]) -> str:
    """Return predicted values as HTML: as text, and two values also as a point of their plane."""
    told = ", ".join(f"{name} {value:+.2f}" for name, value in values.items())
    text = f"<p><strong>{html.escape(told)}</strong></p>"
    if len(values) != 2:
        return text
    (x, across), (y, up) = zip(values.items(), ranges, strict=True)
    left, top = (
        PLANE * (min(max(number, low), high) - low) / (high - low)
        for number, (low, high) in ((x[1], across), (y[1], up))
    )
    half, names = PLANE / 2, (html.escape(x[0]), html.escape(y[0]))
    return f"""{text}<svg viewBox="0 0 {PLANE} {PLANE}" width="{PLANE}" height="{PLANE}" role="img"
aria-label="{html.escape(told)}"><g fill="none" stroke="currentColor" stroke-opacity="0.3">
<circle cx="{half}" cy="{half}" r="{half - 1}"/><path d="M0 {half}H{PLANE}M{half} 0V{PLANE}"/></g>
<g font-size="10" fill="currentColor"><text x="{PLANE - 4}" y="{half - 4}" text-anchor="end">{names[0]}</text>
<text x="{half + 4}" y="10">{names[1]}</text></g>
<circle cx="{left:.1f}" cy="{PLANE - top:.1f}" r="6" fill="#0b63b0"/></svg>"""


def _first(examples: list[tuple[Path, str]]) -> Path | None:
    """Return the example shown first; None where a study has no synthetic images."""
    return examples[0][0] if examples else None


def _title(params: Params, run: str) -> str:
    return f"{run}: {params.study_of(run).title}"
