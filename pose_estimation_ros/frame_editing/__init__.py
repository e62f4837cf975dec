"""A page in the browser that places frames on the objects of a bundle."""
