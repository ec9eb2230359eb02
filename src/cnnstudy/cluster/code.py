"""The code as it is here, uncommitted edits included, in a form that reaches the workers."""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cnnstudy.errors import UserError
from cnnstudy.workspace import paths

# The beginning of the name of the commit that is sent.
REFERENCE = "refs/cnnstudy/task"
# The folder of the sources.
RAW = "data/raw"
# Bytes of code, compressed, that no repository without data reaches.
LARGEST = 100 * 10**6
# The author and date of the commit, which so depends on the files alone.
NOBODY = {"NAME": "cnnstudy", "EMAIL": "cnnstudy@localhost", "DATE": "2000-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Code:
    """A commit without parents of the working tree's files, a git bundle of it, and the project's folder in it.

    `reference` is the commit's name in the bundle.
    """

    commit: str
    reference: str
    bundle: bytes
    prefix: str


def snapshot() -> Code:
    """Return the code of the working tree as git would add it; index, branches and HEAD stay as they are.

    Ignored files are left out, and so are the sources in data/raw, which no worker reads, and dvc.lock, whose entries
    go with each task.

    Raises:
        UserError: git fails, or there is too much of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = {f"GIT_{role}_{name}": text for role in ("AUTHOR", "COMMITTER") for name, text in NOBODY.items()}
        environment = os.environ | own | {"GIT_INDEX_FILE": f"{folder}/index"}

        def git(*arguments: str) -> str:
            done = subprocess.run(["git", *arguments], env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                said = " ".join(done.stderr.split())
                raise UserError(f"git {arguments[0]}: {said}; allowed: a repository that git can read and write")
            return done.stdout.strip()

        # What git ignores can't be left out once more: it would be an error.
        left_out = [path for path in (RAW, str(paths.LOCK)) if Path(path).exists() and not _is_ignored(path)]
        git("add", "--all", git("rev-parse", "--show-toplevel"), *(f":!{path}" for path in left_out))
        commit = git("commit-tree", "-m", "task", git("write-tree"))
        # Worktrees of a repository share its references.
        reference = f"{REFERENCE}-{Path(folder).name}"
        git("update-ref", reference, commit)
        bundle = Path(folder, "bundle")
        git("bundle", "create", "--quiet", str(bundle), reference)
        git("update-ref", "-d", reference)
        if (size := bundle.stat().st_size) > LARGEST:
            allowed = f"at most {LARGEST / 1e6:.0f} MB; .gitignore or `dvc add` leaves files out"
            raise UserError(f"git: {size / 1e6:.0f} MB of files to send to workers found; allowed: {allowed}")
        return Code(commit, reference, bundle.read_bytes(), git("rev-parse", "--show-prefix"))


def _is_ignored(path: str) -> bool:
    """Return whether .gitignore names a path, or a folder that it is in."""
    return subprocess.run(["git", "check-ignore", "--quiet", path], check=False).returncode == 0
