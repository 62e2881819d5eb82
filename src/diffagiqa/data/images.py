"""Any image -> RGB array -> tensor of the model's size.

The rules, each held by a test:

* One image per file: the first frame of an animation, the default image of an APNG.
* The orientation in EXIF is applied. Colour profiles are not: values are taken as sRGB.
* Transparent pixels are laid on white, as browsers and papers show them. A BMP whose alpha is 0
  everywhere is opaque: programs that know no alpha leave its byte at 0.
* Grey becomes three equal channels; 16 bits are scaled by 1/257, never clipped; CMYK is converted.
* Size and pixel count are checked before pixels are decoded; 1 x 1 and 10:1 images are scored.
* Only ``FORMATS`` are tried: Pillow's other decoders start programs (EPS) or are seldom tested.
* No image is refused for its metadata: where these are too large or damaged, it is decoded without.
* Whatever Pillow raises becomes an ImageError of one sentence.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NoReturn, TypeAlias, Union

import numpy as np
from PIL import Image, features

from diffagiqa import checks
from diffagiqa.data.containers import without_metadata
from diffagiqa.data.samples import printable, read_limited, read_location, reason_of
from diffagiqa.errors import ConfigError, ImageError
from diffagiqa.overlap import SharedContext

if TYPE_CHECKING:
    import torch

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP") + (
    ("AVIF",) if "avif" in features.modules and features.check("avif") else ()
)
Fit: TypeAlias = Literal["resize", "crop", "pad", "native"]
ImageSource: TypeAlias = Union[
    str, os.PathLike[str], bytes, bytearray, memoryview, BinaryIO, Image.Image, np.ndarray,
    "torch.Tensor",
]  # fmt: skip

_ORIENTATION = 0x0112  # EXIF tag; value -> what turns the stored image upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP_ROWS = 512  # rows made float at once: 40 MB for 6,000 columns


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What one image may cost: bytes of its file, and pixels (three bytes each in memory); and which
    ``hosts`` may be asked for it over https."""

    max_bytes: int = 100_000_000
    max_pixels: int = 100_000_000
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checks.whole("max_bytes", self.max_bytes, 1)
        checks.whole("max_pixels", self.max_pixels, 1)


DEFAULT_LIMITS = ImageLimits()


