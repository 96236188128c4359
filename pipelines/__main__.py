import signal
import sys
from typing import Any

from pipelines.cli.main import main


def end(number: int, frame: Any) -> None:
    """End as after an exception. As process 1 of a container nothing else would: it ignores SIGTERM."""
    sys.exit(128 + number)


signal.signal(signal.SIGTERM, end)
sys.exit(main())
