"""Make the passwords and keys of docker-compose.yaml where they are missing: `make_secrets.py FOLDER`.

The folder is closed to other users of this machine. Its files are open, since each container reads the few
that are mounted into it as a user of its own. To change a password, delete its file, run this again, and
start everything anew.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

ROLES = ("nightshift_owner", "nightshift", "mlflow", "airflow", "feast")
# Which of PostgreSQL's roles a container may log in as.
PASSFILES = {
    "databases": ("nightshift_owner", "nightshift", "mlflow", "feast"),
    "airflow": ("nightshift", "mlflow", "airflow", "feast"),
    "gateway": ("nightshift", "mlflow"),
    "mlflow": ("mlflow",),
}
BUCKET = "nightshift"
# What a user of the object store may do. A gateway reads base models and adapters.
RIGHTS = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "nightshift": [f"{right}:{BUCKET}" for right in ("Read", "Write", "List", "Tagging")],
    "gateway": [f"{right}:{BUCKET}" for right in ("Read", "List")],
}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _write_databases(folder)
    _write_object_store(folder)
    for name in ("grafana_password", "alert_token", "alert_hmac_key"):
        _once(folder, name)
    for name in ("airflow_api_key", "airflow_jwt_key"):
        _once(folder, name, secrets.token_urlsafe(64))
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    _once(folder, "airflow_fernet_key", fernet)
    _write(folder, "airflow_users", json.dumps({"admin": _once(folder, "airflow_password")}))
    redis = hashlib.sha256(_once(folder, "redis_password").encode()).hexdigest()
    _write(folder, "redis_acl", f"user default on #{redis} ~* &* +@all\n")


def _write_databases(folder: Path) -> None:
    _once(folder, "postgres_password")
    passwords = {role: _once(folder, f"postgres_{role}_password") for role in ROLES}
    for name, roles in PASSFILES.items():
        _write(
            folder, f"pgpass_{name}", "".join(f"postgres:5432:*:{role}:{passwords[role]}\n" for role in roles)
        )


def _write_object_store(folder: Path) -> None:
    users = []
    for user, rights in RIGHTS.items():
        key, secret = f"nightshift-{user}", _once(folder, f"s3_{user}_secret")
        users.append(
            {"name": user, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights}
        )
        _write(
            folder, f"s3_{user}", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        )
    _write(folder, "s3_identities", json.dumps({"identities": users}, indent=1))


def _once(folder: Path, name: str, value: str = "") -> str:
    """A secret's value, made where there is none."""
    file = folder / name
    if not file.exists():
        _write(folder, name, value or secrets.token_urlsafe(32))
    return file.read_text()


def _write(folder: Path, name: str, text: str) -> None:
    """Replace a file that says something else. A running container keeps the file that it started with."""
    file, partial = folder / name, folder / f".{name}"
    if file.exists() and file.read_text() == text:
        return
    partial.write_text(text)
    partial.chmod(0o444)
    os.replace(partial, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
