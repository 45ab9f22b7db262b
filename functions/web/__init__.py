"""Connects Azure Functions' HTTP types with ours: route declarations, calls, answers and problems."""
