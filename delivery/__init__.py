"""What brings a version to where it runs, and proves it there; never deployed itself."""
