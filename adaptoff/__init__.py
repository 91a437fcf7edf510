"""adaptoff: where to cut a neural network, and how fast to clock the device, round by round."""

__version__ = "0.1.0"

__all__ = ["__version__"]
