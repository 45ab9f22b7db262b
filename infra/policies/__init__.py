"""Holds the policies that every stack must meet: rules.py has the rules, __main__.py the pack for Pulumi."""
