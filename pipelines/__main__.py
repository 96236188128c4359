import os
import sys

# Before torch is loaded: its threads must not spin while they wait, or two steps on the same cores
# (evaluate beside safety, anything beside Airflow) slow each other down twenty-fold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pipelines.cli.main import main

sys.exit(main())
