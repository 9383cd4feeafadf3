// A mask of greys as one colour with its opacity, so that it can lie over a picture.

/** The mask's white in `color`, its black clear. */
export async function tinted(mask: Blob, color: readonly [number, number, number]): Promise<Blob> {
  const picture = await createImageBitmap(mask);
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d")!;
  context.drawImage(picture, 0, 0);
  picture.close();
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = pixels.data[at]!;
    pixels.data.set(color, at);
  }
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob();
}
