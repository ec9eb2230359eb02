"""The page: a picture and a run in, classes with probabilities and a Grad-CAM map out; on this machine alone."""

import html
import os
import signal
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnstudy.app.answers import answer, open_net, trained_runs, write_examples
from cnnstudy.config.schema import Params
from cnnstudy.data.decode import UnreadableError
from cnnstudy.errors import UserError
from cnnstudy.training import environment

if TYPE_CHECKING:
    import gradio

LOCALHOST = "127.0.0.1"
# Nets held in memory at a time.
OPEN = 4
ABOUT = """# What does the net see?
A picture in; out comes what a net of this study takes it for, and where it looked.
**Not for clinical use, nor for judging what a person feels.**"""
# The system's own letters: nothing to load.
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
    with tempfile.TemporaryDirectory(prefix="cnnstudy-app-") as folder:
        # Read when Gradio is imported: nothing is told to its makers, and uploads go where they are removed.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder, "HF_HUB_OFFLINE": "1"}
        try:
            import gradio as gr
        except ModuleNotFoundError:
            raise UserError("gradio: not in this environment; `make app` makes one that has it") from None
        environment.configure(params.compute.threads)
        theme = gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=FONT, font_mono=FONT)
        page = build(params, runs, Path(folder))
        try:
            page.launch(
                server_name=LOCALHOST, server_port=port, share=False, ssr_mode=False, quiet=True, footer_links=[],
                prevent_thread_lock=True, theme=theme, css=STYLE, max_file_size="50mb",
            )  # fmt: skip
        except OSError:
            raise UserError(f"--port: {port} found; allowed: a port of this machine that is free") from None
        # As Ctrl-C does, so that what was uploaded goes.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        print(f"Try a net (Ctrl-C ends it): http://{LOCALHOST}:{port}", flush=True)
        page.block_thread()


def build(params: Params, runs: list[str], folder: Path) -> "gradio.Blocks":
    """The page for some trained runs; `folder` is where examples are drawn."""
    import gradio as gr

    studies = dict.fromkeys(params.runs[run].study for run in runs)
    examples = {study: write_examples(params, study, folder) for study in studies}
    of_run = {run: examples[params.runs[run].study] for run in runs}
    show = shower(params)

    def choose(run: str, chosen: gr.SelectData) -> list[Any]:
        file = of_run[run][chosen.index][0]
        return [file, None, *show(run, file)]

    def switch(run: str, file: Path | None) -> list[Any]:
        """Another run, with the same picture, unless that was drawn for another study."""
        drawn = {each for others in examples.values() for each, _ in others}
        shown = _first(of_run[run]) if file in drawn - {each for each, _ in of_run[run]} else file
        return [shown, gr.Gallery(of_run[run], selected_index=None), *show(run, shown)]

    with gr.Blocks(title="What does the net see?", analytics_enabled=False) as page:
        gr.Markdown(ABOUT)
        file = gr.State(_first(of_run[runs[0]]))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                run = gr.Dropdown([(_title(params, each), each) for each in runs], value=runs[0], label="Net")
                upload = gr.File(file_types=["image"], label="Your picture", height=130)
                gallery = gr.Gallery(
                    of_run[runs[0]], label="Or a drawn one", columns=4, allow_preview=False, height="auto",
                    object_fit="cover", elem_classes="examples", buttons=[], interactive=False,
                )  # fmt: skip
            with gr.Column(scale=3, min_width=300):
                notice = gr.HTML(visible=False, elem_classes="notice")
                label = gr.Label(num_top_classes=8, label="Probability")
                shape: dict[str, Any] = {"buttons": [], "interactive": False, "min_width": 140}
                with gr.Row():
                    picture = gr.Image(label="What the net gets", elem_id="picture", **shape)
                    looks = gr.Image(label="Where it looks", elem_id="looks", **shape)
        shown = [notice, label, picture, looks]
        page.load(show, [run, file], shown)
        upload.upload(lambda run, file: [Path(file), *show(run, Path(file))], [run, upload], [file, *shown])
        gallery.select(choose, run, [file, upload, *shown])
        run.input(switch, [run, file], [file, gallery, *shown])
    return page


def shower(params: Params) -> Callable[[str, Path | None], list[Any]]:
    """A function from a run and an image file, if any, to what the page shows: notice, probabilities, picture, map."""
    import gradio as gr

    opened = lru_cache(maxsize=OPEN)(lambda run: open_net(params, run))

    def show(run: str, file: Path | None) -> list[Any]:
        if file is None:
            return [gr.HTML(visible=False), None, None, None]
        try:
            its = answer(opened(run), file)
        except UnreadableError as reason:
            return [gr.HTML(html.escape(f"{file.name} can't be read: {reason}."), visible=True), None, None, None]
        return [gr.HTML(visible=False), its.probabilities, its.picture, its.looks]

    return show


def _first(examples: list[tuple[Path, str]]) -> Path | None:
    """What is shown first: nothing where a study has classes that can't be drawn."""
    return examples[0][0] if examples else None


def _title(params: Params, run: str) -> str:
    return f"{run}: {'facial expressions' if params.runs[run].study == 'faces' else 'chest films'}"
