"""Holds one component per concern; each takes typed arguments and is the parent of its resources."""
