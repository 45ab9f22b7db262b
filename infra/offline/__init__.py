"""Shows what `pulumi up` would make, without Azure and without the Pulumi CLI."""