def decode_image(source: ImageSource, limits: ImageLimits = DEFAULT_LIMITS) -> np.ndarray:
    """An image as RGB, uint8, (H, W, 3), by the rules above; ImageError where none applies.

    Args:
        source: path, ``file://`` URL or store URL; the file's bytes or an open binary file; a PIL
            image; an array (H, W) or (H, W, 1|3|4); a tensor (1|3|4, H, W). Arrays and tensors are
            uint8, uint16, bool, or float in [0, 1] (rounded to 8 bits).
        limits: largest file and image.

    >>> decode_image(np.full((2, 3), 0.5, np.float32)).shape
    (2, 3, 3)
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, "the array", limits)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        _check_dense(source, "the tensor")
        if source.ndim != 3 or source.shape[0] not in (1, 3, 4):
            raise ImageError(f"the tensor has shape {tuple(source.shape)}; give it as (3, H, W).")
        rows = source.detach().cpu().permute(1, 2, 0)
        rows = rows.float() if rows.is_floating_point() else rows  # numpy has no bfloat16
        return _from_array(rows.numpy(), "the tensor", limits)
    if isinstance(source, Image.Image):
        shown = "the PIL image"
        _check_size(source.size, shown, limits)
        return _decode(source, shown)
    shown = _name(source)
    data = read_image_bytes(source, limits)
    try:
        return _decode(open_pil(data, shown, limits), shown)
    except ImageError:
        # Pillow refuses a PNG for a large or damaged text or profile; its pixels may be whole.
        for bare in without_metadata(data):
            with suppress(ImageError):
                return _decode(open_pil(bare, shown, limits), shown)
        raise


def read_image_bytes(source: Any, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """The bytes of an image file, read once for its pixels and for its metadata."""
    shown = _name(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
        if len(data) > limits.max_bytes:
            raise ImageError(
                f"{shown} holds {len(data):,} bytes, and the limit is {limits.max_bytes:,}; "
                "give a smaller file or raise the limit."
            )
    elif isinstance(source, (str, os.PathLike)):
        data = read_location(os.fsdecode(source), limits.max_bytes, ImageError, limits.hosts)
    elif hasattr(source, "read"):
        data = read_limited(source, shown, limits.max_bytes, ImageError)
    else:
        raise ImageError(
            f"found {type(source).__name__} where an image was expected; "
            "give a path, bytes, an open file, a PIL image, an array or a tensor."
        )
    if not data:
        raise ImageError(f"{shown} is empty (0 bytes); make or copy the image again.")
    return data


def open_pil(
    data: bytes, shown: str = "the image", limits: ImageLimits = DEFAULT_LIMITS
) -> Image.Image:
    """Read the header of an image file: format, size and metadata, no pixels yet."""
    try:
        with without_warnings():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        begin = re.sub(rb"[^ -~]", b".", data[:8]).decode()  # as a hex editor shows it
        raise ImageError(
            f"{shown} is not an image, or its header is damaged: it starts with '{begin}'; "
            f"give one of {', '.join(FORMATS)}."
        ) from None
    except Image.DecompressionBombError as fault:
        pixels = re.search(r"\((\d+) pixels\)", str(fault))
        _too_large(shown, int(pixels[1]) if pixels else None, limits)
    except Exception as fault:
        raise _undecodable(shown, fault) from fault
    _check_size(image.size, shown, limits)
    return image


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return printable(os.fsdecode(source))
    return "the image data" if isinstance(source, (bytes, bytearray, memoryview)) else "the file"


def _check_size(size: tuple[int, int], shown: str, limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{shown} is {width} x {height}; an image needs at least one pixel.")
    if width * height > limits.max_pixels:
        _too_large(shown, width * height, limits)


def _too_large(shown: str, pixels: int | None, limits: ImageLimits) -> NoReturn:
    half = Image.MAX_IMAGE_PIXELS  # of Pillow's own limit
    most = limits.max_pixels if half is None else min(limits.max_pixels, 2 * half)
    count = f"{pixels:,}" if pixels else "too many"
    raise ImageError(f"{shown} has {count} pixels, and the limit is {most:,}; scale it down first.")


def _undecodable(shown: str, fault: Exception) -> ImageError:
    return ImageError(
        f"{shown} is damaged or cut short ({reason_of(fault)}); make or copy the image again."
    )


def _decode(image: Image.Image, shown: str) -> np.ndarray:
    try:
        with without_warnings():
            image.load()
            if image.format == "BMP" and image.mode == "RGBA":
                image = image if image.getchannel("A").getbbox() else image.convert("RGB")
            return _rgb(_upright(image), shown)
    except ImageError:
        raise
    except Exception as fault:  # decoders raise OSError, SyntaxError, struct.error and more
        raise _undecodable(shown, fault) from fault


def _upright(image: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels, which are whole
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image, shown: str) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits per pixel, grey
        values = np.asarray(image)
        if values.dtype.kind in "iu":
            if values.min() < 0 or values.max() > 65535:
                raise ImageError(
                    f"{shown} holds grey values from {values.min()} to {values.max()}; "
                    "save it with 8 or 16 bits per channel."
                )
            values = values.astype(np.uint16)
        return _from_array(values, shown, None)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size, "white")
        image.paste(rgba, mask=rgba.getchannel("A"))
    return np.array(image.convert("RGB"))  # (H, W, 3)


def _from_array(values: np.ndarray, shown: str, limits: ImageLimits | None) -> np.ndarray:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"{shown} has shape {values.shape}; give one image as (H, W), (H, W, 3) or (H, W, 4)."
        )
    if limits is not None:
        _check_size((values.shape[1], values.shape[0]), shown, limits)
    eight = _eight_bits(values, shown)
    if eight.shape[2] == 4:
        return _rgb(Image.fromarray(np.ascontiguousarray(eight)), shown)
    return np.ascontiguousarray(np.broadcast_to(eight, (*eight.shape[:2], 3)))


def _eight_bits(values: np.ndarray, shown: str) -> np.ndarray:
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype == np.uint16:  # round(v / 257) without leaving integers of 32 bits
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype.kind != "f":
        raise ImageError(f"{shown} is of type {values.dtype}; give uint8, or float in [0, 1].")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # false for NaN
        raise ImageError(
            f"{shown} holds values from {low:g} to {high:g}; give float in [0, 1], or uint8."
        )
    return np.rint(values.astype(np.float32) * 255.0).astype(np.uint8)


def without_warnings() -> SharedContext:
    """Within it, Pillow's warnings about odd files stay off the terminal: what matters is an error."""
    return _QUIET


@contextmanager
def _ignoring() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_QUIET = SharedContext(_ignoring)


