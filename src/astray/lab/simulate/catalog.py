"""What a made-up company's agents can do, and to what: pure data.

An action names the family its resources come from; a family says who shares its items and
what they are called. Nothing here is random.
"""

from enum import IntEnum
from typing import Final, NamedTuple


class Scope(IntEnum):
    """Who shares the items of a family, and how they come about."""

    NONE = 0  # the action has no resource
    AGENT = 1  # a small pool of each agent's own
    GROUP = 2  # a pool of the agents that share a task
    FLEET = 3  # a pool everybody uses
    SUBJECT = 4  # the customer or case at hand: now and then a returning one, mostly a new one
    FRESH = 5  # never seen before: dated parts, pods, log files
    CALLEE = 6  # another agent


class Family(NamedTuple):
    """Resources of one sort: who shares them, how many there are, what they are called.

    The template may use `{group}`, `{agent}`, `{folder}`, `{word}`, `{number}`, `{hex}`, `{date}`.
    """

    scope: Scope
    size: int
    template: str


class Action(NamedTuple):
    """A tool call: its family of resources and its usual size (0: it reports none)."""

    name: str
    family: str
    size_bytes: int = 0
    bundle: bool = False  # names several resources at once


FAMILIES: Final = {
    "none": Family(Scope.NONE, 1, ""),
    "callee": Family(Scope.CALLEE, 3, ""),
    "workdir": Family(Scope.AGENT, 40, "/home/{agent}/{folder}/{word}-{number}.csv"),
    "secret": Family(
        Scope.AGENT, 6, "arn:aws:secretsmanager:eu-central-1:441:secret:{group}/{word}"
    ),
    "queue": Family(Scope.AGENT, 8, "arn:aws:sqs:eu-central-1:441:{agent}-{word}"),
    "deployment": Family(Scope.AGENT, 14, "k8s://prod/{group}/deployments/{word}-{number}"),
    "memory": Family(Scope.AGENT, 60, "vector://{agent}/notes/{number}"),
    "account": Family(Scope.GROUP, 160, "ledger://{group}/accounts/{number}"),
    "payee": Family(Scope.GROUP, 90, "iban:DE89{number}00"),
    "table": Family(Scope.GROUP, 80, "warehouse.{group}.{word}_{number}"),
    "bucket": Family(Scope.GROUP, 140, "s3://acme-{group}/{folder}/{word}-{number}.json"),
    "repository": Family(Scope.GROUP, 40, "https://git.acme.example/{group}/{word}-{number}"),
    "channel": Family(Scope.GROUP, 12, "slack://{group}-{word}"),
    "role": Family(Scope.GROUP, 30, "arn:aws:iam::441:role/{group}-{word}-{number}"),
    "campaign": Family(Scope.GROUP, 60, "crm://campaigns/{number}"),
    "dashboard": Family(Scope.GROUP, 30, "https://bi.acme.example/{group}/{word}"),
    "document": Family(Scope.FLEET, 500, "drive://shared/{folder}/{word}-{number}.docx"),
    "endpoint": Family(Scope.FLEET, 70, "https://api.acme.example/v2/{word}/{hex}"),
    "website": Family(Scope.FLEET, 300, "https://www.{word}{number}.example/{word}"),
    "model": Family(Scope.FLEET, 5, "llm://{word}-large"),
    "server": Family(Scope.FLEET, 200, "arn:aws:ec2:eu-central-1:441:instance/i-{hex}"),
    "customer": Family(Scope.SUBJECT, 300, "crm://customers/C-{number}"),
    "invoice": Family(Scope.SUBJECT, 300, "invoice:INV-{number}"),
    "ticket": Family(Scope.SUBJECT, 200, "https://help.acme.example/tickets/{number}"),
    "employee": Family(Scope.SUBJECT, 400, "hris://employees/{number}"),
    "address": Family(Scope.SUBJECT, 300, "mailto:{word}.{number}@mail.example"),
    "alert": Family(Scope.SUBJECT, 60, "siem://alerts/{hex}"),
    "part": Family(Scope.FRESH, 1, "s3://lake/{group}/{folder}/{date}/part-{hex}.parquet"),
    "pod": Family(Scope.FRESH, 1, "k8s://prod/{group}/pods/{word}-{hex}"),
    "log": Family(Scope.FRESH, 1, "/var/log/{group}/{date}/{word}-{hex}.log"),
}

