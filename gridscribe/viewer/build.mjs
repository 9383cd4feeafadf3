// Bundles src/ into dist/: index.html, app.js, app.css, the licences of what is bundled. Nothing in dist/ names another host.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = `${here}dist/`;

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.ts", style: "src/styles/viewer.css" },
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  outdir: "dist",
  loader: { ".png": "file" },
  assetNames: "[name]",
  legalComments: "linked",
  logLevel: "warning",
});

// The digest in the address makes a browser fetch a new build, and keep an old one for as long as it likes.
let page = await readFile(`${here}index.html`, "utf8");
for (const name of ["app.js", "style.css"]) {
  const digest = createHash("sha256").update(await readFile(dist + name)).digest("hex").slice(0, 12);
  page = page.replaceAll(`/viewer/${name}`, `/viewer/${name}?${digest}`);
}
await writeFile(`${dist}index.html`, page);
await copyFile(`${here}icon.svg`, `${dist}icon.svg`);
await copyFile(`${here}node_modules/leaflet/LICENSE`, `${dist}leaflet.LICENSE.txt`);
