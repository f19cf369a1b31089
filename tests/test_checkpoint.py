"""Checkpoint files: whole or not used, and nothing in them is ever executed."""

import os
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlib.training import checkpoint
from mmlib.training.checkpoint import CheckpointError, DamagedError

STATE = {"numbers": torch.arange(5.0), "steps": 3, "names": ["a", "b"], "none": None, "pair": (1.5, True)}


def same(one, two):
    return one.keys() == two.keys() and torch.equal(one["numbers"], two["numbers"]) and one["pair"] == two["pair"]


def test_what_is_saved_is_loaded_and_the_one_before_is_kept(tmp_path):
    assert checkpoint.load(tmp_path) is None and not checkpoint.names(tmp_path)
    checkpoint.save(tmp_path, STATE)
    checkpoint.save(tmp_path, {**STATE, "steps": 4})
    assert checkpoint.load(tmp_path)["steps"] == 4
    assert checkpoint.read(tmp_path / checkpoint.PREVIOUS)["steps"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.PREVIOUS, checkpoint.FILE]


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty", "missing"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, capsys, harm):
    checkpoint.save(tmp_path, STATE)
    checkpoint.save(tmp_path, {**STATE, "steps": 4})
    path = tmp_path / checkpoint.FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    harmed = {"truncated": content[:-10], "flipped": content, "empty": b""}
    path.write_bytes(harmed[harm]) if harm in harmed else path.unlink()
    assert checkpoint.load(tmp_path)["steps"] == 3
    assert harm == "missing" or f"{path} is damaged" in capsys.readouterr().err


def test_two_damaged_checkpoints_are_an_error_that_names_both(tmp_path):
    for name in (checkpoint.FILE, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.pt is damaged.*checkpoint\.previous\.pt is damaged.*start over"
    ):
        checkpoint.load(tmp_path)


def test_another_version_is_named(tmp_path):
    checkpoint.save(tmp_path, STATE)
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes().replace(b"mmlib checkpoint %d" % checkpoint.VERSION, b"mmlib checkpoint 9", 1))
    with pytest.raises(CheckpointError, match=f"version 9; this mmlib reads version {checkpoint.VERSION}"):
        checkpoint.load(tmp_path)


class Attack:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_nothing_is_executed(tmp_path, monkeypatch):
    """A checkpoint with a valid checksum that carries code is refused, and the code is not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint.torch, "save", lambda state, file: pickle.dump(Attack(), file))
    checkpoint.save(tmp_path, STATE)
    with pytest.raises(CheckpointError, match="no checkpoint of mmlib"):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    checkpoint.save(directory, STATE)
    return (directory / checkpoint.FILE).read_bytes()


@settings(max_examples=300)
@given(st.data())
def test_any_flipped_bytes_are_noticed(content, tmp_path_factory, data):
    """Only the documented errors come out, whichever bytes are wrong and wherever the file ends."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.pt"
    harmed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        harmed[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(harmed[: data.draw(st.integers(0, len(harmed)))])
    if path.read_bytes() == content:
        return
    with pytest.raises(CheckpointError):
        checkpoint.read(path)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_any_payload_under_a_right_checksum_is_read_or_refused(tmp_path_factory, payload):
    import hashlib

    path = tmp_path_factory.getbasetemp() / "made.pt"
    header = f"mmlib checkpoint {checkpoint.VERSION} sha256 {hashlib.sha256(payload).hexdigest()}\n"
    path.write_bytes(header.encode() + payload)
    with pytest.raises(DamagedError):
        checkpoint.read(path)
