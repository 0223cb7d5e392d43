"""Running it for good: units, agent, container file, and a real daemon under a service manager."""

import json
import os
import plistlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import ROOT

from pipeline.cli.service_units import build_service_file, find_missing_folders
from pipeline.config.loading import load_config
from pipeline.errors import UsageError

pytestmark = pytest.mark.slow

CONFIG = 'styles: {mosaic: {image: "builtin:mosaic"}}\n'
ODD = 'my "photos" 100% $HOME \\ é'


def a_config(folder: Path, more: str = "") -> Path:
    for name in ("inbox", "outbox", ".state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(CONFIG + more)
    return path


def unit(path: Path, user: bool = False) -> str:
    return build_service_file(
        "systemd", load_config(path), path, user=user, account="" if user else "daemon"
    )


def keys(unit: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))


# --- systemd --------------------------------------------------------------------------------

analyze = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(not analyze, reason="no systemd-analyze on this machine")


def verified(folder: Path, unit: str, *flags: str) -> str:
    """What systemd-analyze has to say against a unit."""
    (folder / "runtime").mkdir(exist_ok=True)
    file = folder / "pipeline.service"
    file.write_text(unit)
    done = subprocess.run(
        [analyze, "verify", *flags, str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(folder / "runtime")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = [line for line in (done.stdout + done.stderr).splitlines() if "pipeline" in line]
    return "\n".join(said) if done.returncode == 0 else done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize(
    "more",
    [
        "",
        "device: cpu\n",
        'metrics: {listen: "127.0.0.1:9464", file: metrics/pipeline.prom}\n',
        "after: archive\nfailed: quarantine\n",
        'hooks: {on_batch: ["mail", "-s", "done", "me"]}\n',
    ],
)
@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("name", ["plain", ODD])
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path, more, user, name):
    """Whatever the folders are called and the config asks for."""
    path = a_config(tmp_path / name, more)
    assert verified(tmp_path, unit(path, user), *(["--user"] if user else [])) == ""


@needs_systemd
def test_systemd_would_find_something_wrong(tmp_path):
    """The check above can fail."""
    good = unit(a_config(tmp_path))
    assert "pipeline.service" in verified(tmp_path, good.replace("Type=notify", "Type=often"))


def test_the_service_is_started_again_whatever_it_ended_with(tmp_path):
    """A painting, a disk or a config that is put right needs no restart by hand."""
    said = keys(unit(a_config(tmp_path)))
    assert (said["Restart"], said["StartLimitIntervalSec"]) == ("always", "0")
    assert int(said["RestartSec"]) >= 10
    assert not [key for key in said if key.startswith("RestartPrevent")]


def systemd_version() -> int:
    if not analyze:
        return 0
    said = subprocess.run([analyze, "--version"], capture_output=True, text=True, timeout=60).stdout
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


@pytest.mark.skipif(systemd_version() < 250, reason="no systemd-analyze that measures files")
def test_the_unit_is_hardly_exposed(tmp_path):
    """By systemd's own measure, from 0 to 10: a config that needs no network is below 1.5."""
    folder = a_config(tmp_path, "device: cpu\n")
    (tmp_path / "pipeline.service").write_text(unit(folder))
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=15", "--no-pager",
         str(tmp_path / "pipeline.service")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_only_what_is_written_to_can_be_written_to(tmp_path):
    """Outbox and state; the inbox only where photos are moved out of it."""
    base = keys(unit(a_config(tmp_path / "a")))["ReadWritePaths"]
    assert base == f'"{tmp_path}/a/outbox" "{tmp_path}/a/.state"'
    moving = unit(a_config(tmp_path / "b", "after: archive\nmetrics: {file: prom/x.prom}\n"))
    for name in ("inbox", "archive", "prom"):
        assert f'"{tmp_path}/b/{name}"' in keys(moving)["ReadWritePaths"]


def test_the_network_is_shut_unless_something_needs_it(tmp_path):
    """Figures need this machine, a hook perhaps others, plain work nothing."""
    plain = keys(unit(a_config(tmp_path)))
    assert (plain["PrivateNetwork"], plain["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")
    asked = keys(unit(a_config(tmp_path, 'metrics: {listen: "127.0.0.1:9464"}\n')))
    assert "PrivateNetwork" not in asked
    assert (asked["IPAddressDeny"], asked["IPAddressAllow"]) == ("any", "localhost")
    hooked = keys(unit(a_config(tmp_path, "hooks: {on_done: [curl]}\n")))
    assert "IPAddressDeny" not in hooked
    assert "AF_INET" in hooked["RestrictAddressFamilies"]


def test_no_accelerator_no_device(tmp_path):
    """A CPU-only config sees no device at all; others the accelerators only."""
    assert keys(unit(a_config(tmp_path, "device: cpu\n")))["PrivateDevices"] == "yes"
    assert keys(unit(a_config(tmp_path)))["DevicePolicy"] == "closed"


def test_a_name_that_no_unit_can_hold_is_refused(tmp_path):
    """A line break in a path could write lines of its own into the unit."""
    path = a_config(tmp_path / "a\nExecStartPre=evil")
    with pytest.raises(UsageError, match="control characters"):
        unit(path)


def test_folders_that_are_not_there_yet_are_named(tmp_path):
    """systemd builds its walls around folders that exist."""
    path = a_config(tmp_path, "after: archive\n")
    assert find_missing_folders(load_config(path)) == [tmp_path / "archive"]


# --- launchd --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", ODD, "<&>"])
def test_the_agent_is_a_property_list_that_names_this_config(tmp_path, name):
    """Absolute paths, as they are: launchd puts nothing into them."""
    path = a_config(tmp_path / name)
    agent = plistlib.loads(build_service_file("launchd", load_config(path), path).encode())
    command = [sys.executable, "-P", "-m", "pipeline", "watch", "--config", str(path)]
    assert agent["ProgramArguments"] == command
    assert agent["WorkingDirectory"] == str(tmp_path / name)
    assert agent["RunAtLoad"] is True
    assert agent["KeepAlive"] is True
    assert agent["ThrottleInterval"] >= 10
    assert agent["SoftResourceLimits"]["NumberOfFiles"] > 256
    assert Path(agent["StandardErrorPath"]).parent.parent == tmp_path / name / ".state"


@pytest.mark.skipif(not shutil.which("plutil"), reason="plutil is macOS only")
def test_macos_itself_finds_nothing_wrong_with_the_agent(tmp_path):
    file = tmp_path / "agent.plist"
    path = a_config(tmp_path)
    file.write_text(build_service_file("launchd", load_config(path), path))
    subprocess.run(["plutil", "-lint", str(file)], check=True, timeout=60)


# --- container ------------------------------------------------------------------------------

CONTAINERFILE = ROOT / "deploy" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Every instruction with its words, continued lines joined."""
    joined = CONTAINERFILE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if not line.lstrip().startswith("#")]
    pairs = [line.partition(" ") for line in lines if line]
    return [(word, " ".join(rest.split())) for word, _, rest in pairs]


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="no hadolint for this machine"
)
def test_hadolint_finds_nothing_wrong_with_the_container_file():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "not installed: make setup"
    done = subprocess.run(
        [hadolint, str(CONTAINERFILE)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_the_container_has_a_cpu_and_a_cuda_variant():
    """Each stage stands before the one that is built on it."""
    stages: list[str] = []
    for word, rest in instructions():
        if word == "FROM":
            base = rest.split()[0]
            if "${VARIANT}" in base:
                assert {base.replace("${VARIANT}", name) for name in ("cpu", "cuda")} <= set(stages)
            else:
                assert base.startswith("python:") or base in stages
            stages.append(rest.split(" AS ")[1])
    assert stages[-1] == "final"


def test_the_container_runs_as_nobody_in_particular_and_says_how_it_is():
    """Not root; a health check that asks the running instance; stopped by the signal we know."""
    last = instructions()[[w for w, _ in instructions()].index("USER") :]
    assert dict(last)["USER"] == "10001:10001"
    assert dict(last)["STOPSIGNAL"] == "SIGTERM"
    words = json.loads(dict(last)["HEALTHCHECK"].partition("CMD ")[2])
    assert words[:3] == ["pipeline", "status", "--healthy"]
    entry = json.loads(dict(last)["ENTRYPOINT"]) + json.loads(dict(last)["CMD"])
    assert entry == ["pipeline", "watch", "--config", words[-1]]


def test_the_container_takes_the_versions_of_torch_that_we_ask_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    torches = [line for line in wanted if line.startswith("torch")]
    installs = [rest for word, rest in instructions() if word == "RUN" and "torch" in rest]
    assert len(installs) == 2
    for install in installs:
        assert all(f'"{torch}"' in install for torch in torches)


def test_the_builder_is_sent_what_it_copies_and_nothing_else():
    """Above all no photos, no state, no .git."""
    first, *others = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] not in ("", "#")
    ]
    assert first == "*"
    let_in = {line[1:] for line in others if line.startswith("!")}
    copied = {
        name
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_compose_file_shuts_what_is_not_needed():
    import yaml

    service = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["pipeline"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["network_mode"] == "none"


# --- the real daemon ------------------------------------------------------------------------


class Manager:
    """Stands for systemd: listens at NOTIFY_SOCKET, starts the daemon."""

    def __init__(self, folder: Path, more: str) -> None:
        self.folder = folder
        a_config(folder, f"watch: {{settle_seconds: 0, scan_seconds: 0.2}}\ndevice: cpu\n{more}")
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(folder / "notify"))
        self.ear.settimeout(60)
        self.daemon = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "watch"],
            cwd=folder,
            env={
                **os.environ,
                "NOTIFY_SOCKET": str(folder / "notify"),
                "WATCHDOG_USEC": "1500000",
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.DEVNULL,
        )

    def hear(self, start: str) -> str:
        """The next word that starts like this; fails after a minute without any word."""
        while True:
            word = self.ear.recv(4096).decode()
            if word.startswith(start):
                return word

    def healthy(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "status", "--healthy", *flags],
            cwd=self.folder, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def log(self) -> list[dict[str, object]]:
        written = (self.folder / ".state/logs/pipeline.jsonl").read_text()
        return [json.loads(line) for line in written.splitlines()]

    def close(self) -> None:
        if self.daemon.poll() is None:
            self.daemon.kill()
        self.daemon.wait()
        self.ear.close()


@pytest.fixture
def manager(tmp_path):
    made: list[Manager] = []

    def start(more: str = "") -> Manager:
        made.append(Manager(tmp_path, more))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets")
def test_a_real_daemon_tells_systemd_and_whoever_asks_how_it_is(manager):
    """Ready, alive, its status; a batch and its hook; a hang that shows; a clean stop.

    The photo is none, so that no engine is needed; all else is what a night's run does.
    """
    hook = json.dumps(
        [sys.executable, "-c", "import sys; open('told','w').write(sys.stdin.read())"]
    )
    systemd = manager(f"hooks: {{on_batch: {hook}, batch_seconds: 0}}\nmetrics: {{file: p.prom}}\n")
    systemd.hear("READY=1")
    systemd.hear("WATCHDOG=1")
    systemd.hear("WATCHDOG=1")
    (systemd.folder / "inbox" / "half.jpg").write_text("no picture")
    assert systemd.hear("STATUS=0 queued, 0 running, 0 done, 1 file not taken")
    assert systemd.healthy().returncode == 0

    report = json.loads(
        subprocess.run(
            [sys.executable, "-m", "pipeline", "status", "--json"],
            cwd=systemd.folder, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
    )  # fmt: skip
    assert report["health"] == "ok"
    assert report["queue"]["slots"] == 1
    assert report["instance"]["watching"]
    assert report["version"]

    systemd.daemon.send_signal(signal.SIGSTOP)  # hangs
    try:
        sick = systemd.healthy("--within", "1")
        while sick.returncode == 0:  # it ticked less than a second ago
            sick = systemd.healthy("--within", "1")
        assert "has not run for" in sick.stdout
        assert sick.returncode == 1
    finally:
        systemd.daemon.send_signal(signal.SIGCONT)
    systemd.hear("WATCHDOG=1")

    systemd.daemon.send_signal(signal.SIGTERM)
    systemd.hear("STOPPING=1")
    assert systemd.daemon.wait(60) == 1  # one file had failed
    assert systemd.healthy().stdout == "no `run` or `watch` is running\n"
    digest = json.loads((systemd.folder / "told").read_text())
    assert (digest["why"], digest["failed"], digest["not_taken"]) == ("drained", 0, 1)
    assert digest["failures"] == {"unsupported_format": 1}
    events = [line["event"] for line in systemd.log()]
    assert events[0] == "start"
    assert events[-2:] == ["stopping", "stop"]
    assert {"watching", "batch"} <= set(events)
    assert "observer_failed" not in events
    assert 'pipeline_failures_total{code="unsupported_format"} 1.0' in (
        (systemd.folder / "p.prom").read_text()
    )


def test_a_run_tells_its_batch_before_it_ends(tmp_path):
    """And waits for a hook that takes its time, but not for one that never ends."""
    told = "import sys, time; time.sleep(0.5); open('told', 'w').write(sys.stdin.read())"
    hook = json.dumps([sys.executable, "-c", told])
    path = a_config(tmp_path, f"hooks: {{on_batch: {hook}, batch_seconds: 3600}}\ndevice: cpu\n")
    (tmp_path / "inbox" / "half.jpg").write_text("no picture")
    command = [sys.executable, "-m", "pipeline", "run", "--config", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert json.loads((tmp_path / "told").read_text())["why"] == "run_ended"

    path.write_text(
        f"{CONFIG}device: cpu\nhooks: {{on_batch: [sleep, '1000'], timeout_seconds: 0.5}}\n"
    )
    (tmp_path / "inbox" / "other.jpg").write_text("no picture either")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1


def test_a_port_in_use_ends_the_start_with_one_line(tmp_path):
    """Exit code 2, the key, and the way out."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        a_config(tmp_path, f'metrics: {{listen: "127.0.0.1:{port}"}}\n')
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "watch"],
            cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"error: metrics.listen: 127.0.0.1:{port}: cannot listen on this address"
    )
    assert done.stderr.count("\n") == 1
