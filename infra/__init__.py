"""The Azure system as a Pulumi program; see README.md beside this file."""
