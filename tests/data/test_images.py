"""Decoding: each rule at the top of the module, each error, and damage of all kinds."""

import contextlib
import io
import random
import struct
import threading
import warnings
import zlib

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from diffagiqa.data.images import (
    FORMATS,
    ImageLimits,
    _interpolate,
    decode_image,
    fit_image,
    read_image_bytes,
    without_warnings,
)
from diffagiqa.errors import ConfigError, ImageError

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def encoded(image=None, kind="PNG", **options):
    out = io.BytesIO()
    (Image.fromarray(RGB) if image is None else image).save(out, kind, **options)
    return out.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header_only_png(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels)


# What can be given


def test_every_kind_of_source_gives_the_same_pixels(tmp_path):
    path = tmp_path / "a cat é.png"
    path.write_bytes(encoded())
    with fsspec.open("memory://images/cat.png", "wb") as file:
        file.write(encoded())
    sources = [
        path,
        str(path),
        path.as_uri(),
        "memory://images/cat.png",
        encoded(),
        bytearray(encoded()),
        memoryview(encoded()),
        io.BytesIO(encoded()),
        Image.fromarray(RGB),
        Image.open(path),
        RGB,
        RGB.astype(np.float32) / 255,
        RGB.astype(np.float64) / 255,
        RGB.astype(np.uint16) * 257,
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        (torch.from_numpy(RGB).permute(2, 0, 1) / 255).requires_grad_(),
    ]
    for source in sources:
        found = decode_image(source)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, RGB)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format(kind):
    found = decode_image(encoded(Image.new("RGB", (32, 24), (200, 100, 50)), kind))
    assert found.shape == (24, 32, 3)
    assert np.abs(found.astype(int) - (200, 100, 50)).max() <= 4


# The rules


def test_grey_and_bilevel():
    grey = RGB[..., 0]
    np.testing.assert_array_equal(
        decode_image(encoded(Image.fromarray(grey))), np.stack([grey] * 3, -1)
    )
    bits = decode_image(encoded(Image.fromarray(grey > 127)))
    np.testing.assert_array_equal(bits[..., 0], (grey > 127) * 255)
    np.testing.assert_array_equal(decode_image(grey), decode_image(grey[..., None]))
    np.testing.assert_array_equal(decode_image(grey > 127), bits)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(kind):
    values = np.array([[0, 128, 129, 255, 256, 257, 32768, 65535]], np.uint16)
    found = decode_image(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 1, 1, 1, 1, 128, 255])


def test_floating_point_tiff():
    values = np.array([[0, 0.5, 1]], np.float32)
    found = decode_image(encoded(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(found[0, :, 0], [0, 128, 255])
    with pytest.raises(ImageError, match=r"holds values from 0 to 2; give float in \[0, 1\]"):
        decode_image(encoded(Image.fromarray(values * 2), "TIFF"))


def test_32_bit_grey_is_refused():
    image = Image.fromarray(np.array([[0, 70000]], np.int32))
    with pytest.raises(ImageError, match="grey values from 0 to 70000; save it with 8 or 16 bits"):
        decode_image(encoded(image, "TIFF"))


def test_transparency_is_laid_on_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 51, 255
    expected = [255, 204, 0]
    for source in (encoded(Image.fromarray(rgba)), rgba, rgba.astype(np.float32) / 255):
        np.testing.assert_array_equal(decode_image(source)[0, :, 0], expected)
    la = Image.fromarray(rgba[..., 2:])
    np.testing.assert_array_equal(decode_image(encoded(la))[0, :, 1], expected)
    tensor = torch.from_numpy(rgba).permute(2, 0, 1)
    np.testing.assert_array_equal(decode_image(tensor)[0, :, 2], expected)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_transparency(kind):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    assert decode_image(encoded(image, kind)).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    found = decode_image(encoded(image, kind, transparency=1))
    assert found.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_one_transparent_colour_of_an_rgb_png():
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    found = decode_image(encoded(image, transparency=(9, 9, 9)))
    assert found.tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    image = Image.new("RGB", (16, 16), (200, 40, 90)).convert("CMYK")
    found = decode_image(encoded(image, kind))
    assert np.abs(found.astype(int) - (200, 40, 90)).max() <= 6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animation_gives_its_first_frame(kind):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, kind, save_all=True, append_images=[second], duration=100)
    assert np.abs(decode_image(data)[0, 0].astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # white top left corner
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo))
    found = decode_image(encoded(stored, kind, exif=exif))
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 2


def test_broken_exif_does_not_matter():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"
    assert decode_image(encoded(kind="JPEG", exif=exif)).shape == RGB.shape


