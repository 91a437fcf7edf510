"""One way to score 64 rows by an MLP of the policy's size, in a process of its own.

``python benchmarks/controller_peers.py numpy|torch|sb3|onnxruntime``: what ``controller.py``
compares with. After its first scores the process says how many MB it has in memory, then how many
its packages take on the disk; then, for each line that it reads, how many microseconds scores took.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROWS, SIZES = 64, (27, 64, 64, 1)
CALLS = 300
NEEDED = {
    "numpy": ["numpy"], "torch": ["torch"], "sb3": ["stable-baselines3"],
    "onnxruntime": ["onnxruntime"],
}  # fmt: skip

Array = npt.NDArray[np.float32]
Score = Callable[[], object]


def layers() -> list[tuple[Array, Array]]:
    """Weights (n_in, n_out) and biases (n_out,)."""
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal(shape, np.float32) / 8, rng.standard_normal(shape[1], np.float32))
        for shape in pairwise(SIZES)
    ]


def rows() -> Array:
    """Features (ROWS, n_in)."""
    return np.random.default_rng(1).standard_normal((ROWS, SIZES[0]), np.float32)


def with_numpy() -> Score:
    """As ``Policy.scores``: the floor of what a controller in NumPy can do."""
    (first, one), (second, two), (last, three) = layers()
    x = rows()
    return lambda: np.tanh(np.tanh(x @ first + one) @ second + two) @ last + three


def with_torch() -> Score:
    """``nn.Sequential`` without gradients."""
    import torch  # noqa: PLC0415  (each process imports what it measures)

    torch.set_num_threads(1)
    modules: list[torch.nn.Module] = []
    for size, to in pairwise(SIZES):
        modules += [torch.nn.Linear(size, to), torch.nn.Tanh()]
    net, x = torch.nn.Sequential(*modules[:-1]), torch.from_numpy(rows())

    def score() -> object:
        with torch.no_grad():
            return net(x)

    return score


def with_sb3() -> Score:
    """``policy.predict`` of Stable-Baselines3's own MLP."""
    import torch  # noqa: PLC0415
    from gymnasium.spaces import Box  # noqa: PLC0415
    from stable_baselines3.common.policies import ActorCriticPolicy  # noqa: PLC0415

    torch.set_num_threads(1)
    seen, action = (Box(-np.inf, np.inf, (n,), np.float32) for n in (SIZES[0], SIZES[-1]))
    net = {"pi": list(SIZES[1:-1]), "vf": []}
    policy, x = ActorCriticPolicy(seen, action, lambda _: 0.0, net_arch=net), rows()
    return lambda: policy.predict(x, deterministic=True)


def with_onnxruntime() -> Score:
    """A session of one thread; also needs ``onnx``, to write the model."""
    import onnx  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    nodes, weights, name = [], [], "x"
    for i, (weight, bias) in enumerate(layers()):
        weights += [numpy_helper.from_array(v, f"{k}{i}") for k, v in (("w", weight), ("b", bias))]
        nodes += [helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], [f"y{i}"])]
        nodes += [helper.make_node("Tanh", [f"y{i}"], [f"t{i}"])]
        name = f"t{i}"
    ends = [
        helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [ROWS, size])
        for end, size in (("x", SIZES[0]), (f"y{len(SIZES) - 2}", SIZES[-1]))
    ]
    graph = helper.make_graph(nodes[:-1], "mlp", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    x = {"x": rows()}
    return lambda: session.run(None, x)


PEERS: dict[str, Callable[[], Score]] = {
    "numpy": with_numpy, "torch": with_torch, "sb3": with_sb3, "onnxruntime": with_onnxruntime,
}  # fmt: skip


def percentiles_us(work: Callable[[int], object], calls: int = CALLS) -> list[float]:
    """Half and 99 in 100 of the calls of ``work`` with 0, 1, ... take at most so long.

    It is the thread's own time: what else runs on the machine does not count.
    """
    spent = []
    for i in range(calls // 10):  # what is slow once is not counted
        work(i)
    for i in range(calls):
        start = time.thread_time_ns()
        work(i)
        spent.append(time.thread_time_ns() - start)
    return [float(value) / 1e3 for value in np.percentile(spent, [50, 99])]


def memory_mb() -> float:
    """Resident set of this process; NaN where there is no /proc."""
    status = Path("/proc/self/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def disk_mb(names: list[str]) -> float:
    """What distributions and all that they need take on the disk."""
    files = {file for name in needed(names, set()) for file in distribution(name).files or []}
    sizes = (Path(str(file.locate())) for file in files)
    return sum(path.stat().st_size for path in sizes if path.is_file()) / 1e6


def needed(names: list[str], known: set[str]) -> set[str]:
    """Distributions and their requirements, extras and what is not installed here left out."""
    for name in names:
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        if name not in known:
            known.add(name)
            needed(list(base(requires)), known)
    return known


def base(requires: list[str]) -> Iterator[str]:
    """Names of the requirements that no extra asks for."""
    for requirement in requires:
        name = re.match(r"[\w.-]+", requirement)
        if name and "extra ==" not in requirement:
            yield re.sub(r"[-_.]+", "-", name[0]).lower()


def report(names: list[str]) -> None:
    """Memory of this process, then what these distributions and all that they need take."""
    print(memory_mb(), flush=True)
    print(disk_mb(names), flush=True)


def main() -> None:
    """First scores, then one line for each line read; without a peer's name nothing."""
    for name in sys.argv[1:]:
        score = PEERS[name]()
        score()
        report(NEEDED[name])
        for _ in sys.stdin:
            print(json.dumps(percentiles_us(lambda _: score())), flush=True)  # noqa: B023


if __name__ == "__main__":
    main()
