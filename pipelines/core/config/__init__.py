"""Every setting, typed and frozen, by area; unknown keys are refused. pydantic and the standard library only.

A profile (`config/*.toml`) names only what differs from the defaults here. Units are in the names.
"""

from pipelines.core.config.alerts import AlertRule, Alerts
from pipelines.core.config.data import Drift, Features, Ingest, Sample, Validate
from pipelines.core.config.evaluation import Evaluate, Fairness, Gate, Register
from pipelines.core.config.judge import Judge
from pipelines.core.config.loading import load_config, parse_override, refused
from pipelines.core.config.model import Model, Task
from pipelines.core.config.operations import Cost, Notify, Retention, Watch
from pipelines.core.config.pods import CommandPods, Pods, Toleration
from pipelines.core.config.profile import Config
from pipelines.core.config.rollout import Promote, Stage
from pipelines.core.config.safety import HarmClassifier, Moderation, Safety
from pipelines.core.config.serving import Gateway, Serving, TenantLimits
from pipelines.core.config.training import Curate, Decide, Train

__all__ = [
    "AlertRule", "Alerts", "CommandPods", "Config", "Cost", "Curate", "Decide", "Drift", "Evaluate",
    "Fairness", "Features", "Gate", "Gateway", "HarmClassifier", "Ingest", "Judge", "Model", "Moderation",
    "Notify", "Pods", "Promote", "Register", "Retention",
    "Safety", "Sample", "Serving", "Stage", "Task", "TenantLimits", "Toleration", "Train",
    "Validate", "Watch", "load_config", "parse_override", "refused",
]  # fmt: skip
