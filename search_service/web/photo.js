// Photos to search by: opening, cropping and downscaling before upload.

const MAX_SIDE_PX = 1024; // the model's input has 128 to 352 px; more only takes longer to send
const JPEG_QUALITY = 0.9;

/** Signatures of the formats that are sent unchanged: JPEG, PNG, GIF, WebP. File names are ignored. */
const SIGNATURES = [/^\xff\xd8\xff/, /^\x89PNG\r\n\x1a\n/, /^GIF8[79]a/, /^RIFF[^]{4}WEBP/];
const SIGNATURE_BYTES = 12; // of the longest one

/** A part of a photo, as shares of its width and height. @typedef {{x: number, y: number, width: number, height: number}} Part */

/** @type {Part} */
export const FULL = { x: 0, y: 0, width: 1, height: 1 };

/** The photos of this visit by number, which entries of the history refer to. @type {Map<number, Photo>} */
const photos = new Map();

export const photoOf = (number) => photos.get(number);

export class Photo {
  /**
   * @param {Blob} file as it was chosen
   * @param {ImageBitmap | null} bitmap upright; null if the browser cannot decode the file
   */
  constructor(file, bitmap) {
    this.file = file;
    this.bitmap = bitmap;
    this.url = bitmap ? URL.createObjectURL(file) : null;
    this.part = FULL;
    this.number = photos.size + 1;
    photos.set(this.number, this);
  }

  /** Open an image file. The browser turns it upright, as its EXIF data says. @param {Blob} file */
  static async open(file) {
    for (const decode of [createImageBitmap, decodeByElement]) {
      try {
        return new Photo(file, await decode(file));
      } catch {
        continue;
      }
    }
    return new Photo(file, null); // such as a TIFF, or a file that the service will reject
  }

  get isFull() {
    return this.part === FULL;
  }

  /**
   * Return what to send: the file itself if it is not cropped, small and of a common format, else a JPEG of the part.
   * @returns {Promise<Blob>}
   */
  async toSend() {
    if (!this.bitmap) return this.file;
    const { width, height } = this.bitmap;
    const isSmall = this.isFull && Math.max(width, height) <= MAX_SIDE_PX;
    if (isSmall && (await hasKnownSignature(this.file))) return this.file;
    const cut = { width: Math.max(1, this.part.width * width), height: Math.max(1, this.part.height * height) };
    const scale = Math.min(1, MAX_SIDE_PX / Math.max(cut.width, cut.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(cut.width * scale));
    canvas.height = Math.max(1, Math.round(cut.height * scale));
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white"; // what the service puts behind transparency
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(
      this.bitmap,
      this.part.x * width, this.part.y * height, cut.width, cut.height,
      0, 0, canvas.width, canvas.height,
    );
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  }
}

/** @param {Blob} file @returns {Promise<boolean>} */
async function hasKnownSignature(file) {
  const bytes = new Uint8Array(await file.slice(0, SIGNATURE_BYTES).arrayBuffer());
  const head = String.fromCharCode(...bytes);
  return SIGNATURES.some((pattern) => pattern.test(head));
}

/** Decode a file that an `<img>` shows but `createImageBitmap` rejects, such as an SVG. @param {Blob} file */
async function decodeByElement(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return await createImageBitmap(image);
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
