"""Stand-in for Azure Web PubSub: the data-plane REST API and the client endpoint, in one process."""
