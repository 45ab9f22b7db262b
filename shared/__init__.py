"""Holds the domain, services and adapters of Signal Cloud; see docs/architecture.md."""
