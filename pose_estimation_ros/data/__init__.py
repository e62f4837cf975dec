"""Where images come from: BOP folders, synthetic scenes, crops."""
