"""The ledger: append-only tables in one SQL database, and a hash chain over every row.

It keeps for good who changed what, when, from what and why. Needs SQLAlchemy only, so that Airflow's
listener can write to it too.
"""

from pipelines.stores.ledger.decisions import Decision
from pipelines.stores.ledger.ledger import Ledger
from pipelines.stores.ledger.promotions import START, Promotion

__all__ = ["START", "Decision", "Ledger", "Promotion"]
