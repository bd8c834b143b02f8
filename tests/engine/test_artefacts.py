"""Prepared sets on disk: their keys, what differs, and that no half or damaged set is ever taken for a whole one."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatapp.domain.errors import ArtefactsDamaged, BeingPrepared, ModelNotFound, NotPrepared, PrepareFailed
from chatapp.domain.neuron import NeuronSettings
from chatapp.engine.backends.checkpoint import read_checkpoint
from chatapp.engine.backends.neuron.artefacts import MANIFEST, ArtefactStore, default_root
from chatapp.engine.backends.neuron.recipe import Recipe, Role, make_recipe
from chatapp.resources import resource_path

DRAFT = resource_path("pair", "draft")
SETTINGS = NeuronSettings(
    library="tnx", tp_degree=2, positions=512, token_buckets=(512,), context_buckets=(128, 512)
)


def recipe(settings: NeuronSettings = SETTINGS, role: Role = "target", *, flags: str = "") -> Recipe:
    return make_recipe(read_checkpoint(DRAFT), settings, role, flags=flags)


def prepared(store: ArtefactStore, of: Recipe) -> Path:
    with store.begun(of) as folder:
        (folder / "0123456789abcdef0123.neff").write_bytes(b"a compiled graph")
        return store.finish(of, graphs=1, seconds=12.34, version="0.1")


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path / "neuron")


def test_a_prepared_set_is_found_and_told_in_plain_words(store: ArtefactStore) -> None:
    assert store.find(recipe()) is None
    folder = prepared(store, recipe())
    assert store.find(recipe()) == store.require(recipe()) == folder
    assert [path.name for path in sorted(folder.iterdir())] == ["0123456789abcdef0123.neff", MANIFEST]
    facts = json.loads((folder / MANIFEST).read_text())["facts"]
    assert facts["windows"] == "2, 4, 8, 16, 64"
    assert facts["NeuronCores (tp)"] == "2"
    assert facts["neuronx-cc"] == "not installed"
    assert [made.key for made in store.manifests()] == [recipe().key]


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"tp_degree": 8}, "NeuronCores (tp): 2 prepared, 8 asked for"),
        ({"positions": 2048}, "context (positions): 512 prepared, 2048 asked for"),
        ({"token_buckets": (256, 512)}, "token buckets: 512 prepared, 256, 512 asked for"),
        ({"context_buckets": (512,)}, "context buckets: 128, 512 prepared, 512 asked for"),
        ({"windows": (2, 8)}, "windows: 2, 4, 8, 16, 64 prepared, 2, 8 asked for"),
        ({"dtype": "f32"}, "dtype: bf16 prepared, f32 asked for"),
        ({"rehearse": "trn1.32xlarge"}, "device: NeuronCores prepared, simulated asked for"),
    ],
)
def test_every_argument_makes_another_key_and_is_named(
    store: ArtefactStore, change: dict[str, object], fact: str
) -> None:
    prepared(store, recipe())
    asked = recipe(dataclasses.replace(SETTINGS, **change))  # type: ignore[arg-type]  # the table's values fit their fields
    assert asked.key != recipe().key
    with pytest.raises(NotPrepared) as caught:
        store.require(asked)
    assert fact in caught.value.differences
    assert fact in caught.value.what


def test_compiler_flags_count_and_those_of_its_cache_do_not() -> None:
    plain, accurate = recipe(), recipe(flags="--enable-saturate-infinity")
    assert plain.key != accurate.key
    steered = "--cache_dir=/a --enable-saturate-infinity --retry_failed_compilation"
    assert recipe(flags=steered).key == accurate.key
    assert recipe(flags="--cache_dir /a --enable-saturate-infinity").key == accurate.key


def test_config_and_weights_count_and_the_folder_s_name_does_not(
    store: ArtefactStore, tmp_path: Path
) -> None:
    copy = tmp_path / "renamed"
    copy.mkdir()
    for path in DRAFT.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    renamed = make_recipe(read_checkpoint(copy), SETTINGS, "target", flags="")
    assert renamed.key == recipe().key
    prepared(store, recipe())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.5}))
    other = make_recipe(read_checkpoint(copy), SETTINGS, "target", flags="")
    with pytest.raises(NotPrepared, match=r"config\.json: rms_norm_eps"):
        store.require(other)
    with (copy / "model.safetensors").open("ab") as weights:
        weights.write(b"\0")
    assert make_recipe(read_checkpoint(copy), SETTINGS, "target", flags="").key != other.key


def test_sides_are_prepared_apart_and_only_the_own_windows_count(store: ArtefactStore) -> None:
    prepared(store, recipe(role="draft"))
    wider = dataclasses.replace(SETTINGS, windows=(2, 32))
    assert store.find(recipe(wider, "draft")) is not None
    assert store.nearest(recipe()) is None


def test_a_set_that_was_not_finished_is_no_set_and_its_files_wait(store: ArtefactStore) -> None:
    with store.begun(recipe()) as folder:
        (folder / "one.neff").write_bytes(b"1")
    assert store.find(recipe()) is None
    assert store.manifests() == []
    assert store.unfinished() == [folder]
    with pytest.raises(NotPrepared) as caught:
        store.require(recipe())
    assert caught.value.kept == "Of an earlier attempt 1 graph is kept."
    with store.begun(recipe()) as again:
        assert (again / "one.neff").read_bytes() == b"1"


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "missing", "no manifest"])
def test_a_damaged_set_is_said_and_replaced(store: ArtefactStore, damage: str) -> None:
    folder = prepared(store, recipe())
    graph = folder / "0123456789abcdef0123.neff"
    if damage == "shorter":
        graph.write_bytes(b"a comp")
    elif damage == "other bytes":
        graph.write_bytes(b"A compiled graph")
    elif damage == "missing":
        graph.unlink()
    else:
        (folder / MANIFEST).write_text("{")
    with pytest.raises(ArtefactsDamaged, match="damaged"):
        store.find(recipe())
    prepared(store, recipe())
    assert store.find(recipe()) == folder
    assert [path.suffix for path in store.root.iterdir()].count("") == 1


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_exclude_each_other_and_a_dead_one_holds_nothing(store: ArtefactStore) -> None:
    store.root.mkdir(parents=True)
    lock = store.folder(recipe()).with_suffix(".lock")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BeingPrepared), store.begun(recipe()):
            pass
    finally:
        other.kill()
        other.communicate()
    with store.begun(recipe()):
        pass


@pytest.mark.parametrize("key", ["****", "../neuron", "/etc/passwd", "comp", "[0-9]*", "", "dura"])
def test_what_is_no_key_removes_nothing(store: ArtefactStore, key: str) -> None:
    prepared(store, recipe())
    store.compiler_cache.mkdir()
    before = sorted(store.root.rglob("*"))
    with pytest.raises(ModelNotFound, match="no key"):
        store.remove(key)
    assert sorted(store.root.rglob("*")) == before


def test_a_key_that_fits_several_sets_removes_none(store: ArtefactStore) -> None:
    for name in ("abcd0", "abcd1", "abcd2.partial"):
        (store.root / name).mkdir(parents=True)
    with pytest.raises(ModelNotFound, match=r"abcd0, abcd1, abcd2\.partial"):
        store.remove("abcd")
    assert store.remove("abcd2") == ["abcd2.partial"]
    assert len(list(store.root.iterdir())) == 2


@pytest.mark.parametrize("facts", ["[]", "null", '"x"'])
def test_a_manifest_of_something_else_is_passed_over(store: ArtefactStore, facts: str) -> None:
    manifest = prepared(store, recipe()) / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"facts": json.loads(facts)}))
    assert store.manifests() == []


def test_compiler_flags_that_cannot_be_read_are_named() -> None:
    with pytest.raises(PrepareFailed, match="NEURON_CC_FLAGS cannot be read"):
        recipe(flags="--model-type 'transformer")


def test_sets_are_removed_by_the_beginning_of_their_key(store: ArtefactStore) -> None:
    prepared(store, recipe())
    prepared(store, recipe(role="draft"))
    with pytest.raises(ModelNotFound, match="at least 4 of its digits"):
        store.remove("ab")
    with pytest.raises(ModelNotFound, match="Nothing is prepared"):
        store.remove("ffff")
    assert store.remove(recipe().key[:8].upper()) == [recipe().key[:20]]
    assert [made.role for made in store.manifests()] == ["draft"]


def test_settings_that_are_not_resolved_have_no_recipe() -> None:
    with pytest.raises(ValueError, match="not resolved"):
        recipe(NeuronSettings())


def test_the_usual_place_is_the_person_s_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_root() == tmp_path / "chatapp" / "neuron"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".local" / "share" / "chatapp" / "neuron"
