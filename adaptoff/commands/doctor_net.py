"""What ``adaptoff doctor`` says of emulated networks: tried in namespaces that are thrown away."""

from dataclasses import dataclass

from adaptoff.commands import wires
from adaptoff.testbed.probe import Abilities, Ability, probe

WORKS = "works"
PACED = "links are paced in user space"


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    found: str
    used: str


def examine() -> list[Finding]:
    """One line for each part, and what comes of them all."""
    able = probe()
    return [
        _namespaces(able),
        Finding("tbf", _said(able.tbf), "rates of --net netns" if able.tbf else PACED),
        Finding("htb", _said(able.htb), "nothing: tbf shapes"),
        _netem(able),
        _relay(able),
        Finding("nft", _said(able.nft), "nothing: not needed for loss"),
        _delay_and_loss(able),
        _links(),
    ]


def quota() -> Finding:
    """Of the CPU, by cgroup."""
    return Finding(
        "cpu quota", _said(probe().cpu_quota, "can be set"), "nothing: CPU time is paced"
    )


def _said(ability: Ability, yes: str = WORKS) -> str:
    return yes if ability else f"no: {ability.why_not}"


def _namespaces(able: Abilities) -> Finding:
    kinds = {"root": able.root_namespaces, "rootless": able.rootless_namespaces}
    found = [kind for kind, ability in kinds.items() if ability]
    if found:
        return Finding("namespaces", ", ".join(found), "one for each process of --net netns")
    return Finding("namespaces", f"no: {wires.missing(able)}", PACED)


def _netem(able: Abilities) -> Finding:
    if able.netem:
        return Finding("netem", WORKS, "delay, jitter and loss of --net netns")
    return Finding("netem", _said(able.netem), "the relay" if able.relay else "nothing")


def _relay(able: Abilities) -> Finding:
    used = "delay, jitter and loss of --net netns" if able.relay else "nothing"
    return Finding("relay", _said(able.relay), "nothing: netem works" if able.netem else used)


def _delay_and_loss(able: Abilities) -> Finding:
    if wires.missing(able, ["impaired links"]):
        return Finding("delay and loss", "no", "--net netns refuses them, auto leaves them out")
    return Finding("delay and loss", "netem" if able.netem else "relay", "in --net netns alone")


def _links() -> Finding:
    kind, why = wires.choose("auto")
    return Finding("links", f"--net auto takes {kind}", why)
