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
    classes = synthetic("", "train", 40)[:5].float().flatten(2)
    test = synthetic("", "test", 40)[:5].float().flatten(2)
    nearest = torch.cdist(test.flatten(0, 1), classes.mean(1)).argmin(1)
    right = (nearest == torch.arange(5).repeat_interleave(40)).float().mean()
    assert 0.5 < right < 0.95  # chance is 0.2
    neighbour = torch.cdist(test.flatten(0, 1), classes.flatten(0, 1)).argmin(1) // 40
    assert 0.25 < (neighbour == torch.arange(5).repeat_interleave(40)).float().mean() < 0.9


PINNED = "09b816c132a8e1b7bd346c45a1acd575c60049bf1c12533fd6771d153bd70b7b"
