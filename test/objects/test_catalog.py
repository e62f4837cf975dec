"""The catalog: BOP's models_info.json in, metres and symmetries out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pose_estimation_ros.objects.catalog import Catalog, ObjectFrame, ObjectModel, catalog_from_bop

BOUNDS = ((-0.05, -0.03, -0.02), (0.05, 0.03, 0.04))


def model(object_id=1, name="part", diameter_m=0.13, **more):
    return ObjectModel(object_id, name, diameter_m, BOUNDS, Path("part.ply"), **more)


def test_millimetres_of_bop_become_metres(tmp_path):
    turn = [-1.0, 0, 0, 12.0, 0, -1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0]
    box = {"min_x": -40, "min_y": -30, "min_z": -20, "size_x": 80, "size_y": 60, "size_z": 50, "diameter": 102.1}
    info = {
        "10": {**box, "symmetries_continuous": [{"axis": [0, 0, 1], "offset": [5, 0, 0]}]},
        "2": {**box, "symmetries_discrete": [turn]},
    }
    (tmp_path / "models_info.json").write_text(json.dumps(info))
    catalog = catalog_from_bop(tmp_path, {2: "clamp"})
    assert [(item.object_id, item.name) for item in catalog] == [(2, "clamp"), (10, "obj_000010")]
    clamp, round_one = catalog
    assert clamp.diameter_m == pytest.approx(0.1021)
    np.testing.assert_allclose(clamp.bounds_m, [[-0.04, -0.03, -0.02], [0.04, 0.03, 0.03]])
    np.testing.assert_allclose(clamp.centre_m, [0.0, 0.0, 0.005])
    np.testing.assert_allclose(clamp.half_size_m, [0.04, 0.03, 0.025])
    np.testing.assert_allclose(clamp.discrete_symmetries[0][:3, 3], [0.012, 0, 0])
    assert round_one.continuous_symmetries[0].offset_m == pytest.approx((0.005, 0, 0))
    assert clamp.is_symmetric and round_one.is_symmetric and not model().is_symmetric


def test_a_diameter_in_millimetres_is_refused_by_name():
    with pytest.raises(ValueError, match=r"object 7 \(tin\): diameter_m = 102\.1: expected metres"):
        model(7, "tin", 102.1)


def test_a_symmetry_must_be_rigid():
    with pytest.raises(ValueError, match=r"object 1 \(part\).*not a rigid"):
        model(discrete_symmetries=(np.diag([2.0, 1.0, 1.0, 1.0]),))


def test_unknown_unit_is_named():
    with pytest.raises(ValueError, match="'inch'"):
        model(mesh_unit="inch")


@pytest.mark.parametrize(("second", "said"), [(model(1, "other"), "object_id 1"), (model(2, "part"), "name 'part'")])
def test_objects_are_told_apart(second, said):
    with pytest.raises(ValueError, match=said):
        Catalog((model(), second))


def test_an_empty_catalog_is_refused():
    with pytest.raises(ValueError, match="no objects"):
        Catalog(())


def test_look_up_by_id_and_name():
    catalog = Catalog((model(5, "nut"), model(9, "bolt")))
    assert catalog.index_of_id(9) == 1 and catalog.index_of_id(1) is None
    assert catalog.index_of_name("nut") == 0 and catalog.index_of_name("washer") is None
    assert catalog.require_index("bolt") == 1
    with pytest.raises(ValueError, match="no object 'washer'; expected names of nut, bolt"):
        catalog.require_index("washer")


def test_missing_models_info_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"models_info\.json.*BOP models folder"):
        catalog_from_bop(tmp_path)


def test_what_needs_one_shape_refuses_categories():
    Catalog((model(),)).require_single_meshes("network heatmaps")
    category = model(2, "kind", instances=(Path("a.ply"), Path("b.ply")))
    with pytest.raises(ValueError, match="network heatmaps: kind is a category of 3 meshes"):
        Catalog((model(), category)).require_single_meshes("network heatmaps")


def turned(angle):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn


def test_objects_are_equal_where_all_that_is_said_of_them_is():
    def clamp(angle=np.pi, **more):
        return model(discrete_symmetries=(turned(angle),), frames=(ObjectFrame("grasp", turned(0.3)),), **more)

    assert clamp() == clamp() and Catalog((clamp(),)) == Catalog((clamp(),))
    others = [model(), clamp(np.pi / 2.0), clamp(name="other"), clamp(mesh_unit="mm"), "clamp"]
    others += [model(discrete_symmetries=2 * (turned(np.pi),), frames=clamp().frames)]
    assert not [other for other in others if other == clamp()]
    assert ObjectFrame("grasp", turned(0.3)) != ObjectFrame("grasp", turned(0.2))
