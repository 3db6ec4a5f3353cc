import torch

from lop_lightning.tasks.synthetic_images import synthetic


def test_synthetic_images(sha256):
    images = synthetic("", "train", 6)
    assert images.shape == (100, 6, 3, 1024)
    assert images.dtype == torch.uint8
    assert torch.equal(synthetic("", "train", 4), images[:, :4])
    test = synthetic("", "test", 6)
    assert not torch.equal(test, images)
    assert 90 < images.float().mean() < 160
    assert 30 < images.float().std() < 45
    assert sha256(images[[0, 99], 5]) == PINNED


def test_synthetic_images_can_be_learnt_but_not_at_once():
    train, test = (synthetic("", part, 20).float().flatten(2) for part in ("train", "test"))
    labels = torch.arange(100).repeat_interleave(20)
    by_class_mean = torch.cdist(test.flatten(0, 1), train.mean(1)).argmin(1)
    by_neighbour = torch.cdist(test.flatten(0, 1), train.flatten(0, 1)).argmin(1) // 20
    assert 0.4 < (by_class_mean == labels).float().mean() < 0.8  # chance is 0.01
    assert 0.05 < (by_neighbour == labels).float().mean() < 0.4


PINNED = "3cbaff73c7832598e41e2591a8f20c3ee931b1c0601863597216e5c80903f6c4"
