"""The entries of the catalogue: where each data set lies on the web, and what is known of it.

They are the image-folder sets that fastai's `URLs` name (fastai 2.8.12, `fastai/data/external.py`).
Sizes, and the md5 of an archive's first MiB, are those of `fastai/data/download_checks.py`. Three
kinds of checksum are told apart:

    checksum         of the whole file, from a library that checks it itself: another one is refused
    reported_md5     of the whole file, as somebody saw it: a difference is said, not insisted on
    first_mib_md5    fastai's own, of the first MiB only: never compared with a whole file's

None of these addresses could be tried while this was written: what arrives decides, and where it
differs from what is recorded the reader is told.

Not among them, though `URLs` names them: Oxford's flowers and Stanford's cars (a file beside the
pictures says the classes, neither folders nor names do), LSUN bedrooms (one class), PLANET (several
labels a picture), and all that is no classification of pictures.
"""

from __future__ import annotations

from typing import Literal

from fastmagic.data.entry import DataSet, LessonDefaults, Source

S3 = "https://s3.amazonaws.com/fast-ai-"
"""Where fastai keeps its data sets (`fastai.data.external.URLs.S3`)."""


OWN_PICTURES = LessonDefaults("classic", "resnet34", 224, 3, 3e-3, 64, "imagenet")
"""For a folder of the reader's own pictures."""

_SMALL = LessonDefaults("classic", "resnet34", 128, 3, 3e-3, 64, "imagenet")
_TINY = LessonDefaults("classic", "resnet18", 64, 3, 3e-3, 64, "imagenet")  # 28 or 32 px, enlarged


def _of_fastai(
    name: str,
    title: str,
    tail: str,
    archive_bytes: int,
    first_mib_md5: str,
    counts: tuple[int, int],
    *others: Source,
    checksum: str = "",
    reported_md5: str = "",
    pictures_in: str = "",
    split: Literal["folders", "seed"] = "folders",
    defaults: LessonDefaults = OWN_PICTURES,
) -> DataSet:
    """Make an entry whose first source is fastai's, and whose folder is its archive's stem."""
    first = Source(f"{S3}{tail}.tgz", archive_bytes, checksum, first_mib_md5, reported_md5)
    folder = tail.rsplit("/", 1)[-1]
    pictures, classes = counts
    return DataSet(
        name, title, (first, *others), folder, pictures_in, "", pictures, classes, split, defaults
    )


_DOGSCATS = DataSet(
    name="dogscats",
    title="Dogs vs cats, lesson 1",
    sources=(
        Source(  # fastai's URLs.DOGS
            f"{S3}sample/dogscats.tgz",
            839_285_364,
            first_mib_md5="3e483c8d6ef2175e9d395a6027eb92b7",
        ),
        # where fastai 1 had it (its URLs.DOGS of 2018)
        Source("https://files.fast.ai/data/examples/dogscats.tgz", 839_285_364),
        # the 2018 course's own; size from two logs, md5 from one third party
        Source(
            "https://files.fast.ai/data/dogscats.zip",
            857_214_334,
            reported_md5="aef22ec7d472dd60e8ee79eecc19f131",
        ),
    ),
    folder="dogscats",
    pictures_in="",
    label_pattern="",
    pictures=25_000,  # 23,000 train and 2,000 valid, as the 2018 notebook prints
    classes=2,
    split="folders",
    defaults=OWN_PICTURES,
    # The author's own notebook over its git history, 2017-11 to 2018-05: fastai's
    # courses/dl1/lesson1.ipynb, accuracy with TTA on the 2,000 validation pictures.
    reference=(0.991, 0.9965),
)

_PETS = DataSet(
    name="pets",
    title="Oxford-IIIT Pets",
    sources=(
        Source(  # fastai's URLs.PETS
            f"{S3}imageclas/oxford-iiit-pet.tgz",
            811_706_944,
            first_mib_md5="e4db5c768afd933bb91f5f594d7417a4",
        ),
        # the authors' own, only the pictures; md5: torchvision/datasets/oxford_iiit_pet.py
        Source(
            "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
            checksum="md5:5c4f3ee8e5d25df40f4fd59a7f44e54c",
        ),
    ),
    folder="oxford-iiit-pet",
    pictures_in="images",
    label_pattern=r"^(.*)_\d+\.jpg$",
    pictures=7_390,
    classes=37,
    split="seed",
    defaults=LessonDefaults("pets", "resnet34", 224, 4, 3e-3, 64, "imagenet"),
)

_SAMPLE = DataSet(
    name="sample",
    title="Cats and dogs, drawn",
    sources=(),
    folder="fastmagic-sample",
    pictures_in="",
    label_pattern="",
    pictures=640,  # sample.TRAIN + sample.VALID; a test holds them together
    classes=2,
    split="folders",
    defaults=LessonDefaults("scratch", "resnet18", 48, 8, 5e-3, 24, "none", "mirror"),
)

# 9,469 train and 3,925 val, 9,025 and 3,929: github.com/fastai/imagenette, and the same in
# tensorflow.org/datasets/catalog. Whole-file md5 of imagenette: torchvision/datasets/imagenette.py;
# of imagewoof and imagewang: catalyst-team/catalyst, where an older version has others.
_NETTE, _WOOF, _WANG = (13_394, 10), (12_954, 10), (0, 20)

