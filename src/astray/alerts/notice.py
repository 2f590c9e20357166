"""OCSF 1.8.0 Detection Findings that are about no session: silences, reviews.

None of them asks for a suspension.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from astray.alerts.ocsf import CATEGORY, CLASS, MEDIUM, PRODUCT, SCHEMA, SERVICE_USER, USER_UID

CREATE, CLOSE = 1, 3
"""What a finding does with its case."""

NEW = 1
_STATISTICAL = 3


class About(Protocol):
    """What a finding is about, and how it calls and tells it."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as it says
    @property
    def case(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def sentence(self) -> str: ...  # noqa: D102
    @property
    def ts_us(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Notice:
    """What such a finding says; `kind` is what it calls itself, `analytic` how it was found.

    `agents` are those that it is about, `more` is for whoever reads what OCSF has no place for.
    """

    kind: str
    analytic: str
    about: About
    since_us: int
    more: Mapping[str, Any]
    agents: Sequence[str] = ()
    evidences: Sequence[Mapping[str, Any]] = ()
    activity: int = CREATE
    status: int = NEW
    severity: int = MEDIUM

    def finding(self) -> bytes:
        """Return the finding as JSON."""
        return orjson.dumps(
            {
                "category_uid": CATEGORY,
                "class_uid": CLASS,
                "activity_id": self.activity,
                "type_uid": CLASS * 100 + self.activity,
                "time": self.about.ts_us // 1000,
                "start_time": self.since_us // 1000,
                "severity_id": self.severity,
                "status_id": self.status,
                "is_alert": self.activity == CREATE,
                "message": self.about.sentence,
                "metadata": {"version": SCHEMA, "uid": self.about.id, "product": PRODUCT},
                "finding_info": {
                    "uid": self.about.case,
                    "title": self.about.title,
                    "desc": self.about.sentence,
                    "analytic": {
                        "uid": self.kind, "name": self.analytic, "type_id": _STATISTICAL,
                    },
                    "types": [self.kind],
                },
                "evidences": [*map(_of_agent, self.agents), *self.evidences],
                "observables": [
                    {"name": "evidences[].actor.user.uid", "type_id": USER_UID, "value": name}
                    for name in self.agents
                ],
                "unmapped": {"finding": self.kind, **self.more},
            }
        )  # fmt: skip


def _of_agent(name: str) -> dict[str, Any]:
    user = {"uid": name, "type_id": SERVICE_USER}
    return {"actor": {"app_uid": name, "app_name": name, "user": user}}
