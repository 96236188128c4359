"""What the role of steps and gateways must not be able to do in PostgreSQL. Runs in a gateway's container."""

import sys

import psycopg

REFUSED = (
    "UPDATE decisions SET outcome = 'trained'",
    "DELETE FROM promotions",
    "UPDATE audit SET hash = ''",
    "UPDATE interactions SET tenant = ''",
    "TRUNCATE audit",
    "DROP TABLE decisions",
)

done = []
with psycopg.connect("host=postgres user=nightshift dbname=nightshift", autocommit=True) as connection:
    for statement in REFUSED:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            print(f"{statement}: {error.diag.message_primary}")
        else:
            done.append(statement)
sys.exit(f"the role may: {'; '.join(done)}" if done else 0)