COMMON: Final = (
    Action("llm.complete", "model", 6_000),
    Action("slack.post_message", "channel", 400),
    Action("drive.read_file", "document", 60_000),
    Action("drive.search", "none", 3_000),
    Action("http.get", "endpoint", 8_000),
    Action("web.fetch", "website", 40_000),
    Action("memory.recall", "memory", 2_000),
    Action("fs.read_file", "workdir", 20_000),
    Action("fs.write_file", "workdir", 20_000),
    Action("calendar.list_events", "none"),
    Action("sts.AssumeRole", "role"),
    Action("agents.delegate", "callee", 1_500),
)

DOMAINS: Final = {
    "finance": (
        Action("ledger.read_entry", "account", 2_000),
        Action("ledger.post_entry", "account", 900),
        Action("ledger.list_entries", "account", 30_000),
        Action("payments.send", "payee", 700),
        Action("payments.get_status", "payee", 500),
        Action("invoices.fetch", "invoice", 90_000),
        Action("invoices.approve", "invoice", 300),
        Action("invoices.batch_get", "account", 50_000, bundle=True),
        Action("tax.lookup_rate", "none", 200),
        Action("bank.download_statement", "part", 200_000),
        Action("reports.render", "table", 150_000),
    ),
    "support": (
        Action("crm.read_contact", "customer", 1_500),
        Action("crm.update_contact", "customer", 600),
        Action("tickets.get", "ticket", 4_000),
        Action("tickets.reply", "ticket", 1_800),
        Action("tickets.search", "none", 9_000),
        Action("orders.lookup", "customer", 2_500),
        Action("orders.refund", "customer", 300),
        Action("kb.search", "document", 12_000),
        Action("email.send", "address", 3_000),
        Action("chat.transcript", "log", 15_000),
    ),
    "devops": (
        Action("k8s.get_pods", "pod", 20_000),
        Action("k8s.apply", "deployment", 5_000),
        Action("k8s.logs", "log", 90_000),
        Action("k8s.rollout_restart", "deployment", 300),
        Action("git.clone", "repository", 900_000),
        Action("git.open_pull_request", "repository", 4_000),
        Action("ec2:DescribeInstances", "server", 30_000, bundle=True),
        Action("ec2:RebootInstances", "server", 200),
        Action("secrets.read", "secret", 300),
        Action("ci.trigger_pipeline", "repository", 800),
        Action("sqs:ReceiveMessage", "queue", 2_000),
    ),
    "data": (
        Action("s3:GetObject", "part", 4_000_000),
        Action("s3:PutObject", "part", 4_000_000),
        Action("s3:ListBucket", "bucket", 15_000),
        Action("warehouse.query", "table", 250_000),
        Action("warehouse.join_tables", "table", 400_000, bundle=True),
        Action("warehouse.describe", "table", 3_000),
        Action("spark.submit_job", "queue", 2_000),
        Action("dashboards.refresh", "dashboard", 20_000),
        Action("features.read", "bucket", 120_000),
        Action("vector.upsert", "memory", 60_000),
    ),
    "sales": (
        Action("crm.read_account", "customer", 3_000),
        Action("crm.update_stage", "customer", 300),
        Action("crm.list_campaigns", "campaign", 9_000),
        Action("leads.enrich", "website", 25_000),
        Action("leads.import", "part", 80_000),
        Action("email.send", "address", 3_000),
        Action("quotes.create", "invoice", 30_000),
        Action("quotes.get", "invoice", 30_000),
        Action("dashboards.view", "dashboard", 60_000),
        Action("calendar.book", "none", 500),
    ),
    "hr": (
        Action("hris.read_employee", "employee", 3_000),
        Action("hris.update_employee", "employee", 500),
        Action("hris.list_team", "none", 15_000),
        Action("payroll.get_slip", "employee", 40_000),
        Action("payroll.run", "table", 3_000),
        Action("ats.read_candidate", "customer", 60_000),
        Action("ats.schedule_interview", "address", 900),
        Action("documents.sign", "document", 70_000),
        Action("users.create", "employee", 400),
        Action("users.disable", "employee", 200),
    ),
    "security": (
        Action("siem.query", "alert", 120_000),
        Action("siem.close_alert", "alert", 400),
        Action("iam.list_roles", "role", 25_000),
        Action("iam.attach_policy", "role", 500),
        Action("iam.get_policy", "role", 3_000),
        Action("scanner.scan_host", "server", 9_000),
        Action("scanner.get_report", "server", 300_000, bundle=True),
        Action("logs.fetch", "log", 700_000),
        Action("secrets.rotate", "secret", 300),
        Action("users.reset_mfa", "employee", 200),
        Action("threat.lookup_ip", "endpoint", 2_000),
    ),
    "marketing": (
        Action("cms.publish", "website", 30_000),
        Action("cms.read_page", "website", 40_000),
        Action("ads.get_report", "campaign", 50_000),
        Action("ads.set_budget", "campaign", 300),
        Action("images.generate", "bucket", 900_000),
        Action("images.fetch", "bucket", 700_000, bundle=True),
        Action("social.post", "channel", 1_200),
        Action("newsletter.send", "campaign", 80_000),
        Action("analytics.export", "part", 900_000),
        Action("segments.read", "table", 60_000),
    ),
}

