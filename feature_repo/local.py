"""For the `feast` command: set NIGHTSHIFT_HOME, then `feast --chdir feature_repo feature-views list`."""

import os
from datetime import timedelta
from pathlib import Path

from activity import WINDOWS_DAYS, define

DATA = Path(os.environ["NIGHTSHIFT_HOME"]).resolve() / "feast" / "data"
person, tenant, tenant_activity, person_activity = define(
    lambda view: str(DATA / view), WINDOWS_DAYS, timedelta(hours=48)
)
