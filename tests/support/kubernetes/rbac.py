"""Who may do what: the Roles and bindings that are stored, for requests with a service account's token."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.kubernetes.resources import BY_PLURAL
from tests.support.kubernetes.status import ApiError, qualified
from tests.support.kubernetes.store import Store, Thing


@dataclass(frozen=True)
class Wish:
    """What a request wants to do. `plural` with its subresource, as `pods/log`."""

    verb: str
    group: str
    plural: str
    namespace: str
    name: str


def check(store: Store, user: str, wish: Wish) -> None:
    """Raise 403 unless a binding of the account (`system:serviceaccount:NAMESPACE:NAME`) allows it."""
    if any(_allows(rule, wish) for rule in _rules(store, user, wish.namespace)):
        return
    base = wish.plural.partition("/")[0]
    who = qualified(base, wish.group) + (f' "{wish.name}"' if wish.name else "")
    where = f'in the namespace "{wish.namespace}"' if wish.namespace else "at the cluster scope"
    text = (
        f'{who} is forbidden: User "{user}" cannot {wish.verb} resource "{wish.plural}" in API group '
        f'"{wish.group}" {where}'
    )
    details = {"name": wish.name, "group": wish.group, "kind": base}
    raise ApiError(403, text, details={key: value for key, value in details.items() if value})


def _rules(store: Store, user: str, namespace: str) -> list[Thing]:
    """The rules that bindings give the account, in the whole cluster and in this namespace."""
    bindings = store.all(BY_PLURAL["clusterrolebindings"])
    bindings += store.all(BY_PLURAL["rolebindings"], namespace) if namespace else []
    found: list[Thing] = []
    for binding in bindings:
        if any(_is(subject, binding, user) for subject in binding.get("subjects") or []):
            reference = binding["roleRef"]
            local = reference["kind"] == "Role"
            plural = "roles" if local else "clusterroles"
            role = store.peek(BY_PLURAL[plural], namespace if local else "", reference["name"])
            found += (role or {}).get("rules") or []
    return found


def _is(subject: Thing, binding: Thing, user: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
        return user == f"system:serviceaccount:{namespace}:{subject['name']}"
    if subject["kind"] == "Group":
        namespace = user.split(":")[2]
        groups = ("system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return subject["name"] in groups
    return subject["name"] == user


def _allows(rule: Thing, wish: Wish) -> bool:
    names = rule.get("resourceNames") or []
    return (
        bool({wish.verb, "*"} & set(rule["verbs"]))
        and bool({wish.group, "*"} & set(rule.get("apiGroups") or []))
        and bool({wish.plural, "*"} & set(rule.get("resources") or []))
        and (not names or wish.name in names)
    )
