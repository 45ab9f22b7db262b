"""One component per concern; each takes typed arguments and makes its resources under itself."""
