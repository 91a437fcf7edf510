"""Add what micro-batches and codecs cost to a profile that was measured before, perhaps elsewhere.

``python -m adaptoff.testbed.extend_profile FILE --model vgg5``

Seconds are scaled by the profile's native ``device_s`` over what the native cut takes here. Nothing
else in the file changes, and neither do accuracy drops that it has.
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from adaptoff import profile
from adaptoff.errors import InputError
from adaptoff.profile import Profile
from adaptoff.testbed import measure, models, surcharges

Tree = dict[str, Any]


def extend(path: Path, model_name: str, repeats: int) -> None:
    """Measure on this machine and write the file; InputError if it is not of this network."""
    before = profile.load(path)
    model, batch = models.build(model_name, seed=0), measure.digits_batch(before.batch_size)
    if [cut.name for cut in before.cuts] != models.cut_names(model) or before.mode != "training":
        raise InputError(f"{path}: not a profile of {model_name} in training")
    native_s = measure.native_seconds(model, batch, repeats)
    found = surcharges.added(before, model, batch, repeats)
    found = surcharges.with_accuracy_of(before, found)
    scale = before.column("device_s", before.batch_size)[-1] / native_s
    tree = _added(msgspec.json.decode(path.read_bytes()), found, scale)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=1) + b"\n")


def _added(tree: Tree, found: Profile, scale: float) -> Tree:
    cuts = [
        _insert(
            cut,
            device_call_s=_rounded(more.device_call_s * scale),
            server_call_s=_rounded(more.server_call_s * scale),
        )
        for cut, more in zip(tree["cuts"], found.cuts, strict=True)
    ]
    codecs = msgspec.to_builtins(found.codecs)
    for coded in (coded for costs in codecs.values() for coded in costs["cuts"]):
        coded |= {key: _rounded(coded[key] * scale) for key in coded if key.endswith("_s")}
    return _insert(tree | {"cuts": cuts}, codecs=codecs)


def _insert(tree: Tree, **added: object) -> Tree:
    """In front of the last entry: no line of the file changes."""
    *most, last = ((key, value) for key, value in tree.items() if key not in added)
    return dict([*most, *added.items(), last])


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.4g}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Add micro-batches and codecs to a profile.")
    parser.add_argument("file", type=Path, help="the profile, which is written")
    parser.add_argument("--model", required=True, choices=models.MODELS)
    parser.add_argument("--repeats", type=int, default=20)
    given = parser.parse_args()
    try:
        extend(given.file, given.model, given.repeats)
    except (InputError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
