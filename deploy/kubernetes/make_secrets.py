"""Make an installation's secrets where they are missing: `python -m deploy.kubernetes.make_secrets FOLDER`.

The trial (overlays/dev) reads the folder as it is. For production, put the values into your vault under the
names that overlays/prod/secrets.yaml asks for, and delete the folder.
"""

import configparser
import sys
from pathlib import Path

from deploy.compose.make_secrets import main as make_passwords
from gateway.dev_token import private_key
from pipelines.core.config import load_config
from pipelines.core.files import write_atomically
from pipelines.operations.prepare import make_keys
from pipelines.sample.prepare import prepare_suite

PROFILE = Path(__file__).parents[2] / "config" / "cluster.toml"
USERS = {"nightshift": "environment", "gateway": "gateway_environment", "admin": "admin_environment"}
STORE = "AWS_ENDPOINT_URL=http://s3:8333\nAWS_DEFAULT_REGION=us-east-1\n"


def main(folder: Path) -> None:
    """Passwords as docker-compose.yaml has them, keys, an issuer of tokens, and the sample's questions."""
    make_passwords(folder)
    for user, file in USERS.items():
        _write(folder / file, STORE + _credentials(folder / f"s3_{user}"))
    password = (folder / "postgres_airflow_password").read_text()
    _write(folder / "airflow_connection", f"postgresql+psycopg://airflow:{password}@postgres/airflow")
    config = load_config(
        PROFILE, folder, {"keys": str(folder / "keys"), "evaluate.suite": str(folder / "suite.jsonl")}
    )
    make_keys(config)
    prepare_suite(config)
    issuer = folder / "home" / "gateway" / "dev"  # where `python -m gateway.dev_token` looks for it
    private_key(issuer)
    _write(folder / "jwks.json", (issuer / "jwks.json").read_text())


def _credentials(file: Path) -> str:
    parser = configparser.ConfigParser()
    parser.read(file)
    return "".join(f"{name.upper()}={value}\n" for name, value in parser["default"].items())


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        write_atomically(path, text.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
