"""What no stack may do: rules.py holds them, __main__.py is the pack that the Pulumi CLI enforces."""
