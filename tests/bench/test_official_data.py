"""Readers of the official datasets, on small folders of the same layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from podium.bench.coco import open_coco, read_coco
from podium.bench.coco_masks import open_coco_masks
from podium.bench.imagenet import open_imagenet
from podium.bench.kits import Kits, open_kits, slide
from podium.bench.registry import find_task
from podium.bench.run import prepared, run_once
from podium.bench.tasks.dlrm import ClickLogs, DLRMTask, make_logs
from podium.errors import InputError
from podium.models.dlrm import DLRMConfig
from podium.models.maskrcnn import Detection, MaskRCNN, MaskRCNNConfig
from podium.models.resnet import ResNetConfig
from podium.models.ssd import SSD, SSDConfig
from podium.train.optim import OptimizerConfig
from podium.train.trainer import TrainConfig, train

DLRM_TASK = find_task("dlrm")
MASKRCNN_TASK = find_task("maskrcnn")
RESNET_TASK = find_task("resnet")


class Quiet:
    """A run log that keeps nothing."""

    def point(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def start(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def end(self, key: str, value: Any = None, **metadata: Any) -> None: ...
    def metrics(self, step: int, **values: float) -> None: ...


class Brightness(nn.Module):
    """Class 1 where a voxel is above one half, class 2 above one and a half: needs no neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return -20 * (x - torch.arange(3.0)[:, None, None, None]).abs() * self.scale


def write_cases(folder: Path, shapes: list[tuple[int, int, int]]) -> None:
    draw = np.random.default_rng(0)
    for number, shape in enumerate(shapes):
        label = draw.integers(0, 3, (1, *shape), dtype=np.uint8)
        np.save(folder / f"case_{number:05d}_y.npy", label)
        np.save(folder / f"case_{number:05d}_x.npy", label.astype(np.float32) + draw.uniform(-0.3, 0.3, label.shape))
    (folder / "evaluation_cases.txt").write_text("case_00001\ncase_00003\n")


def test_kits_patches_and_sliding_evaluation(tmp_path: Path):
    write_cases(tmp_path, [(20, 16, 16), (16, 23, 9), (17, 30, 16), (33, 16, 18)])
    data = open_kits(tmp_path, Kits(patch=16), batch=2, seed=0, classes=3)
    assert (data.train_samples, data.eval_samples) == (2, 2)
    batch = data.batches.next()
    assert batch.inputs[0].shape == (2, 1, 16, 16, 16)
    assert torch.equal(batch.inputs[0][:, 0].round().long(), batch.labels[0])  # mirrored alike
    # Cases smaller and larger than a patch, all voxels told by their own brightness.
    assert data.evaluate(Brightness()) == {"mean_dice": 1.0, "kidney_dice": 1.0, "tumour_dice": 1.0}


def test_sliding_gives_every_voxel_its_class():
    torch.manual_seed(0)
    truth = torch.randint(0, 3, (19, 40, 16))
    assert torch.equal(slide(Brightness(), truth.float(), Kits(patch=16), 3), truth)


def test_kits_that_are_incomplete_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="0 cases"):
        open_kits(tmp_path, Kits(), 1, 0, 3)
    write_cases(tmp_path, [(16, 16, 16)] * 4)
    (tmp_path / "case_00003_y.npy").unlink()
    with pytest.raises(InputError, match="case_00003_y"):
        open_kits(tmp_path, Kits(), 1, 0, 3)


