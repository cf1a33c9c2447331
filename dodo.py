"""Task graph of the book: one task a notebook, then the pages. `doit list --all` shows it.

`doit profile=quick dataset=embedded labels=nep89` builds what is out of date; `-n 2 -P thread` runs
two notebooks at a time. What counts as out of date is decided by `phutils.keys.notebook_key`.
"""

import sys
import traceback

from doit import get_var
from doit.exceptions import TaskFailed

from phutils import book, keys, pipeline
from phutils.profiles import BuildError, notebook_path

DOIT_CONFIG = {
    "default_tasks": ["book"],
    "dep_file": str(pipeline.ROOT / "_build" / "doit.json"),
    "backend": "json",
    "reporter": "zero",
}
PROFILE = get_var("profile", "default")
DATASET = get_var("dataset", "embedded")
LABELS = get_var("labels", keys.USUAL)
GIT_BEFORE = book.git_status()
(pipeline.ROOT / "_build").mkdir(exist_ok=True)


def reported(function, *args):
    """Run a build step; a failure is printed once and fails the task."""
    try:
        function(*args)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return TaskFailed(str(error))
    except Exception as error:  # doit's reporter would swallow it
        traceback.print_exc()
        return TaskFailed(str(error))
    return True


def task_notebook():
    """Execute one notebook of the book."""
    for name in book.chapters():
        target = keys.executed_path(name)
        call = [pipeline.run_notebook, name, target, DATASET, PROFILE, None, pipeline.ROOT, LABELS]
        yield {
            "name": name,
            "actions": [(reported, call)],
            "uptodate": [keys.is_current(name, DATASET, PROFILE, labels=LABELS)],
            "task_dep": [f"notebook:{n}" for n in keys.builds_on(notebook_path(name))],
            "verbosity": 2,
        }


def task_book():
    """Render the pages and check that nothing is missing."""

    def pages():
        book.render(DATASET, PROFILE, labels=LABELS)
        book.check_git(GIT_BEFORE)

    return {
        "actions": [(reported, [pages])],
        "uptodate": [book.is_rendered(DATASET, PROFILE, labels=LABELS)],
        "task_dep": ["notebook"],
        "verbosity": 2,
    }
