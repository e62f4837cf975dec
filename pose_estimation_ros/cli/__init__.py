"""Console scripts: parse, call, print."""
