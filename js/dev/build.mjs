// Puts the development page and the built bundle into .work/dev; run `npm run build` before.
import { copyFile, mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const out = path("../../.work/dev/");
await mkdir(out, { recursive: true });
await build({ entryPoints: [path("page.ts")], outfile: `${out}page.js`, bundle: true, format: "esm", target: "es2022", external: ["./board.js"], logLevel: "warning" });
await copyFile(path("index.html"), `${out}index.html`);
for (const name of ["board.js", "board.css"]) await copyFile(path(`../../ipyjobs/widget/static/${name}`), `${out}${name}`);
