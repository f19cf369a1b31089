"""MiniLab's levels, as data. It stands outside the engine, so that asking for a name loads no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmlib.levels import arenas, layouts
from mmlib.levels.arenas import MAX_BOTS, Arena
from mmlib.levels.base import FRAMES_PER_SECOND, LevelInfo, check_seconds

LASERTAG_SETTINGS = ("bot_count", "skill")  # that lasertag levels alone take
SETTINGS = (*LASERTAG_SETTINGS, "episode_seconds", "staggered", "threads")  # beyond those that every backend has


class MazeRules(NamedTuple):
    """Parameters of the generator of explore levels, in cells; sides are odd."""

    height: int
    width: int
    max_rooms: int
    room_min: int
    room_max: int
    spawns: int  # per room
    objects: int  # per room


@dataclass(frozen=True)
class LevelSpec:
    """What makes a level: a fixed layout or a generator's rules, the objects, the clock."""

    name: str
    description: str
    seconds: int  # of an episode; a second has 60 frames
    ceiling: float  # height of the walls, units
    sky: bool  # open sky above the walls; otherwise a ceiling that cuts jumps short
    layout: str | None = None  # a picture of `layouts`
    maze: MazeRules | None = None  # a new map every episode
    arena: Arena | None = None  # a lasertag level
    object_share: float = 0.5  # generated maps: share of the object cells that hold an apple in an episode
    restart_when_empty: bool = False  # the map restarts, inside the episode, when the last apple is taken
    themes: tuple[int, ...] = (0,)  # an episode's theme is drawn from these

    def __post_init__(self) -> None:
        if self.layout is not None and not len(layouts.parse(self.layout).spawns):
            raise ValueError(f"the layout of {self.name} needs a cell where an episode can begin: P or A")

    @property
    def info(self) -> LevelInfo:
        """The registry's entry."""
        frames = self.seconds * FRAMES_PER_SECOND
        return LevelInfo(self.name, self.description, frames, miniature=self.name.endswith("_mini"))


_EXPLORE = MazeRules(height=11, width=11, max_rooms=4, room_min=3, room_max=5, spawns=5, objects=4)


def _static(name: str, seconds: int, layout: str, description: str) -> LevelSpec:
    return LevelSpec(name, description, seconds, ceiling=98.0, sky=False, layout=layout)


def _lasertag(name: str, seconds: int, arena: Arena, description: str) -> LevelSpec:
    return LevelSpec(name, description, seconds, ceiling=arenas.WALL_HEIGHT, sky=True, arena=arena)


_ALL = (
    _static(
        "nav_maze_static_01",
        60,
        layouts.NAV_MAZE_STATIC_01,
        "a fixed maze of 10 x 5 cells: five apples (+1), a goal (+10) that restarts the map",
    ),
    _static(
        "nav_maze_static_01_mini",
        30,
        layouts.NAV_MAZE_STATIC_01_MINI,
        "eight cells of nav_maze_static_01: three apples (+1) and a near goal (+10)",
    ),
    _static(
        "nav_maze_static_02",
        150,
        layouts.NAV_MAZE_STATIC_02,
        "a fixed maze of 15 x 9 cells: thirteen apples (+1), a goal (+10) that restarts the map",
    ),
    _static(
        "nav_maze_static_02_mini",
        30,
        layouts.NAV_MAZE_STATIC_02_MINI,
        "seven cells of nav_maze_static_02: an apple (+1) and a near goal (+10)",
    ),
    LevelSpec(
        name="explore_object_locations_small",
        description="a new maze with up to four rooms every episode: find all apples (+1), again and again",
        seconds=90,
        ceiling=100.0,
        sky=True,
        maze=_EXPLORE,
        restart_when_empty=True,
        themes=tuple(range(1, 8)),
    ),
    LevelSpec(
        name="explore_object_locations_small_mini",
        description="a new maze within 5 x 7 cells every episode, up to two rooms, four apples (+1) in each",
        seconds=30,
        ceiling=100.0,
        sky=True,
        maze=_EXPLORE._replace(height=7, width=9, max_rooms=2, room_max=3),
        object_share=1.0,
        restart_when_empty=True,
        themes=(6,),
    ),
    _lasertag(
        "lt_horseshoe_color",
        600,
        arenas.HORSESHOE_ARENA,
        "lasertag in a U of 1536 x 1152 units against six bots: +1 for a tag, -1 for tagging oneself",
    ),
    _lasertag(
        "lt_horseshoe_color_mini",
        60,
        arenas.HORSESHOE_MINI_ARENA,
        "lasertag in a U of 576 x 576 units against two slow bots that one hit tags",
    ),
    _lasertag(
        "lt_chasm",
        600,
        arenas.CHASM_ARENA,
        "lasertag in a room of 640 x 640 units across a pit against four bots: +1 a tag, -1 for falling",
    ),
    _lasertag(
        "lt_chasm_mini",
        60,
        arenas.CHASM_MINI_ARENA,
        "lasertag in a room of 640 x 384 units around a small pit against two slow bots",
    ),
)

SPECS = {spec.name: spec for spec in _ALL}


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for a setting of MiniLab that is none, that this level does not take, or out of its range."""
    known = [each for each in SETTINGS if SPECS[name].arena is not None or each not in LASERTAG_SETTINGS]
    for setting, value in settings.items():
        if setting not in SETTINGS:
            raise ValueError(f"unknown setting {setting!r} of minilab; settings: {', '.join(SETTINGS)}")
        if setting not in known and value is not None:
            raise ValueError(f"{name} takes no setting {setting!r}; settings: {', '.join(known)}")
        if not isinstance(value, int | float | None):
            raise ValueError(f"{setting} is {value!r}; it must be a number")
    bots, skill = settings.get("bot_count"), settings.get("skill")
    if bots is not None and (bots != int(bots) or not 0 <= bots <= MAX_BOTS):
        raise ValueError(f"bot_count is {bots}; it must be a whole number from 0 to {MAX_BOTS}")
    if skill is not None and not 1 <= skill <= 5:
        raise ValueError(f"skill is {skill}; it must be from 1 to 5")
    if (seconds := settings.get("episode_seconds")) is not None:
        check_seconds(seconds)
