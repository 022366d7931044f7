"""The files in the repository's root that put the system into containers: confined, and true to the commands."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from garrison.cli.main import build_parser
from tests.tls.conftest import free_ports, running_nginx

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TASKS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGE = "garrison:local"
SEED_TASKS = {
    "run-oauth",
    "run-server",
    "run-openai-client",
    "run-anthropic-client",
    "run-langchain-client",
    "run-dspy-client",
    "run-litellm-client",
}
SEED_VARIABLES = {
    *("OAUTH_TOKEN_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_ISSUER_URL", "MCP_SERVER_URL"),
    *("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "ANTHROPIC_API_KEY", "ANTHROPIC_MODEL"),
    *("LLM_PROVIDER", "OLLAMA_BASE_URL", "OLLAMA_MODEL"),
    *("REDIS_URL", "RATE_LIMIT_REQUESTS_PER_MINUTE", "RATE_LIMIT_TOKENS_PER_HOUR"),
    *("TLS_CERT_PATH", "TLS_KEY_PATH", "TLS_CA_CERT_PATH", "SSL_CERT_FILE", "DEBUG_SSL", "LOG_LEVEL"),
}
each_service = pytest.mark.parametrize("name", SERVICES)


def script() -> str:
    [text] = SERVICES["init"]["command"]
    return str(text)


def task_commands(task: dict[str, Any]) -> list[str]:
    return task["cmds"] if "cmds" in task else [task["cmd"]]


def garrison_commands() -> dict[str, list[str]]:
    """Every `garrison …` of compose.yaml, Taskfile.yml and docs/tls.md, by its place; templates by their defaults."""
    found = {f"compose {name}": s["command"] for name, s in SERVICES.items() if s.get("image") == IMAGE}
    lines = [line for line in script().splitlines() if line.startswith("garrison ")]
    del found["compose init"]
    found |= {f"compose init {number}": shlex.split(line)[1:] for number, line in enumerate(lines)}
    for name, task in TASKS.items():
        for command in task_commands(task):
            plain = re.sub(r'\$\{\w+:-([^}]*)\}|\{\{\.CLI_ARGS \| default "([^"]*)"\}\}', r"\1\2", command)
            if plain.startswith("{{.GARRISON}} "):
                found[f"task {name}"] = shlex.split(plain)[1:]
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "docs" / "tls.md").read_text(), re.MULTILINE | re.DOTALL)
    documented = [line for line in "".join(blocks).splitlines() if line.startswith("garrison ")]
    return found | {f"docs {number}": shlex.split(line, comments=True)[1:] for number, line in enumerate(documented)}


@pytest.mark.parametrize("place", garrison_commands())
def test_every_garrison_command_is_one_that_garrison_takes(place: str) -> None:
    build_parser().parse_args(garrison_commands()[place])


# compose.yaml


@each_service
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 256
    uid, gid = map(int, service["user"].split(":"))
    assert uid > 0
    assert gid > 0
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "volumes_from", "env_file"} & service.keys()
    assert service.get("network_mode", "none") == "none"


@each_service
def test_only_named_volumes_are_mounted_and_temporary_files_can_not_be_run(name: str) -> None:
    service = SERVICES[name]
    for mount in service.get("volumes", []):
        assert mount.split(":")[0] in COMPOSE["volumes"], "no folder of the host"
    for mount in service.get("tmpfs", []):
        assert {"noexec", "nosuid", "nodev"} <= set(mount.split(":")[1].split(","))


def test_nginx_alone_is_published_and_on_loopback_unless_asked_otherwise() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}
    address = "${GARRISON_ADDRESS:-127.0.0.1}"
    assert SERVICES["nginx"]["ports"] == [f"{address}:8443:8443", f"{address}:8001:8001"]


def test_everything_but_nginx_is_on_networks_without_a_way_out() -> None:
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal") is True}
    for name, service in SERVICES.items():
        assert name == "nginx" or set(service.get("networks", [])) <= inside
        assert "networks" in service or service["network_mode"] == "none"


def test_the_mcp_server_reaches_the_issuer_through_nginx() -> None:
    """In its container localhost is the container itself."""
    command = SERVICES["mcp"]["command"]
    assert command[command.index("--issuer") + 1] == "https://localhost:8443"
    assert command[command.index("--connect-to") + 1] == "localhost:8443=nginx:8443"
    assert "mcp" in set(SERVICES["mcp"]["networks"]) & set(SERVICES["nginx"]["networks"])


def test_nobody_sees_redis_but_the_mcp_server() -> None:
    assert [name for name, service in SERVICES.items() if "limits" in service.get("networks", [])] == ["mcp", "redis"]


def test_the_signing_keys_and_the_cas_key_are_mounted_where_they_are_used_and_nowhere_else() -> None:
    mounts = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    assert [name for name, volumes in mounts.items() if "state:/state" in volumes] == ["init", "auth"]
    assert mounts["nginx"] == ["edge:/edge:ro"]
    assert mounts["mcp"] == ["mcp:/mcp"]
    assert mounts["redis"] == []


@each_service
def test_no_secret_is_in_the_environment(name: str) -> None:
    """A container's environment is readable by whoever may inspect it, and by every program in it."""
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert not re.search("SECRET|PASSWORD|TOKEN$|API_KEY", variable)
        assert "@" not in value


