-- Roles and databases, for psql as PostgreSQL's superuser. It may run again, and sets the passwords anew.
\set ON_ERROR_STOP on
\set owner `cat /run/secrets/postgres_nightshift_owner_password`
\set steps `cat /run/secrets/postgres_nightshift_password`
\set mlflow `cat /run/secrets/postgres_mlflow_password`
\set airflow `cat /run/secrets/postgres_airflow_password`
\set feast `cat /run/secrets/postgres_feast_password`

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY['nightshift_owner', 'nightshift', 'mlflow', 'airflow', 'feast']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE nightshift_owner PASSWORD :'owner';
ALTER ROLE nightshift PASSWORD :'steps';
ALTER ROLE mlflow PASSWORD :'mlflow';
ALTER ROLE airflow PASSWORD :'airflow';
ALTER ROLE feast PASSWORD :'feast';
-- Workers that outlive a killed scheduler keep its connection open, and with it its lock on the run.
ALTER ROLE airflow SET idle_in_transaction_session_timeout = '5min';

-- Ledger and journal: `nightshift` may add rows; the tables belong to nightshift_owner.
SELECT format('CREATE DATABASE %I OWNER %I', name, owner)
FROM (VALUES ('nightshift', 'nightshift_owner'), ('mlflow', 'mlflow'), ('airflow', 'airflow'), ('feast', 'feast'))
  AS wanted (name, owner)
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', name)
FROM unnest(ARRAY['nightshift', 'mlflow', 'airflow', 'feast']) AS name \gexec
GRANT CONNECT ON DATABASE nightshift TO nightshift;