_IMAGENETTES = (
    _of_fastai(
        "imagenette2-160",
        "Imagenette, 160 pixels",
        "imageclas/imagenette2-160",
        99_003_388,
        "c475f8f7617a200ba35b9facc48443c3",
        _NETTE,
        checksum="md5:e793b78cc4c9e9a4ccc0c1155377a412",
        defaults=_SMALL,
    ),
    _of_fastai(
        "imagenette2-320",
        "Imagenette, 320 pixels",
        "imageclas/imagenette2-320",
        341_663_724,
        "1f1f74f133caff120e575856659b87a2",
        _NETTE,
        checksum="md5:3df6f0d01a2c9592104656642f5e78a3",
    ),
    _of_fastai(
        "imagenette2",
        "Imagenette, full size",
        "imageclas/imagenette2",
        1_557_161_267,
        "2c774ecb40005b35d7937d50f5d42336",
        _NETTE,
        checksum="md5:fe2fc210e6bb7c5664d602c3cd71e612",
    ),
    _of_fastai(
        "imagewoof2-160",
        "Imagewoof, 160 pixels",
        "imageclas/imagewoof2-160",
        92_612_825,
        "3559b194123981a540b87132dbda412f",
        _WOOF,
        reported_md5="3d200a7be99704a0d7509be2a9fbfe15",
        defaults=_SMALL,
    ),
    _of_fastai(
        "imagewoof2-320",
        "Imagewoof, 320 pixels",
        "imageclas/imagewoof2-320",
        328_387_740,
        "7a1fd92672a559a85de76e4810a20c21",
        _WOOF,
        reported_md5="0f46d997ec2264e97609196c95897a44",
    ),
    _of_fastai(
        "imagewoof2",
        "Imagewoof, full size",
        "imageclas/imagewoof2",
        1_343_715_595,
        "2cc1c1e36e20cb6fd24ffb978edcb487",
        _WOOF,
        reported_md5="9aafe18bcdb1632c4249a76c458465ba",
    ),
    _of_fastai(
        "imagewang-160",
        "Imagewang, 160 pixels",
        "imageclas/imagewang-160",
        191_498_213,
        "dab9b1d97b95574ac64122a19bc74ca1",
        _WANG,
        reported_md5="1dc388d37d1dc52836c06749e14e37bc",
        defaults=_SMALL,
    ),
    _of_fastai(
        "imagewang-320",
        "Imagewang, 320 pixels",
        "imageclas/imagewang-320",
        669_826_647,
        "fff8ac034d60e14fcf7789845e625263",
        _WANG,
        reported_md5="ff01d7c126230afce776bdf72bda87e6",
    ),
    _of_fastai(
        "imagewang",
        "Imagewang, full size",
        "imageclas/imagewang",
        2_900_347_689,
        "2b7776bac0fc95db72ac8a3b091a3e30",
        _WANG,
        reported_md5="46f9749616a29837e7cd67b103396f6e",
    ),
)

_OTHERS = (
    _of_fastai(
        "birds",
        "Caltech-UCSD Birds 200",
        "imageclas/CUB_200_2011",
        1_150_585_339,
        "d2acaa99439dff0483c7bbac1bfe2a92",
        (11_788, 200),  # data.caltech.edu/records/65de6-vp158
        # of the very size that fastai records; the md5 is in many repositories
        Source(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            1_150_585_339,
            reported_md5="97eceeb196236b17998738112f37df78",
        ),
        split="seed",
    ),
    _of_fastai(
        "food",
        "Food-101",
        "imageclas/food-101",
        5_686_607_260,
        "1a540ebf1fb40b2bf3f2294234ba7907",
        (101_000, 101),  # torchvision/datasets/food101.py, as the next line's md5
        Source(
            "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            checksum="md5:85eeb15f3717b99a5da872d97d918f87",
        ),
        pictures_in="images",
        split="seed",
    ),
    _of_fastai(
        "caltech101",
        "Caltech 101",
        "imageclas/caltech_101",
        131_740_031,
        "d673425306e98ee4619fcdeef8a0e876",
        (0, 0),  # counts differ from source to source
        split="seed",
        defaults=_SMALL,
    ),
    _of_fastai(
        "cifar10",
        "CIFAR-10, 32 pixels",
        "sample/cifar10",
        168_168_549,
        "a5f8c31371b63a406b23368042812d3c",
        (60_000, 10),  # cs.toronto.edu/~kriz/cifar.html, as the next one
        defaults=_TINY,
    ),
    _of_fastai(
        "cifar100",
        "CIFAR-100, 32 pixels",
        "imageclas/cifar100",
        169_168_619,
        "e5e65dcb54b9d3913f7b8a9ad6607e62",
        (60_000, 0),  # its folders may be the 100 classes or their 20 families
        defaults=_TINY,
    ),
    _of_fastai(
        "mnist",
        "MNIST, training part",
        "imageclas/mnist_png",
        15_683_414,
        "03639f83c4e3d19e0a3a53a8a997c487",
        (60_000, 10),  # in `training`, beside `testing`
        pictures_in="training",
        split="seed",
        defaults=_TINY,
    ),
    _of_fastai(
        "mnist_sample",
        "MNIST, only 3 and 7",
        "sample/mnist_sample",
        3_214_948,
        "2dbc7ec6f9259b583af0072c55816a88",
        (14_434, 2),  # 12,396 and 2,038: fastbook, chapter 4
        defaults=_TINY,
    ),
    _of_fastai(
        "mnist_tiny",
        "MNIST, a few 3 and 7",
        "sample/mnist_tiny",
        342_207,
        "56143e8f24db90d925d82a5a74141875",
        (0, 2),
        defaults=_TINY,
    ),
)

SETS = (_DOGSCATS, _PETS, _SAMPLE, *_IMAGENETTES, *_OTHERS)
"""Every data set that has a name; those of the lesson first."""
