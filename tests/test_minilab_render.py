import math

import numpy as np
import pytest
from minilab_scenes import CEILING, FLOOR, SKY, SPRITE, STEP, WALL, Scene, cast, code_art, kinds

from mmlib.levels.minilab.render.frame import render
from mmlib.levels.minilab.render.textures import NUM_PICTURES, NUM_THEMES, load_art, wall_code
from mmlib.levels.minilab.world import World

KIND, PLACE = code_art("kind"), code_art("place")
EYE = 50.0


def random_scene(rng: np.random.Generator) -> tuple[Scene, tuple[float, ...]]:
    """A map with inner walls, pits and ledges, and a pose inside it."""
    scene = Scene(*rng.integers(3, 8, 2))
    inner_x = rng.random((scene.cy, scene.cx - 1)) < 0.25
    inner_y = rng.random((scene.cy - 1, scene.cx)) < 0.25
    scene.wall_x[0, :, 1:-1] = inner_x * (1 + rng.integers(0, 8, inner_x.shape))
    scene.wall_y[0, 1:-1] = inner_y * (1 + rng.integers(0, 8, inner_y.shape))
    scene.floor_z[0] = rng.choice([0, 0, 0, -48, 30, 70], (scene.cy, scene.cx))
    scene.floor_texture[0] = rng.integers(0, 8, (scene.cy, scene.cx))
    x, y = rng.uniform(1, 100 * scene.cx - 1), rng.uniform(1, 100 * scene.cy - 1)
    floor = scene.floor_z[0, int(y // 100), int(x // 100)]
    z = min(floor + rng.uniform(10, 94), 95.0)
    return scene, (x, y, z, rng.uniform(-720, 720), rng.uniform(-50, 50))


@pytest.mark.parametrize("seed", range(40))
def test_every_pixel_shows_what_a_ray_caster_hits(seed):
    rng = np.random.default_rng(seed)
    scene, pose = random_scene(rng)
    width, height = [(96, 72), (48, 36), (37, 23)][seed % 3]
    hits = cast(scene, pose, width, height)
    image = scene.picture(pose, KIND, width, height)
    kind = kinds(image)
    assert (kind != hits.kind).mean() < 0.006  # rounding at edges only
    image, light = image.astype(float), image.max(-1).astype(float)
    for surface, channel in ((WALL, 1), (FLOOR, 2)):
        seen = (kind == surface) & (hits.kind == surface)
        slot = np.round(image[..., channel][seen] / light[seen] * 250 / 30)
        assert (slot != hits.slot[seen]).sum() <= 0.01 * seen.sum()
    place = scene.picture(pose, PLACE, width, height).astype(float)
    seen = (kind == hits.kind) & (kind != SKY)
    for channel, expected in ((1, hits.u), (2, hits.v)):
        texel = place[..., channel][seen] / np.maximum(place[..., 0][seen], 1) * 250 / 3
        off = (texel + 0.5 - expected[seen] * 64 + 32) % 64 - 32
        assert (np.abs(off) > 2.5).sum() <= 0.01 * seen.sum()
        assert np.abs(off.sum()) <= 0.6 * seen.sum()


@pytest.mark.parametrize("seed", range(100, 120))
def test_sprites_among_walls_pits_and_ledges_match_the_ray_caster(seed):
    rng = np.random.default_rng(seed)
    scene, pose = random_scene(rng)
    width, height = 96, 72
    hits = cast(scene, pose, width, height)
    row, column = np.mgrid[0:height, 0:width] + 0.5
    cos, sin = math.cos(math.radians(pose[3])), math.sin(math.radians(pose[3]))
    for _ in range(8):
        x, y = rng.uniform(0, 100 * scene.cx), rng.uniform(0, 100 * scene.cy)
        z = min(scene.floor_z[0, int(y // 100), int(x // 100)] + rng.uniform(0, 40), 80)
        scene.sprites.append((x, y, z, 1, 0))
        ahead, aside = (x - pose[0]) * cos + (y - pose[1]) * sin, (x - pose[0]) * sin - (y - pose[1]) * cos
        if ahead > 10:
            middle = 36 - 48 * math.tan(math.radians(pose[4])) + 48 * (pose[2] - z) / ahead
            inside = np.abs(column - 48 - 48 * aside / ahead) < 48 * 20 / ahead
            inside &= np.abs(row - middle) < 48 * 15 / ahead
            hits.kind[inside & (ahead < hits.depth)] = SPRITE
    kind = kinds(scene.picture(pose, KIND, width, height))
    assert (kind != hits.kind).mean() < 0.006


def test_a_wall_covers_the_rows_of_perspective():
    scene = Scene(5, 5)
    for distance in (60.0, 100.0, 237.0):
        kind = kinds(scene.picture((500 - distance, 250, EYE, 0, 0), KIND))
        top, bottom = 36 - 48 * (CEILING - EYE) / distance, 36 + 48 * EYE / distance
        expected = np.full(72, WALL)
        expected[: max(math.ceil(top - 0.5), 0)] = SKY
        expected[max(math.ceil(bottom - 0.5), 0) :] = FLOOR
        np.testing.assert_array_equal(kind[:, 48], expected)


def test_the_view_is_90_degrees_wide_and_73_74_high():
    scene = Scene(9, 9)
    scene.wall_y[0, -1] = 1 + np.arange(9) % 8  # the north wall changes its slot every 100 units
    image = scene.picture((450, 550, EYE, 90, 0), KIND).astype(float)
    row = image[36]
    slots = np.round(row[:, 1] / row[:, 0] * 250 / 30)
    columns = np.arange(96) + 0.5
    x = 450 + 350 * (columns - 48) / 48  # 350 units ahead: the view is 700 units wide
    np.testing.assert_array_equal(slots, x // 100 % 8)
    assert x[0] < 104 and x[-1] > 796
    assert math.degrees(2 * math.atan(36 / 48)) == pytest.approx(73.74, abs=0.005)
    floor = np.flatnonzero(kinds(scene.picture((450, 900 - 67.0, EYE, 90, 0), KIND))[:, 48] == FLOOR)
    assert len(floor) == 0  # 36.87 degrees down at 66.7 units: the floor's nearest visible point
    floor = np.flatnonzero(kinds(scene.picture((450, 900 - 69.0, EYE, 90, 0), KIND))[:, 48] == FLOOR)
    np.testing.assert_array_equal(floor, [71])


@pytest.mark.parametrize("pitch", [-60.0, -20.0, -1.056, 0.0, 4.224, 30.0, 87.89])
def test_pitch_moves_the_horizon_by_its_tangent(pitch):
    scene = Scene(5, 5)
    kind = kinds(scene.picture((300, 250, EYE, 0, pitch), KIND))[:, 48]
    base = 36 - 48 * math.tan(math.radians(pitch)) + 48 * EYE / 200  # where the wall meets the floor
    assert np.sum(kind == FLOOR) == 72 - min(max(math.ceil(base - 0.5), 0), 72)


def test_turning_right_lowers_yaw():
    scene = Scene(5, 5)
    scene.wall_y[0, 0] = 4  # south
    kind = scene.picture((250, 250, EYE, 0, 0), KIND)
    assert kind[36, 0, 1] == 0  # facing east, north is on the left
    south = scene.picture((250, 250, EYE, -40, 0), KIND)[36]
    assert south[-1, 1] > 0 and south[0, 1] == 0


def test_a_sprite_is_drawn_in_perspective_and_hidden_by_walls():
    scene = Scene(5, 5, sprites=[(350, 250, 30, 1, 0)])  # 40 x 30 units, 200 ahead
    kind = kinds(scene.picture((150, 250, EYE, 0, 0), KIND))
    rows, columns = np.nonzero(kind == SPRITE)
    assert (columns.min(), columns.max()) == (43, 52)  # 48 -+ 48 * 20 / 200 = 43.2, 52.8
    assert (rows.min(), rows.max()) == (37, 43)  # 36 + 48 * 5 / 200 = 37.2, 36 + 48 * 35 / 200 = 44.4
    assert len(rows) == 10 * 7
    scene.wall_x[0, 2, 4] = 1  # behind it
    assert np.sum(kinds(scene.picture((150, 250, EYE, 0, 0), KIND)) == SPRITE) == 70
    scene.wall_x[0, 2, 3] = 1  # before it
    assert not np.any(kinds(scene.picture((150, 250, EYE, 0, 0), KIND)) == SPRITE)
    scene.wall_x[0, 2, 3] = 0
    scene.wall_y[0, 2, 3] = scene.wall_y[0, 3, 3] = 1  # a corridor seen through its own mouth
    assert np.sum(kinds(scene.picture((150, 250, EYE, 0, 0), KIND)) == SPRITE) == 70


def test_half_a_sprite_looks_out_behind_a_wall():
    scene = Scene(5, 5, sprites=[(350, 200, 30, 1, 0)])  # spans y = 180..220
    scene.wall_x[0, 2, 2] = 1  # x = 200, y = 200..300: hides what is left of the view's middle
    columns = np.nonzero(kinds(scene.picture((150, 200, EYE, 0, 0), KIND)) == SPRITE)[1]
    assert (columns.min(), columns.max()) == (48, 52)


def test_hidden_kinds_and_sprites_behind_the_eye_are_not_drawn():
    for sprite in ((350, 250, 30, 0, 0), (50, 250, 30, 1, 0), (150, 250, 30, 1, 0)):
        kind = kinds(Scene(5, 5, sprites=[sprite]).picture((150, 250, EYE, 0, 0), KIND))
        assert not np.any(kind == SPRITE)


def test_the_nearer_sprite_covers_the_farther():
    art = code_art("kind")
    green = np.full_like(art.sprites[: len(art.sprites) // 2], 0xFF00FF00)
    size = np.concatenate([art.sprite_size, art.sprite_size[1:]])
    art = art._replace(sprites=np.concatenate([art.sprites, green]), sprite_size=size)
    near, far = (250, 250, 40, 2, 0), (350, 250, 40, 1, 0)
    for order in ([near, far], [far, near]):
        image = Scene(5, 5, sprites=order).picture((150, 250, EYE, 0, 0), art)
        assert image[38, 48, 1] > 0 and image[38, 48, 0] == 0


def test_a_pit_shows_its_far_face_and_hides_what_stands_deep_behind_its_edge():
    scene = Scene(5, 7)
    scene.floor_z[0, :, 2:4] = -48
    pose = (150, 250, EYE, 0, 0)
    rows = kinds(scene.picture(pose, KIND))[:, 48]
    face_top, face_bottom = 36 + 48 * EYE / 250, 36 + 48 * (EYE + 48) / 250  # at x = 400
    face = np.flatnonzero(rows == STEP)
    assert (face.min(), face.max()) == (math.ceil(face_top - 0.5), math.ceil(face_bottom - 0.5) - 1)
    assert np.all(rows[face.max() + 1 :] == FLOOR)
    scene.sprites = [(210, 250, -30, 1, 0)]  # just behind the near edge: the ledge hides all of it
    assert not np.any(kinds(scene.picture(pose, KIND)) == SPRITE)
    scene.sprites = [(380, 250, -30, 1, 0)]
    seen = np.nonzero(kinds(scene.picture(pose, KIND)) == SPRITE)[0]
    assert (seen.min(), seen.max()) == (
        math.ceil(36 + 48 * 65 / 230 - 0.5),
        math.ceil(36 + 48 * 95 / 230 - 0.5) - 1,
    )


def test_a_sprite_is_cut_off_by_the_floor_it_sinks_into():
    scene = Scene(5, 5, sprites=[(350, 250, 0, 1, 0)])
    rows = np.nonzero(kinds(scene.picture((150, 250, EYE, 0, 0), KIND)) == SPRITE)[0]
    assert rows.max() == math.ceil(36 + 48 * EYE / 200 - 0.5) - 1


def test_only_the_range_is_drawn_and_neighbours_do_not_matter():
    art, rng = load_art(), np.random.default_rng(0)
    one_world = Scene(4, 6, sprites=[(310, 250, 20, 1, 0), (150, 50, 24, 2, 0)]).world
    world = World(*(np.concatenate([part] * 6) for part in one_world))
    world.theme[:] = np.arange(6)
    pose = np.column_stack(
        [
            rng.uniform(20, 580, 6),
            rng.uniform(20, 380, 6),
            np.full(6, EYE),
            rng.uniform(0, 360, 6),
            np.zeros(6),
        ]
    )
    whole = np.zeros((6, 3, 72, 96), np.uint8)
    render(whole, pose, world, CEILING, True, art, 0, 6)
    part = np.zeros_like(whole)
    render(part, pose, world, CEILING, True, art, 2, 4)
    assert not part[:2].any() and not part[4:].any()
    np.testing.assert_array_equal(part[2:4], whole[2:4])
    for e in range(6):
        one = np.zeros((1, 3, 72, 96), np.uint8)
        alone = World(*(part[e : e + 1] for part in world))
        render(one, pose[e : e + 1].astype(np.float32).astype(float), alone, CEILING, True, art, 0, 1)
        assert np.mean(one[0] != whole[e]) < 0.01  # the pose was rounded to float32
        render(one, pose[e : e + 1], alone, CEILING, True, art, 0, 1)
        np.testing.assert_array_equal(one[0], whole[e])


@pytest.mark.parametrize("size", [(48, 36), (96, 72), (320, 240), (33, 17), (1, 1)])
def test_all_sizes_are_filled_by_the_same_picture(size):
    scene, art = Scene(5, 5), load_art()
    scene.sprites = [(350, 250, 16, 1, 0)]
    image = scene.picture((150, 250, EYE, 10, 0), art, *size)
    assert image.shape == (size[1], size[0], 3)
    assert image.any(-1).all()  # no pixel was left black
    if size[0] >= 33:
        large = scene.picture((150, 250, EYE, 10, 0), art, 8 * size[0], 8 * size[1]).astype(float)
        small = large.reshape(size[1], 8, size[0], 8, 3).mean((1, 3))
        assert np.abs(small - image).mean() < 12


def test_open_sky_turns_with_the_view_and_the_ceiling_does_not():
    art = load_art()
    scene = Scene(9, 9)
    pictures = {sky: [] for sky in (False, True)}
    for sky, views in pictures.items():
        scene.sky = sky
        for yaw in (0, 90, 450):
            views.append(scene.picture((450, 450, EYE, yaw, -45), art)[:20])
    assert np.ptp(np.stack(pictures[False]), axis=(0, 1, 2)).max() == 0
    assert np.mean(pictures[True][0] != pictures[True][1]) > 0.3
    assert np.mean(pictures[True][1] != pictures[True][2]) < 0.02


def test_wall_pictures_hang_where_their_code_says():
    art = load_art()
    scene = Scene(5, 5)
    plain = scene.picture((400, 250, EYE, 0, 0), art)
    seen = set()
    for picture in range(1, NUM_PICTURES + 1):
        scene.wall_x[0, 2, 5] = wall_code(0, picture)
        image = scene.picture((400, 250, EYE, 0, 0), art)
        rows, columns = np.nonzero((image != plain).any(-1))
        assert columns.min() >= 31 and columns.max() <= 64  # 0.2..0.8 of 100 units at 100 units
        assert len(rows) > 500
        seen.add(image.tobytes())
    assert len(seen) == NUM_PICTURES
    assert wall_code(7, NUM_PICTURES) < 256


def test_art_is_deterministic_and_themes_differ():
    load_art.cache_clear()
    first = load_art()
    load_art.cache_clear()
    for a, b in zip(first, load_art(), strict=True):
        np.testing.assert_array_equal(a, b)
    scene, seen = Scene(5, 5), set()
    for theme in range(NUM_THEMES):
        scene.theme[:] = theme
        seen.add(scene.picture((150, 250, EYE, 10, 0), load_art()).tobytes())
    assert len(seen) == NUM_THEMES


def test_apple_and_goal_can_be_told_from_every_theme():
    art = load_art()
    for theme in range(NUM_THEMES):
        scene = Scene(5, 5)
        scene.theme[:] = theme
        plain = scene.picture((150, 250, EYE, 0, 0), art).astype(int)
        scene.sprites = [(300, 250, 16, 1, 0)]
        apple = scene.picture((150, 250, EYE, 0, 0), art).astype(int)
        changed = np.abs(apple - plain).max(-1) > 40
        assert changed.sum() > 40
        red, green, blue = np.median(apple[changed], axis=0)
        assert red > 2 * green and red > 2 * blue
        scene.sprites = [(300, 250, 24, 2, 0)]
        goal = scene.picture((150, 250, EYE, 0, 0), art).astype(int)
        assert (np.abs(goal - plain).max(-1) > 40).sum() > 60
        assert np.abs(goal - apple).max() > 100


def test_only_the_free_end_of_a_wall_wears_a_dark_strip():
    scene = Scene(5, 5)
    scene.wall_x[0, 1:3, 3] = 1  # x = 300, y = 100..300: free at both ends, joined at y = 200
    row = scene.picture((200, 200, EYE, 0, 0), KIND, 320, 240)[120, :, 0].astype(float)
    y = 200 - 100 * (np.arange(320) + 0.5 - 160) / 160
    wall, strip = (y > 100) & (y < 300), (y > 100) & (y < 102.5) | (y > 297.5) & (y < 300)
    light = np.median(row[wall])
    np.testing.assert_allclose(row[wall & ~strip], light, atol=1)
    np.testing.assert_allclose(row[strip], 0.6 * light, atol=2)
    assert strip.sum() == 8
