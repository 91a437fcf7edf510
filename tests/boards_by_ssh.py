"""Boards for ``adaptoff deploy``: ``ssh`` and ``rsync`` that do what they are asked right here.

Each host has a directory that is its home and its root: /opt, /etc and /var/lib are below it. There
``python3 -m venv`` makes a stand-in whose ``adaptoff`` is this one; sudo, pip and systemd only
write down what they were asked.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

SSH = """#!{python}
import json, os, re, subprocess, sys
boards = {boards!r}
words = sys.argv[1:]
host, command = words[words.index("--") + 1:]
with open(boards + "/log", "a") as log:
    print(json.dumps({{"program": "ssh", "words": words}}), file=log)
home = os.path.join(boards, host.rpartition("@")[2])
if not os.path.isdir(home):
    sys.exit("ssh: connect to host " + host + " port 22: No route to host")
command = re.sub(r"(?<![\\w/.:])/(opt|etc|var/lib)/", lambda m: home + m.group(), command)
path = home + "/bin:" + os.environ["PATH"]
env = {{"HOME": home, "PATH": path, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}}
stdin = subprocess.DEVNULL if "-n" in words else None
sys.exit(subprocess.run(["sh", "-c", command], env=env, cwd=home, stdin=stdin).returncode)
"""
RSYNC = """#!{python}
import json, os, shutil, sys
boards = {boards!r}
words = sys.argv[1:]
with open(boards + "/log", "a") as log:
    print(json.dumps({{"program": "rsync", "words": words}}), file=log)
files, to = words[words.index("--") + 1:-1], words[-1]
host, _, path = to.partition(":")
home = os.path.join(boards, host.rpartition("@")[2])
path = os.path.join(home, path.lstrip("/"))
mode = next(word for word in words if word.startswith("--chmod=F"))[9:]
for file in files:
    goal = path + os.path.basename(file) if path.endswith("/") else path
    os.path.exists(goal) and os.unlink(goal)
    shutil.copyfile(file, goal)
    os.chmod(goal, int(mode, 8))
"""
INSTALL = """#!{python}
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("-m", type=lambda word: int(word, 8), default=0o755)
for ignored in "og":
    parser.add_argument("-" + ignored)
parser.add_argument("-d", action="store_true", required=True)
parser.add_argument("paths", nargs="+")
given = parser.parse_intermixed_args()
for path in given.paths:
    os.makedirs(path, exist_ok=True)
    os.chmod(path, given.m)
"""
ON_BOARD = {
    "sudo": '#!/bin/sh\necho "sudo $*" >> "$HOME/asked"\nwhile :; do case "$1" in\n-n) shift;;\n'
    '-u) shift 2;;\n*) break;;\nesac; done\nexec "$@"\n',
    "systemctl": '#!/bin/sh\necho "systemctl $*" >> "$HOME/asked"\ncase " $* " in\n'
    '*" show "*) test ! -e "$HOME/nobus" && printf "ActiveState=%s\\nStatusText=round 3\\n" '
    '"$(cat "$HOME/state" 2>/dev/null)";;\n'
    '*" restart "*) test ! -e "$HOME/broken" && echo active > "$HOME/state" || '
    '{ echo failed > "$HOME/state"; printf "x\\nJob \\033[31mfailed\\n" >&2; exit 1; };;\n'
    '*" disable "*) rm -f "$HOME/state";;\n'
    '*" is-active "*) grep -q active "$HOME/state";;\nesac\n',
    "systemd-sysusers": '#!/bin/sh\ncat >> "$HOME/accounts"\n',
    "loginctl": '#!/bin/sh\necho "loginctl $*" >> "$HOME/asked"\n',
    "chown": '#!/bin/sh\necho "chown $*" >> "$HOME/asked"\n',
    "install": INSTALL,
    "python3": '#!/bin/sh\nif [ "$2" != venv ]; then exec {python} "$@"; fi\nmkdir -p "$3/bin"\n'
    'cp "$HOME/bin/venv-python" "$3/bin/python"\ncp "$HOME/bin/venv-adaptoff" "$3/bin/adaptoff"\n'
    'touch "$3/bin/pip"; chmod +x "$3/bin/pip"\n',
    "venv-python": '#!/bin/sh\necho "python $*" >> "$HOME/asked"\n',
    "venv-adaptoff": '#!/bin/sh\nexec {python} -P -m adaptoff "$@"\n',
    "rsync": "#!/bin/sh\n",
}


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Boards:
    """All hosts; ``bin`` goes to the front of PATH."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.bin = where / "bin"
        self.bin.mkdir(parents=True)
        for name, text in (("ssh", SSH), ("rsync", RSYNC)):
            program(self.bin / name, text.format(python=sys.executable, boards=str(where)))

    def add(self, host: str) -> Path:
        """A board that answers; returns its home, which is its root as well."""
        home = self.where / host
        (home / "bin").mkdir(parents=True)
        for folder in ("opt", "etc/systemd/system", "etc/tmpfiles.d", "var/lib"):
            (home / folder).mkdir(parents=True)
        for name, text in ON_BOARD.items():
            program(home / "bin" / name, text.replace("{python}", sys.executable))
        return home

    def asked(self) -> list[dict[str, Any]]:
        """Every call of ssh and rsync, in order."""
        log = self.where / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def environment(self) -> dict[str, str]:
        return os.environ | {"PATH": f"{self.bin}:{os.environ['PATH']}"}