@each_service
def test_every_image_has_a_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image
    assert tag not in {"", "latest", "stable", "mainline"}


@each_service
def test_who_needs_another_service_waits_until_it_is_well(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        once = SERVICES[needed]["restart"] == "no"
        assert how["condition"] == ("service_completed_successfully" if once else "service_healthy")
        assert once or "test" in SERVICES[needed].get("healthcheck", {}) or SERVICES[needed]["image"] == IMAGE


# Dockerfile


def test_the_image_runs_as_nobody_in_particular() -> None:
    stages = DOCKERFILE.split("\nFROM ")
    assert re.search(r"^USER 10001:10001$", stages[-1], re.MULTILINE)
    assert stages[-1].index("USER ") < stages[-1].index("ENTRYPOINT ")


def test_the_image_holds_only_what_is_locked_and_hashed() -> None:
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert [("--require-hashes" in line, "--no-deps" in line) for line in installs] == [(True, False), (False, True)]
    assert "--no-build-isolation" in installs[1], "else pip fetches a build tool that nobody has locked"
    [locked] = re.findall(r"-r (\S+)", DOCKERFILE)
    assert "--hash=sha256:" in (ROOT / locked).read_text()
    assert not re.search(r"^ADD |curl|wget|https?://(?!127)", DOCKERFILE, re.MULTILINE)


def test_nothing_goes_into_the_image_that_is_not_named() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    copies = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert {source.split("/")[0] for copy in copies for source in copy.split()} == allowed


# Taskfile.yml and .env.example


def test_the_tasks_of_the_article_are_there() -> None:
    assert TASKS.keys() >= SEED_TASKS
    assert all(task["desc"] for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_short_calls_of_what_exists_without_it(name: str) -> None:
    for command in task_commands(TASKS[name]):
        assert re.match(r"make |\{\{\.GARRISON\}\} |docker compose |mkdir ", command)
        assert "\n" not in command


def test_make_has_the_tasks_that_are_handed_to_it() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for task in TASKS.values():
        for command in task_commands(task):
            if command.startswith("make "):
                assert re.search(rf"^{command.split()[1]}:", makefile, re.MULTILINE)


def test_the_example_environment_names_every_variable_explains_it_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    settings = {n: re.fullmatch(r"(# )?([A-Z_]+)=(\S*)", line) for n, line in enumerate(lines)}
    named = {match[2]: match[3] for match in settings.values() if match}
    assert named.keys() >= SEED_VARIABLES
    for name, value in named.items():
        assert not value or not re.search("SECRET|KEY|PASSWORD|CLIENT_ID", name)
    for number, match in settings.items():
        if match and match[1]:
            assert lines[number - 1].startswith("# ")


# All together, without Docker


class System:
    """What compose.yaml starts, as processes of this machine: its commands, with other folders, addresses and ports."""

    def __init__(self, folder: Path) -> None:
        self.auth, self.mcp, auth_inside, mcp_inside = free_ports(4)
        self.folders = {f"/{name}": folder / name for name in ("state", "mcp", "edge", "tmp")}
        for made in self.folders.values():
            made.mkdir()
        hosts = dict.fromkeys(("0.0.0.0", "auth", "mcp", "nginx"), "127.0.0.1")
        ports = {"8443": self.auth, "8001": self.mcp, "8080": auth_inside, "8000": mcp_inside}
        self._places = {**hosts, **self.folders, **ports}
        unset = {"SSL_CERT_FILE", "REDIS_URL"}
        self.environment = {name: value for name, value in os.environ.items() if name not in unset}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def here(self, text: str) -> str:
        folders, addresses = r"(?<![\w./])(/state|/mcp|/edge|/tmp)\b", r"\b0\.0\.0\.0\b(?!/)|\b(auth|mcp|nginx)(?=:8)"
        places = rf"{folders}|{addresses}|\b(8443|8001|8080|8000)\b"
        return re.sub(places, lambda match: str(self._places[match[0]]), text)

    def initialize(self) -> None:
        listen = f"garrison nginx --listen 127.0.0.1 --auth-port {self.auth} --mcp-port {self.mcp}"
        shell = ["/bin/sh", *SERVICES["init"]["entrypoint"][1:], self.here(script()).replace("garrison nginx", listen)]
        for _ in range(2):  # the second time as on the next start
            subprocess.run(shell, env=self.environment, capture_output=True, timeout=60, check=True)

    @contextlib.contextmanager
    def serving(self, name: str) -> Iterator[None]:
        command = ["garrison", *map(self.here, SERVICES[name]["command"])]
        with subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout
                assert process.stdout.readline().startswith("ready "), name
                yield
            finally:
                process.terminate()

    def healthy(self, name: str) -> bool:
        """What the Dockerfile's HEALTHCHECK says in the environment of that service."""
        [command] = re.findall(r"^HEALTHCHECK.*\\\n\s+CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
        [defaults] = re.findall(r"^ENV (HEALTH_.*)$", DOCKERFILE, re.MULTILINE)
        variables = dict(pair.split("=") for pair in defaults.split())
        variables |= {k: v for k, v in SERVICES[name].get("environment", {}).items() if k.startswith("HEALTH_")}
        environment = self.environment | {k: self.here(v) for k, v in variables.items()}
        return (
            subprocess.run(json.loads(command), env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0
        )

    def garrison(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["garrison", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs("nginx")
@pytest.mark.timeout(300)
def test_what_compose_starts_answers_a_client_over_tls(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.initialize()
    assert not system.healthy("auth")
    assert not system.healthy("mcp")
    with contextlib.ExitStack() as stack:
        stack.enter_context(system.serving("auth"))
        stack.enter_context(system.serving("mcp"))
        stack.enter_context(running_nginx(system.folders["/edge"] / "nginx.conf", system.auth))
        assert system.healthy("auth")
        assert system.healthy("mcp")
        url, home = f"https://localhost:{system.mcp}/mcp/", str(system.folders["/state"])
        called = system.garrison("call", url, "get_customer_info", "customer_id=ABC123", "--home", home, "--json")
        assert called.returncode == 0, called.stderr
        assert "Alder & Birch Supplies" in called.stdout
    assert {path.name for path in system.folders["/edge"].iterdir()} == {
        *("nginx.conf", "ca.pem", "server.pem", "server-key.pem")
    }
    assert not {"ca-key.pem", "auth.db", "client.json", "user.json"} & {
        path.name for path in system.folders["/mcp"].iterdir()
    }
    secrets = [(system.folders[name] / "secret.key").read_bytes() for name in ("/state", "/mcp")]
    assert secrets[0] != secrets[1]
