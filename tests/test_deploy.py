"""What is shipped can be run: commands, configurations, ports, paths and versions agree.

No container is started here; programs that check a file as a whole are asked where there are
any.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import typer
import yaml

from astray.cli.common import REFUSED
from astray.cli.main import app
from astray.config import load_config
from astray.flow.kafka.address import Address, parse
from astray.flow.live import Live
from astray.flow.serving import Page, PageServer

_ROOT = Path(__file__).parent.parent
_DEPLOY = _ROOT / "deploy"
_KUBERNETES = _DEPLOY / "kubernetes"
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_EXAMPLE = "secret.example.yaml"
_USER = 10001
_PORT = 9464
_STOP_S = 30
_FLUSH_S = load_config().delivery.flush_s
_YAML = sorted(_DEPLOY.rglob("*.y*ml"))


def _text(*parts):
    return _DEPLOY.joinpath(*parts).read_text(encoding="utf-8")


def _kubernetes(name):
    return yaml.safe_load(_text("kubernetes", name))


def _unit():
    """Return the settings of the systemd unit; one may be there several times."""
    found = {}
    for line in _text("systemd", "astray.service").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _instructions():
    """Return the Dockerfile's stages, each a list of instructions and what they say."""
    lines = (_ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    whole = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", " ")
    said = [line.split(" ", 1) for line in whole.splitlines() if line]
    starts = [place for place, (word, _) in enumerate(said) if word == "FROM"]
    return [said[a:b] for a, b in zip(starts, [*starts[1:], len(said)], strict=True)]


def _said(stage, word):
    return [rest for instruction, rest in stage if instruction == word]


def _example_environment():
    lines = _text("compose.env.example").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _interpolated(text):
    """Return a text of compose.yaml with the example's values, or what stands for none."""
    values = _example_environment()
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda m: values.get(m[1]) or m[2] or "", text)


_COMPOSE = yaml.safe_load(_text("compose.yaml"))
_SERVICES = _COMPOSE["services"]
_OURS = {name: each for name, each in _SERVICES.items() if each["image"].startswith("astray:")}
_POD = _kubernetes("statefulset.yaml")["spec"]["template"]["spec"]
(_CONTAINER,) = _POD["containers"]
_COMMANDS = {
    **{f"compose {name}": each["command"] for name, each in _OURS.items()},
    "kubernetes": _CONTAINER["args"],
    "systemd": shlex.split(_unit()["ExecStart"][0])[1:],
}
_RUNS = [name for name, words in _COMMANDS.items() if words[0] == "run"]
_CONFIGS = {
    "kubernetes": _KUBERNETES / "astray.toml",
    "systemd": _DEPLOY / "systemd" / "astray.toml",
}


def _options(words):
    """Return the values of a command's options; refuses what the command would refuse."""
    command, words = typer.main.get_command(app), [_interpolated(word) for word in words]
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    return command.make_context(name, words).params


def _config(name):
    """Return the configuration that a command runs with."""
    options = _options(_COMMANDS[name])
    overrides = {"health": {"listen": options["health"]}} if options["health"] else {}
    if options["store"]:
        overrides["store"] = {"url": options["store"]}
    return load_config(_CONFIGS.get(name), overrides)


def _kept(name):
    """Return the files that a configuration says its secrets are in."""
    lines = _text(name, "astray.toml").splitlines()
    return {
        Path(place)
        for line in lines
        if not line.startswith("#")
        for place in re.findall('"file:([^"]+)"', line)
    }


@pytest.mark.parametrize("path", _YAML, ids=[str(path.relative_to(_DEPLOY)) for path in _YAML])
def test_every_yaml_is_one_document(path):
    """It can be read, has no key twice, and is a table."""

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):  # noqa: FBT002 - the loader's own signature
            keys = [key.value for key, _ in node.value]
            assert len(set(keys)) == len(keys), f"{path}: a key is there twice in {keys}"
            return super().construct_mapping(node, deep)

    assert isinstance(yaml.load(path.read_text(encoding="utf-8"), Strict), dict)  # noqa: S506 - it is a safe one


@pytest.mark.parametrize("name", _COMMANDS)
def test_commands_are_understood(name):
    """A command line is one of astray's: its options exist, and their values are of their kind."""
    assert _options(_COMMANDS[name])


@pytest.mark.parametrize("name", _RUNS)
def test_runs_are_configured(name):
    """A run has its configuration, a source that is Kafka's, and a state that lasts."""
    options, config = _options(_COMMANDS[name]), _config(name)

    (source,) = options["source"]
    assert isinstance(parse(source, config.source.kafka), Address)
    assert options["recovery"] is not None
    assert config.webhook or options["webhook"]
    assert config.store.url.startswith(("env:", "file:"))
    assert config.health.address[1] == _PORT