def test_smallest_and_longest():
    assert decode_image(encoded(Image.new("RGB", (1, 1), "red"))).tolist() == [[[255, 0, 0]]]
    for size in ((500, 50), (50, 500)):
        image = decode_image(encoded(Image.new("RGB", size)))
        assert fit_image(image, 16).shape == (3, 16, 16)


# Faults


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_cut_short(kind, part):
    data = encoded(kind=kind)
    with pytest.raises(ImageError, match="damaged"):
        decode_image(data[: int(len(data) * part)])


def test_message_of_a_cut_file(tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(encoded()[:-200])
    with pytest.raises(
        ImageError, match=r"cat\.png is damaged or cut short \(.+\); make or copy the image again"
    ):
        decode_image(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", r"the image data is empty \(0 bytes\); make or copy"),
        (b"hello, world", r"not an image.*starts with 'hello, w'; give one of PNG, JPEG"),
        (b"hi\n\x00\xff there", r"starts with 'hi\.\.\. th'; give"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (encoded(kind="ICO"), "not an image"),
        (encoded(kind="PPM"), "not an image"),
        (3, "found int where an image was expected; give a path, bytes"),
        (None, "found NoneType where an image was expected"),
        (io.StringIO("text"), "the file is open as text; open it in binary mode"),
        ("no/such/cat.png", r"no/such/cat\.png does not exist; check the path"),
        ("evil\x1b[2J.png", r"evil\\x1b\[2J.png does not exist"),
        ("null\0.png", "cannot be opened"),
        ("/dev/zero", "is not a file"),
        (".", "is not a file; give the path of a file"),
        (
            "https://example.org/cat.png",
            "is a web address, and only https:// on hosts named by",
        ),
        ("simplecache::https://example.org/cat.png", "expected a path, a file:// URL or one of"),
        ("ftp://example.org/cat.png", "cannot be opened: expected a path"),
        ("file://elsewhere/cat.png", "names the machine 'elsewhere' in a file URL"),
        ("file://[x/cat.png", r"is no URL \(Invalid IPv6 URL\); write file:///"),
        ("memory://no/such.png", "does not exist"),
        (np.zeros((2, 2, 2), np.uint8), r"the array has shape \(2, 2, 2\); give one image as"),
        (np.zeros((3, 8, 8), np.uint8), r"has shape \(3, 8, 8\)"),
        (np.zeros((0, 4, 3), np.uint8), "the array is 4 x 0; an image needs at least one pixel"),
        (np.zeros((2, 2), np.int64), "is of type int64; give uint8, or float"),
        (np.array(["x"]), "has shape"),
        (np.full((2, 2), np.nan), r"holds values from nan to nan; give float in \[0, 1\]"),
        (np.full((2, 2), 255.0), "holds values from 255 to 255"),
        (np.full((2, 2), -0.1), "holds values from -0.1 to -0.1"),
        (torch.zeros(1, 3, 4, 4), r"the tensor has shape \(1, 3, 4, 4\); give it as"),
        (torch.zeros(8, 8, 3), r"the tensor has shape \(8, 8, 3\)"),
        (Image.new("RGB", (0, 3)), "the PIL image is 0 x 3; an image needs at least one pixel"),
    ],
)
def test_faults(source, message):
    with pytest.raises(ImageError, match=message):
        decode_image(source)


def test_size_limits_hold_before_decoding(tmp_path):
    with pytest.raises(ImageError, match="has 400,000,000 pixels, and the limit is 100,000,000"):
        decode_image(header_only_png(20_000, 20_000))
    with pytest.raises(ImageError, match="has 100,010,000 pixels"):
        decode_image(header_only_png(10_001, 10_000))
    small = ImageLimits(max_bytes=2000, max_pixels=RGB.size // 3 - 1)
    for source in (Image.fromarray(RGB), RGB, torch.zeros(3, 24, 32)):
        with pytest.raises(ImageError, match="has 768 pixels, and the limit is 767; scale it down"):
            decode_image(source, small)
    with pytest.raises(ImageError, match=r"the image data holds .* bytes, and the limit is 2,000"):
        decode_image(encoded(), small)
    path = tmp_path / "cat.png"
    path.write_bytes(encoded())
    for source in (path, io.BytesIO(encoded())):
        with pytest.raises(ImageError, match="holds more than 2,000 bytes, which is the limit"):
            decode_image(source, small)
    with pytest.raises(ConfigError, match="is 0; expected a whole number of 1 or more"):
        ImageLimits(max_pixels=0)


def test_broken_stream():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(ImageError, match=r"cannot be read \(Input/output error\); check the file"):
        decode_image(Broken())


def test_bytes_are_read_once_from_a_stream_in_parts():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 100))

    assert read_image_bytes(Slow(encoded())) == encoded()


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FORMATS), st.integers(0, 2**32 - 1))
def test_flipped_bytes_are_decoded_or_reported(kind, seed):
    rng = random.Random(seed)
    data = bytearray(encoded(kind=kind))
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(min(len(data), rng.choice([60, len(data)])))] = rng.randrange(256)
    with contextlib.suppress(ImageError):
        found = decode_image(bytes(data), ImageLimits(max_pixels=1_000_000))
        assert found.dtype == np.uint8
        assert found.ndim == 3


