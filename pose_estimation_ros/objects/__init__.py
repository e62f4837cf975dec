"""What an object is: its mesh, its place in a catalog, and the bundle that ships it."""
