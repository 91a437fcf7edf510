"""adaptoff: where to cut a neural network, and how fast to clock the device, round by round."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("adaptoff")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