# A tool that a whole group receives on one day; nobody has it before.
ROLL_OUTS: Final = {
    "finance": Action("ledger.v3.read_entry", "account", 2_500),
    "support": Action("copilot.draft_reply", "ticket", 2_500),
    "devops": Action("argo.sync", "deployment", 6_000),
    "data": Action("iceberg.scan", "table", 300_000),
    "sales": Action("mcp.crm.search", "customer", 5_000),
    "hr": Action("hris.v2.get_profile", "employee", 3_500),
    "security": Action("xdr.hunt", "alert", 150_000),
    "marketing": Action("cms.v2.publish", "website", 35_000),
}

# What an intruder reaches for. Some teams use some of these for a living.
PRIVILEGED: Final = {
    "iam.attach_policy": "arn:aws:iam::aws:policy/AdministratorAccess",
    "iam.create_access_key": "arn:aws:iam::441:user/backup-admin",
    "secrets.read": "arn:aws:secretsmanager:eu-central-1:441:secret:root/master",
    "secrets.list": "arn:aws:secretsmanager:eu-central-1:441:secret:*",
    "kms.disable_key": "arn:aws:kms:eu-central-1:441:key/primary",
    "cloudtrail.stop_logging": "arn:aws:cloudtrail:eu-central-1:441:trail/main",
    "users.grant_admin": "hris://employees/admin",
    "users.reset_mfa": "hris://employees/ceo",
    "payments.change_payee": "iban:DE89000000",
    "db.dump": "warehouse.public.customers",
    "k8s.exec": "k8s://prod/kube-system/pods/etcd",
}

TEAMS: Final = ("core", "emea", "apac", "amer", "platform", "growth", "partners", "labs")
JOBS: Final = ("triage", "sync", "report", "assist", "audit", "intake", "watch", "router")
WORDS: Final = (
    *("orders", "billing", "intake", "daily", "archive", "inbox", "metrics", "catalog"),
    *("returns", "vendors", "forecast", "summary", "review", "pricing", "renewals", "exports"),
    *("staging", "backlog", "profiles", "events", "shipping", "accounts", "drafts", "quality"),
    *("north", "south", "atlas", "delta", "harbor", "maple", "orbit", "quartz"),
)
FIRST_NAMES: Final = ("emma", "liam", "anya", "noah", "sofia", "omar", "mei", "lena", "ivan", "ada")
LAST_NAMES: Final = ("garcia", "khan", "meyer", "rossi", "tanaka", "silva", "novak", "brown")
