"""Stands in for Azure Web PubSub: serves its REST API and its client endpoint in one process."""
