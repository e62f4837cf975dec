"""Pictures and plain colours of many parts fit into one picture, each at its place."""

from __future__ import annotations

import numpy as np

from pose_estimation_ros.objects.texture_atlas import LARGEST_TEXTURE, Skin, join_skins


def test_many_pictures_beside_many_plain_colours_fit() -> None:
    """The pictures become smaller than the patches of the plain colours, which cannot."""
    random = np.random.default_rng(0)
    plain = np.repeat(random.random((5000, 1, 3)), 3, axis=1)
    corners = np.array([[[0.2, 0.2], [0.8, 0.2], [0.8, 0.8]]])
    values = random.integers(0, 256, (150, 3))
    skins = [Skin(np.ones((1, 3, 3)), corners, np.full((300, 300, 3), value, dtype=np.uint8)) for value in values]
    atlas = join_skins([Skin(plain), *skins])
    height, width = atlas.texture.shape[:2]
    assert max(height, width) <= LARGEST_TEXTURE
    centre = atlas.corner_uv.mean(axis=1)
    shown = atlas.texture[((1.0 - centre[:, 1]) * height).astype(int), (centre[:, 0] * width).astype(int)]
    np.testing.assert_array_equal(shown[5000:], values)
    np.testing.assert_allclose(shown[:5000] / 255.0, plain[:, 0], atol=9 / 255)  # 16 levels
