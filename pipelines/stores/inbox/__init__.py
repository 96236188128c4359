"""The inbox of alerts in the ledger: deliveries, the rulings on them, and silences.

A delivery that no ruling names is unruled. Every dispatch rules on all of those, so none is lost. Needs
SQLAlchemy only, so that Airflow's plugin can use it.
"""

from pipelines.stores.inbox.inbox import Inbox
from pipelines.stores.inbox.rows import delivery_from, delivery_row, in_force, incomplete, warnings

__all__ = ["Inbox", "delivery_from", "delivery_row", "in_force", "incomplete", "warnings"]
