"""What a session looks like: the rehearsed attack that tells it best from real ones, by name.

The techniques are those of MITRE ATLAS 5.6.1 and ATT&CK 17.0, the risks those of OWASP's Top
10 for agentic applications (2026) and for non-human identities (2025). A likeness is a
pointer for whoever looks into a case, not a finding: the score does not depend on it.
"""

from typing import NamedTuple

ATLAS_VERSION, ATTACK_VERSION = "5.6.1", "17.0"


class Technique(NamedTuple):
    """A technique of MITRE's, by its id and name."""

    uid: str
    name: str
    version: str


class Likeness(NamedTuple):
    """A kind of attack as people call it, with its places in the taxonomies."""

    title: str
    techniques: tuple[Technique, ...]
    owasp: tuple[str, ...]


def _atlas(uid: str, name: str) -> Technique:
    return Technique(uid, name, ATLAS_VERSION)


def _attack(uid: str, name: str) -> Technique:
    return Technique(uid, name, ATTACK_VERSION)


LIKENESSES = {
    "injected_task": Likeness(
        "an injected task",
        (_atlas("AML.T0051.001", "LLM Prompt Injection: Indirect"),),
        ("ASI01 Agent Goal Hijack",),
    ),
    "stolen_credential": Likeness(
        "a stolen credential",
        (
            _atlas("AML.T0012", "Valid Accounts"),
            _attack("T1078.004", "Valid Accounts: Cloud Accounts"),
        ),
        ("ASI03 Identity & Privilege Abuse", "NHI9 NHI Reuse"),
    ),
    "foreign_resources": Likeness(
        "a misuse of what belongs to others",
        (
            _atlas("AML.T0085.001", "Data from AI Services: AI Agent Tools"),
            _attack("T1213", "Data from Information Repositories"),
        ),
        ("ASI02 Tool Misuse & Exploitation", "NHI5 Overprivileged NHI"),
    ),
    "new_behaviour": Likeness(
        "behaviour that is nobody's",
        (_atlas("AML.T0053", "AI Agent Tool Invocation"),),
        ("ASI02 Tool Misuse & Exploitation", "NHI5 Overprivileged NHI"),
    ),
    "enumeration": Likeness(
        "an enumeration",
        (
            _atlas("AML.T0075", "Cloud Service Discovery"),
            _attack("T1619", "Cloud Storage Object Discovery"),
        ),
        ("ASI02 Tool Misuse & Exploitation", "NHI5 Overprivileged NHI"),
    ),
    "exfiltration": Likeness(
        "an exfiltration",
        (
            _atlas("AML.T0086", "Exfiltration via AI Agent Tool Invocation"),
            _attack("T1567", "Exfiltration Over Web Service"),
        ),
        ("ASI02 Tool Misuse & Exploitation", "NHI5 Overprivileged NHI"),
    ),
    "burst": Likeness(
        "a runaway loop",
        (
            _atlas("AML.T0034.002", "Agentic Resource Consumption"),
            _attack("T1499", "Endpoint Denial of Service"),
        ),
        ("ASI08 Cascading Failures",),
    ),
    "delegation": Likeness(
        "a spreading to other agents",
        (
            _atlas("AML.T0103", "Deploy AI Agent"),
            _atlas("AML.T0108", "AI Agent"),
            _attack("T1071.001", "Application Layer Protocol: Web Protocols"),
        ),
        (
            "ASI07 Insecure Inter-Agent Communication",
            "ASI10 Rogue Agents",
            "NHI9 NHI Reuse",
        ),
    ),
}
"""By the kind of rehearsal (`baseline.rehearsal.KINDS`)."""
