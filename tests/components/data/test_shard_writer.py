import gc
import hashlib
import json
import tarfile
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.image_files import decode_rgb, encode_png
from components.data.patches import cut_again, cut_patches
from components.data.shard_index import ShardIndex
from components.data.shard_reader import Shards
from components.data.shard_spec import LargePatches, ShardSpec
from components.data.shard_writer import SPLITS, SourceImage, split_of
from components.data.shard_writer import write_shards as write
from components.distributed.parallel_map import in_processes
from components.errors import SourceError

SPEC = ShardSpec(
    patch=64, smallest_scale=0.6, largest_angle=45.0, rotated_share=0.3, patches_per_image=5, train_share=0.7
)
SEED = 1
write_shards = partial(write, seed=SEED, samples_per_shard=7)


def sources(paths: list[Path]) -> list[SourceImage]:
    return [SourceImage(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def samples(folder: Path, split: str) -> list[tuple[str, bytes, dict[str, Any]]]:
    """(key, PNG, JSON) as any reader of tar files sees them."""
    found = []
    for path in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(path) as tar:
            bodies = {member.name: tar.extractfile(member) for member in tar.getmembers()}
            assert len(bodies) == len(tar.getmembers()), "no name twice"
            read = {name: body.read() for name, body in bodies.items() if body is not None}
        keys = dict.fromkeys(name.partition(".")[0] for name in read)
        assert set(read) == {f"{key}.{kind}" for key in keys for kind in ("png", "json")}
        found += [(key, read[f"{key}.png"], json.loads(read[f"{key}.json"])) for key in keys]
    return found


def test_two_runs_and_any_number_of_workers_write_the_same_bytes(
    picture_files: list[Path], tiny_shards: Path, tmp_path: Path
) -> None:
    backwards = sources(picture_files[::-1])
    write_shards(backwards, SPEC, tmp_path / "two", parallel_map=in_processes(2))
    assert contents(tmp_path / "two") == contents(tiny_shards)


def test_tars_carry_no_time_and_no_user(tiny_shards: Path) -> None:
    for path in tiny_shards.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                assert (member.mtime, member.uname, member.gname) == (0, "ratewright", "ratewright")
                assert (member.uid, member.gid, member.mode) == (0, 0, 0o644)


def test_no_source_is_on_both_sides(tiny_shards: Path, picture_files: list[Path]) -> None:
    found = {split: {facts["sha256"] for _, _, facts in samples(tiny_shards, split)} for split in SPLITS}
    assert found["train"]
    assert found["val"]
    assert not found["train"] & found["val"]
    assert found["train"] | found["val"] == {image.sha256 for image in sources(picture_files)}


def test_adding_pictures_moves_none() -> None:
    names = [hashlib.sha256(f"{k}".encode()).hexdigest() for k in range(4000)]
    splits = [split_of(name, 0.8, 7) for name in names]
    assert 0.77 < splits.count("train") / 4000 < 0.83
    assert splits == [split_of(name, 0.8, 7) for name in names]  # from its content alone
    assert splits != [split_of(name, 0.8, 8) for name in names]
    assert {split_of(name, 1.0, 7) for name in names} == {"train"}
    assert {split_of(name, 0.0, 7) for name in names} == {"val"}
    grown = [split_of(name, 0.9, 7) for name in names]
    assert all(new == "train" for old, new in zip(splits, grown, strict=True) if old == "train")


def test_adding_a_picture_leaves_the_others_samples_alone(
    picture_files: list[Path], tiny_shards: Path, tmp_path: Path
) -> None:
    few = [image for image in sources(picture_files) if image.path.name != "p3.png"]
    reported: list[tuple[int, int]] = []
    write_shards(few, SPEC, tmp_path, parallel_map=map, progress=lambda done, total: reported.append((done, total)))
    assert reported == [(k + 1, len(few)) for k in range(len(few))]
    for split in SPLITS:
        kept = [sample for sample in samples(tiny_shards, split) if sample[2]["source"] != "p3.png"]
        assert samples(tmp_path, split) == kept


def test_the_index_counts_and_points(tiny_shards: Path, picture_files: list[Path]) -> None:
    index = Shards(str(tiny_shards)).index()
    assert index == ShardIndex.model_validate_json((tiny_shards / "index.json").read_bytes())
    assert index.spec.augmentation.patch == 64
    assert sum(index.splits[split].images for split in SPLITS) == len(picture_files)
    for split in SPLITS:
        entry, found = index.splits[split], samples(tiny_shards, split)
        assert entry.samples == len(found) == 5 * entry.images
        assert set(entry.per_source.values()) == {5}
        assert set(entry.per_source) == {facts["source"] for _, _, facts in found}
        sizes = [len(shard.samples) for shard in entry.shards]
        assert sizes[:-1] == [7] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= 7
        patches = Shards(str(tiny_shards)).patches(split)
        with patches.reader() as reader:
            assert [reader.read(position) for position in range(len(patches))] == [png for _, png, _ in found]
    on_disk = {path.name for path in tiny_shards.iterdir()}
    named = {shard.file for split in SPLITS for shard in index.splits[split].shards}
    assert on_disk == named | {"index.json"}


def test_samples_are_the_patches_with_their_facts(tiny_shards: Path, picture_files: list[Path]) -> None:
    known = {image.sha256: image for image in sources(picture_files)}
    for split in SPLITS:
        for key, png, facts in samples(tiny_shards, split):
            assert set(facts) == {"source", "sha256", "scale", "angle", "crop"}
            image = known[facts["sha256"]]
            assert facts["source"] == image.path.name
            sha, _, number = key.partition("-")
            assert image.sha256.startswith(sha)
            rgb = decode_rgb(image.path.read_bytes())
            drawn = list(cut_patches(rgb, SPEC, 5, (SEED, image.sha256)))[int(number)]
            assert facts == {"source": image.path.name, "sha256": image.sha256, **drawn.facts()}
            assert np.array_equal(decode_rgb(png), drawn.rgb)
            told = {key: facts[key] for key in ("scale", "angle", "crop")}
            assert np.array_equal(decode_rgb(png), cut_again(rgb, SPEC.patch, **told))
        keys = [key for key, _, _ in samples(tiny_shards, split)]
        assert len(set(keys)) == len(keys)


def test_webdataset_reads_them(tiny_shards: Path) -> None:
    import webdataset

    urls = sorted(str(path) for path in tiny_shards.glob("train-*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing the files to the collector
        read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
        gc.collect(1)  # of the young objects: all others would take seconds
    assert [(s["__key__"], s["png"]) for s in read] == [s[:2] for s in samples(tiny_shards, "train")]


def test_pictures_that_are_too_small_are_a_source_error(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.png" for k in range(6)]
    for k, path in enumerate(paths):
        path.write_bytes(encode_png(np.full((63, 300, 3), 40 * k, np.uint8)))
    with pytest.raises(SourceError, match=r"the train split is empty: \d of 6 pictures.*64x64 patch"):
        write_shards(sources(paths), SPEC, tmp_path / "out", parallel_map=map)
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_split_without_a_picture_is_a_source_error(picture_files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the val split is empty: 0 of 8"):
        write_shards(sources(picture_files), SPEC.model_copy(update={"train_share": 1.0}), tmp_path, parallel_map=map)


def test_large_patches_of_the_pictures_that_train(picture_files: list[Path], tiny_shards: Path, tmp_path: Path) -> None:
    """They lie beside the other splits, whose bytes stay as they are."""
    spec = SPEC.model_copy(update={"large": LargePatches(patch=112, patches_per_image=3)})
    reported: list[tuple[int, int]] = []
    write_shards(
        sources(picture_files),
        spec,
        tmp_path,
        parallel_map=in_processes(2),
        progress=lambda done, total: reported.append((done, total)),
    )
    index, without = Shards(str(tmp_path)).index(), Shards(str(tiny_shards)).index()
    total = len(picture_files) + without.splits["train"].images
    assert reported == [(done, total) for done in range(1, total + 1)]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("[tv]*.tar")} == {
        path.name: path.read_bytes() for path in tiny_shards.glob("*.tar")
    }
    assert {split: index.splits[split] for split in SPLITS} == without.splits
    large, train = samples(tmp_path, "large"), samples(tmp_path, "train")
    assert 2 * without.splits["train"].images < len(large) <= 3 * without.splits["train"].images
    assert {facts["sha256"] for _, _, facts in large} == {facts["sha256"] for _, _, facts in train}
    assert {decode_rgb(png).shape for _, png, _ in large} == {(112, 112, 3)}
    assert {len(shard.samples) for shard in index.splits["large"].shards[:-1]} == {2}, "as large as seven of 64x64"
    patches = Shards(str(tmp_path)).patches("large")
    assert (len(patches), patches.side) == (len(large), 112)


def test_shards_without_large_patches_say_so(tiny_shards: Path) -> None:
    assert '"large"' not in (tiny_shards / "index.json").read_text(), "an option that is off leaves no trace"
    with pytest.raises(SourceError, match=r"no large patches in .*: see `shards\.large`"):
        Shards(str(tiny_shards)).patches("large")


def test_the_same_picture_twice_makes_no_key_twice(picture_files: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(picture_files[0].read_bytes())
    write_shards(sources([*picture_files, copy]), SPEC, tmp_path / "out", parallel_map=map)
    for split in SPLITS:
        samples(tmp_path / "out", split)
