"""One profile: every section together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from pipelines.core.config.alerts import Alerts
from pipelines.core.config.base import Count, Cron, Positive, Section, passwords_in
from pipelines.core.config.data import Drift, Features, Ingest, Sample, Validate
from pipelines.core.config.evaluation import Evaluate, Fairness, Gate, Register
from pipelines.core.config.judge import Judge
from pipelines.core.config.model import Model, Task
from pipelines.core.config.operations import Cost, Notify, Retention, Watch
from pipelines.core.config.pods import Pods
from pipelines.core.config.rollout import Promote
from pipelines.core.config.safety import Safety
from pipelines.core.config.serving import Gateway, Serving
from pipelines.core.config.training import Curate, Decide, Train
from pipelines.core.scorers import default_scorers, known_scorers, unknown_scorers

SAMPLE_MODEL = "department-router"
LEAST_NEW_TOKENS = 16  # of an answer that is written and not chosen
# Where state lies that each step has to find as the one before it left it.
SHARED = (
    "runs_root", "lake_root", "shared_root", "ledger_url", "journal_url", "tracking_uri", "artifact_root",
    "keys",
)  # fmt: skip
# What steps read besides; a pod with a home of its own does not find it there.
READ = ("model.base", "evaluate.suite", "evaluate.pool", "ingest.source", "features.registry_url")


class Config(Section):
    """One profile: `config/*.toml` plus overrides. Paths may hold `{home}` and `{night}` (YYYY-MM-DD)."""

    profile: str  # its name, that of its file
    home: str = "."  # the folder of all state, from --home
    seed: int = 7  # of everything that is drawn, outside the sample
    schedule: Cron = "0 2 * * *"  # cron, UTC; empty: only alerts and people start a night
    step_timeout_s: Positive = 3_600  # a step that takes longer is ended; pods have pods.deadline_s
    # Steps that may run the model at once: each reads its weights into (GPU) memory. 0: one a core.
    evaluations_at_once: Count = 0
    launcher: Literal["process", "pod"] = "process"  # Airflow runs commands on its machine, or in pods
    # Where state lies. Another machine may share all but the home; no address holds a password.
    runs_root: str = "{home}/runs"  # any fsspec URI: a folder, s3://bucket/prefix
    lake_root: str = "{home}/lake"  # the same, for the rows of all nights
    shared_root: str = "{home}"  # the same, for deliveries, held-back items, features and watch reports
    ledger_url: str = "sqlite:///{home}/ledger.db"  # decisions, moves and costs; or postgresql+psycopg://
    journal_url: str = "sqlite:///{home}/gateway/journal.db"  # the gateway's answers and feedback; the same
    tracking_uri: str = "sqlite:///{home}/mlflow.db"  # MLflow's runs and registered models
    artifact_root: str = "{home}/mlartifacts"  # MLflow's files
    keys: str = "{home}/keys"  # the folder of keys that sign, route and make pseudonyms: the same everywhere
    model: Model = Model()
    task: Task = Task()
    sample: Sample = Sample()
    ingest: Ingest = Ingest()
    validate_: Validate = Field(default=Validate(), alias="validate")
    features: Features = Features()
    drift: Drift = Drift()
    decide: Decide = Decide()
    curate: Curate = Curate()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    judge: Judge = Judge()
    fairness: Fairness = Fairness()
    safety: Safety = Safety()
    gate: Gate = Gate()
    register_: Register = Field(default=Register(), alias="register")
    promote: Promote = Promote()
    gateway: Gateway = Gateway()
    serving: Serving = Serving()
    alerts: Alerts = Alerts()
    watch: Watch = Watch()
    cost: Cost = Cost()
    retention: Retention = Retention()
    notify: Notify = Notify()
    pods: Pods = Pods()

    @model_validator(mode="before")
    @classmethod
    def _name_of_the_sample(cls, data: Any) -> Any:
        """The sample's model has a name; everybody else's needs one of its own."""
        if not isinstance(data, Mapping):
            return data
        ingest, register = data.get("ingest") or {}, data.get("register") or {}
        if not (isinstance(ingest, Mapping) and isinstance(register, Mapping)) or register.get("name"):
            return data
        own = ingest.get("kind") or ("files" if ingest.get("source") else "sample")
        return data if own != "sample" else {**data, "register": {**register, "name": SAMPLE_MODEL}}

    @model_validator(mode="before")
    @classmethod
    def _without_passwords(cls, data: Any) -> Any:
        """An address with a password would take it into manifests and logs."""
        if found := next(passwords_in(data), None):
            raise ValueError(
                f"{found} holds a password: leave it out of the address. PostgreSQL's stands in the file "
                "that PGPASSFILE names, Redis's in its redis_password_file, S3's in AWS's variables or a role"
            )
        return data

    @model_validator(mode="after")
    def _model_has_a_name(self) -> Config:
        if not self.register_.name:
            raise ValueError(
                'register.name is not set: name your model, such as register.name = "support-router" '
                f"(older versions called it {SAMPLE_MODEL})"
            )
        return self

    @model_validator(mode="after")
    def _written_answers_fit(self) -> Config:
        kind, most = self.task.kind, self.model.max_new_tokens
        if kind != "choose" and most < LEAST_NEW_TOKENS:
            raise ValueError(
                f'task.kind is "{kind}", and model.max_new_tokens is {most}, so answers would be cut. Set it '
                "to the tokens of the longest answer, such as 128"
            )
        if kind != "choose" and self.gate.max_nights_waiting:
            raise ValueError(
                f'task.kind is "{kind}", and gate.max_nights_waiting is {self.gate.max_nights_waiting}: only '
                "candidates that choose from task.labels can wait. Set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _a_judge_compares_written_answers(self) -> Config:
        if self.judge.is_on and self.task.kind == "choose":
            raise ValueError(
                'task.kind is "choose", and judge.url is set: a label is right or wrong without a judge. '
                'Leave judge.url out, or set task.kind = "generate" or "extract"'
            )
        return self

    @model_validator(mode="after")
    def _a_candidate_waits_for_something(self) -> Config:
        if self.evaluate.pool and not self.gate.max_nights_waiting:
            raise ValueError(
                "evaluate.pool is set, and gate.max_nights_waiting is 0: the first night then decides alone, "
                "and the items do more for it in the suite, which every night may ask. Set "
                "gate.max_nights_waiting = 30, or move the items to the suite"
            )
        if self.gate.max_nights_waiting and not (self.evaluate.pool or self.curate.people_kept_back):
            raise ValueError(
                f"gate.max_nights_waiting is {self.gate.max_nights_waiting}, and there is nothing to measure "
                "a candidate on that waits. Set evaluate.pool, or curate.people_kept_back = 0.1"
            )
        return self

    @model_validator(mode="after")
    def _pods_share_no_home(self) -> Config:
        if self.launcher == "pod":
            if not self.pods.image:
                raise ValueError('launcher = "pod" needs pods.image: NAME@sha256:... of nightshift/pipelines')
            places = {name: attrgetter(name)(self) for name in (*SHARED, *READ)}
            if found := next((name for name, place in places.items() if "{home}" in place), None):
                raise ValueError(
                    f"{found} lies in the home ({places[found]}), and each pod has a home of its own: "
                    "name a place that all reach, as config/cluster.toml does"
                )
            if not self.features.online_url:
                raise ValueError(
                    "features.online_url is not set, so each pod would fill an online store in its own home: "
                    "name a Redis, as config/cluster.toml does"
                )
        return self

    @model_validator(mode="after")
    def _scorers_fit(self) -> Config:
        if found := unknown_scorers(self.evaluate.scorers):
            raise ValueError(f"evaluate.scorers names {found[0]!r}, which is none of {known_scorers()}")
        if "schema" in self.evaluate.scorers and not self.task.json_schema:
            raise ValueError(
                'evaluate.scorers names "schema", and task.json_schema is not set: only a task of the kind '
                '"extract" has one. Set task.kind = "extract" and a schema, or grade with "valid_json"'
            )
        if self.task.kind == "choose" and self.scorers[0] != "exact":
            raise ValueError(
                f'task.kind is "choose", and evaluate.scorers begins with "{self.scorers[0]}": a label is '
                'right or wrong, so begin with "exact"'
            )
        return self

    @model_validator(mode="after")
    def _instructions_suffice(self) -> Config:
        """Where even equal answers to all of them exclude no loss, every night would be held."""
        asked, most, alpha = self.evaluate.instruction_items, self.gate.max_instruction_loss, self.gate.alpha
        if asked and alpha ** (1 / asked) < 1 - most:
            raise ValueError(
                f"evaluate.instruction_items is {asked}, and so few exclude no loss of {most:g} "
                "(gate.max_instruction_loss) at gate.alpha, so each night would be held. Ask more, or none, "
                "or set gate.max_instruction_loss = 1.0 to see the numbers only"
            )
        return self

    @property
    def scorers(self) -> tuple[str, ...]:
        """The names of the scorers that grade answers, the primary one first."""
        return self.evaluate.scorers or default_scorers(self.task.kind)

    @property
    def keys_folder(self) -> Path:
        """The folder of `keys`."""
        return Path(self.path(self.keys))

    def path(self, template: str, night: date | None = None) -> str:
        """Fill `{home}` and `{night}` in a path setting."""
        return template.replace("{home}", self.home).replace("{night}", str(night or ""))