def fit_image(
    image: np.ndarray | torch.Tensor,
    size: int,
    fit: Fit = "resize",
    multiple: int = 32,
    longest: int | None = None,
) -> torch.Tensor:
    """Bring an image to the model's size: float32 in [0, 1], (3, size, size), or (..., 3, size, size).

    Bilinear, with antialiasing where it shrinks; an image of the right size is left untouched.
    The same operation serves arrays and tensors, and gradients pass through it.

    * ``resize`` (default) scales both sides. It is the method's own rule, and the network sees the
      whole image, without which alignment cannot be judged; shapes are stretched.
    * ``crop`` takes the middle square: shapes are kept, content at the ends is lost.
    * ``pad`` keeps both and adds mid-grey borders, which the network has never seen.
    * ``native`` gives (3, h, w): the aspect ratio is kept up to rounding both sides to a ``multiple``,
      images of more than size**2 pixels are shrunk to that area, and none is enlarged, but for sides
      below one ``multiple``; no side is over ``longest``, a multiple of it.

    Args:
        image: array (H, W, 3) uint8, or tensor (..., 3, H, W), uint8 or float in [0, 1] (not
            checked: that would cost a GPU a synchronisation).

    >>> fit_image(np.zeros((30, 40, 3), np.uint8), 16).shape
    torch.Size([3, 16, 16])
    """
    import torch

    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(
                f"the array has shape {image.shape} and type {image.dtype}; "
                "give (H, W, 3) uint8, as decode_image returns it."
            )
        # torch shares no memory that is read-only or runs backwards
        shared = image if image.flags.writeable and image.flags.c_contiguous else image.copy()
        image = torch.from_numpy(shared).permute(2, 0, 1)
    if image.ndim < 3 or image.shape[-3] != 3:
        raise ImageError(f"the tensor has shape {tuple(image.shape)}; give (..., 3, H, W).")
    if size < 1:
        raise ConfigError(f"size is {size}; give a positive number.")
    height, width = image.shape[-2:]
    if fit == "resize":
        return _scale(image, size, size)
    if fit == "crop":  # before scaling, so that 1 x 100,000 does not become 512 x 51,200,000
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _scale(image[..., top : top + side, left : left + side], size, size)
    if fit == "pad":
        rows = max(1, round(size * height / max(height, width)))
        columns = max(1, round(size * width / max(height, width)))
        top, left = (size - rows) // 2, (size - columns) // 2
        borders = (left, size - columns - left, top, size - rows - top)
        return torch.nn.functional.pad(_scale(image, rows, columns), borders, value=0.5)
    if fit == "native":
        scale = min(1.0, size / (height * width) ** 0.5)
        rows, columns = (
            max(1, round(side * scale / multiple)) * multiple for side in (height, width)
        )
        if longest is not None:
            rows, columns = min(rows, longest), min(columns, longest)
        return _scale(image, rows, columns)
    raise ConfigError(f"fit is {fit!r}; expected 'resize', 'crop', 'pad' or 'native'.")


def check_batch(images: torch.Tensor) -> None:
    """Raise ``ImageError`` where a tensor is no batch of images: (B, 3, H, W), uint8 or about [0, 1].

    An image on its way through an optimiser may leave [0, 1] by three quarters; one in [-1, 1] or up
    to 255 would be scored as something else. On a GPU this waits for the images.
    """
    import torch

    if not isinstance(images, torch.Tensor):
        raise ImageError(f"images are {checks.shown(images)}; expected a tensor (B, 3, H, W)")
    _check_dense(images, "the tensor of images")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise ImageError(
            f"images have shape {tuple(images.shape)}; expected (B, 3, H, W) with B of 1 or more"
        )
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point() or images.dtype.itemsize == 1:  # float8 has no arithmetic
        raise ImageError(f"images are of type {images.dtype}; expected uint8, or float in [0, 1]")
    low, high = (float(value) for value in images.detach().aminmax())
    if not (low >= -0.75 and high <= 1.75):  # false for NaN
        raise ImageError(
            f"images hold values from {low:g} to {high:g}; expected float in [0, 1], so divide by 255 "
            "or take (x + 1) / 2"
        )


def _check_dense(tensor: torch.Tensor, shown: str) -> None:
    if tensor.is_meta or tensor.is_quantized or str(tensor.layout) != "torch.strided":
        raise ImageError(
            f"{shown} is of layout {tensor.layout} and type {tensor.dtype} on {tensor.device}; "
            "expected a dense one that holds its values"
        )


def _scale(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(..., 3, H, W) -> (..., 3, rows, columns), float32 in [0, 1]."""
    if image.dtype.is_floating_point or image.ndim > 3:
        return _interpolate(image, rows, columns)
    import torch

    # Bilinear scaling is separable: columns strip by strip, then rows. Equal to the call above, and
    # an image of 100 million pixels costs 40 MB of floats instead of 1.2 GB.
    strips = [
        _interpolate(strip, strip.shape[-2], columns) for strip in image.split(_STRIP_ROWS, dim=-2)
    ]
    return _interpolate(torch.cat(strips, dim=-2), rows, columns)


def _interpolate(image: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    from torch.nn.functional import interpolate

    image = image.float() if image.dtype.is_floating_point else image.float() / 255.0
    if image.shape[-2:] == (rows, columns):
        return image
    flat = image.reshape(-1, *image.shape[-3:])  # (B, 3, H, W)
    # Where it enlarges, antialiasing changes nothing: the filter is never narrower than bilinear's.
    scaled = interpolate(flat, (rows, columns), mode="bilinear", antialias=True)
    return scaled.reshape(*image.shape[:-2], rows, columns)
