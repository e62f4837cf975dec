"""Neural networks, one nn.Module per file."""
