"""Frames while they are edited: nothing is lost, and nothing is written before it is wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from pose_estimation_ros.frame_editing.session import FrameSession
from pose_estimation_ros.objects.bundle import load_bundle
from pose_estimation_ros.objects.bundle_file import FrameEntry
from pose_estimation_ros.objects.bundle_frames import read_frames, save_frames
from pose_estimation_ros.objects.limits import MAX_FRAMES

A, B, C = (FrameEntry(translation_m=(0.01 * number, 0.0, 0.0)) for number in range(3))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(load_bundle("demo").path / "bundle.yaml", tmp_path)
    return tmp_path


def test_edits_are_saved_together_and_undone_one_by_one(folder: Path) -> None:
    session = FrameSession(folder)
    session.add("mug", "handle", A)
    session.add("mug", "rim", B)
    session.rename("mug", "handle", "grip")
    session.add("bottle", "cap", C)
    assert session.unsaved == ["mug", "bottle"] and read_frames(folder)["mug"] == {}
    assert session.save() == ["mug", "bottle"] and session.unsaved == []
    saved = read_frames(folder)
    assert (saved["mug"], list(saved["mug"]), saved["bottle"]) == ({"grip": A, "rim": B}, ["grip", "rim"], {"cap": C})
    session.delete("mug", "grip")
    assert [session.undo() for _ in range(4)] == ["mug", "bottle", "mug", "mug"]
    assert session.frames("mug") == {"handle": A} and session.frames("bottle") == {}
    assert session.unsaved == ["mug", "bottle"]
    assert [session.undo(), session.undo()] == ["mug", None]


def test_a_gesture_is_undone_as_a_whole(folder: Path) -> None:
    session = FrameSession(folder)
    session.add("mug", "handle", A)
    session.move("mug", "handle", B, gesture=1)
    session.move("mug", "handle", C, gesture=1)
    session.move("mug", "handle", C, gesture=2)  # where it is: nothing to undo
    session.move("mug", "handle", B, gesture=2)
    session.move("mug", "handle", A)
    for expected in (B, C, A):
        session.undo()
        assert session.frames("mug") == {"handle": expected}


def test_names_and_places_that_the_bundle_would_refuse_are_refused(folder: Path) -> None:
    session = FrameSession(folder)
    session.add("mug", "handle", A)
    session.add("mug", "rim", B)
    far = FrameEntry(translation_m=(50.0, 0.0, 0.0))
    for attempt, said in (
        (lambda: session.add("mug", "handle", C), "'handle': mug has one of this name"),
        (lambda: session.rename("mug", "rim", "handle"), "'handle': mug has one of this name"),
        (lambda: session.rename("mug", "rim", "the rim"), "letters, digits and underscores"),
        (lambda: session.add("mug", "", C), "letters, digits and underscores"),
        (lambda: session.add("mug", "far", far), "within 5 of"),
        (lambda: session.move("mug", "rim", far), "within 5 of"),
    ):
        with pytest.raises(ValueError, match=said):
            attempt()
    assert session.frames("mug") == {"handle": A, "rim": B}
    for number in range(2, MAX_FRAMES):
        session.add("mug", f"frame_{number}", A)
    with pytest.raises(ValueError, match=f"at most {MAX_FRAMES}"):
        session.add("mug", "one_more", A)
    session.save()


def test_what_others_write_meanwhile_is_kept(folder: Path) -> None:
    session = FrameSession(folder)
    session.add("mug", "handle", A)
    file = folder / "bundle.yaml"
    file.write_text(file.read_text().replace("description:", "# theirs\ndescription:"))
    save_frames(folder, {"bottle": {"cap": B}})
    session.save()
    assert "# theirs" in file.read_text()
    assert read_frames(folder)["bottle"] == {"cap": B}

    save_frames(folder, {"mug": {"theirs": C}})
    session.add("mug", "rim", B)
    with pytest.raises(ValueError, match="mug were changed in the file meanwhile"):
        session.save()
    assert read_frames(folder)["mug"] == {"theirs": C}
    session.read_again("mug")
    assert session.frames("mug") == {"theirs": C} and session.unsaved == []
    session.undo()
    session.save()
    assert read_frames(folder)["mug"] == {"handle": A, "rim": B}
    assert read_frames(folder)["bottle"] == {"cap": B}


def test_a_bundle_with_other_objects_is_not_written_over(folder: Path) -> None:
    session = FrameSession(folder)
    session.add("mug", "handle", A)
    content = yaml.safe_load((folder / "bundle.yaml").read_text())
    content["objects"] = [item for item in content["objects"] if item["name"] != "mug"]
    (folder / "bundle.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="mug were changed in the file"):
        session.save()
    with pytest.raises(ValueError, match="other objects"):
        session.read_again("mug")
    assert session.frames("mug") == {"handle": A}
