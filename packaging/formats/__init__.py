"""One module for each package format. Each has `build(release, out)` and returns the files that it wrote to `out`."""
