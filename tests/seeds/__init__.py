"""Every YAML snippet and every command line of the two documents that Proctor grew from, word for word."""
