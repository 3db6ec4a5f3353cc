import pytest

from lop_lightning.errors import ConfigError
from lop_lightning.tasks.incremental_cifar import IncrementalCIFAR


def test_the_published_sizes():
    stream = IncrementalCIFAR()
    assert (stream.spec.input_shape, stream.spec.output_size, stream.spec.loss) == ((3, 32, 32), 100, "cross_entropy")
    assert [stream.size_of(task) for task in (0, 1, 19)] == [2250, 4500, 45000]
    assert [stream.updates_per_epoch(task) for task in (0, 1, 19)] == [25, 50, 500]
    assert stream.total_updates == 1_050_000
    assert stream._images is None  # nothing was loaded


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({"tasks": 21}, "tasks=21 is not legal: expected at most 20, as each task adds 5 of 100 classes"),
        ({"tasks": 3, "classes_per_task": 40, "batch_size": 40}, "tasks=3 is not legal: expected at most 2"),
        ({"batch_size": 100}, "batch_size=100 is not legal: expected a divisor of 2250, the training images that a "
                              "task adds, such as 90 or 75"),
        ({"batch_size": None}, "batch_size=null is not legal: expected a divisor of 2250"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"train_images": 460}, "train_images=460 is not legal: expected a whole number of at least 1 and at most 450"),
        ({"validation_images": 500}, "validation_images=500"),
        ({"validation_images": 0}, "validation_images=0"),
        ({"test_images": 101}, "test_images=101"),
        ({"classes_per_task": 0}, "classes_per_task=0"),
        ({"representation_images": 0}, "representation_images=0"),
        ({"source": "cifar10"}, "source=cifar10 is not legal: expected one of cifar100, synthetic; did you mean"),
        ({"data_dir": ""}, "data_dir="),
        ({"augment": "yes"}, "augment=yes"),
        ({"augmented_test": 1}, "augmented_test=1"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_line(more, line):
    with pytest.raises(ConfigError) as error:
        IncrementalCIFAR(**more)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_synthetic_images_are_not_limited_to_those_of_cifar():
    assert IncrementalCIFAR(source="synthetic", train_images=900, test_images=200).size_of(0) == 4500