def write_images(folder: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for part, number in (("train", 3), ("val", 2)):
        for name, colour in (("n01", (255, 0, 0)), ("n02", (0, 0, 255))):
            (folder / part / name).mkdir(parents=True)
            for index in range(number):
                picture = image.new("RGB", (300 + 20 * index, 260), colour)
                picture.save(folder / part / name / f"{name}_{index}.JPEG")


def test_imagenet_folders_give_normalised_images_with_their_classes(tmp_path: Path):
    write_images(tmp_path)
    batches = [open_imagenet(tmp_path, 4, seed=1, workers=workers).batches.next() for workers in (1, 4)]
    (images,), (labels,) = batches[0].inputs, batches[0].labels
    assert images.shape == (4, 3, 224, 224)
    assert torch.equal(images, batches[1].inputs[0])  # whatever the threads do
    for picture, label in zip(images, labels.tolist(), strict=True):
        red, blue = float(picture[0].mean()), float(picture[2].mean())
        assert (red > blue) == (label == 0)
        assert red == pytest.approx((255 - 123.675) / 58.395 if label == 0 else -123.675 / 58.395, abs=0.1)

    class Redness(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x.mean((2, 3))[:, [0, 2]]

    data = open_imagenet(tmp_path, 3, seed=1, workers=2)
    assert data.evaluate(Redness()) == {"accuracy": 1.0}
    assert (data.train_samples, data.eval_samples) == (6, 4)


def test_other_folders_than_imagenet_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no images"):
        open_imagenet(tmp_path, 1, 0, 1)
    write_images(tmp_path)
    (tmp_path / "val" / "n02").rename(tmp_path / "val" / "n03")
    with pytest.raises(InputError, match="not the same"):
        open_imagenet(tmp_path, 1, 0, 1)


def write_coco(folder: Path, evaluation: int = 1) -> None:
    """Two pictures to train and some to evaluate; category ids with a gap; a crowd and an empty picture."""
    image = pytest.importorskip("PIL.Image")
    (folder / "annotations").mkdir()
    for part, number in (("train2017", 3), ("val2017", evaluation)):
        (folder / part).mkdir()
        entries = []
        for index in range(number):
            picture = np.full((80, 120, 3), 30, dtype=np.uint8)
            picture[20:60, 30:90] = (220, 40, 40)
            image.fromarray(picture).save(folder / part / f"{index}.jpg", quality=95)
            entries.append({"id": 10 + index, "file_name": f"{index}.jpg", "width": 120, "height": 80})
        square = [30.0, 20, 90, 20, 90, 60, 30, 60]
        objects = [
            {"image_id": 10 + index, "category_id": 7, "bbox": [30, 20, 60, 40], "iscrowd": 0, "segmentation": [square]}
            for index in range(number if number != 3 else 2)
        ]
        crowd = {"counts": [0, 80 * 120], "size": [80, 120]}
        objects.append({"image_id": 10, "category_id": 3, "bbox": [0, 0, 120, 80], "iscrowd": 1, "segmentation": crowd})
        for number, entry in enumerate(objects, start=1):
            entry.update(id=number, area=entry["bbox"][2] * entry["bbox"][3])
        content = {"images": entries, "annotations": objects, "categories": [{"id": 7}, {"id": 3}], "info": {}}
        (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def test_coco_crops_keep_boxes_on_their_objects(tmp_path: Path):
    write_coco(tmp_path)
    model = SSD(SSDConfig(classes=3)).initialise(0)
    with pytest.raises(InputError, match=r"backbone\.pth"):
        open_coco(tmp_path, model, 2, 0, 2)
    weights = model.backbone.state_dict()
    marked = {**weights, "conv1.weight": torch.full_like(weights["conv1.weight"], 0.25), "fc.bias": torch.zeros(1000)}
    torch.save(marked, tmp_path / "backbone.pth")
    data = open_coco(tmp_path, model, 2, 0, 2)
    assert model.backbone.conv1.weight[0, 0, 0, 0].item() == 0.25
    assert (data.train_samples, data.eval_samples) == (2, 1)
    cropped = 0
    for _ in range(12):
        batch = data.batches.next()
        (images,), (boxes, classes) = batch.inputs, batch.labels
        assert images.shape == (2, 3, 300, 300)
        for picture, row, kinds in zip(images, boxes, classes, strict=True):
            assert kinds.tolist() == [2]  # category 7 is the second of 3 and 7
            left, top, right, bottom = row[0].round().int().tolist()
            excess = (picture[0] * 58.395 + 123.675) - (
                picture[2] * 57.375 + 103.53
            )  # red over blue, whatever the shift
            red = excess > excess.max() / 2
            covered = red[top:bottom, left:right].float().mean()
            assert covered > 0.93
            outside = red.sum() - red[top:bottom, left:right].sum()
            assert outside < 0.03 * red.numel()
            cropped += bool(red.float().mean() > 0.3)
    assert cropped  # the object fills a quarter of the whole picture
    assert 0.0 <= data.evaluate(model.eval())["box_ap"] <= 1.0


TINY = MaskRCNNConfig(
    classes=3,
    backbone=ResNetConfig(layers=(1, 1, 1, 1), width=8, classes=0),
    pyramid=8,
    proposals_before=20,
    proposals=10,
    proposals_tested=10,
    box_hidden=8,
    mask_width=8,
    mask_layers=1,
    frozen=True,
)


def write_backbone(folder: Path, model: MaskRCNN) -> None:
    torch.save({**model.backbone.state_dict(), "fc.bias": torch.zeros(1000)}, folder / "backbone.pth")


def test_coco_outlines_lie_on_their_objects_and_the_frozen_part_stays(tmp_path: Path):
    write_coco(tmp_path)
    model = MaskRCNN(TINY).initialise(0)
    with pytest.raises(InputError, match=r"backbone\.pth"):
        open_coco_masks(tmp_path, model, 2, 0, shorter=100, longer=200, workers=2)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "backbone.pth")
    with pytest.raises(InputError, match=r"ResNet-50|no .* in it"):
        open_coco_masks(tmp_path, model, 2, 0, shorter=100, longer=200, workers=2)
    write_backbone(tmp_path, model)
    data = open_coco_masks(tmp_path, model, 2, 0, shorter=100, longer=200, workers=2)
    assert (data.train_samples, data.eval_samples) == (2, 1)
    batch = data.batches.next()
    (images, sizes), (boxes, classes, masks) = batch.inputs, batch.labels
    assert images.shape == (2, 3, 128, 160)  # 100 x 150, in whole cells of 32
    assert masks.shape == (2, 1, 128, 160)
    assert sizes.tolist() == [[100, 150]] * 2
    for picture, box, kind, mask in zip(images, boxes, classes, masks, strict=True):
        assert kind.tolist() == [2]
        assert box[0].tolist() == pytest.approx([37.5, 25, 112.5, 75])
        assert (mask[0] == ((picture[0] * 58.395 + 123.675) > 125)).float().mean() > 0.99
    config = TrainConfig(steps=2, optimizer=OptimizerConfig(name="sgd", lr=0.01), guard_sigmas=0, clip=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, MASKRCNN_TASK.objective(MASKRCNN_TASK.presets["full"]), data.batches, config, tmp_path, runlog=Quiet())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "backbone.layer2.0.conv2.weight" in changed
    assert "pyramid.lateral.0.weight" in changed
    assert not {name for name in changed if name.startswith(("backbone.conv1", "backbone.layer1"))}
    assert not {name for name in changed if name.startswith("backbone") and ("bn" in name or "downsample.1" in name)}
    values = data.evaluate(model.eval())
    assert set(values) == {"box_ap", "mask_ap"}


class Blurred(MaskRCNN):
    """Finds what is there, not quite in place, more often than it is there, and what is not there."""

    def detect(self, images: torch.Tensor, **where: Any) -> list[Detection]:
        found = []
        for height, width in where["originals"]:
            corner = torch.rand(8, 2) * 12 + torch.tensor([24.0, 14])
            boxes = torch.cat([corner, corner + torch.rand(8, 2) * 12 + torch.tensor([54.0, 34])], 1)
            down, across = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
            masks = torch.stack(
                [(across > b[0]) & (across < b[2]) & (down > b[1]) & (down < b[3]) for b in boxes.unbind()]
            )
            found.append(Detection(boxes, torch.rand(8), torch.randint(1, 3, (8,)), masks))
        self.said += found
        return found


def test_coco_is_judged_as_by_its_own_tool(tmp_path: Path):
    """All the way from the annotations on disk, polygons and a crowd, to both figures."""
    coco = pytest.importorskip("pycocotools.coco")
    mask_tool, evaluation = pytest.importorskip("pycocotools.mask"), pytest.importorskip("pycocotools.cocoeval")
    write_coco(tmp_path, evaluation=6)
    model = Blurred(TINY).initialise(0)
    model.said = []
    write_backbone(tmp_path, model)
    torch.manual_seed(5)
    values = open_coco_masks(tmp_path, model, 4, 0, shorter=100, longer=200, workers=2).evaluate(model)
    truth = coco.COCO(str(tmp_path / "annotations" / "instances_val2017.json"))
    for kind, mine in (("bbox", values["box_ap"]), ("segm", values["mask_ap"])):
        results = []
        for number, found in enumerate(model.said):
            for box, score, label, mask in zip(found.boxes, found.scores, found.classes, found.masks, strict=True):
                left, top, right, bottom = box.double().tolist()
                entry = {"image_id": 10 + number, "category_id": [3, 7][int(label) - 1], "score": float(score)}
                if kind == "bbox":
                    entry["bbox"] = [left, top, right - left, bottom - top]
                else:
                    entry["segmentation"] = mask_tool.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
                results.append(entry)
        judge = evaluation.COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        assert 0.05 < judge.stats[0] < 0.95
        assert mine == pytest.approx(float(judge.stats[0]), abs=1e-6)


def test_other_files_than_cocos_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="missing"):
        read_coco(tmp_path, "train2017")
    write_coco(tmp_path)
    (tmp_path / "annotations" / "instances_train2017.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="no annotations"):
        read_coco(tmp_path, "train2017")


def test_full_size_needs_the_official_dataset(tmp_path: Path):
    with pytest.raises(InputError, match="ImageNet") as error:
        prepared(RESNET_TASK, "full")
    assert "--data" in error.value.cure
    with pytest.raises(InputError, match="no folder"):
        prepared(RESNET_TASK, "full", tmp_path / "nowhere")
    with pytest.raises(InputError, match="makes its own data"):
        prepared(RESNET_TASK, "smoke", tmp_path)


def test_click_logs_are_sealed_when_first_seen_and_read_in_place(tmp_path: Path):
    logs = ClickLogs((50,) * 26, train=300, evaluation=100)
    full = DLRM_TASK.presets["full"]

    class Few(DLRMTask):
        presets = {  # noqa: RUF012
            "full": replace(
                full,
                data=logs,
                batch=50,
                network=DLRMConfig(tables=logs.tables, bottom=(8,), top=(8,)),
                train=full.train.model_copy(update={"steps": 4, "evaluate_every": 2}),
            )
        }

    for name, columns in make_logs(logs).items():
        np.save(tmp_path / f"{name}.npy", columns)
    task = Few()
    assert prepared(task, "full", tmp_path) == tmp_path
    assert (tmp_path / "manifest.json").exists()
    data = task.open(task.presets["full"], tmp_path, nn.Identity(), 0)
    batch = data.batches.next()
    assert batch.inputs[0].shape == (50, 13)
    assert batch.inputs[1].shape == (50, 26)
    log = tmp_path.parent / f"{tmp_path.name}.txt"
    outcome = run_once(task, "full", log, seed=1, data=tmp_path, progress=False)
    assert (outcome.status, outcome.steps) == ("aborted", 4)  # the open division keeps the official target
    clicks = np.load(tmp_path / "clicks.npy")
    clicks[3] ^= 1
    np.save(tmp_path / "clicks.npy", clicks)
    with pytest.raises(InputError, match="sha256"):
        prepared(task, "full", tmp_path)
    np.save(tmp_path / "clicks.npy", clicks[:-1])
    with pytest.raises(InputError, match="399 rows"):
        task.open(task.presets["full"], tmp_path, nn.Identity(), 0)
