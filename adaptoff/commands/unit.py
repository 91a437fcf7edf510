"""The files that make adaptoff a service of systemd on a board.

As a system service it runs as the user ``adaptoff``, who owns nothing but its keys and its state,
and may write the clocks through its group. That group may ask it, too: the socket of ``adaptoff
control`` is in /run/adaptoff. As a user's service it is that user's, with fewer walls: a user's
systemd cannot put up those that need mounts.
"""

from dataclasses import dataclass
from typing import Literal

NAME = "adaptoff-device"
ACCOUNT = "adaptoff"
Run = Literal["control", "device"]
DEFAULT_PREFIX = {False: "/opt/adaptoff", True: "adaptoff"}
"""by whether it is a user's service"""
WATCHDOG_S = 60
"""how long a loop may be silent"""
MOST_MEMORY = {"control": "512M", "device": "infinity"}
CLOCK_FILES = ("scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq")
CPUFREQ = "/sys/devices/system/cpu/cpufreq"


@dataclass(frozen=True)
class Layout:
    """Where things are on a board; what does not begin with a slash is in the user's home."""

    user: bool
    prefix: str
    """the venv"""

    @property
    def config(self) -> str:
        """Keys and settings."""
        return ".config/adaptoff-device" if self.user else "/etc/adaptoff"

    @property
    def policies(self) -> str:
        """The directory of ``adaptoff policy``."""
        return f"{self.config}/policies" if self.user else f"{self.state}/policies"

    @property
    def state(self) -> str:
        """From where clocks are put back."""
        return ".local/state/adaptoff" if self.user else "/var/lib/adaptoff"

    @property
    def unit(self) -> str:
        """The service's file."""
        folder = ".config/systemd/user" if self.user else "/etc/systemd/system"
        return f"{folder}/{NAME}.service"

    @property
    def tmpfiles(self) -> str:
        """Who may write the clocks; of the system alone."""
        return "/etc/tmpfiles.d/adaptoff.conf"

    @property
    def program(self) -> str:
        """``adaptoff`` in the venv."""
        return f"{self.prefix}/bin/adaptoff"


@dataclass(frozen=True)
class Service:
    """What the service runs, the same on every board."""

    layout: Layout
    run: Run = "control"
    clocks: bool = True
    keys: bool = True
    insecure: bool = False
    metrics: str | None = None
    """[HOST:]PORT"""

    def unit(self) -> str:
        """The service's file."""
        return (_USER if self.layout.user else _SYSTEM).format(
            about="adaptoff: where this device cuts its network, and how fast it is clocked",
            start=self._start(),
            restore=f"{_in_unit(self.layout.program)} restore",
            settings=_in_unit(f"{self.layout.config}/device.env"),
            tmpfiles=self.layout.tmpfiles,
            account=ACCOUNT,
            watchdog=WATCHDOG_S,
            memory=MOST_MEMORY[self.run],
            cpufreq=CPUFREQ,
            executable="" if self.run == "device" else "MemoryDenyWriteExecute=yes\n",
            common=_COMMON,
        )

    def _start(self) -> str:
        words = [_in_unit(self.layout.program), self.run]
        words += ["${ADAPTOFF_ENDPOINT}", "${ADAPTOFF_DEVICE}"]
        words += ["--policies", _in_unit(self.layout.policies)]
        words += ["--keys", _in_unit(f"{self.layout.config}/keys")] if self.keys else []
        words += ["--insecure"] if self.insecure else []
        words += ["--clocks"] if self.clocks else []
        words += ["--metrics", self.metrics] if self.metrics else []
        return " ".join(words)


def settings(endpoint: str, device: int) -> str:
    """What is another on each board."""
    return f"ADAPTOFF_ENDPOINT={endpoint}\nADAPTOFF_DEVICE={device}\n"


def tmpfiles() -> str:
    """The group may set the clocks of CPUs, and nothing else in sysfs."""
    lines = [f"z {CPUFREQ}/policy*/{name} 0664 root {ACCOUNT}\n" for name in CLOCK_FILES]
    return f"# the group {ACCOUNT} may set clocks\n" + "".join(lines)


def _in_unit(path: str) -> str:
    return path if path.startswith("/") else f"%h/{path}"


_COMMON = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# libzmq ends the process if it may not say how its threads are scheduled; boards pin theirs
SystemCallFilter=sched_setscheduler sched_setaffinity
SystemCallErrorNumber=EPERM
TasksMax=64
"""

_RUNS = """\
ExecStart={start}
ExecStopPost={restore}
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=2
SuccessExitStatus=130
TimeoutStartSec=120
WatchdogSec={watchdog}
MemoryMax={memory}
"""

_USER = (
    """\
[Unit]
Description={about}
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile={settings}
"""
    + _RUNS
    + """\
{executable}{common}
[Install]
WantedBy=default.target
"""
)

_SYSTEM = (
    """\
[Unit]
Description={about}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
EnvironmentFile={settings}
ExecStartPre=+systemd-tmpfiles --create {tmpfiles}
"""
    + _RUNS
    + """\

User={account}
Group={account}
StateDirectory=adaptoff
StateDirectoryMode=0700
RuntimeDirectory=adaptoff
RuntimeDirectoryMode=0750
Environment=XDG_RUNTIME_DIR=/run
UMask=0007
ReadWritePaths=-{cpufreq}
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RemoveIPC=yes
KeyringMode=private
CapabilityBoundingSet=
AmbientCapabilities=
{executable}{common}
[Install]
WantedBy=multi-user.target
"""
)
