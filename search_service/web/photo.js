// Photos to search by: opened, cut out, and made small enough to send.

const LONGEST_PX = 1024; // the embedder sees 224; more only takes longer to send
const JPEG_QUALITY = 0.9;

/** How files begin that every service reads: JPEG, PNG, GIF, WebP. What a file is called says nothing. */
const SENT_AS_THEY_ARE = [/^\xff\xd8\xff/, /^\x89PNG\r\n\x1a\n/, /^GIF8[79]a/, /^RIFF[^]{4}WEBP/];
const LONGEST_BEGINNING = 12; // bytes

/** A part of a photo, as shares of its width and height. @typedef {{x: number, y: number, width: number, height: number}} Part */

/** @type {Part} */
export const WHOLE = { x: 0, y: 0, width: 1, height: 1 };

/** Every photo of this visit by its number: the history's entries name them. @type {Map<number, Photo>} */
const photos = new Map();

export const photoOf = (number) => photos.get(number);

export class Photo {
  /**
   * @param {Blob} file as it was chosen
   * @param {ImageBitmap | null} bitmap upright; null where the browser can't show what the service may be able to read
   */
  constructor(file, bitmap) {
    this.file = file;
    this.bitmap = bitmap;
    this.url = bitmap ? URL.createObjectURL(file) : null;
    this.part = WHOLE;
    this.number = photos.size + 1;
    photos.set(this.number, this);
  }

  /** Open an image file. The browser turns it upright, as its EXIF data says. @param {Blob} file */
  static async open(file) {
    for (const decode of [createImageBitmap, drawn]) {
      try {
        return new Photo(file, await decode(file));
      } catch {
        continue;
      }
    }
    return new Photo(file, null); // such as a TIFF; or not an image, which the service will report
  }

  get isWhole() {
    return this.part === WHOLE;
  }

  /**
   * Return what to send: the file itself if it is not cropped, small and of a common format, else a JPEG of the part.
   * @returns {Promise<Blob>}
   */
  async toSend() {
    if (!this.bitmap) return this.file;
    const { width, height } = this.bitmap;
    const isSmall = this.isWhole && Math.max(width, height) <= LONGEST_PX;
    if (isSmall && (await isSentAsItIs(this.file))) return this.file;
    const cut = { width: Math.max(1, this.part.width * width), height: Math.max(1, this.part.height * height) };
    const scale = Math.min(1, LONGEST_PX / Math.max(cut.width, cut.height));
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
async function isSentAsItIs(file) {
  const bytes = new Uint8Array(await file.slice(0, LONGEST_BEGINNING).arrayBuffer());
  const beginning = String.fromCharCode(...bytes);
  return SENT_AS_THEY_ARE.some((pattern) => pattern.test(beginning));
}

/** What an `<img>` shows and `createImageBitmap` does not read, such as an SVG. @param {Blob} file */
async function drawn(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return await createImageBitmap(image);
  } finally {
    URL.revokeObjectURL(image.src);
  }
}
