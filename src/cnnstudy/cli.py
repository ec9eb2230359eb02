"""The command line `cnnstudy`, with the commands that are not stages."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from cnnstudy.workspace.stage import name_user, reported_errors
from cnnstudy.workspace.terminal import escaped, say

if TYPE_CHECKING:
    from cnnstudy.cluster.coordinator import Options


def main() -> None:
    """Run the given command; a user's mistake is reported in one line, with exit code 2."""
    arguments = command_line().parse_args()
    name_user()
    with reported_errors():
        arguments.action(arguments)


def command_line() -> argparse.ArgumentParser:
    """Return the command line's parser; the `action` of its result is the function to call."""
    parser = _Parser(prog="cnnstudy", description="Rebuild a published CNN study with DVC and MLflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("params", help="compose params.yaml from conf/, and check it")
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for `dvc exp run -S`: profile=smoke")
    command.set_defaults(action=lambda arguments: write_params(arguments.overrides))
    command = commands.add_parser("new", help="write a study of your own, conf/model/NAME.yaml, for your images")
    command.add_argument("name", metavar="NAME", help="the study's name: lowercase letters, digits and hyphens")
    command.add_argument("--data", type=_path, required=True, metavar="PATH", help="class folders, or a table")
    command.add_argument(
        "--net",
        metavar="NET",
        help="a net, whose augmentation is ablated; else two nets",
    )
    command.add_argument("--file-column", default="", metavar="COLUMN", help="the table's column of file names")
    command.add_argument("--label-column", default="", metavar="COLUMN", help="the table's column of labels")
    command.add_argument("--force", action="store_true", help="replace conf/model/NAME.yaml")
    command.set_defaults(action=new)
    command = commands.add_parser("check", help="check params.yaml, and repair DVC's files after a killed `dvc`")
    command.set_defaults(action=lambda arguments: check())
    command = commands.add_parser("repro", help="do as `dvc repro`, with several stages at once")
    command.add_argument("targets", nargs="*", metavar="STAGE", help="as for `dvc repro`; all if none is given")
    command.add_argument("-j", "--jobs", type=int, help="stages at once; as cores and memory allow if not given")
    _add_cluster(command)
    command.set_defaults(action=repro)
    command = commands.add_parser("cluster", help="certificates for a Dask cluster, or a cluster on this machine")
    kinds = command.add_subparsers(required=True, metavar="WHAT")
    command = kinds.add_parser("certificates", help="write a key and a certificate for encrypted connections")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, outside of the repository")
    command.add_argument("--place", type=Path, metavar="PATH", help="where the nodes have it, if it is elsewhere there")
    command.set_defaults(action=lambda arguments: cluster_certificates(arguments.folder, arguments.place))
    command = kinds.add_parser("local", help="run a scheduler and workers on this machine, to try a cluster")
    command.add_argument("--workers", type=int, default=2, help="how many workers; 2 if not given")
    command.add_argument("--port", type=int, default=8786, help="8786 if not given")
    command.set_defaults(action=lambda arguments: cluster_local(arguments.workers, arguments.port))
    command = commands.add_parser("back", help="restore the last commit's state, after `dvc exp run` or `apply`")
    command.set_defaults(action=lambda arguments: back())
    command = commands.add_parser("experiments", help="list the experiments, with their changes and results")
    orders = ("accuracy", "when", "name")
    command.add_argument("--sort", choices=orders, default="accuracy", help="by accuracy, best first, if not given")
    command.add_argument("--all", action="store_true", help="include experiments on other commits")
    command.set_defaults(action=lambda arguments: experiments(arguments.sort, arguments.all))
    command = commands.add_parser("search", help="look for better hyperparameters of a run, with Optuna")
    command.add_argument("run", metavar="RUN", help="a key of runs in params.yaml")
    command.add_argument("--trials", type=int, required=True, help="how many trials in all, earlier calls included")
    command.add_argument("--space", type=Path, help="the search space; conf/search/<study>.yaml if not given")
    command.add_argument("--seed", type=int, default=0, help="the sampler's seed, not the trainings'; 0 if not given")
    command.add_argument("--storage", help="the address of a database; optuna.db in the root if not given")
    _add_cluster(command)
    command.set_defaults(action=search)
    command = commands.add_parser("promote", help="register a run's net in MLflow as the champion of its study")
    command.add_argument("run", metavar="RUN", help="a key of runs in params.yaml")
    _add_training(command)
    command.set_defaults(action=promote)
    command = commands.add_parser("predict", help="print a net's predictions for images")
    command.add_argument("paths", nargs="+", type=_path, metavar="PATH", help="an image, or a folder of images")
    nets = command.add_mutually_exclusive_group(required=True)
    nets.add_argument("--run", metavar="RUN", help="the net of a run: a key of runs in params.yaml")
    nets.add_argument("--champion", metavar="STUDY", help="the champion of a study: the net promoted last")
    _add_training(command)
    precisions = ("float32", "float16", "int8")
    command.add_argument("--litert", choices=precisions, help="the run's LiteRT file, from the stage export")
    command.add_argument("--top", type=int, default=3, help="number of likeliest classes to print; 3 if not given")
    command.add_argument("--json", action="store_true", help="print a line of JSON for each image")
    command.set_defaults(action=predict)
    command = commands.add_parser("serve", help="serve a champion's predictions over HTTP on this machine")
    command.add_argument("study", metavar="STUDY", help="the study of the champion")
    command.add_argument("--port", type=int, default=5001, help="5001 if not given")
    command.set_defaults(action=lambda arguments: serve(arguments.study, arguments.port))
    command = commands.add_parser("compare", help="print the differences between two commits, and draw their figures")
    command.add_argument("a", metavar="A", help="a branch, tag, commit or experiment")
    command.add_argument("b", metavar="B", nargs="?", help="another one; the working tree if not given")
    command.add_argument("--all", action="store_true", help="show every file, parameter, metric and figure")
    command.set_defaults(action=lambda arguments: compare(arguments.a, arguments.b, arguments.all))
    command = commands.add_parser("latency", help="measure the latency of the LiteRT files on this machine")
    command.set_defaults(action=lambda arguments: latency())
    command = commands.add_parser("recipes", help="compare the best recipe with the report's on the same images")
    command.add_argument("runs", metavar="RUN", nargs="+", help="runs of one study; keys of runs in params.yaml")
    command.add_argument("--seeds", type=int, default=3, help="how many seeds; 3 if not given")
    command.set_defaults(action=lambda arguments: recipes(arguments.runs, arguments.seeds))
    command = commands.add_parser("splits", help="train on other splits of the data, to see how much the split decides")
    command.add_argument("runs", metavar="RUN", nargs="+", help="runs of one study")
    ways = command.add_mutually_exclusive_group()
    ways.add_argument("--repeats", type=int, metavar="K", help="random splits (10 by default)")
    ways.add_argument("--folds", type=int, metavar="K", help="folds, each the test split once")
    command.set_defaults(action=lambda arguments: splits(arguments.runs, arguments.repeats, arguments.folds))
    command = commands.add_parser("labels", help="find images that look mislabelled")
    command.add_argument("run", metavar="RUN", help="the run whose net predicts each image from the others")
    command.add_argument("--folds", type=int, default=5, metavar="K", help="folds (default: %(default)s)")
    command.set_defaults(action=lambda arguments: labels(arguments.run, arguments.folds))
    command = commands.add_parser("doctor", help="check this machine for problems, and print what to do")
    command.set_defaults(action=lambda arguments: doctor())
    command = commands.add_parser("track", help="log the DVC results that MLflow lacks")
    command.set_defaults(action=lambda arguments: track())
    command = commands.add_parser("ui", help="run `track`, then serve the MLflow UI on this machine")
    command.add_argument("--port", type=int, default=5000, help="5000 if not given")
    command.set_defaults(action=lambda arguments: ui(arguments.port))
    command = commands.add_parser("app", help="try a net in the browser, on this machine; see `make app`")
    command.add_argument("--port", type=int, default=7860, help="7860 if not given")
    command.set_defaults(action=lambda arguments: app(arguments.port))
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that escapes unknown arguments in its messages."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the arguments, and exit."""
        super().error(escaped(message))


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("'' found; allowed: an image, or a folder of images")
    return Path(text)


def _add_training(command: argparse.ArgumentParser) -> None:
    command.add_argument("--phase", choices=("base", "tuned"), help="the run's phase; its last one if not given")
    command.add_argument("--seed", type=int, help="the run's seed; its first one if not given")


def write_params(overrides: list[str]) -> None:
    """Compose conf/ into params.yaml; see `cnnstudy.commands.write_params`."""
    from cnnstudy.commands.write_params import write_params

    write_params(overrides)


def new(arguments: argparse.Namespace) -> None:
    """Write a study's file for a folder of images; see `cnnstudy.commands.new`."""
    from cnnstudy.commands.new import new

    columns = (arguments.file_column, arguments.label_column)
    new(arguments.name, arguments.data, arguments.net, columns, arguments.force)


def check() -> None:
    """Check params.yaml and the sources, and repair DVC's own files; see `cnnstudy.commands.repro`."""
    from cnnstudy.commands import repro
    from cnnstudy.config.params import read_params
    from cnnstudy.data.sources import require_sources

    repro.check()
    require_sources(read_params())


def rebuild(targets: list[str], jobs: int | None = None) -> None:
    """Check params.yaml, then bring stages up to date; see `cnnstudy.commands.repro`."""
    from cnnstudy.commands import repro

    repro.rebuild(targets, jobs)


def repro(arguments: argparse.Namespace) -> None:
    """Bring stages up to date, on a cluster's workers if its address is given.

    Raises:
        UserError: as `rebuild`, or an option is for clusters only.
        SystemExit: with code 1 if a stage failed.
    """
    from cnnstudy.commands import repro

    repro.rebuild(arguments.targets, arguments.jobs, _cluster(arguments))


def _add_cluster(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cluster", metavar="ADDRESS", help="train on the workers of the Dask scheduler there")
    command.add_argument("--remote", default="", metavar="NAME", help="DVC's remote by which data travels to workers "
                         "and back; without it they must share DVC's cache")  # fmt: skip
    command.add_argument("--same-hardware", action="store_true", help="refuse workers of several kinds")


def _cluster(arguments: argparse.Namespace) -> "Options | None":
    """Return the options for a cluster, or None if no cluster is given.

    Raises:
        UserError: an option of clusters is given without one.
    """
    from cnnstudy.cluster.coordinator import Options
    from cnnstudy.errors import UserError

    if arguments.cluster:
        return Options(arguments.cluster, arguments.remote, arguments.same_hardware)
    if arguments.remote or arguments.same_hardware:
        raise UserError("--remote and --same-hardware: found without --cluster; allowed: with it")
    return None


def cluster_certificates(folder: Path, place: Path | None) -> None:
    """Write certificates for a Dask cluster; see `cnnstudy.commands.cluster`."""
    from cnnstudy.commands.cluster import write_certificates

    write_certificates(folder, place)


def cluster_local(workers: int, port: int) -> None:
    """Run a Dask cluster on this machine; see `cnnstudy.commands.cluster`."""
    from cnnstudy.commands.cluster import serve

    serve(workers, port)


def back() -> None:
    """Restore the workspace of the last commit; see `cnnstudy.commands.back`."""
    from cnnstudy.commands.back import back

    back()


def experiments(order: Literal["accuracy", "when", "name"], of_all_commits: bool) -> None:
    """List experiments; see `cnnstudy.commands.experiments`."""
    from cnnstudy.commands.experiments import list_experiments

    list_experiments(order, of_all_commits)


def search(arguments: argparse.Namespace) -> None:
    """Bring a run's data up to date, run the missing trials, and print the best and how to apply it.

    Raises:
        UserError: an argument, the search space or a parameter is wrong, or the database can't be opened.
        SystemExit: with code 1 if a stage failed.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.search import shared, start

    options = _cluster(arguments)
    if options:
        shared.require_server(arguments.storage)
    job = start.checked(read_params(), arguments)
    rebuild([f"augment@{job.params.all_runs[job.run].study}"])
    if options:
        start.search_on(job, arguments.trials, options, start.space_file(job.params, arguments))
    else:
        start.search(job, arguments.trials)


def promote(arguments: argparse.Namespace) -> None:
    """Register a run's net as the champion of its study, and print its version.

    Raises:
        UserError: an argument is wrong, the net may not be promoted, or the store refuses.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.serving import choice, promote

    params = read_params()
    say(promote.promote(params, choice.choose(params, arguments.run, arguments.phase, arguments.seed)))


def predict(arguments: argparse.Namespace) -> None:
    """Print a net's predictions for images.

    Raises:
        UserError: an argument is wrong, there is no such net, or no image can be read.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.errors import UserError
    from cnnstudy.serving import choice

    # These mistakes are reported before the net is loaded, which takes seconds.
    if not any(_holds_files(path) for path in arguments.paths):
        names = " ".join(map(str, arguments.paths))
        cause = "no image found" if any(path.exists() for path in arguments.paths) else "no such file or folder"
        raise UserError(f"{names}: {cause}; allowed: an image, or a folder of images")
    if arguments.run:
        its = choice.choose(read_params(), arguments.run, arguments.phase, arguments.seed)
        if not arguments.litert:
            choice.require_trained(its)
    from cnnstudy.serving.predict import predict

    predict(arguments)


def _holds_files(path: Path) -> bool:
    return any(names for _, _, names in os.walk(path)) if path.is_dir() else path.exists()


def serve(study: str, port: int) -> None:
    """Serve a study's champion; see `cnnstudy.serving.server`.

    Raises:
        UserError: there is no champion, a limit is not allowed, or the port is taken.
    """
    from cnnstudy.commands.ui import require_free
    from cnnstudy.serving import server

    require_free(port)
    server.serve(study, port)


def compare(a: str, b: str | None, is_everything: bool) -> None:
    """Print the differences between two commits, and draw their figures.

    Raises:
        UserError: there is no such commit.
    """
    from cnnstudy.commands.compare import compare
    from cnnstudy.config.params import read_params

    read_params()
    compare(a, b, is_everything)


def latency() -> None:
    """Measure the latency of every LiteRT file on one thread, write metrics/export/latency.json, and print it.

    Raises:
        UserError: params.yaml holds a value that is not allowed, or a net is not exported.
    """
    from cnnstudy.config.params import read_params
    from cnnstudy.export.latency import write_latency
    from cnnstudy.export.litert import PRECISIONS
    from cnnstudy.workspace import paths

    for run, times in write_latency(read_params())["runs"].items():
        for precision in PRECISIONS:
            median, high = times[precision]["median_ms"], times[precision]["p95_ms"]
            say(f"{run} {precision}: {median:.2f} ms, 95 % within {high:.2f} ms")
    say(f"{paths.LATENCY} is written; `dvc repro report` shows it")


def splits(runs: list[str], repeats: int | None, folds: int | None) -> None:
    """Train on other splits; see `cnnstudy.commands.resample`."""
    from cnnstudy.commands.resample import compare_splits

    compare_splits(runs, repeats, folds)


def labels(run: str, folds: int) -> None:
    """Find images that look mislabelled; see `cnnstudy.commands.resample`."""
    from cnnstudy.commands.resample import find_mislabelled

    find_mislabelled(run, folds)


def recipes(runs: list[str], seeds: int) -> None:
    """Compare the best recipe with the report's; see `cnnstudy.commands.recipes`."""
    from cnnstudy.commands.recipes import compare_recipes

    compare_recipes(runs, seeds)


def doctor() -> None:
    """Print the checks of this machine and what to do; see `cnnstudy.commands.doctor`."""
    from cnnstudy.commands.doctor import doctor

    doctor()


def track() -> None:
    """Log the results of DVC to MLflow; see `cnnstudy.commands.ui`."""
    from cnnstudy.commands.ui import track

    track()


def ui(port: int) -> None:
    """Log the results of DVC to MLflow, then serve its UI; see `cnnstudy.commands.ui`."""
    from cnnstudy.commands.ui import serve

    serve(port)


def app(port: int) -> None:
    """Serve a page that shows the predictions of the trained nets for an image.

    Raises:
        UserError: Gradio is not installed, no run is trained, or the port is taken.
    """
    from cnnstudy.app.interface import serve
    from cnnstudy.commands.ui import require_free
    from cnnstudy.config.params import read_params

    require_free(port)

    serve(read_params(), port)
