"""From photographs to a data set with poses: rough poses made accurate, checked at edges, and corrected by a person."""
