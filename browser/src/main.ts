/** The page: opens a stream, shows its picture, and compares it with other formats at its size. */

import "../../pipeline/reporting/picture_slider.js";
import type { Picture } from "./codec";
import { Decoder, type Decoded } from "./decoder";
import { BitstreamError } from "./errors";
import type { Model } from "./messages";
import { canvasOf, read, write } from "./pictures";
import { psnr } from "./quality";
import { FORMATS, rival } from "./rivals";
import { bytes, element, facts, figure, refuse, row, say } from "./view";

const LARGEST_FILE = 2 ** 26; // bytes; a stream of the largest picture has fewer

interface Opened extends Decoded {
  name: string;
  size: number;
}

declare global {
  var ratewrightModel: Model | undefined;
  /** For scripts of a reader: the decoder of the page. */
  var ratewright: Decoder | undefined;
}

let opened: Opened | null = null;
let latest = 0; // the number of the newest task; older ones give up

/** Run a task, which checks after each wait whether a newer one has begun. */
async function run(task: (isLatest: () => boolean) => Promise<void>): Promise<void> {
  const number = ++latest;
  document.body.setAttribute("aria-busy", "true");
  try {
    await task(() => number === latest);
  } catch (error) {
    if (number !== latest) return;
    if (error instanceof BitstreamError) refuse(error.message);
    else refuse(`This failed: ${error instanceof Error ? error.message : error}`);
  } finally {
    if (number === latest) document.body.removeAttribute("aria-busy");
  }
}

async function openStream(decoder: Decoder, codec: string, file: File): Promise<void> {
  await run(async (isLatest) => {
    say(`Decoding ${file.name} …`);
    if (file.size > LARGEST_FILE) throw new BitstreamError(`${file.name} is too large for a Ratewright file.`);
    const decoded = await decoder.decode(new Uint8Array(await file.arrayBuffer()));
    if (!isLatest()) return;
    const { width, height } = decoded.picture;
    const png = await write(canvasOf(decoded.picture), "image/png");
    if (!isLatest()) return;
    opened = { ...decoded, name: file.name, size: file.size };
    const bpp = (8 * file.size) / (width * height);
    facts(element("facts"), [
      ["Size", bytes(file.size)],
      ["Rate", `${bpp.toFixed(3)} bpp`],
      ["Picture", `${width} × ${height}`],
      ["Decoded in", `${decoded.seconds.toFixed(2)} s`],
      ["As PNG", png ? `${bytes(png.size)} · ${(png.size / file.size).toFixed(0)} ×` : "too large"],
    ]);
    show(decoded.picture, [figure(codec, decoded.picture, bytes(file.size))]);
    element("comparison").hidden = true;
    element("result").hidden = false;
    say(`${file.name}: ${width} × ${height} pixels, decoded in ${decoded.seconds.toFixed(2)} seconds.`);
  });
}

async function openOriginal(codec: string, file: File): Promise<void> {
  await run(async (isLatest) => {
    const stream = opened;
    if (!stream) throw new BitstreamError("Open a Ratewright file first, then the photograph that it was made of.");
    say(`Reading ${file.name} …`);
    const original = await read(file).catch(() => {
      throw new BitstreamError(`${file.name} is not a picture that this browser reads.`);
    });
    const { picture } = stream;
    if (original.width !== picture.width || original.height !== picture.height) {
      const sizes = [original, picture].map(({ width, height }) => `${width} × ${height}`);
      throw new BitstreamError(`${file.name} has ${sizes[0]} pixels, the picture has ${sizes[1]}.`);
    }
    const own = psnr(original, picture);
    const figures = [figure(codec, picture, `${bytes(stream.size)}, ${decibels(own)}`), figure("Original", original, "")];
    const rows = [row(codec, [bytes(stream.size), decibels(own)], "")];
    for (const format of FORMATS) {
      if (!isLatest()) return;
      say(`Writing ${format.name} of ${bytes(stream.size)} …`);
      const found = await rival(original, format, stream.size);
      if (!found) {
        rows.push(row(format.name, "This browser cannot write it.", ""));
        continue;
      }
      const isAbove = found.bytes > stream.size;
      const note = isAbove ? "its smallest file, above the size" : `quality ${found.quality}`;
      rows.push(row(found.name, [bytes(found.bytes), decibels(found.psnr)], note));
      figures.push(figure(found.name, found.picture, `${bytes(found.bytes)}, ${decibels(found.psnr)}`));
    }
    if (!isLatest()) return;
    const first = figures[2];
    if (first) first.dataset.right = "";
    show(picture, figures);
    element("formats").replaceChildren(...rows);
    element("comparison").hidden = false;
    say(`Compared with ${file.name}. The arrow keys move the slider.`);
  });
}

function decibels(value: number): string {
  return Number.isFinite(value) ? `${value.toFixed(2)} dB` : "no error";
}

/** Show figures of a picture, at most at its own size, and not higher than the window. */
function show({ width, height }: Picture, figures: HTMLElement[]): void {
  const slider = document.createElement("picture-slider");
  slider.style.maxWidth = `max(20rem, min(${width}px, ${(85 * width) / height}vh))`;
  slider.setAttribute("label", "Boundary between the two pictures");
  slider.append(...figures);
  slider.toggleAttribute("sliding", figures.length > 1);
  element("pictures").replaceChildren(slider);
}

async function save(): Promise<void> {
  const { picture, name } = opened as { picture: Picture; name: string };
  const png = await write(canvasOf(picture), "image/png");
  if (!png) return refuse("This browser cannot write a PNG this large.");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(png);
  link.download = name.replace(/(\.rw)?$/i, ".png");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Whether a file begins as a stream does, or is called like one. */
async function isStream(file: File): Promise<boolean> {
  const start = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  return (start[0] === 0x52 && start[1] === 0x57) || !file.type.startsWith("image/");
}

function start(model: Model): void {
  const decoder = new Decoder(model);
  const { codec, model_hash } = model.description;
  globalThis.ratewright = decoder;
  element("model").textContent = `codec ${codec}, model ${model_hash}`;
  const open = async (file: File) =>
    (await isStream(file)) ? openStream(decoder, codec, file) : openOriginal(codec, file);
  for (const [id, opens] of [
    ["stream", (file: File) => openStream(decoder, codec, file)],
    ["original", (file: File) => openOriginal(codec, file)],
  ] as const) {
    const input = element<HTMLInputElement>(id);
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) void opens(file);
      input.value = ""; // so that the same file can be chosen again
    });
    input.disabled = false;
  }
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const file = event.dataTransfer?.files[0];
    if (file) void open(file);
  });
  element("save").addEventListener("click", () => void save());
}

if (globalThis.ratewrightModel) start(globalThis.ratewrightModel);
else refuse("model.js is missing: it belongs beside this page, and `make browser` writes it.");
