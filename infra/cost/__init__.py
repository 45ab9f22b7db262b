"""Estimates what a month of a stack costs, from its recorded resources."""