@pytest.mark.parametrize("name", _CONFIGS)
def test_a_configuration_that_is_shipped_suspends_nobody_yet(name):
    """It is to be edited before it acts: until then it alerts."""
    assert [policy.mode for policy in load_config(_CONFIGS[name]).policies] == ["observe"]


def test_one_port_for_health():
    """Whoever asks for health or numbers asks where astray tells."""
    (monitor,) = _kubernetes("monitoring/servicemonitor.yaml")["spec"]["endpoints"]
    (port,) = _CONTAINER["ports"]
    (service,) = _kubernetes("service.yaml")["spec"]["ports"]
    (scraped,) = yaml.safe_load(_text("prometheus", "prometheus.yaml"))["scrape_configs"]
    (policy, *_) = _kubernetes("networkpolicy.yaml")["spec"]["ingress"]
    probes = [_CONTAINER[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")]

    assert _SERVICES["astray"]["expose"] == [str(_PORT)]
    assert port == {"name": "health", "containerPort": _PORT}
    assert (service["name"], service["port"], service["targetPort"]) == ("health", _PORT, "health")
    assert monitor["port"] == "health"
    assert [each["port"] for each in policy["ports"]] == ["health"]
    assert scraped["static_configs"] == [{"targets": [f"astray:{_PORT}"]}]
    assert {probe["httpGet"]["port"] for probe in probes} == {"health"}


def test_the_paths_that_are_asked_for_are_answered():
    """Probes, health checks and scrapers name pages that a run has."""
    paths = {
        "/livez": [_CONTAINER["startupProbe"], _CONTAINER["livenessProbe"]],
        "/readyz": [_CONTAINER["readinessProbe"]],
    }
    (monitor,) = _kubernetes("monitoring/servicemonitor.yaml")["spec"]["endpoints"]
    with Live(load_config(None, {"health": {"listen": "127.0.0.1:0"}}), []).serving() as url:
        told = {
            path: httpx.get(f"{url}{path[1:]}").status_code for path in (*paths, monitor["path"])
        }

    assert told == {"/livez": 200, "/readyz": 503, "/metrics": 200}
    for path, probes in paths.items():
        assert {probe["httpGet"]["path"] for probe in probes} == {path}


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_of_compose_tells_ready_from_not(status, healthy):
    """Its program succeeds where /readyz does, and only there."""
    kind, _, option, program = _SERVICES["astray"]["healthcheck"]["test"]
    pages = {"/readyz": lambda _: Page(status, "text/plain", b"")}
    with PageServer(("127.0.0.1", 0), pages) as server:
        there = program.replace(f"127.0.0.1:{_PORT}", f"127.0.0.1:{server.port}")
        done = subprocess.run([sys.executable, option, there], capture_output=True, check=False)

    assert (kind, there != program) == ("CMD", True)
    assert (done.returncode == 0) is healthy


def test_images_are_pinned():
    """Each is a version, ours the project's, and Kafka's the one that tests run."""
    broker = (_ROOT / "tests" / "kafka" / "kafka_broker.py").read_text(encoding="utf-8")
    images = [each["image"] for each in _SERVICES.values()] + [_CONTAINER["image"]]
    images += [said.split(" ")[0] for stage in _instructions() for said in _said(stage, "FROM")]
    ours = {image.rpartition(":")[2] for image in images if "astray:" in image}

    assert [
        image for image in images if not re.search(r":v?\d+\.\d+(\.\d+)?(-[\w.-]+)?$", image)
    ] == []
    assert ours == {_PROJECT["version"]}
    assert _SERVICES["kafka"]["image"] == "apache/kafka:" + re.search('VERSION = "(.+)"', broker)[1]
    assert _SERVICES["postgres"]["image"].startswith("postgres:16.")


@pytest.mark.parametrize("name", _SERVICES)
def test_services_of_compose_are_contained(name):
    """Nobody is root, has capabilities, can gain any, or publishes a port beyond this machine."""
    service = _SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service.get("read_only") is True or name == "kafka"  # which writes beside itself
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert name in ("grafana", "astray") or "ports" not in service


@pytest.mark.parametrize("name", _OURS)
def test_our_containers_have_a_place_to_write(name):
    """With a read-only root, kernels are found by way of /tmp, and files go to a volume."""
    service = _OURS[name]
    written = re.findall(r"--(?:out|recovery)=(\S+)", " ".join(service["command"]))
    mounted = [volume.split(":")[1] for volume in service.get("volumes", [])]

    assert service["user"] == f"{_USER}:{_USER}"
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's own
    assert all(any(path.startswith(f"{each}/") for each in mounted) for path in written)


def test_the_demo_of_compose_hangs_together():
    """Hosts, topics and volumes that services name are there, and one waits for the other."""
    options = _options(_COMMANDS["compose astray"])
    (address,) = [parse(source, load_config().source.kafka) for source in options["source"]]
    receiver = _options(_COMMANDS["compose receiver"])
    producer = " ".join(_SERVICES["producer"]["command"])
    used = {v.split(":")[0] for s in _SERVICES.values() for v in s.get("volumes", [])}

    assert {broker.split(":")[0] for broker in address.brokers} <= set(_SERVICES)
    assert [f"--topic={topic}" for topic in address.topics] == _SERVICES["topic"]["command"][4:5]
    assert f"--topic {address.topics[0]}" in producer
    assert (urlsplit(options["webhook"]).hostname, receiver["host"]) == ("receiver", "0.0.0.0")  # noqa: S104 - the containers' own network
    assert urlsplit(options["webhook"]).port == receiver["port"]
    assert {name for name in used if not name.startswith(".")} == set(_COMPOSE["volumes"])
    assert all((_DEPLOY / name).exists() for name in used if name.startswith("."))
    for service in _SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(_SERVICES)


def test_values_that_compose_needs_are_in_the_example():
    """Each variable is explained, none is in vain, and no secret has a value."""
    example = _example_environment()
    named = dict(re.findall(r"(?<!\$)\$\{(\w+)(:[-?])?", _text("compose.yaml")))

    assert set(named) == set(example)
    assert [name for name in example if re.search("SECRET|PASSWORD", name) and example[name]] == []
    assert [name for name, value in example.items() if not value and named[name] != ":?"] == []
    assert "deploy/compose.env" in (_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("folder", ["", "monitoring"])
def test_the_kustomization_lists_what_there_is(folder):
    """Every manifest is a resource but the secret's example, and every file that is named exists."""
    listed = _kubernetes(f"{folder}/kustomization.yaml".lstrip("/"))
    there = {path.name for path in (_KUBERNETES / folder).glob("*.yaml")}
    generated = [file for each in listed.get("configMapGenerator", []) for file in each["files"]]

    assert sorted(there - {"kustomization.yaml", _EXAMPLE}) == listed["resources"]
    assert all((_KUBERNETES / folder / file).is_file() for file in generated)


def test_manifests_are_of_no_namespace_and_select_each_other():
    """They go wherever they are applied, and each finds the pod by its labels."""
    manifests = [yaml.safe_load(p.read_text(encoding="utf-8")) for p in _KUBERNETES.rglob("*.yaml")]
    labels = _kubernetes("statefulset.yaml")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        _kubernetes("statefulset.yaml")["spec"]["selector"]["matchLabels"],
        _kubernetes("service.yaml")["spec"]["selector"],
        _kubernetes("networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
        _kubernetes("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"],
        _kubernetes("monitoring/servicemonitor.yaml")["spec"]["selector"]["matchLabels"],
    ]

    assert [each for each in manifests if "namespace" in each.get("metadata", {})] == []
    assert selectors == [labels] * len(selectors)
    assert _kubernetes("service.yaml")["metadata"]["labels"] == labels
    assert (
        _kubernetes("service.yaml")["metadata"]["name"]
        == _kubernetes("statefulset.yaml")["spec"]["serviceName"]
    )


def test_the_pod_is_contained():
    """It passes the restricted Pod Security Standard, and its root is read-only."""
    assert _POD["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert _CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert _POD["automountServiceAccountToken"] is False
    assert _CONTAINER["resources"]["limits"].keys() == {"memory"}


def test_the_pod_finds_its_files():
    """Configuration, secrets and state lie where volumes are mounted."""
    mounts = {each["name"]: Path(each["mountPath"]) for each in _CONTAINER["volumeMounts"]}
    claimed = _kubernetes("statefulset.yaml")["spec"]["volumeClaimTemplates"]
    volumes = [each["name"] for each in [*_POD["volumes"], *(c["metadata"] for c in claimed)]]
    options = _options(_COMMANDS["kubernetes"])
    kept = _kept("kubernetes")
    (generated,) = _kubernetes("kustomization.yaml")["configMapGenerator"]

    assert sorted(mounts) == sorted(volumes)
    assert options["config"].parent == mounts["config"]
    assert options["config"].name in generated["files"]
    assert mounts["data"] in options["recovery"].parents
    assert {place.parent for place in kept} == {mounts["secrets"]}
    assert {place.name for place in kept} == set(_kubernetes(_EXAMPLE)["stringData"])
    assert not any(_kubernetes(_EXAMPLE)["stringData"].values())


def test_those_who_stop_astray_wait_for_it():
    """Longer than it delivers what is due, with the signal that it heeds."""
    unit = _unit()

    assert _STOP_S > 2 * _FLUSH_S
    assert _SERVICES["astray"]["stop_grace_period"] == f"{_STOP_S}s"
    assert _POD["terminationGracePeriodSeconds"] == _STOP_S
    assert unit["TimeoutStopSec"] == [str(_STOP_S)]
    assert (unit["KillSignal"], unit["Restart"]) == (["SIGTERM"], ["on-failure"])


def test_what_another_start_does_not_mend_is_not_started_again():
    """The exit code that says so is the one that commands end with."""
    assert _unit()["RestartPreventExitStatus"] == [str(REFUSED)]


def test_the_unit_is_contained_and_finds_its_secrets():
    """Its user exists while it runs; secrets are credentials, at the places that are configured."""
    unit = _unit()
    kept = _kept("systemd")
    given = [credential.partition(":")[0] for credential in unit["LoadCredential"]]

    assert {str(place.parent) for place in kept} == {"/run/credentials/astray.service"}
    assert sorted(place.name for place in kept) == sorted(given)
    assert unit["StateDirectory"] == ["astray"]
    assert unit["WorkingDirectory"] == ["%S/astray"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == [""]
    for setting in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "ProtectHome"):
        assert unit[setting] == ["yes"], setting


def test_the_image_is_built_as_it_should_be():
    """Two stages of one base, everything pinned, nobody is root, signals arrive."""
    build, final = _instructions()
    bases = {said.split(" ")[0] for stage in (build, final) for said in _said(stage, "FROM")}
    python = re.search(r"python:(\d+\.\d+)\.", "".join(bases))[1]
    runs = " ".join(_said(build, "RUN"))
    copied = [name for said in _said(build, "COPY") for name in said.split()[:-1]]
    let_in = (_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    (entry,), (command,) = _said(final, "ENTRYPOINT"), _said(final, "CMD")

    assert len(bases) == 1
    assert f"Programming Language :: Python :: {python}" in _PROJECT["classifiers"]
    assert _said(build, "ADD") + _said(final, "ADD") == []
    assert re.findall(r"(?<!uv )pip install (?!uv==\d)\S+", runs) == []
    assert "'.[postgres]'" in runs
    assert _said(final, "USER") == [f"{_USER}:{_USER}"]
    assert _said(final, "STOPSIGNAL") == ["SIGTERM"]
    assert _said(final, "VOLUME") == _said(final, "WORKDIR") == ["/data"]
    assert json.loads(entry) == _unit()["ExecStart"][0].split()[:1]
    assert json.loads(command) == ["--help"]
    assert [name for name in copied if f"!{name}" not in let_in] == []
    assert let_in[0] == "*"


def test_kernels_of_the_image_are_found_when_it_runs():
    """They are compiled for any CPU, under the settings of the run."""
    settings = [
        sorted(re.findall(r"NUMBA_\w+=\S*", said))
        for stage in _instructions()
        for said in _said(stage, "ENV")
    ]
    install, compiling = _said(_instructions()[0], "RUN")[-2:]

    assert settings == [["NUMBA_CPU_FEATURES=", "NUMBA_CPU_NAME=generic"]] * 2
    assert "--compile-bytecode" in install
    assert "compile_kernels()" in compiling


def test_programs_that_know_the_whole_agree(tmp_path):
    """Those of Docker Compose, Kubernetes and systemd find nothing wrong, where they are."""
    env, unit = tmp_path / "compose.env", tmp_path / "astray.service"
    env.write_text(re.sub(r"=$", "=x", _text("compose.env.example"), flags=re.MULTILINE))
    unit.write_text(
        _text("systemd", "astray.service").replace("=/opt/astray/bin/astray", f"={sys.executable}")
    )
    rendered = tmp_path / "rendered.yaml"
    compose = ["docker", "compose", f"--env-file={env}", f"--file={_DEPLOY / 'compose.yaml'}"]
    checks = []
    if _runs("docker", "compose", "version"):
        checks.append([*compose, "--profile=demo", "--profile=metrics", "config", "--quiet"])
    if _runs("kubectl", "version", "--client"):
        checks.append(["kubectl", "kustomize", str(_KUBERNETES), f"--output={rendered}"])
        if _runs("kubeconform", "-v"):
            checks.append(["kubeconform", "-strict", str(rendered)])
    if _runs("systemd-analyze", "--version"):
        checks.append(["systemd-analyze", "verify", "--man=no", str(unit)])
    done = [subprocess.run(check, capture_output=True, text=True, check=False) for check in checks]

    # systemd only warns of a value that it ignores.
    wrong = [each for each in done if each.returncode or unit.name in each.stderr]

    assert [each.stdout + each.stderr for each in wrong] == []
    if rendered.exists():
        kinds = [each["kind"] for each in yaml.safe_load_all(rendered.read_text())]
        assert sorted(kinds)[:3] == ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget"]


def _runs(*command):
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True, check=False).returncode  # fmt: skip
