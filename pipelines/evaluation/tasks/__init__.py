"""What a task's answers are, how a model gives them, and what they score: a module for each `task.kind`."""

from pipelines.core.config import Config
from pipelines.core.spelling import answer_form
from pipelines.evaluation.tasks.base import Task
from pipelines.evaluation.tasks.choose import Choose
from pipelines.evaluation.tasks.extract import Extract
from pipelines.evaluation.tasks.generate import Generate

KINDS: dict[str, type[Task]] = {"choose": Choose, "extract": Extract, "generate": Generate}

__all__ = ["Task", "comparable", "task_of"]


def task_of(config: Config) -> Task:
    """The task of a profile."""
    return KINDS[config.task.kind](config)


def comparable(task: Task, text: str) -> str:
    """Equal for texts of people or models that are the same answer, also where they are written otherwise."""
    form = task.form(task.read(text) or text)
    return answer_form(form) or form.strip()