def test_warnings_stay_inside_and_filters_are_restored():
    before = list(warnings.filters)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12"
    data = encoded(kind="JPEG", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode_image(data)
    both = threading.Barrier(2)

    def overlap(wait_first):
        with without_warnings():
            both.wait()
            if wait_first:
                both.wait()
        if not wait_first:
            both.wait()

    threads = [threading.Thread(target=overlap, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# Fitting


def test_a_square_of_the_right_size_is_untouched():
    image = RGB[:, :24]
    found = fit_image(image, 24)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal((found.permute(1, 2, 0) * 255).round().numpy(), image)
    tensor = torch.rand(2, 3, 24, 24)
    assert fit_image(tensor, 24).equal(tensor)


@pytest.mark.parametrize(("height", "width"), [(1300, 700), (30, 2000), (5, 7), (1, 1), (1, 600)])
def test_strips_equal_one_call(height, width):
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    plain = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(fit_image(image, 64), _interpolate(plain, 64, 64), atol=2e-7, rtol=0)
    torch.testing.assert_close(fit_image(plain, 64), _interpolate(plain, 64, 64), atol=0, rtol=0)


def test_enlarging_is_plain_bilinear():
    image = torch.rand(1, 3, 20, 33)
    plain = torch.nn.functional.interpolate(image, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(fit_image(image, 64), plain, atol=1e-6, rtol=0)


def test_shrinking_agrees_with_pillow():
    image = np.asarray(Image.fromarray(RGB).resize((200, 150), Image.Resampling.BICUBIC))
    ours = fit_image(image, 32).permute(1, 2, 0).numpy() * 255
    theirs = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(ours - theirs).max() <= 1.5  # Pillow rounds to 8 bits between the two axes


def test_crop_keeps_the_middle():
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 255
    assert fit_image(image, 20, "crop").min() == 1
    assert fit_image(image, 20, "resize").mean().item() == pytest.approx(1 / 3, abs=0.02)
    assert fit_image(np.zeros((1, 100_000, 3), np.uint8), 64, "crop").shape == (3, 64, 64)


def test_pad_adds_grey_borders():
    found = fit_image(np.full((10, 40, 3), 255, np.uint8), 40, "pad")
    assert (found[:, 15:25] == 1).all()
    assert (found[:, :15] == 0.5).all()
    assert (found[:, 25:] == 0.5).all()
    assert fit_image(np.zeros((1, 1000, 3), np.uint8), 16, "pad").shape == (3, 16, 16)


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_gradients_pass_and_arrays_equal_tensors(fit):
    image = (torch.from_numpy(RGB).permute(2, 0, 1).float() / 255).requires_grad_()
    found = fit_image(image, 40, fit)
    torch.testing.assert_close(found, fit_image(RGB, 40, fit), atol=1e-6, rtol=0)
    found.sum().backward()
    assert image.grad.abs().sum() > 0
    batch = torch.from_numpy(RGB).permute(2, 0, 1).expand(2, 1, 3, 24, 32)
    torch.testing.assert_close(fit_image(batch, 40, fit)[1, 0], found, atol=1e-6, rtol=0)


def test_views_are_fitted():
    torch.testing.assert_close(fit_image(RGB[::-1, ::-1], 8), fit_image(RGB[::-1, ::-1].copy(), 8))
    frozen = RGB.copy()
    frozen.flags.writeable = False
    torch.testing.assert_close(fit_image(frozen, 8), fit_image(RGB, 8))


@pytest.mark.parametrize(
    ("image", "size", "fit", "error", "message"),
    [
        (np.zeros((4, 4), np.uint8), 8, "resize", ImageError, r"shape \(4, 4\) and type uint8"),
        (np.zeros((4, 4, 3)), 8, "resize", ImageError, r"type float64; give \(H, W, 3\) uint8"),
        (torch.zeros(4, 4, 3), 8, "resize", ImageError, r"shape \(4, 4, 3\); give \(..., 3, H, W"),
        (torch.zeros(3, 4, 4), 0, "resize", ConfigError, "size is 0; give a positive number"),
        (torch.zeros(3, 4, 4), 8, "squash", ConfigError, "fit is 'squash'; expected 'resize'"),
    ],
)
def test_fit_faults(image, size, fit, error, message):
    with pytest.raises(error, match=message):
        fit_image(image, size, fit)
