"""Names the release that CHANGELOG.md describes."""

VERSION = "0.1.0"
