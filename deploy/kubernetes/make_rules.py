"""Print deploy/prometheus's rules as one object of the Prometheus operator: base/monitoring/rules.yaml."""

from pathlib import Path

HEAD = """\
# Made from deploy/prometheus by `python3 deploy/kubernetes/make_rules.py`. Change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: nightshift, namespace: nightshift}
spec:
  groups:
"""
RULES = Path(__file__).parents[1] / "prometheus"


def rules() -> str:
    """The object, in YAML: the groups of both files, one after the other."""
    text = HEAD
    for name in ("recording.yml", "alerts.yml"):
        _, groups = (RULES / name).read_text("utf-8").split("\ngroups:\n")
        text += "".join(f"  {line}\n" if line else "\n" for line in groups.splitlines())
    return text


if __name__ == "__main__":
    print(rules(), end="")
