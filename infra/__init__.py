"""Holds the Pulumi program that makes the system in Azure; see README.md beside this file."""
