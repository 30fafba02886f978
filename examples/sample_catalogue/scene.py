"""A picture being taken: the ground with its shadows, then the product, then the finish."""

from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from examples.sample_catalogue.camera import Array, Camera, Pixels, Size
from examples.sample_catalogue.painter import Light, Painter

ENLARGEMENT = 2


def random_light(rng: Random) -> Light:
    """Choose a lamp above the picture, to one side."""
    azimuth = np.radians(rng.choice([rng.uniform(40, 75), rng.uniform(105, 140)]))
    height = np.radians(rng.uniform(34, 56))
    direction = (
        float(np.cos(azimuth) * np.cos(height)),
        float(np.sin(azimuth) * np.cos(height)),
        float(np.sin(height)),
    )
    return Light(
        direction=direction,
        brightness=rng.uniform(0.94, 1.08),
        warmth=rng.uniform(-0.035, 0.045),
        softness=rng.uniform(0.7, 1.5),
    )


class Scene:
    """Holds the background while shadows fall on it, then opens it for painting."""

    def __init__(self, ground: Image.Image, camera: Camera, light: Light) -> None:
        """Start from a background of the delivered size."""
        self.ground = ground
        self.camera = camera
        self.light = light

    def shadow(self, outlines: list[Array], blur: float, strength: float) -> None:
        """Darken the ground under outlines; the blur is in world units."""
        self._darken(outlines, blur, strength, 0.0)

    def ring_shadow(self, paths: list[Array], width: float, blur: float, strength: float) -> None:
        """Darken the ground under thin lines, such as the frame of a bicycle."""
        self._darken(paths, blur, strength, width)

    def _darken(self, shapes: list[Array], blur: float, strength: float, width: float) -> None:
        # Shadows are soft, so a part of the resolution is enough.
        part = 3
        mask = Image.new("L", (self.ground.width // part, self.ground.height // part))
        pen = ImageDraw.Draw(mask)
        level = round(255 * strength)
        for shape in shapes:
            path = (self.camera.project(shape) / part).ravel().tolist()
            if width:
                pixels = max(1, round(width * self.camera.scale / part))
                pen.line(path, fill=level, width=pixels, joint="curve")
            else:
                pen.polygon(path, fill=level)
        radius = blur * self.camera.scale * self.light.softness / part
        mask = mask.filter(ImageFilter.GaussianBlur(radius))
        mask = mask.resize(self.ground.size, Image.Resampling.BILINEAR)
        box = mask.getbbox()
        if box:
            self.ground.paste((14, 12, 18), box, mask.crop(box))

    def painter(self) -> Painter:
        """Enlarge the ground and give the painter of the product."""
        size = (self.ground.width * ENLARGEMENT, self.ground.height * ENLARGEMENT)
        # Repeated pixels average back to exactly the ground when the picture is reduced.
        image = self.ground.resize(size, Image.Resampling.NEAREST)
        return Painter(image, self.camera.enlarged(ENLARGEMENT), self.light)


def finished(image: Image.Image, light: Light, rng: Random) -> Image.Image:
    """Reduce a painted picture and give it the light fall-off and grain of a photograph."""
    size = (image.width // ENLARGEMENT, image.height // ENLARGEMENT)
    light_here = _falloff(size, light, rng.uniform(0.04, 0.2)) * np.float32(light.brightness)
    grain = _grain(size, rng)
    bands = []
    # One band at a time: numpy is much quicker on whole planes than on RGB triples.
    for band, warmth in zip(image.reduce(ENLARGEMENT).split(), (1.0, 0.0, -1.0), strict=True):
        pixels = np.asarray(band, dtype=np.float32) * light_here
        pixels *= np.float32(1.0 + warmth * light.warmth)
        pixels += grain
        bands.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    return Image.merge("RGB", bands)


def _falloff(size: Size, light: Light, strength: float) -> Pixels:
    across = np.linspace(-1.0, 1.0, size[0], dtype=np.float32)[None, :]
    down = np.linspace(-1.0, 1.0, size[1], dtype=np.float32)[:, None]
    row = 0.08 * float(light.side[0]) * across - strength * 0.5 * across**2
    column = 0.08 * float(light.side[1]) * down - strength * 0.5 * down**2
    return (1.0 + row + column).astype(np.float32)


def _grain(size: Size, rng: Random) -> Pixels:
    # One small tile repeated costs a fraction of fresh noise and is not noticed.
    tile = np.random.default_rng(rng.getrandbits(32)).normal(0.0, 1.6, (160, 160))
    repeats = (size[1] // 160 + 1, size[0] // 160 + 1)
    grain: Pixels = np.tile(tile.astype(np.float32), repeats)[: size[1], : size[0]]
    return grain
