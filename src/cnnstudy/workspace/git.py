"""Git commands of this project."""

import subprocess
from pathlib import Path

from cnnstudy.errors import UserError


def git(*arguments: str) -> str:
    """Return what git prints.

    Raises:
        UserError: git fails; the message is git's.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise UserError(f"git {arguments[0]}: {said}; allowed: a repository with such a commit")
    return done.stdout.decode("utf-8", "replace")


def require_repository() -> None:
    """Refuse a folder in which git can't record anything: no repository, an unreadable one, or one without a commit.

    Raises:
        UserError: it is such a folder; the message has the command that helps.
    """
    if problem := repository_problem():
        raise UserError(problem)


def repository_problem() -> str:
    """Return why git has no commit of this folder, with the command that helps; '' where it has one."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    here = Path.cwd()
    if "dubious ownership" in done.stderr:
        return f"{here}: owned by another user; `git config --global --add safe.directory '{here}'` lets git read it"
    if "not a git repository" in done.stderr:
        found = "not a git repository, as after a download without git's history"
        return f"{here}: {found}; `git init && git add --all && git commit --message=start` makes it one"
    return f"{here}: a git repository without a commit; `git add --all && git commit --message=start` makes one"
