"""Recipes that turn meshes into weights."""
