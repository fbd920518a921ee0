// The peer of `cargo xtask bench media`: reads lines `TIMES FILE RECIPE OUT` and answers each with the processor time of one
// rendition in nanoseconds and its bytes; `decode FILE OUT` makes a PNG of any picture, of its first frame.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import sharp from "sharp";

// Processor time is compared, and nothing may be remembered from one to the next.
sharp.cache(false);
sharp.concurrency(1);

const encoders = {
  jpeg: (image, quality) => image.jpeg({ quality }),
  webp: (image, quality) => image.webp({ quality }),
  avif: (image, quality) => image.avif({ quality }),
  png: (image) => image.png(),
};

const isGif = (source) => source.subarray(0, 3).toString("latin1") === "GIF";

function render(source, recipe) {
  const { w, q, f } = Object.fromEntries(recipe.split(",").map((part) => part.split("_")));
  const image = sharp(source, { animated: f === "webp" && isGif(source) }).autoOrient().resize({ width: Number(w), withoutEnlargement: true });
  return encoders[f](image, Number(q)).toBuffer();
}

for await (const line of createInterface({ input: process.stdin })) {
  const [times, file, recipe, out] = line.split(" ");
  if (times === "decode") {
    await sharp(file).png().toFile(recipe);
    console.log("decoded");
    continue;
  }
  const source = readFileSync(file);
  const begun = process.cpuUsage();
  let made;
  for (let time = 0; time < Number(times); time += 1) {
    made = await render(source, recipe);
  }
  const { user, system } = process.cpuUsage(begun);
  writeFileSync(out, made);
  console.log(`${Math.round(((user + system) * 1000) / Number(times))} ${made.length}`);
}
