"""A running Airflow over a home with a real rollout, and a headless Chromium that is logged in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from pipelines.stores.ledger import Ledger

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))
WORK = PROJECT / ".venv" / "bin" / "python"
PROFILE = """
profile = "test"
schedule = ""
[watch]
schedule = ""
[task]
labels = ["Anatomy", "Dental", "Surgery"]
[model]
base = "{home}/base"
[promote]
interval_s = 60
answers_per_person = 0
stages = [
  { name = "shadow", bake_s = 0, min_answers = 30, guards = ["errors", "refusals"] },
  { name = "canary_05", weight = 0.05, bake_s = 0, min_answers = 30, min_rated = 20, margin = 0.3 },
  { name = "canary_25", weight = 0.25, bake_s = 0, min_answers = 30, min_rated = 20 },
]
"""


@dataclass
class Site:
    """A running Airflow: its address, its REST API as the admin, the admin's password, and its home."""

    url: str
    api: Any
    password: str
    home: Path

    def patch(self, path: str, body: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {self.api._token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method="PATCH")
        urllib.request.urlopen(request, timeout=60).close()

    def ledger(self) -> Ledger:
        from pipelines.stores.ledger import Ledger

        return Ledger(f"sqlite:///{self.home}/ledger.db")

    def wait(self, holds: Any, seconds: float = 60) -> Any:
        """Poll until `holds()` gives something."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.3)
        return found


@contextmanager
def airflow(home: Path) -> Iterator[Site]:
    """Start Airflow over a fresh home, and seed it meanwhile. What would act on planted rows is paused."""
    from nightshift.local import instance
    from nightshift.local import main as local
    from nightshift.local.api import Api
    from nightshift.local.environment import password
    from nightshift.settings import Settings

    from pipelines.core.config import load_config

    profile = home / "profile.toml"
    profile.write_text(PROFILE)
    settings = Settings(home, profile, WORK, load_config(profile, home))
    seeding = subprocess.Popen([WORK, "-m", "tests.support.browser_seed", home], cwd=PROJECT)
    local.setup(settings)
    running = instance.start(settings, instance.free_port(), 0, attached=True)
    try:
        api = Api(running.url, password(settings))
        site = Site(running.url, api, password(settings), home)
        for dag, paused in (("promote", False), ("alert_router", True), ("nightly_retrain", True)):
            site.wait(lambda dag=dag: api.call(f"/api/v2/dags/{dag}"))
            site.patch(f"/api/v2/dags/{dag}", {"is_paused": paused})
        assert seeding.wait(120) == 0
        yield site
    finally:
        seeding.kill()
        instance.stop(running)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises MachineError without a Chromium."""
    from playwright.sync_api import sync_playwright

    from pipelines.core.errors import MachineError

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        raise MachineError(
            "There is no Chromium to open pages with.", "Install it: `apt-get install chromium`."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def log_in(browser: Browser, site: Site, path: Path) -> Path:
    """Through Airflow's own login page; the cookies go to `path`."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url)
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(site.password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)
    context.storage_state(path=path)
    context.close()
    return path
