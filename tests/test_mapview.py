import numpy as np
import pytest

from mmlib.levels.minilab.render.mapview import AGENT, SOLID, SPRITE_COLOURS, map_image
from mmlib.levels.minilab.render.textures import load_art
from mmlib.levels.minilab.world import World, empty_world


def draw(pose, pixels, sprites=(), cut_off=False):
    """The map of 3 x 4 cells inside a border; with `cut_off` the last column is closed off."""
    world = World(*(part[0] for part in empty_world(1, (3, 4), len(sprites), 0, 0)))
    world.wall_x[:, [0, -1]] = world.wall_y[[0, -1]] = 1
    if cut_off:
        world.wall_x[:, 3] = 1
    world.sprites[:] = np.array(sprites, np.float32).reshape(-1, 5)
    return map_image(np.array(pose), world._replace(theme=np.uint8(1)), load_art(), pixels)


def near(image, colour, tolerance=3):
    """Rows and columns of the pixels in a colour."""
    return np.nonzero(np.abs(image.astype(int) - colour).max(-1) <= tolerance)


POSE = (50.0, 50.0, 50.0, 0.0, 0.0)


@pytest.mark.parametrize("pixels", [16, 37, 400])
def test_the_longer_side_has_the_pixels_asked_for(pixels):
    image = draw(POSE, pixels)
    assert image.dtype == np.uint8
    assert image.shape == (round(pixels * 3 / 4), pixels, 3)


def test_a_map_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="4 pixels is too small; at least 16"):
        draw(POSE, 4)


def test_objects_stand_where_their_coordinates_say_with_north_up():
    image = draw(POSE, 400, sprites=[(350, 250, 16, 1, 0), (250, 150, 24, 2, 0), (150, 150, 16, 0, 0)])
    rows, columns = near(image, SPRITE_COLOURS[1])
    assert rows.mean() == pytest.approx(50, abs=2) and columns.mean() == pytest.approx(350, abs=2)
    rows, columns = near(image, SPRITE_COLOURS[2])
    assert rows.mean() == pytest.approx(150, abs=2) and columns.mean() == pytest.approx(250, abs=2)
    plain = draw(POSE, 400)
    np.testing.assert_array_equal(image[140:160, 140:160], plain[140:160, 140:160])  # kind 0 is hidden


@pytest.mark.parametrize(("yaw", "ahead"), [(0, (0, 1)), (90, (-1, 0)), (180, (0, -1)), (-90, (1, 0))])
def test_the_arrow_points_along_the_heading(yaw, ahead):
    image = draw((200.0, 150.0, 50.0, yaw, 0.0), 400)
    rows, columns = near(image, AGENT)
    along = (rows - 149.5) * ahead[0] + (columns - 199.5) * ahead[1]
    aside = (rows - 149.5) * ahead[1] - (columns - 199.5) * ahead[0]
    assert along.max() > 1.5 * -along.min()  # the tip is farther from the place than the tail
    assert np.ptp(aside[along > 20]) < np.ptp(aside[along < 0])
    assert aside.mean() == pytest.approx(0, abs=1)


def test_cells_out_of_reach_are_solid():
    image = draw(POSE, 400, cut_off=True)
    assert (np.abs(image[120:180, 330:370].astype(int) - SOLID) <= 1).all()
    assert not near(draw(POSE, 400), SOLID)[0].size
