"""What a pod costs a step: the same night of stand-ins in processes and in pods, under a real Airflow.

Run it in the control environment (`.venv-airflow`). The pods run on the test double of
Kubernetes, so pulling an image and finding a node take no time.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import mean

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.local import instance as machine  # noqa: E402
from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import password  # noqa: E402
from nightshift.local.follow import follow, run_of, start_night  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from pipelines.core.contract import CLOSING, NIGHTLY  # noqa: E402
from tests.support import pods as support  # noqa: E402
from tests.support.kubernetes import running_kubernetes  # noqa: E402
from tests.support.standin import write_interpreter, write_program  # noqa: E402

STEPS = (*NIGHTLY, *CLOSING)


def main() -> None:
    """Print the seconds of a step in each mode, and of the whole night."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        home = Path(folder)
        images = support.image(write_program(home / "programs"), STANDIN_HOME=str(home))
        with running_kubernetes(images) as cluster:
            pods = support.write_profile(home / "pods.toml", home, cluster.kubeconfig)
            support.furnish(cluster, pods)
            processes = home / "processes.toml"
            processes.write_text(pods.read_text().replace('launcher = "pod"', 'launcher = "process"'))
            found = {path.stem: _night(home, path) for path in (processes, pods)}
    print("mode        seconds of a step (mean)   seconds of the night")
    for mode, (step_s, night_s) in found.items():
        print(f"{mode:<12}{step_s:>24.1f}{night_s:>23.1f}")
    print(f"A pod adds {found['pods'][0] - found['processes'][0]:.1f} s to a step.")


def _night(home: Path, profile: Path) -> tuple[float, float]:
    """Mean seconds of a step and seconds of the night, of the second night: the first one warms Airflow."""
    python = write_interpreter(home / "python")
    settings = Settings(home, profile, python, load_config(profile, home))
    local.setup(settings)
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    try:
        api = Api(instance.url, password(settings))
        for night in ("2026-01-01", "2026-01-02"):
            run_id = start_night(api, {"night": night, "attempt": 1 + (profile.stem == "pods")})
            assert follow(api, run_id).succeeded
        tasks = run_of(api, run_id, "/taskInstances?limit=100")["task_instances"]
        return mean(_seconds(task) for task in tasks if task["task_id"] in STEPS), _seconds(
            run_of(api, run_id)
        )
    finally:
        machine.stop(instance)


def _seconds(thing: dict[str, str]) -> float:
    began, ended = (datetime.fromisoformat(thing[key]) for key in ("start_date", "end_date"))
    return (ended - began).total_seconds()


if __name__ == "__main__":
    main()
