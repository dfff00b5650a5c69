"""idx files read and refused; generated shapes."""

import gzip

import numpy as np
import pytest

from tests.helpers import refusal
from zoo.data import catalog, images
from zoo.data.images import IDX_FILES, read_folder, read_idx


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def write_set(folder, zipped=True, classes=3):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (5, 4, 6)), np.arange(5) % classes, rng.integers(0, 256, (2, 4, 6)), np.arange(2)]
    for name, array in zip(IDX_FILES, arrays, strict=True):
        path = folder / (f"{name}.gz" if zipped else name)
        path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    return arrays


@pytest.mark.parametrize("zipped", [True, False])
def test_the_four_files_are_read(tmp_path, zipped):
    train, labels, test, _ = write_set(tmp_path, zipped)
    found = read_folder(tmp_path)
    np.testing.assert_array_equal(found.image[..., 0], np.concatenate([train, test]))
    np.testing.assert_array_equal(found.label, [*labels, 0, 1])
    assert found.part.tolist() == [0] * 5 + [2] * 2 and found.classes.tolist() == ["0", "1", "2"]
    assert found.image.dtype == np.uint8 and found.sizes == {"rows of pixels": 4, "columns of pixels": 6, "classes": 3}
    again = images.from_columns(found.columns)
    np.testing.assert_array_equal(again.take(again.part == 2).image, found.image[5:])
    assert len(again.take(again.part == 0).followed_by(again.take(again.part == 2))) == 7


def test_a_file_of_another_magic_is_refused(tmp_path):
    write_set(tmp_path, zipped=False)
    path = tmp_path / IDX_FILES[0]
    path.write_bytes((tmp_path / IDX_FILES[1]).read_bytes())
    message = refusal(read_folder, tmp_path)
    assert str(path) in message and "00 00 08 01" in message and "00 00 08 03" in message
    path.write_bytes(b"")
    assert "starts with nothing" in refusal(read_folder, tmp_path)


@pytest.mark.parametrize("cut", [1, 115])
def test_a_truncated_file_is_refused(tmp_path, cut):
    """Its pixels, or its header."""
    write_set(tmp_path, zipped=False)
    path = tmp_path / IDX_FILES[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    message = refusal(read_folder, tmp_path)
    assert str(path) in message and "truncated" in message and f"{len(whole) - cut:,} bytes" in message
    if cut == 1:
        assert "5 x 4 x 6 asks for 136" in message


def test_a_file_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(idx(np.arange(3)) + b"1")
    assert "has 12 bytes, but its header of 3 asks for 11" in refusal(lambda path: read_idx(path, 1), path)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_set(tmp_path, zipped=False)
    (tmp_path / IDX_FILES[1]).write_bytes(idx(np.arange(4)))
    assert "4 labels for 5 images" in refusal(read_folder, tmp_path)
    (tmp_path / IDX_FILES[1]).write_bytes(idx(np.arange(5)))
    (tmp_path / IDX_FILES[2]).write_bytes(idx(np.zeros((2, 3, 6))))
    assert "(3, 6)" in refusal(read_folder, tmp_path) and "(4, 6)" in refusal(read_folder, tmp_path)
    for name in (IDX_FILES[0], IDX_FILES[2]):
        (tmp_path / name).write_bytes(idx(np.zeros((5 if name == IDX_FILES[0] else 2, 0, 6))))
    assert "(0, 6) pixels" in refusal(read_folder, tmp_path)
    write_set(tmp_path, zipped=False, classes=5)
    assert "label 4" in refusal(lambda folder: read_folder(folder, ("a", "b")), tmp_path)
    (tmp_path / IDX_FILES[3]).unlink()
    assert IDX_FILES[3] in refusal(read_folder, tmp_path)


def test_a_path_is_a_folder_and_has_no_columns(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"")
    assert "is no folder" in refusal(images.read_path, tmp_path / "photo.png")
    assert "have no columns" in refusal(images.read_path, tmp_path, separator=",")
    assert "not from a dict" in refusal(images.read_frame, {})


def test_shapes_are_of_the_classes_and_the_same_each_time():
    one, two = images.shapes(400), images.shapes(400)
    np.testing.assert_array_equal(one.image, two.image)
    assert set(one.label.tolist()) == {0, 1, 2, 3} and one.image.shape == (400, 12, 12, 1)
    assert one.image.reshape(400, -1).max(1).min() > 90  # in each there is something bright
    assert "at least 100" in refusal(images.shapes, 99)


@pytest.mark.slow
def test_fashion_mnist_is_what_its_publisher_says(zoo_data):
    found = catalog.load("fashion-mnist", images.Images)
    assert np.bincount(found.label, found.part == 2).tolist() == [1000] * 10
    pixels = found.image[found.part == 0] / 255
    assert abs(pixels.mean() - 0.2860) < 1e-4 and abs(pixels.std() - 0.3530) < 1e-4
