"""The live testbed: real split training over real sockets."""
